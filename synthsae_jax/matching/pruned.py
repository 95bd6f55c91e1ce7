"""The optimal assignment among a few candidates per latent, on the host, with a proof of its gap.

Dense exact assignment takes 8 L^2 bytes and L^3 time: 2 GB and about a minute at 16k latents. Most
of the matrix is noise that no optimal pair comes from, and the dual prices show whether it is so.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import min_weight_full_bipartite_matching

from synthsae_jax.errors import require
from synthsae_jax.matching.assignment import no_candidates
from synthsae_jax.matching.solvers import solvers
from synthsae_jax.registry import Explanation


class PrunedAssignment(NamedTuple):
    """Pairs, and prices of the columns that prove how good they are."""

    row: np.ndarray  # int [M]
    col: np.ndarray  # int [M]
    total: float  # sum of (score - unmatched) of the pairs
    price: np.ndarray  # float64 [L_b] >= 0


@solvers.register(
    "assignment_pruned",
    Explanation(
        what="The optimal assignment among the `candidates` best partners of every row and of "
        "every column, on the host. `gap` of the matching bounds what the pruning cost; 0 proves "
        "it the optimum of the whole matrix.",
        formula="max over partial permutations within the candidates of sum (s_ij - unmatched); by "
        "default unmatched is so low that as many as possible are paired",
        chance="as assignment",
        undefined="a latent that loses all its candidates to others is not matched",
        source="scipy.sparse.csgraph.min_weight_full_bipartite_matching; Jonker-Volgenant",
    ),
)
def assignment_pruned(
    s: np.ndarray, *, candidates: int = 64, unmatched: float | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """M = the number of pairs found."""
    require(candidates >= 1, f"candidates must be at least 1; given {candidates}.")
    scores = np.asarray(s, np.float64)
    allowed = np.isfinite(scores)
    if not allowed.any():
        return *no_candidates(), 0.0
    rows, cols = np.nonzero(_top(scores, candidates) | _top(scores.T, candidates).T)
    kept = allowed[rows, cols]
    rows, cols = rows[kept], cols[kept]
    floor = _floor(scores[allowed], min(scores.shape)) if unmatched is None else unmatched
    found = assign_candidates(rows, cols, scores[rows, cols], scores.shape, floor)
    # Whatever the prices are, no assignment of the whole matrix can be worth more than this.
    best = np.max(scores - floor - found.price[None, :], axis=1)
    bound = np.maximum(best, 0.0).sum() + found.price.sum()
    gap = max(bound - found.total, 0.0)
    return found.row, found.col, np.ones(found.row.size, bool), gap


def assign_candidates(
    rows: np.ndarray, cols: np.ndarray, scores: np.ndarray, shape: tuple[int, int], unmatched: float
) -> PrunedAssignment:
    """The one-to-one pairs among candidates (row, col, score) with the largest total in excess.

    For matrices that never exist as a whole: take `nearest_rows`. Candidates at or below
    `unmatched` are never taken. Each candidate is named once.
    """
    worth = scores > unmatched
    rows, cols, gain = rows[worth], cols[worth], scores[worth] - unmatched
    n_rows, n_cols = shape
    if rows.size == 0:
        empty = np.zeros(0, np.int64)
        return PrunedAssignment(empty, empty, 0.0, np.zeros(n_cols))
    # Each row has a column of its own that is worth nothing, so that a full matching exists. Costs
    # must not be 0, which a sparse matrix would drop.
    top = gain.max() + 1.0
    single = np.arange(n_rows)
    cost = np.concatenate([top - gain, np.full(n_rows, top)])
    place = np.concatenate([rows, single]), np.concatenate([cols, n_cols + single])
    graph = coo_array((cost, place), shape=(n_rows, n_cols + n_rows)).tocsr()
    row, col = min_weight_full_bipartite_matching(graph)
    real = col < n_cols
    row, col = row[real], col[real]
    held = np.full(n_rows, -1)
    held[row] = col
    # gain of each row's own pair; 0 for a single one
    own = np.zeros(n_rows)
    mine = held[rows] == cols
    own[rows[mine]] = gain[mine]
    price = _prices(rows, cols, gain, held, own, n_cols)
    return PrunedAssignment(row, col, float(own.sum()), price)


def nearest_rows(
    a: np.ndarray, b: np.ndarray, n: int, block: int = 2048
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Candidates (row, col, cosine) of `a [L_a, D]` in `b [L_b, D]`: the n nearest, in blocks.

    The matrix of all cosines never exists; memory is `block L_b`. Call it both ways for candidates
    from either side, and drop doubles.
    """
    require(
        a.shape[1] == b.shape[1] and 1 <= n <= b.shape[0],
        f"nearest_rows needs rows of one space and 1 <= n <= {b.shape[0]}; given {a.shape}, "
        f"{b.shape} and n = {n}.",
    )
    unit = lambda v: v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-8)
    a, b = unit(np.asarray(a, np.float32)), unit(np.asarray(b, np.float32))
    found = []
    for start in range(0, a.shape[0], block):
        cosines = a[start : start + block] @ b.T
        cols = np.argpartition(-cosines, n - 1, axis=1)[:, :n]
        rows = np.repeat(np.arange(start, start + cosines.shape[0]), n)
        found.append((rows, cols.ravel(), np.take_along_axis(cosines, cols, 1).ravel()))
    rows, cols, cosines = (np.concatenate(part) for part in zip(*found))
    return rows, cols, cosines


def _top(scores: np.ndarray, n: int) -> np.ndarray:
    """bool: the n largest of each row."""
    chosen = np.zeros(scores.shape, bool)
    n = min(n, scores.shape[1])
    np.put_along_axis(chosen, np.argpartition(-scores, n - 1, axis=1)[:, :n], True, axis=1)
    return chosen


def _floor(finite: np.ndarray, n_pairs: int) -> float:
    """A value of being single so low that no gain elsewhere pays for one pair less."""
    span = finite.max() - finite.min() + 1.0
    return float(finite.min() - span * n_pairs)


def _prices(
    rows: np.ndarray,
    cols: np.ndarray,
    gain: np.ndarray,
    held: np.ndarray,
    own: np.ndarray,
    n_cols: int,
) -> np.ndarray:
    """The lowest prices at which every row is content with what it has, float64 `[L_b]`.

    A row that holds j gives p_k >= p_j + gain_ik - gain_ij for each candidate k, a single one
    p_k >= gain_ik. Raised step by step from 0: longest paths along alternating edges, which end
    because an optimum leaves no path around that gains.
    """
    price = np.zeros(n_cols)
    for _ in range(n_cols + 1):
        base = np.where(held >= 0, price[np.maximum(held, 0)] - own, 0.0)
        raised = price.copy()
        np.maximum.at(raised, cols, base[rows] + gain)
        # a rise within rounding is none
        if not (raised > price + 1e-12 * (1.0 + np.abs(price))).any():
            break
        price = raised
    return price
