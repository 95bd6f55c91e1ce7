"""Representational similarity: do two point sets order their pairs alike?"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from synthsae_jax.numerics import unit_rows
from synthsae_jax.registry import Explanation
from synthsae_jax.similarity.base import register_measure
from synthsae_jax.similarity.points import HIGHEST, ratio_or_nan

Array = jax.Array


@register_measure(
    "rsa",
    Explanation(
        what="Rank correlation between the two sets' distances 1 - Pearson(row i, row j).",
        formula="Spearman over i > j of 1 - corr(x_i, x_j) and 1 - corr(y_i, y_j), ties averaged",
        range="[-1, 1]",
        chance="0; the n (n - 1) / 2 pairs depend on each other, so test by permuting rows.",
        undefined="n < 3, a row equal in all its columns, or all distances of one side equal.",
        source="Kriegeskorte et al. (2008), doi 10.3389/neuro.06.004.2008",
    ),
    invariant_to={"scale", "row_scale", "permutation"},
    range=(-1.0, 1.0),
)
def rsa(X: Array, Y: Array) -> Array:
    """RSA of `X [n, p]` and `Y [n, q]`; rows are centred, columns are not."""
    n = X.shape[0]
    if n < 3 or min(X.shape[1], Y.shape[1]) < 2:
        return jnp.float32(jnp.nan)
    a, b = _centred_ranks(_distances(X)), _centred_ranks(_distances(Y))
    value = ratio_or_nan(jnp.sum(a * b), jnp.sqrt(jnp.sum(a * a)) * jnp.sqrt(jnp.sum(b * b)))
    flat = jnp.any(_row_is_flat(X)) | jnp.any(_row_is_flat(Y))
    return jnp.where(flat, jnp.nan, jnp.clip(value, -1.0, 1.0))


def _row_is_flat(X: Array) -> Array:
    return jnp.max(X, axis=1) == jnp.min(X, axis=1)


def _distances(X: Array) -> Array:
    """1 - Pearson of each pair of rows, the lower triangle as one vector `[n (n - 1) / 2]`."""
    # rows to a common size first: the guard of unit_rows would tell small rows from large ones
    X = X / jnp.maximum(jnp.max(jnp.abs(X), axis=1, keepdims=True), jnp.finfo(X.dtype).tiny)
    rows = unit_rows(X - jnp.mean(X, axis=1, keepdims=True))
    below = np.tril_indices(X.shape[0], -1)
    return 1.0 - jnp.matmul(rows, rows.T, precision=HIGHEST)[below]


def _centred_ranks(v: Array) -> Array:
    """Ranks with ties averaged, minus their mean, divided by their number: within [-.5, .5]."""
    ordered = jnp.sort(v)
    first = jnp.searchsorted(ordered, v, side="left", method="sort")
    last = jnp.searchsorted(ordered, v, side="right", method="sort")
    # first + last - size has mean 0, and stays an exact integer below 2^31 pairs
    return (first + last - v.size).astype(jnp.float32) / (2 * v.size)
