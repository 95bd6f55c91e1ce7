"""Representational similarity: do two point sets order their pairs alike?"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from synthsae_jax.errors import check_choice
from synthsae_jax.registry import Explanation
from synthsae_jax.similarity.base import Reasons, register_measure
from synthsae_jax.similarity.points import NAN, gram, ratio_or_nan, unit_directions

Array = jax.Array
_CHANCE = "0; the n (n - 1) / 2 pairs depend on each other, so test by permuting rows."
_COST = "n^2 (p + q)"
_ALL_EQUAL = "all distances of one side are equal"
# Cosines of float32 that should be equal differ by some 1e-7 and would tear ties apart: distances
# nearer than this are taken for equal.
_STEP = 2.0**-20
_COUNTED_FROM = 2**18  # pairs of points from which ranks are counted


@register_measure(
    "rsa",
    Explanation(
        what="Rank correlation between the two sets' distances 1 - Pearson(row i, row j).",
        formula="Spearman over i > j of 1 - corr(x_i, x_j) and 1 - corr(y_i, y_j), ties "
        "(nearer than 1e-6) averaged; outer='pearson': Pearson of the same",
        range="[-1, 1]",
        chance=_CHANCE,
        undefined="n < 3, a row equal in all its columns, or all distances of one side equal.",
        source="Kriegeskorte et al. (2008), doi 10.3389/neuro.06.004.2008",
    ),
    invariant_to={"row_scale", "permutation"},
    range=(-1.0, 1.0),
    cost=_COST,
    least_points=3,
    chance=lambda n, p, q, outer="spearman": 0.0,
)
def rsa(X: Array, Y: Array, *, outer: str = "spearman") -> tuple[Array, Reasons]:
    """RSA of `X [n, p]` and `Y [n, q]`; rows are centred (so no rotation is free), columns not."""
    check_choice("outer", outer, _OUTER)
    if min(X.shape[1], Y.shape[1]) < 2:
        return jnp.float32(NAN), {"rows of one column have no correlation": True}
    flat = jnp.any(_row_is_flat(X)) | jnp.any(_row_is_flat(Y))
    value, reasons = _compare(_row_centred(X), _row_centred(Y), outer)
    return value, {"a row is equal in all its columns": flat, **reasons}


@register_measure(
    "rsa_cosine",
    Explanation(
        what="RSA on angles: rank correlation between the two sets' distances 1 - cosine(row i, "
        "row j). Rows are not centred, so rotations are free.",
        formula="Spearman over i > j of 1 - cos(x_i, x_j) and 1 - cos(y_i, y_j), ties "
        "(nearer than 1e-6) averaged; outer='pearson': Pearson of the same",
        range="[-1, 1]",
        chance=_CHANCE,
        undefined="n < 3, a row of zeros, or all distances of one side equal.",
        source="Kriegeskorte et al. (2008), doi 10.3389/neuro.06.004.2008",
    ),
    invariant_to={"row_scale", "orthogonal"},
    range=(-1.0, 1.0),
    cost=_COST,
    least_points=3,
    chance=lambda n, p, q, outer="spearman": 0.0,
)
def rsa_cosine(X: Array, Y: Array, *, outer: str = "spearman") -> tuple[Array, Reasons]:
    """RSA of `X [n, p]` and `Y [n, q]` from cosines of rows."""
    check_choice("outer", outer, _OUTER)
    return _compare(X, Y, outer)


@register_measure(
    "gram_profile",
    Explanation(
        what="Is each point related to all others alike on both sides? Mean correlation of the "
        "points' rows of cosines, which a score of single latents can be made of.",
        formula="mean over i of Pearson over j != i of cos(x_i, x_j) and cos(y_i, y_j)",
        range="[-1, 1]",
        chance="0",
        undefined="n < 4, a row of zeros, or a point equally far from all others.",
        source="Relative representations, arXiv 2209.15430, with all other points as anchors",
    ),
    invariant_to={"row_scale", "orthogonal"},
    range=(-1.0, 1.0),
    cost=_COST,
    least_points=4,
    chance=lambda n, p, q: 0.0,
)
def gram_profile(X: Array, Y: Array) -> tuple[Array, Reasons]:
    """Mean correlation of relation profiles of `X [n, p]` and `Y [n, q]`."""
    n = X.shape[0]
    (C_x, zero_x), (C_y, zero_y) = (_cosines(v) for v in (X, Y))
    itself = jnp.eye(n, dtype=bool)

    def profile(C: Array) -> tuple[Array, Array]:
        # -1 and 1 are the ends of cosines: beyond them the diagonal is neither least nor largest
        high, low = (jnp.where(itself, s * 2.0, C) for s in (-1, 1))
        flat = jnp.max(high, axis=1) - jnp.min(low, axis=1) < _STEP
        mean = jnp.sum(jnp.where(itself, 0.0, C), axis=1, keepdims=True) / (n - 1)
        return jnp.where(itself, 0.0, C - mean), flat

    (a, flat_x), (b, flat_y) = profile(C_x), profile(C_y)
    norms = [jnp.sqrt(jnp.sum(jnp.square(v), axis=1)) for v in (a, b)]
    r = ratio_or_nan(jnp.sum(a * b, axis=1), norms[0] * norms[1])
    reasons = {
        "a row of zeros has no direction": zero_x | zero_y,
        "a point is equally far from all others": jnp.any(flat_x) | jnp.any(flat_y),
    }
    return jnp.clip(jnp.mean(r), -1.0, 1.0), reasons


def _compare(X: Array, Y: Array, outer: str) -> tuple[Array, Reasons]:
    (d_x, zero_x), (d_y, zero_y) = (_distances(v) for v in (X, Y))
    equal = [jnp.max(d) == jnp.min(d) for d in (d_x, d_y)]
    a, b = (_OUTER[outer](d) for d in (d_x, d_y))
    value = ratio_or_nan(jnp.sum(a * b), jnp.sqrt(jnp.sum(a * a)) * jnp.sqrt(jnp.sum(b * b)))
    reasons = {"a row of zeros has no direction": zero_x | zero_y, _ALL_EQUAL: equal[0] | equal[1]}
    return jnp.clip(value, -1.0, 1.0), reasons


def _row_is_flat(X: Array) -> Array:
    return jnp.max(X, axis=1) == jnp.min(X, axis=1)


def _row_centred(X: Array) -> Array:
    # rows to a common size first: a mean may overflow
    X = X / jnp.maximum(jnp.max(jnp.abs(X), axis=1, keepdims=True), jnp.finfo(X.dtype).tiny)
    return X - jnp.mean(X, axis=1, keepdims=True)


def _cosines(X: Array) -> tuple[Array, Array]:
    directions, zero = unit_directions(X)
    return gram(directions), zero


def _distances(X: Array) -> tuple[Array, Array]:
    """1 - cosine of each pair of rows, as one vector `[n (n - 1) / 2]`.

    Each row with the (n - 1) / 2 next ones in a circle: indices that a compiled program counts up,
    where those of a triangle would be constants inside it (64 MB at 4,000 points).
    """
    cosines, zero = _cosines(X)
    n = X.shape[0]
    here = jnp.arange(n)
    there = (here[:, None] + jnp.arange(1, (n - 1) // 2 + 1)[None, :]) % n
    pairs = jnp.take_along_axis(cosines, there, axis=1).ravel()
    if n % 2 == 0:  # those half round the circle meet once only
        pairs = jnp.concatenate([pairs, cosines[here[: n // 2], here[: n // 2] + n // 2]])
    distances = 1.0 - pairs
    return jnp.clip(jnp.round(distances / _STEP) * _STEP, 0.0, 2.0), zero


def _centred_values(v: Array) -> Array:
    return v - jnp.mean(v)


def _centred_ranks(v: Array) -> Array:
    """Ranks with ties averaged, minus their mean, divided by their number: within [-.5, .5].

    `v` are distances in [0, 2] on a grid of `_STEP`, so many of them are counted, not sorted: a
    tenth of the time at 4,000 points.
    """
    if v.size < _COUNTED_FROM:
        ordered = jnp.sort(v)
        below, to_here = (jnp.searchsorted(ordered, v, side=side) for side in ("left", "right"))
    else:
        level = jnp.round(v / _STEP).astype(jnp.int32)
        counts = jnp.zeros(round(2 / _STEP) + 1, jnp.int32).at[level].add(1)
        cumulative = jnp.cumsum(counts)
        below, to_here = (cumulative - counts)[level], cumulative[level]
    # below + to_here - size has mean 0, and stays an exact integer below 2^30 pairs
    return (below + to_here - v.size).astype(jnp.float32) / (2 * v.size)


_OUTER = {"spearman": _centred_ranks, "pearson": _centred_values}
