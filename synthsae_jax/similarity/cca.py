"""Canonical correlations of all directions of two point sets: their plain and weighted means."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from synthsae_jax.numerics import ratio_or_nan
from synthsae_jax.registry import Explanation
from synthsae_jax.similarity.base import Reasons, register_measure
from synthsae_jax.similarity.points import centred, times

Array = jax.Array
# below this share of the largest, a float32 direction is rounding
SMALLEST = 1e-6
_CHANCE = "Grows with (p + q) / n and is at most sqrt(max(p, q) / (n - 1)): compare with "
_CHANCE += "similarity.shuffled."
_UNDEFINED = "One side has no variance, or n <= k_x + k_y, k the directions with a singular "
_UNDEFINED += "value above 1e-6 of the largest (correlations of 1 by counting)."


def principal_directions(X: Array) -> tuple[Array, Array, Array]:
    """Of centred points: U `[n, r]` and sigma `[r]` by falling sigma, and which are not rounding.

    r = min(n, p); by the SVD of X itself, since X'X would halve the digits.
    """
    U, sigma, _ = jnp.linalg.svd(X, full_matrices=False)
    return U, sigma, sigma > SMALLEST * jnp.max(sigma, initial=0.0)


def keep(U: Array, usable: Array) -> Array:
    """Columns that are not kept set to 0: they add singular values of 0 and nothing else."""
    return jnp.where(usable[None, :], U, 0.0)


def too_few_points(n: int, k_x: Array, k_y: Array) -> Reasons:
    """Spaces of k_x and k_y among the n - 1 centred directions meet where k_x + k_y >= n."""
    return {"not more points than directions of both sides together": n <= k_x + k_y}


@register_measure(
    "cca",
    Explanation(
        what="Mean canonical correlation of all directions, however little variance they have.",
        formula="mean of the first min(k_x, k_y) singular values of U_x' U_y",
        range="[0, 1]",
        chance=_CHANCE,
        undefined=_UNDEFINED,
        source="Hotelling (1936); as a measure of networks: arXiv 1706.05806",
    ),
    invariant_to={"translation", "invertible"},
    range=(0.0, 1.0),
    cost="n (p^2 + q^2 + p q)",
    least_points=3,
)
def cca(X: Array, Y: Array) -> tuple[Array, Reasons]:
    """Mean CCA of `X [n, p]` and `Y [n, q]`."""
    (U_x, _, kept_x), (U_y, _, kept_y) = (principal_directions(centred(v)) for v in (X, Y))
    return mean_canonical_correlation(U_x, kept_x, U_y, kept_y)


def mean_canonical_correlation(
    U_x: Array, kept_x: Array, U_y: Array, kept_y: Array
) -> tuple[Array, Reasons]:
    """Mean of the min(k_x, k_y) cosines between the spaces of the columns that are kept."""
    k_x, k_y = jnp.sum(kept_x), jnp.sum(kept_y)
    rho = jnp.linalg.svd(times(keep(U_x, kept_x).T, keep(U_y, kept_y)), compute_uv=False)
    mean = ratio_or_nan(jnp.sum(jnp.clip(rho, 0.0, 1.0)), jnp.minimum(k_x, k_y))
    return mean, too_few_points(U_x.shape[0], k_x, k_y)


@register_measure(
    "pwcca",
    Explanation(
        what="Mean canonical correlation, each weighted by how much of X's columns it carries.",
        formula="sum_i a_i rho_i / sum_i a_i, a_i = sum_j |<h_i, x_j>|, h_i the i-th canonical "
        "variate of X at unit length, x_j its columns",
        range="[0, 1]",
        chance=_CHANCE,
        undefined=_UNDEFINED,
        source="arXiv 1806.05759",
    ),
    invariant_to={"translation", "scale", "permutation"},
    also_y={"invertible"},
    range=(0.0, 1.0),
    cost="n (p^2 + q^2 + p q)",
    least_points=3,
    symmetric=False,
)
def pwcca(X: Array, Y: Array) -> tuple[Array, Reasons]:
    """Projection-weighted CCA of `X [n, p]` and `Y [n, q]`, weighted by X: call it both ways.

    The weights are the paper's. Its released code weights by directions that it has not whitened,
    and takes Y's weights from X's columns where p > q; those numbers differ.
    """
    X = centred(X)
    U_x, _, kept_x = principal_directions(X)
    U_y, _, kept_y = principal_directions(centred(Y))
    k_x, k_y = jnp.sum(kept_x), jnp.sum(kept_y)
    U_x, U_y = keep(U_x, kept_x), keep(U_y, kept_y)
    A, rho, _ = jnp.linalg.svd(times(U_x.T, U_y), full_matrices=False)
    h = times(U_x, A)  # [n, min(p, q, n)]
    # beyond min(k_x, k_y) there are no canonical variates, only what fills the matrix
    exists = jnp.arange(rho.size) < jnp.minimum(k_x, k_y)
    weight = jnp.where(exists, jnp.sum(jnp.abs(times(h.T, X)), axis=1), 0.0)
    value = ratio_or_nan(jnp.sum(weight * jnp.clip(rho, 0.0, 1.0)), jnp.sum(weight))
    return value, too_few_points(X.shape[0], k_x, k_y)
