"""Canonical correlations of the leading directions of two point sets."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from synthsae_jax.errors import require
from synthsae_jax.registry import Explanation
from synthsae_jax.similarity.base import register_measure
from synthsae_jax.similarity.points import HIGHEST, centred, ratio_or_nan

Array = jax.Array


@register_measure(
    "svcca",
    Explanation(
        what="Mean canonical correlation of the directions that hold .99 of each side's variance.",
        formula="mean of the first min(k_x, k_y) singular values of U_x' U_y, "
        "k = 1 + #{directions whose cumulative share of the variance is below .99}",
        range="[0, 1]",
        chance="Grows with (k_x + k_y) / n: compare with shuffled rows.",
        undefined="One side has no variance, or n <= k_x + k_y (correlations of 1 by counting).",
        source="arXiv 1706.05806",
    ),
    invariant_to={"translation", "scale", "permutation", "orthogonal"},
    range=(0.0, 1.0),
)
def svcca(X: Array, Y: Array, *, variance: float = 0.99) -> Array:
    """SVCCA of `X [n, p]` and `Y [n, q]`; `variance` is the share kept of each side, in (0, 1]."""
    require(0 < variance <= 1, f"svcca: variance must be in (0, 1], got {variance}.")
    (U_x, k_x), (U_y, k_y) = (_leading(centred(v), variance) for v in (X, Y))
    # columns that are not kept are 0 and add singular values of 0 to the sum
    rho = jnp.linalg.svd(jnp.matmul(U_x.T, U_y, precision=HIGHEST), compute_uv=False)
    mean = ratio_or_nan(jnp.sum(jnp.clip(rho, 0.0, 1.0)), jnp.minimum(k_x, k_y))
    return jnp.where(X.shape[0] > k_x + k_y, mean, jnp.nan)


def _leading(X: Array, variance: float) -> tuple[Array, Array]:
    """Left singular vectors `[n, min(n, p)]`, those not kept set to 0, and how many are kept."""
    U, sigma, _ = jnp.linalg.svd(X, full_matrices=False)
    squares = jnp.square(sigma)
    cumulative = jnp.cumsum(squares) / jnp.maximum(jnp.sum(squares), jnp.finfo(X.dtype).tiny)
    kept = jnp.arange(sigma.size) < 1 + jnp.sum(cumulative < variance)
    # below this share of the largest, a float32 direction is rounding (and all of them are, where
    # the largest is 0)
    kept &= sigma > 1e-6 * jnp.max(sigma, initial=0.0)
    return jnp.where(kept[None, :], U, 0.0), jnp.sum(kept)
