"""Canonical correlations of the leading directions of two point sets."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from synthsae_jax.errors import require
from synthsae_jax.numerics import narrow
from synthsae_jax.registry import Explanation
from synthsae_jax.similarity.base import Reasons, register_measure
from synthsae_jax.similarity.cca import mean_canonical_correlation, principal_directions
from synthsae_jax.similarity.points import centred, centred_and_size

Array = jax.Array


@register_measure(
    "svcca",
    Explanation(
        what="Mean canonical correlation of the directions that hold .99 of each side's variance, "
        "or of a fixed number k of them.",
        formula="mean of the first min(k_x, k_y) singular values of U_x' U_y, "
        "k = 1 + #{directions whose cumulative share of the variance is below .99}",
        range="[0, 1]",
        chance="Grows with (k_x + k_y) / n and is at most sqrt(max(k_x, k_y) / (n - 1)): compare "
        "with similarity.shuffled.",
        undefined="One side has no variance, or n <= k_x + k_y (correlations of 1 by counting), or "
        "a side has fewer than k directions.",
        source="arXiv 1706.05806",
    ),
    invariant_to={"translation", "scale", "orthogonal"},
    range=(0.0, 1.0),
    cost="n (p^2 + q^2 + p q)",
    least_points=3,
)
def svcca(
    X: Array, Y: Array, *, variance: float = 0.99, k: int | None = None
) -> tuple[Array, Reasons]:
    """SVCCA of `X [n, p]` and `Y [n, q]`.

    `variance` is the share kept of each side, in (0, 1]; with `k` the leading k directions of each
    side are kept instead, whatever their share. `directions_kept` says how many that are.
    """
    _check(variance, k)
    (U_x, kept_x), (U_y, kept_y) = (_leading(centred(v), variance, k) for v in (X, Y))
    value, reasons = mean_canonical_correlation(U_x, kept_x, U_y, kept_y)
    if k is not None:
        fewer = (jnp.sum(kept_x) < k) | (jnp.sum(kept_y) < k)
        reasons = {**reasons, f"a side has fewer than k = {k} directions": fewer}
    return value, reasons


def directions_kept(X: Array, *, variance: float = 0.99, k: int | None = None) -> Array:
    """How many directions `svcca` keeps of one side `X [n, p]`, int32 `[]`: report it with it."""
    _check(variance, k)
    X = narrow(X, centre=0, scale=(0, 1))
    require(X.ndim == 2 and X.size > 0, f"directions_kept takes points [n, p]; given {X.shape}.")
    return jnp.sum(_leading(centred(X), variance, k)[1])


@register_measure(
    "svcca_rank1",
    Explanation(
        what="SVCCA as published for LLM feature spaces: its rule compares a share of the variance "
        "with .99 of the variance itself, so above 1.01 it keeps one direction of each side and "
        "the number is |Pearson r| of the first principal components.",
        formula="svcca with k = 1 + the first i at which the cumulative share of sigma^2 reaches "
        ".99 sum sigma^2, or 1 where none does",
        range="[0, 1]",
        chance="sqrt(2 / (pi (n - 1))) where the variance is above 1.01, hence its small nulls",
        undefined="One side has no variance, or n <= k_x + k_y.",
        source="Lan et al., arXiv 2410.06981, with the routine of ReSi (arXiv 2408.00531)",
    ),
    invariant_to={"translation", "orthogonal"},
    range=(0.0, 1.0),
    cost="n (p^2 + q^2)",
    least_points=3,
    chance=lambda n, p, q: math.sqrt(2 / (math.pi * (n - 1))),
)
def svcca_rank1(X: Array, Y: Array) -> tuple[Array, Reasons]:
    """The published variant, kept to recompute published numbers; use `svcca` for new ones.

    It depends on scale: where the sum of squares of the centred points is below 1.01 it keeps more
    directions, and below 1 it keeps fewer than SVCCA does.
    """
    (U_x, kept_x), (U_y, kept_y) = (_published(v) for v in (X, Y))
    return mean_canonical_correlation(U_x, kept_x, U_y, kept_y)


def _check(variance: float, k: int | None) -> None:
    require(0 < variance <= 1, f"svcca: variance must be in (0, 1], got {variance}.")
    require(
        k is None or (isinstance(k, int) and k >= 1),
        f"svcca: k must be a whole number of at least 1, got {k!r}.",
    )


def _leading(X: Array, variance: float, k: int | None) -> tuple[Array, Array]:
    """Left singular vectors `[n, min(n, p)]` and which are kept."""
    U, sigma, real = principal_directions(X)
    if k is not None:
        return U, real & (jnp.arange(sigma.size) < k)
    # 1 more than lie below: the direction with which the share is reached.
    return U, real & (jnp.arange(sigma.size) < 1 + jnp.sum(_cumulative(sigma) < variance))


def _published(X: Array) -> tuple[Array, Array]:
    X, size = centred_and_size(X)
    U, sigma, real = principal_directions(X)
    # not a share, as the cumulative sum is: that is the rule as published
    bound = 0.99 * jnp.sum(jnp.square(sigma)) * jnp.square(size)
    passed = _cumulative(sigma) >= bound
    # the first to pass, the very first where none does
    return U, real & (jnp.arange(sigma.size) < jnp.argmax(passed) + 1)


def _cumulative(sigma: Array) -> Array:
    squares = jnp.square(sigma)
    return jnp.cumsum(squares) / jnp.maximum(jnp.sum(squares), jnp.finfo(sigma.dtype).tiny)
