"""Local measures: do points have the same nearest neighbours on both sides?"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats

from synthsae_jax.errors import require
from synthsae_jax.numerics import ratio_or_nan
from synthsae_jax.registry import Explanation
from synthsae_jax.similarity.angles import angles
from synthsae_jax.similarity.base import Reasons, register_measure
from synthsae_jax.similarity.points import (
    NAN,
    centred,
    squared_distances,
)

Array = jax.Array
_ANGLES = {"row_scale", "orthogonal"}
_UNDEFINED = "k >= n - 1 (all points would be neighbours)"
_ZERO_ROW = "a row of zeros has no direction"


def expected_over_shared(n: int, k: int, score: np.ndarray) -> float:
    """Mean of `score [k + 1]` over how many of its k neighbours a point shares by chance.

    That number is hypergeometric: k drawn from n - 1 without return, twice. NaN for k >= n - 1.
    """
    if k >= n - 1:
        return float("nan")
    return float(np.sum(scipy.stats.hypergeom(n - 1, k, k).pmf(np.arange(k + 1)) * score))


def mutual_knn_chance(n: int, p: int, q: int, k: int = 10) -> float:
    """k / (n - 1), the mean of that number over k."""
    return expected_over_shared(n, k, np.arange(k + 1) / k)


def knn_jaccard_chance(n: int, p: int, q: int, k: int = 10) -> float:
    """E[m / (2k - m)] over the number m of shared neighbours."""
    m = np.arange(k + 1)
    return expected_over_shared(n, k, m / (2 * k - m))


@register_measure(
    "mutual_knn",
    Explanation(
        what="Share of a point's k nearest neighbours (Euclidean) that are so on both sides.",
        formula="mean over i of |N_k(x_i) n N_k(y_i)| / k",
        range="[0, 1]",
        chance="k / (n - 1)",
        undefined=_UNDEFINED,
        source="arXiv 2405.07987 (there by inner product of unit rows)",
    ),
    invariant_to={"translation", "scale", "orthogonal"},
    range=(0.0, 1.0),
    cost="n^2 (p + q + log k)",
    least_points=3,
    chance=mutual_knn_chance,
)
def mutual_knn(X: Array, Y: Array, *, k: int = 10) -> tuple[Array, Reasons]:
    """Mutual k-nearest neighbours of `X [n, p]` and `Y [n, q]`; ties go to the lower index."""
    many = too_many_neighbours("mutual_knn", X.shape[0], k)
    if many:
        return NAN, many
    near_x, near_y = (neighbour_mask(-squared_distances(centred(v)), k) for v in (X, Y))
    return jnp.mean(jnp.sum(near_x & near_y, axis=1) / k), {}


@register_measure(
    "knn_jaccard",
    Explanation(
        what="Overlap of the two sets of k nearest neighbours (by angle) of each point.",
        formula="mean over i of |N_k(x_i) n N_k(y_i)| / |N_k(x_i) u N_k(y_i)|",
        range="[0, 1]",
        chance="E[m / (2k - m)], m hypergeometric: k of n - 1 drawn twice; near k / (2 (n - 1))",
        undefined=f"{_UNDEFINED}, or {_ZERO_ROW}.",
        source="ReSi, arXiv 2408.00531",
    ),
    invariant_to=_ANGLES,
    range=(0.0, 1.0),
    cost="n^2 (p + q + log k)",
    least_points=3,
    chance=knn_jaccard_chance,
)
def knn_jaccard(X: Array, Y: Array, *, k: int = 10) -> tuple[Array, Reasons]:
    """Jaccard similarity of neighbourhoods of `X [n, p]` and `Y [n, q]`."""
    many = too_many_neighbours("knn_jaccard", X.shape[0], k)
    if many:
        return NAN, many
    (C_x, zero_x), (C_y, zero_y) = (_cosines(v) for v in (X, Y))
    shared = jnp.sum(neighbour_mask(C_x, k) & neighbour_mask(C_y, k), axis=1)
    return jnp.mean(shared / (2 * k - shared)), {_ZERO_ROW: zero_x | zero_y}


def rank_similarity_chance(n: int, p: int, q: int, k: int = 10) -> float:
    """Expected rank similarity where the two orders of neighbours are unrelated.

    Given m shared neighbours, each of the k^2 pairs of ranks holds one with probability m / k^2.
    """
    a, b = np.arange(1, k + 1)[:, None], np.arange(1, k + 1)[None, :]
    mean_term = np.mean(2 / ((1 + np.abs(a - b)) * (a + b)))
    harmonic = np.concatenate([[np.inf], np.cumsum(1 / np.arange(1, k + 1))])
    return expected_over_shared(n, k, np.arange(k + 1) * mean_term / harmonic)


@register_measure(
    "rank_similarity",
    Explanation(
        what="Do the neighbours that both sides share come in the same order? Near ones count "
        "more.",
        formula="mean over i of sum over shared j of 2 / ((1 + |a_j - b_j|) (a_j + b_j)) over "
        "sum_(r <= m_i) 1/r; a, b the ranks (1 the nearest, by angle), m_i how many are shared",
        range="[0, 1]",
        chance="In closed form: similarity.chance('rank_similarity', n, p, q, k=k)",
        undefined=f"{_UNDEFINED}, or {_ZERO_ROW}. A point without shared neighbours counts 0.",
        source="Wang et al. (2020) in ReSi, arXiv 2408.00531",
    ),
    invariant_to=_ANGLES,
    range=(0.0, 1.0),
    cost="n^2 (p + q + log k) + n k^2",
    least_points=3,
    chance=rank_similarity_chance,
)
def rank_similarity(X: Array, Y: Array, *, k: int = 10) -> tuple[Array, Reasons]:
    """Rank similarity of neighbourhoods of `X [n, p]` and `Y [n, q]`."""
    many = too_many_neighbours("rank_similarity", X.shape[0], k)
    if many:
        return NAN, many
    (C_x, zero_x), (C_y, zero_y) = (_cosines(v) for v in (X, Y))
    near_x, near_y = _nearest(C_x, k), _nearest(C_y, k)
    same = near_x[:, :, None] == near_y[:, None, :]  # [n, k, k]
    rank = jnp.arange(1.0, k + 1)
    a, b = rank[:, None], rank[None, :]
    worth = 2 / ((1 + jnp.abs(a - b)) * (a + b))
    shared = jnp.sum(same, axis=(1, 2))
    harmonic = jnp.concatenate([jnp.ones(1), jnp.cumsum(1 / rank)])
    score = jnp.sum(jnp.where(same, worth[None], 0.0), axis=(1, 2)) / harmonic[shared]
    return jnp.mean(score), {_ZERO_ROW: zero_x | zero_y}


@register_measure(
    "second_order_cosine",
    Explanation(
        what="Is each point as alike to its neighbours on one side as it is on the other?",
        formula="mean over i of cos(c_x(i, U_i), c_y(i, U_i)), c the cosines of point i with "
        "U_i = N_k(x_i) u N_k(y_i), neighbours by angle",
        range="[-1, 1]",
        chance="Above 0, as neighbours have large cosines: compare with similarity.shuffled.",
        undefined=f"{_UNDEFINED}, {_ZERO_ROW}, or a point has cosine 0 with all of U_i.",
        source="Hamilton et al., arXiv 1605.09096",
    ),
    invariant_to=_ANGLES,
    range=(-1.0, 1.0),
    cost="n^2 (p + q + log k)",
    least_points=3,
)
def second_order_cosine(X: Array, Y: Array, *, k: int = 10) -> tuple[Array, Reasons]:
    """Second-order cosine similarity of `X [n, p]` and `Y [n, q]`."""
    many = too_many_neighbours("second_order_cosine", X.shape[0], k)
    if many:
        return NAN, many
    (C_x, zero_x), (C_y, zero_y) = (_cosines(v) for v in (X, Y))
    union = neighbour_mask(C_x, k) | neighbour_mask(C_y, k)
    # `_cosines` gives them less 1
    c_x, c_y = (jnp.where(union, 1 + c, 0.0) for c in (C_x, C_y))
    norms = [jnp.sqrt(jnp.sum(jnp.square(c), axis=1)) for c in (c_x, c_y)]
    cosine = ratio_or_nan(jnp.sum(c_x * c_y, axis=1), norms[0] * norms[1])
    reasons = {
        _ZERO_ROW: zero_x | zero_y,
        "a point has cosine 0 with all its neighbours": jnp.any(jnp.isnan(cosine)),
    }
    return jnp.clip(jnp.mean(cosine), -1.0, 1.0), reasons


def neighbour_mask(alike: Array, k: int) -> Array:
    """Which j are among the k of largest `alike[i, j]`, j != i; bool `[n, n]`."""
    n = alike.shape[0]
    rows = jnp.arange(n)[:, None]
    return jnp.zeros((n, n), bool).at[rows, _nearest(alike, k)].set(True)


def too_many_neighbours(name: str, n: int, k: int, most: int | None = None) -> Reasons:
    """The reason why there are no k neighbours among n points, if so; a bad k is the user's error.

    With `most` = n - 2 by default: k = n - 1 makes all others neighbours, and everything alike.
    """
    require(isinstance(k, int) and k >= 1, f"{name}: k must be a whole number >= 1, got {k!r}.")
    most = n - 2 if most is None else most
    if k <= most:
        return {}
    return {f"k = {k} neighbours need at least {n - most + k} points, given {n}": True}


def _nearest(alike: Array, k: int) -> Array:
    """Indices `[n, k]` of the k most alike others, the most alike first; ties to the lower."""
    itself = jnp.eye(alike.shape[0], dtype=bool)
    return jax.lax.top_k(jnp.where(itself, -jnp.inf, alike), k)[1]


def _cosines(X: Array) -> tuple[Array, Array]:
    """Cosines less 1 of the rows, with digits near 0, and whether any row is 0."""
    of, zero = angles(X)
    return -of.distance, zero
