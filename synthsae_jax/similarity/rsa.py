"""Representational similarity: do two point sets order their pairs alike?"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from synthsae_jax.errors import check_choice
from synthsae_jax.numerics import ratio_or_nan
from synthsae_jax.registry import Explanation
from synthsae_jax.similarity.angles import CELLS, SLOTS, Angles, angles
from synthsae_jax.similarity.base import Reasons, register_measure
from synthsae_jax.similarity.points import NAN

Array = jax.Array
_CHANCE = "0; the n (n - 1) / 2 pairs depend on each other, so test by permuting rows."
_COST = "n^2 (p + q)"
_ALL_EQUAL = "all distances of one side are equal"
# Pairs of points from which ranks are counted: that goes through all 5 million slots, however few
# the pairs are.
_COUNTED_FROM = 2**18


@register_measure(
    "rsa",
    Explanation(
        what="Rank correlation between the two sets' distances 1 - Pearson(row i, row j).",
        formula="Spearman over i > j of 1 - corr(x_i, x_j) and 1 - corr(y_i, y_j), ties "
        "(nearer than 1e-6 of the rows' spread) averaged; outer='pearson': Pearson of the same",
        range="[-1, 1]",
        chance=_CHANCE,
        undefined="n < 3, a row equal in all its columns, or all distances of one side equal.",
        source="Kriegeskorte et al. (2008), doi 10.3389/neuro.06.004.2008",
    ),
    invariant_to={"row_scale", "row_shift", "permutation"},
    range=(-1.0, 1.0),
    cost=_COST,
    least_points=3,
    chance=lambda n, p, q, outer="spearman": 0.0,
)
def rsa(X: Array, Y: Array, *, outer: str = "spearman") -> tuple[Array, Reasons]:
    """RSA of `X [n, p]` and `Y [n, q]`; rows are centred (so no rotation is free), columns not."""
    check_choice("outer", outer, _OUTER)
    if min(X.shape[1], Y.shape[1]) < 2:
        return NAN, {"rows of one column have no correlation": True}
    flat = jnp.any(_row_is_flat(X)) | jnp.any(_row_is_flat(Y))
    value, reasons = _compare(_row_centred(X), _row_centred(Y), outer)
    return value, {"a row is equal in all its columns": flat, **reasons}


@register_measure(
    "rsa_cosine",
    Explanation(
        what="RSA on angles: rank correlation between the two sets' distances 1 - cosine(row i, "
        "row j). Rows are not centred, so rotations are free.",
        formula="Spearman over i > j of 1 - cos(x_i, x_j) and 1 - cos(y_i, y_j), ties "
        "(nearer than 1e-6 of the rows' spread) averaged; outer='pearson': Pearson of the same",
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
    (angles_x, zero_x), (angles_y, zero_y) = angles(X), angles(Y)
    itself = jnp.eye(n, dtype=bool)

    def profile(of: Angles) -> tuple[Array, Array]:
        # distances are within 0 and 2: beyond, the diagonal is neither least nor largest
        d = of.distance
        spread = jnp.max(jnp.where(itself, -1.0, d), axis=1) - jnp.min(
            jnp.where(itself, 3.0, d), axis=1
        )
        flat = spread < of.step
        mean = jnp.sum(jnp.where(itself, 0.0, d), axis=1, keepdims=True) / (n - 1)
        return jnp.where(itself, 0.0, d - mean), flat

    (a, flat_x), (b, flat_y) = profile(angles_x), profile(angles_y)
    norms = [jnp.sqrt(jnp.sum(jnp.square(v), axis=1)) for v in (a, b)]
    r = ratio_or_nan(jnp.sum(a * b, axis=1), norms[0] * norms[1])
    reasons = {
        "a row of zeros has no direction": zero_x | zero_y,
        "a point is equally far from all others": jnp.any(flat_x) | jnp.any(flat_y),
    }
    return jnp.clip(jnp.mean(r), -1.0, 1.0), reasons


def _compare(X: Array, Y: Array, outer: str) -> tuple[Array, Reasons]:
    (angles_x, zero_x), (angles_y, zero_y) = angles(X), angles(Y)
    slots = [_pairs(of.slot) for of in (angles_x, angles_y)]
    equal = [jnp.max(v) == jnp.min(v) for v in slots]
    if outer == "pearson":
        a, b = (v - jnp.mean(v) for v in (_pairs(of.distance) for of in (angles_x, angles_y)))
    else:
        a, b = (_centred_ranks(v) for v in slots)
    value = ratio_or_nan(jnp.sum(a * b), jnp.sqrt(jnp.sum(a * a)) * jnp.sqrt(jnp.sum(b * b)))
    reasons = {"a row of zeros has no direction": zero_x | zero_y, _ALL_EQUAL: equal[0] | equal[1]}
    return jnp.clip(value, -1.0, 1.0), reasons


def _row_is_flat(X: Array) -> Array:
    return jnp.max(X, axis=1) == jnp.min(X, axis=1)


def _row_centred(X: Array) -> Array:
    # rows to a common size first: a mean may overflow
    X = X / jnp.maximum(jnp.max(jnp.abs(X), axis=1, keepdims=True), jnp.finfo(X.dtype).tiny)
    return X - jnp.mean(X, axis=1, keepdims=True)


def _pairs(matrix: Array) -> Array:
    """The entries of a symmetric matrix for each pair of rows, as one vector `[n (n - 1) / 2]`.

    Each row with the (n - 1) / 2 next ones in a circle: indices that a compiled program counts up,
    where those of a triangle would be constants inside it (64 MB at 4,000 points).
    """
    n = matrix.shape[0]
    first = jnp.arange(n)
    second = (first[:, None] + jnp.arange(1, (n - 1) // 2 + 1)[None, :]) % n
    pairs = jnp.take_along_axis(matrix, second, axis=1).ravel()
    if n % 2 == 0:  # those half round the circle meet once only
        half = first[: n // 2]
        pairs = jnp.concatenate([pairs, matrix[half, half + n // 2]])
    return pairs


def _centred_ranks(slots: Array) -> Array:
    """Ranks with ties averaged, minus their mean, divided by their number: within [-.5, .5].

    `Angles.slot` are whole numbers, so many of them are counted, not sorted: a tenth of the time
    at 4,000 points.
    """
    below, up_to = (_ties_sorted if slots.size < _COUNTED_FROM else _ties_counted)(slots)
    # below + up_to - size has mean 0, and stays an exact integer below 2^30 pairs
    return (below + up_to - slots.size).astype(jnp.float32) / (2 * slots.size)


# Equal distances lie within a cell or two of each other, wherever the cells' borders are. So a run
# of slots without a gap that is no longer than a step is one tie, and only longer runs, where
# distances lie close all along, are cut at whole steps.


def _ties_sorted(slots: Array) -> tuple[Array, Array]:
    """Of each, how many are lower than its tie, and how many are not higher."""
    ordered = jnp.sort(slots)
    run = jnp.cumsum(jnp.diff(ordered, prepend=ordered[:1]) > 1)
    first, last = (jnp.searchsorted(run, run, side=side) for side in ("left", "right"))
    first, last = ordered[first], ordered[last - 1]
    at = jnp.searchsorted(ordered, slots)
    start, end = _tie(slots, first[at], last[at])
    return jnp.searchsorted(ordered, start), jnp.searchsorted(ordered, end, side="right")


def _ties_counted(slots: Array) -> tuple[Array, Array]:
    counts = jnp.zeros(SLOTS, jnp.int32).at[slots].add(1)
    cumulative = jnp.cumsum(counts)
    taken = counts > 0
    reach = []
    for direction in (-1, 1):
        n, unbroken = jnp.zeros(SLOTS, jnp.int32), taken
        for distance in range(1, CELLS + 1):
            unbroken &= jnp.roll(taken, -direction * distance)
            n += unbroken
        reach.append(n)
    cell = jnp.arange(SLOTS)
    start, end = _tie(cell, cell - reach[0], cell + reach[1])
    below = cumulative[jnp.maximum(start, 0)] - counts[jnp.maximum(start, 0)]
    return below[slots], cumulative[jnp.minimum(end, SLOTS - 1)][slots]


def _tie(slot: Array, first: Array, last: Array) -> tuple[Array, Array]:
    """Where the tie of a slot starts and ends, given the run of taken slots it lies in."""
    short = last - first < CELLS
    whole = slot // CELLS * CELLS
    return jnp.where(short, first, whole), jnp.where(short, last, whole + CELLS - 1)


_OUTER = ("spearman", "pearson")
