"""The same counts from codes as CSR matrices, on the host: for many tokens and wide SAEs.

With 25 of 4,096 latents firing, dense products over the tokens do 26,000 times the work there is.
Here a latent of A meets only the tokens on which it fires, and there only the latents of B that do.
For 500,000 tokens and 2 x 4,096 latents that is 3e8 meetings, of which a core does 1e8 in a second.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from scipy import sparse

from synthsae_jax.errors import require
from synthsae_jax.matching.counts import PairCounts, count_scores
from synthsae_jax.matching.moments import CoMoments
from synthsae_jax.matching.strata import EDGES, N_BINS, N_STRATA
from synthsae_jax.numerics import firings
from synthsae_jax.parallel import map_threads

# Meetings (a token, a latent of A and one of B that fire on it) counted at a time, at 30 bytes
# each. On 4,096 and 16,384 latents, a third or three times as many take half as long again.
MEETINGS = 400_000
ROWS = 1024  # latents of A whose scores with all of B are made at a time


def pair_counts_from_codes(
    a: sparse.csr_matrix, b: sparse.csr_matrix, *, strata: np.ndarray | None = None
) -> PairCounts:
    """What `PairCounts.update` counts, of codes `a [n, L_a]`, `b [n, L_b]` as sparse matrices.

    Row t of both is the same token; any scipy sparse format will do. Counts are equal to the
    streamed ones. Sums are made in float64 and rounded to float32 once, at the end: closer to the
    truth than streamed ones, which differ from them by some 1e-6 of their size. `strata`: int `[n]`
    as in `update`. Parts merge like all counts: `counts.merge(more)`. The record takes
    8 L_a L_b bytes; where that is too much, `count_blocks` and `scores_from_codes`.
    """
    pair = _Pair.of(a, b, strata)
    return pair.counts(slice(0, pair.a.fired.size))


def count_blocks(
    a: sparse.csr_matrix,
    b: sparse.csr_matrix,
    *,
    rows: int = ROWS,
    strata: np.ndarray | None = None,
) -> Iterator[tuple[slice, PairCounts]]:
    """The same counts for `rows` latents of A at a time: (which of A, their counts with all of B).

    Every score of a pair is read from the counts of its two latents and of the two together, so
    `counts.score(name)` of a block is the block of the scores.
    """
    require(rows >= 1, f"rows must be at least 1; given {rows}.")
    pair = _Pair.of(a, b, strata)
    for start in range(0, pair.a.fired.size, rows):
        part = slice(start, min(start + rows, pair.a.fired.size))
        yield part, pair.counts(part)


def scores_from_codes(
    names: Sequence[str],
    a: sparse.csr_matrix,
    b: sparse.csr_matrix,
    *,
    strata: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Scores by name, numpy float32 `[L_a, L_b]` each, all from one pass over sparse codes.

    Names are those of `PairCounts.score`. Memory is the scores' own, 1.07 GB per name at 16,384
    latents a side, and a block.
    """
    read = [count_scores[name] for name in names]  # a wrong name is told before the counting
    blocks = count_blocks(a, b, rows=ROWS, strata=strata)
    matrices = {name: np.empty((a.shape[1], b.shape[1]), np.float32) for name in names}
    for part, counts in blocks:
        for name, of in zip(names, read):
            matrices[name][part] = of(counts)
    return matrices


class _Side(NamedTuple):
    """One side's codes, and what they are by themselves."""

    codes: sparse.csr_matrix  # float32 [n, L], without zeros
    fired: np.ndarray  # int32 [L]
    mean: np.ndarray  # float64 [L]
    spread: np.ndarray  # float64 [L]
    strata: np.ndarray  # int32 [S, L]

    @classmethod
    def of(cls, codes: sparse.csr_matrix, strata: np.ndarray) -> _Side:
        n, width = codes.get_shape()
        values = codes.data.astype(np.float64)
        fired = firings(codes)
        mean = np.bincount(codes.indices, values, width) / max(n, 1)
        # deviations squared, not squares less a square: silent tokens deviate by the mean
        deviation = values - mean[codes.indices]
        spread = np.bincount(codes.indices, deviation**2, width) + (n - fired) * mean**2
        cell = np.repeat(strata * width, np.diff(codes.indptr)) + codes.indices
        by_stratum = np.bincount(cell, minlength=N_STRATA * width).reshape(N_STRATA, width)
        return cls(codes, fired.astype(np.int32), mean, spread, by_stratum.astype(np.int32))


class _Pair(NamedTuple):
    """Two sides on the same tokens, ready to be counted."""

    a: _Side
    b: _Side
    firings: sparse.csr_matrix  # [L_a, n]: the codes of A by latent
    tokens: np.ndarray  # int32 [S]

    @classmethod
    def of(cls, a: sparse.csr_matrix, b: sparse.csr_matrix, strata: np.ndarray | None) -> _Pair:
        require(
            sparse.issparse(a) and sparse.issparse(b) and a.ndim == b.ndim == 2,
            "counting from codes takes two scipy sparse matrices [n, L]; given "
            f"{type(a).__name__} and {type(b).__name__}.",
        )
        n = a.shape[0]
        require(
            n == b.shape[0],
            "row t of both codes must be the same token, so both have as many rows; given "
            f"{n:,} and {b.shape[0]:,}.",
        )
        a, b = clean_codes(a), clean_codes(b)
        if strata is None:
            bin_a, bin_b = (np.searchsorted(EDGES, np.diff(v.indptr), "right") for v in (a, b))
            strata = bin_a * N_BINS + bin_b
        strata = np.asarray(strata, np.int64)
        require(
            strata.shape == (n,) and (n == 0 or 0 <= strata.min() <= strata.max() < N_STRATA),
            f"strata must be int [{n}] in 0..{N_STRATA - 1}; given shape {strata.shape}.",
        )
        tokens = np.bincount(strata, minlength=N_STRATA).astype(np.int32)
        return cls(_Side.of(a, strata), _Side.of(b, strata), a.T.tocsr(), tokens)

    def counts(self, part: slice) -> PairCounts:
        """The counts of some latents of A, `part` with its start and stop, with all of B."""
        a, b = self.a, self.b
        n, width = b.codes.get_shape()
        joint = np.empty((part.stop - part.start, width), np.int32)
        cross = np.empty(joint.shape, np.float32)

        def count(rows: slice) -> None:
            block = slice(rows.start - part.start, rows.stop - part.start)
            joint[block], dot = self._meet(rows)
            # float64 has the digits that this takes, also of a latent that is always on
            cross[block] = dot - n * np.outer(a.mean[rows], b.mean)

        map_threads(count, self._shares(part))
        float32 = lambda v: jnp.asarray(v, jnp.float32)
        moments = CoMoments(
            n=jnp.asarray(n, jnp.int32),
            mean_a=float32(a.mean[part]),
            mean_b=float32(b.mean),
            spread_a=float32(a.spread[part]),
            spread_b=float32(b.spread),
            cross=float32(cross),
        )
        whole = (a.fired[part], b.fired, joint, self.tokens, a.strata[:, part], b.strata)
        return PairCounts(moments, *map(jnp.asarray, whole))

    def _shares(self, part: slice) -> list[slice]:
        """The part cut into runs of latents with about `MEETINGS` meetings each."""
        firings = self.firings[part]
        of_token = np.diff(self.b.codes.indptr)
        total = np.concatenate([[0], np.cumsum(of_token[firings.indices], dtype=np.int64)])
        before = total[firings.indptr]  # meetings of the latents before each
        # rare latents cost their row of the table all the same
        before = before + np.arange(before.size) * self.b.codes.shape[1]
        cuts = np.searchsorted(before, np.arange(MEETINGS, before[-1], MEETINGS))
        cuts = np.unique(np.concatenate([[0], cuts, [before.size - 1]])) + part.start
        return [slice(int(i), int(j)) for i, j in pairwise(cuts)]

    def _meet(self, rows: slice) -> tuple[np.ndarray, np.ndarray]:
        """Joint firings, and sums of products of values, of the latents `rows` with all of B."""
        start, stop = self.firings.indptr[[rows.start, rows.stop]]
        # So many firings have 4 MEETINGS on average; a latent that is on most of the time takes
        # several pieces.
        step = 4 * MEETINGS * len(self.b.codes.indptr) // (self.b.codes.nnz + 1) + 1
        pieces = range(start, max(stop, start + 1), step)
        parts = [self._piece(rows, slice(i, min(i + step, stop))) for i in pieces]
        joint, dot = parts[0]
        for more_joint, more_dot in parts[1:]:
            joint += more_joint
            dot += more_dot
        return joint, dot

    def _piece(self, rows: slice, piece: slice) -> tuple[np.ndarray, np.ndarray]:
        """The same of some of their firings."""
        width = self.b.codes.shape[1]
        shape = (rows.stop - rows.start, width)
        ends = np.clip(self.firings.indptr[rows.start : rows.stop + 1], piece.start, piece.stop)
        met = self.b.codes[self.firings.indices[piece]]
        times = np.diff(met.indptr)
        cell = np.repeat(np.repeat(np.arange(shape[0]) * width, np.diff(ends)), times)
        cell += met.indices
        # float64 as bincount has it: sums of float32 products would lose digits with the tokens.
        product = np.repeat(self.firings.data[piece].astype(np.float64), times)
        product *= met.data
        size = shape[0] * width
        joint = np.bincount(cell, minlength=size).reshape(shape)
        return joint, np.bincount(cell, product, size).reshape(shape)


def clean_codes(codes: sparse.csr_matrix) -> sparse.csr_matrix:
    """Any sparse matrix as float32 CSR with one entry per firing: a stored 0 does not fire."""
    csr = sparse.csr_matrix(codes, dtype=np.float32)
    if csr.has_canonical_format and np.all(csr.data != 0):
        return csr
    csr = csr.copy()
    csr.sum_duplicates()
    csr.eliminate_zeros()
    return csr
