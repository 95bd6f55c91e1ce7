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
from synthsae_jax.matching.solvers import on_host, solvers
from synthsae_jax.numerics import host_unit_rows
from synthsae_jax.parallel import map_threads
from synthsae_jax.registry import Explanation


class PrunedAssignment(NamedTuple):
    """Pairs, and prices of the columns that prove how good they are."""

    row: np.ndarray  # int [M]
    col: np.ndarray  # int [M]
    total: float  # sum of (score - unmatched) of the pairs
    price: np.ndarray  # float64 [L_b] >= 0


@on_host
@solvers.register(
    "assignment_pruned",
    Explanation(
        what="The optimal assignment among the `candidates` best partners of every row and of "
        "every column, on the host; more join where they might do better. `gap` of the matching "
        "bounds what the pruning cost; 0 proves it the optimum of the whole matrix.",
        formula="max over partial permutations within the candidates of sum (s_ij - unmatched); by "
        "default unmatched is so low that as many as possible are paired",
        chance="as assignment",
        undefined="a latent that loses all its candidates to others is not matched",
        source="scipy.sparse.csgraph.min_weight_full_bipartite_matching; Jonker-Volgenant",
    ),
)
def assignment_pruned(
    s: np.ndarray, *, candidates: int = 64, unmatched: float | None = None, rounds: int = 3
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """M = the number of pairs found.

    Where the prices show that a pair outside of the candidates could do better, the best such of
    each row join them and all is solved again, up to `rounds` times. Beside the scores it holds the
    candidates and some rows: at 16,384 x 16,384 some 2 GB less than `assignment`, in about its
    time without `unmatched` and less with it.
    """
    require(candidates >= 1, f"candidates must be at least 1; given {candidates}.")
    require(rounds >= 0, f"rounds must be at least 0; given {rounds}.")
    scores = np.asarray(s)
    shape = scores.shape
    chosen = np.unique(
        np.concatenate([_best_of_rows(scores, candidates), _of_columns(scores, candidates)])
    )
    if chosen.size == 0:
        return *no_candidates(), 0.0
    floor = _floor(scores) if unmatched is None else unmatched
    for last in range(rounds + 1):
        rows, cols = np.divmod(chosen, shape[1])
        value = scores[rows, cols].astype(np.float64)
        assignment = assign_candidates(rows, cols, value, shape, floor)
        bound, better = _review(scores, floor, assignment, candidates)
        if better.size == 0 or last == rounds:
            break
        chosen = np.union1d(chosen, better)
    gap = max(bound - assignment.total, 0.0)
    return assignment.row, assignment.col, np.ones(assignment.row.size, bool), gap


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
    cells = np.concatenate([rows, single]), np.concatenate([cols, n_cols + single])
    graph = coo_array((cost, cells), shape=(n_rows, n_cols + n_rows)).tocsr()
    row, col = min_weight_full_bipartite_matching(graph)
    real = col < n_cols
    row, col = row[real], col[real]
    held = np.full(n_rows, -1)
    held[row] = col
    # gain of each row's own pair; 0 for a single one
    pair_gain = np.zeros(n_rows)
    mine = held[rows] == cols
    pair_gain[rows[mine]] = gain[mine]
    price = _prices(rows, cols, gain, held, pair_gain, n_cols)
    return PrunedAssignment(row, col, float(pair_gain.sum()), price)


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
    a, b = (host_unit_rows(v).astype(np.float32) for v in (a, b))
    blocks = []
    for start in range(0, a.shape[0], block):
        cosines = a[start : start + block] @ b.T
        cols = np.argpartition(-cosines, n - 1, axis=1)[:, :n]
        rows = np.repeat(np.arange(start, start + cosines.shape[0]), n)
        blocks.append((rows, cols.ravel(), np.take_along_axis(cosines, cols, 1).ravel()))
    rows, cols, cosines = (np.concatenate(part) for part in zip(*blocks))
    return rows, cols, cosines


def _best_of_rows(scores: np.ndarray, n: int) -> np.ndarray:
    """Places `i L_b + j` of the n largest finite scores of each row, int64."""
    width = scores.shape[1]

    def of_block(rows: slice) -> np.ndarray:
        block = scores[rows]
        cols = _largest(block, n)
        finite = np.isfinite(np.take_along_axis(block, cols, 1))
        return (np.arange(rows.start, rows.start + len(block))[:, None] * width + cols)[finite]

    return np.concatenate(map_threads(of_block, _blocks(len(scores))))


def _of_columns(scores: np.ndarray, n: int) -> np.ndarray:
    """The same of each column."""
    cols, rows = np.divmod(_best_of_rows(scores.T, n), len(scores))
    return rows * scores.shape[1] + cols


def _largest(block: np.ndarray, n: int) -> np.ndarray:
    """Columns of the n largest of each row, in no order."""
    n = min(n, block.shape[1])
    return np.argpartition(-block, n - 1, axis=1)[:, :n]


def _review(
    scores: np.ndarray, floor: float, assignment: PrunedAssignment, n: int
) -> tuple[float, np.ndarray]:
    """What no assignment of the whole matrix can exceed, and places where it might gain.

    Whatever the prices are, the best of each row less its price, plus all prices, is such a bound.
    A pair may gain where that exceeds what its row has now; of each row the n best are named.
    """
    width = scores.shape[1]
    profit = np.zeros(len(scores))
    profit[assignment.row] = (
        scores[assignment.row, assignment.col] - floor - assignment.price[assignment.col]
    )

    def of_block(rows: slice) -> tuple[float, np.ndarray]:
        worth = scores[rows] - (floor + assignment.price)
        best = worth.max(1)
        # a gain within rounding is none
        enough = profit[rows] + 1e-9 * (1.0 + abs(floor))
        gains = np.flatnonzero(best > enough)
        worth, enough = worth[gains], enough[gains]
        cols = _largest(worth, n)
        real = np.take_along_axis(worth, cols, 1) > enough[:, None]
        return np.maximum(best, 0.0).sum(), ((rows.start + gains)[:, None] * width + cols)[real]

    bounds, better = zip(*map_threads(of_block, _blocks(len(scores))))
    return sum(bounds) + assignment.price.sum(), np.concatenate(better)


def _blocks(n: int, size: int = 512) -> list[slice]:
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]


def _floor(scores: np.ndarray) -> float:
    """A value of being single so low that no gain elsewhere pays for one pair less."""

    def ends(rows: slice) -> tuple[float, float]:
        block = scores[rows]
        finite = np.isfinite(block)
        low = np.min(block, where=finite, initial=np.inf)
        return float(low), float(np.max(block, where=finite, initial=-np.inf))

    lows, highs = zip(*map(ends, _blocks(len(scores))))
    return min(lows) - (max(highs) - min(lows) + 1.0) * min(scores.shape)


def _prices(
    rows: np.ndarray,
    cols: np.ndarray,
    gain: np.ndarray,
    held: np.ndarray,
    pair_gain: np.ndarray,
    n_cols: int,
) -> np.ndarray:
    """The lowest prices at which every row is content with what it has, float64 `[L_b]`.

    A row that holds j gives p_k >= p_j + gain_ik - gain_ij for each candidate k, a single one
    p_k >= gain_ik. Raised step by step from 0: longest paths along alternating edges, which end
    because an optimum leaves no path around that gains.
    """
    price = np.zeros(n_cols)
    for _ in range(n_cols + 1):
        base = np.where(held >= 0, price[np.maximum(held, 0)] - pair_gain, 0.0)
        raised = price.copy()
        np.maximum.at(raised, cols, base[rows] + gain)
        # a rise within rounding is none
        if not (raised > price + 1e-12 * (1.0 + np.abs(price))).any():
            break
        price = raised
    return price
