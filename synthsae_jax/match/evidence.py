"""Which latents of two SAEs may be alike: candidates with their scores, at any width.

The matrix of all scores never exists: codes are counted for a block of A's latents at a time, and
of each block the best partners of every row and every column are kept. On the host.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
from scipy import sparse

from synthsae_jax.errors import require
from synthsae_jax.matching import Matching
from synthsae_jax.matching.csr import count_blocks
from synthsae_jax.matching.pruned import assign_candidates
from synthsae_jax.numerics import host_unit_rows

CANDIDATES = 32  # of every latent, both ways
_ROWS = 1024  # latents of A at a time

Block = tuple[int, np.ndarray]  # first row, scores [rows, L_b]; -inf where there is none


@dataclasses.dataclass(frozen=True)
class CandidatePairs:
    """Scores of the candidate pairs of two SAEs: for each latent its best partners, both ways."""

    score: str
    shape: tuple[int, int]
    row: np.ndarray  # int [C]
    col: np.ndarray  # int [C]
    value: np.ndarray  # float32 [C]
    # float [L_a]: no pair of a row that is no candidate scores above this
    beyond: np.ndarray

    def best(self, axis: int) -> tuple[np.ndarray, np.ndarray]:
        """Each latent's best partner (int, -1: none) and its score (NaN); axis 0: of A, 1: of B.

        Of equal scores the lower index wins.
        """
        mine, other = (self.row, self.col) if axis == 0 else (self.col, self.row)
        order = np.lexsort((other, -self.value, mine))
        first = order[np.unique(mine[order], return_index=True)[1]]
        partner = np.full(self.shape[axis], -1)
        score = np.full(self.shape[axis], np.nan)
        partner[mine[first]], score[mine[first]] = other[first], self.value[first]
        return partner, score


def candidates(
    score: str, shape: tuple[int, int], blocks: Iterator[Block], k: int = CANDIDATES
) -> CandidatePairs:
    """The `k` best partners of every row and of every column, of scores that come in blocks."""
    best = Candidates(score, shape, k)
    for start, s in blocks:
        best.add(start, s)
    return best.evidence()


class Candidates:
    """The best partners of every row and every column among the blocks added so far."""

    def __init__(self, score: str, shape: tuple[int, int], k: int = CANDIDATES):
        n_a, n_b = shape
        self.score, self.shape = score, shape
        self._k_a, self._k_b = min(k, n_b), min(k, n_a)
        self._of_rows: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._beyond = np.full(n_a, -np.inf)
        self._top = np.full((n_b, self._k_b), -np.inf, np.float32)
        self._top_row = np.zeros((n_b, self._k_b), np.int64)

    def add(self, start: int, s: np.ndarray) -> None:
        """Take in scores `[rows, L_b]` of A's latents from `start` on; rows come once each."""
        k_a, n_b = self._k_a, self.shape[1]
        at = largest(s, k_a)
        top = np.take_along_axis(s, at, 1)
        rows = np.repeat(np.arange(start, start + len(s)), k_a)
        self._of_rows.append((rows, at.ravel(), top.ravel()))
        if k_a < n_b:
            self._beyond[start : start + len(s)] = top.min(1)
        self._add_to_columns(start, s)

    def _add_to_columns(self, start: int, s: np.ndarray) -> None:
        """What beats a column's worst so far joins it: after a few blocks that is hardly any."""
        # A column of ties at -inf takes nothing in: what has no score never beats it.
        beats = s > self._top.min(1)
        if np.count_nonzero(beats) > 4 * self._top.size:
            rows = np.broadcast_to(np.arange(start, start + len(s)), s.T.shape)
            self._merge(slice(None), np.ascontiguousarray(s.T), rows)
            return
        row, col = np.divmod(np.flatnonzero(beats), s.shape[1])
        if row.size == 0:
            return
        order = np.lexsort((-s[row, col], col))
        row, col = row[order], col[order]
        rank = np.arange(col.size) - np.searchsorted(col, col)
        fits = rank < self._k_b  # more of one column than it can keep
        row, col, rank = row[fits], col[fits], rank[fits]
        columns, index = np.unique(col, return_inverse=True)
        more = np.full((columns.size, int(rank.max()) + 1), -np.inf, np.float32)
        rows = np.zeros(more.shape, np.int64)
        more[index, rank], rows[index, rank] = s[row, col], start + row
        self._merge(columns, more, rows)

    def _merge(self, columns: slice | np.ndarray, more: np.ndarray, rows: np.ndarray) -> None:
        """The best of what some columns have and of `more [columns, m]`, in `rows`."""
        both = np.concatenate([self._top[columns], more], axis=1)
        of = np.concatenate([self._top_row[columns], rows], axis=1)
        best = largest(both, self._k_b)
        self._top[columns] = np.take_along_axis(both, best, 1)
        self._top_row[columns] = np.take_along_axis(of, best, 1)

    def evidence(self) -> CandidatePairs:
        """The candidates found, each once."""
        n_b = self.shape[1]
        columns = np.repeat(np.arange(n_b), self._k_b)
        parts = (*self._of_rows, (self._top_row.ravel(), columns, self._top.ravel()))
        row, col, value = (np.concatenate(part) for part in zip(*parts))
        finite = np.isfinite(value)
        pair, first = np.unique(row[finite] * n_b + col[finite], return_index=True)
        value = value[finite][first]
        return CandidatePairs(self.score, self.shape, pair // n_b, pair % n_b, value, self._beyond)


def largest(s: np.ndarray, k: int) -> np.ndarray:
    """Columns of the k largest of each row `[rows, L] -> [rows, k]`, in no order.

    Of groups of columns only those with the k largest maxima can hold any: a sixth of the time of
    going through all of a row of thousands.
    """
    rows, width = s.shape
    if k == 1:
        return s.argmax(1)[:, None]
    # About as many groups as columns that are left inside the k best ones: the two searches cost
    # alike.
    size = max(int((width / k) ** 0.5), 1)
    if size < 4:
        return np.argpartition(-s, k - 1, axis=1)[:, :k]
    n = width // size
    groups = s[:, : n * size].reshape(rows, n, size).max(2)
    taken = np.argpartition(-groups, k - 1, axis=1)[:, :k]
    inside = (taken[:, :, None] * size + np.arange(size)).reshape(rows, k * size)
    tail = np.broadcast_to(np.arange(n * size, width), (rows, width - n * size))
    columns = np.concatenate([inside, tail], axis=1)
    best = np.argpartition(-np.take_along_axis(s, columns, 1), k - 1, axis=1)[:, :k]
    return np.take_along_axis(columns, best, 1)


def of_codes(a: sparse.csr_matrix, b: sparse.csr_matrix, k: int = CANDIDATES) -> CandidatePairs:
    """Candidates by Pearson correlation of codes `[n, L_a]`, `[n, L_b]` on the same tokens.

    Latents that never fire have no score; those that never vary have 0.
    """
    name = "activation_pearson"
    return candidates(name, (a.shape[1], b.shape[1]), score_blocks(name, a, b), k)


def of_rows(name: str, a: np.ndarray, b: np.ndarray, k: int = CANDIDATES) -> CandidatePairs:
    """Candidates by cosine of rows `[L_a, D]`, `[L_b, D]`."""
    return candidates(name, (len(a), len(b)), cosine_blocks(a, b), k)


def score_blocks(
    name: str, a: sparse.csr_matrix, b: sparse.csr_matrix, rows: int = _ROWS
) -> Iterator[Block]:
    """A score read from counts, for a block of A's latents with all of B's.

    -inf where it is undefined or a latent never fires.
    """
    for part, counts in count_blocks(a, b, rows=rows):
        s = np.asarray(counts.score(name))
        living = np.asarray(counts.alive_a)[:, None] & np.asarray(counts.alive_b)[None, :]
        yield part.start, np.where(living & np.isfinite(s), s, -np.inf)


def cosine_blocks(a: np.ndarray, b: np.ndarray) -> Iterator[Block]:
    """Cosines of a block of A's rows with all of B's; 0 for a zero row."""
    require(a.shape[1] == b.shape[1], f"cosines need one space; given {a.shape[1]}, {b.shape[1]}.")
    one, other = (host_unit_rows(v).astype(np.float32) for v in (a, b))
    for start in range(0, len(a), _ROWS):
        yield start, one[start : start + _ROWS] @ other.T


def matched(evidence: CandidatePairs, floor: float = 0.0) -> Matching:
    """The one-to-one pairs above `floor` with the largest total, among the candidates.

    `gap` bounds what a pair outside of the candidates could have added: with prices p of columns,
    no assignment is worth more than `sum_i max(0, best_i) + sum_j p_j`, where best_i is the largest
    excess over its price of row i's candidates, or of what is beyond them at no price.
    """
    e = evidence
    assignment = assign_candidates(e.row, e.col, e.value.astype(np.float64), e.shape, floor)
    excess = np.where(np.isfinite(e.beyond), e.beyond - floor, -np.inf)
    np.maximum.at(excess, e.row, e.value - floor - assignment.price[e.col])
    bound = np.maximum(excess, 0.0).sum() + assignment.price.sum()
    order = np.argsort(assignment.row)
    row, col = assignment.row[order], assignment.col[order]
    return Matching(
        row=row.astype(np.int32),
        col=col.astype(np.int32),
        score=scores_of(e, row, col),
        valid=np.ones(row.size, bool),
        gap=np.float32(max(bound - assignment.total, 0.0)),
    )


def scores_of(evidence: CandidatePairs, row: np.ndarray, col: np.ndarray) -> np.ndarray:
    """Scores of given candidate pairs, float32 `[M]`."""
    e = evidence
    at = np.searchsorted(e.row * e.shape[1] + e.col, row.astype(np.int64) * e.shape[1] + col)
    return e.value[at]


def joint_of(
    a: sparse.csr_matrix, b: sparse.csr_matrix, row: np.ndarray, col: np.ndarray
) -> np.ndarray:
    """On how many tokens the two latents of each given pair fire together, int `[M]`."""
    one, other = a.tocsc(), b.tocsc()
    ends: Callable[[sparse.csc_matrix, int], np.ndarray] = lambda m, i: m.indices[
        m.indptr[i] : m.indptr[i + 1]
    ]
    counts = [np.intersect1d(ends(one, i), ends(other, j), True).size for i, j in zip(row, col)]
    return np.array(counts, np.int64)
