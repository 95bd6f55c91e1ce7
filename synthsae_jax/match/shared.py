"""Evidence that several protocols ask for, found once: for the data, and for each draw of a null.

Protocols run with one key, so that their nulls deal out the same codes and directions. Evidence is
remembered by the contents of what it was made of: who brings the same again gets it. One pass over
the codes of two SAEs, most of a minute at 16,384 latents a side, reads all scores that any of the
protocols matches by.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Hashable, Iterable
from typing import Any, NamedTuple

import jax
import numpy as np
from scipy import sparse

from synthsae_jax.match.evidence import (
    CANDIDATES,
    CandidatePairs,
    Candidates,
    candidates,
    cosine_blocks,
    scores_of,
)
from synthsae_jax.matching import PairCounts, count_scores
from synthsae_jax.matching.csr import count_blocks
from synthsae_jax.matching.pruned import assign_candidates
from synthsae_jax.numerics import host_unit_rows

Pairs = tuple[np.ndarray, np.ndarray, np.ndarray]  # rows, columns, scores


class Wanted(NamedTuple):
    """Scores of codes that somebody matches by, and how much of them."""

    score: str
    least: int  # firings of a latent that takes part
    k: int  # best partners of every latent


class SharedEvidence:
    """A memory of candidates, and of assignments among them."""

    def __init__(self, wanted: Iterable[Wanted] = ()):
        self._wanted = frozenset(wanted)
        self._pairs: dict[Hashable, CandidatePairs] = {}
        self._assigned: dict[int, Pairs] = {}

    @property
    def passes(self) -> int:
        """How many candidates there are in memory."""
        return len(self._pairs)

    def of_codes(self, a: sparse.csr_matrix, b: sparse.csr_matrix, what: Wanted) -> CandidatePairs:
        """Candidates by a score that counts give, of the latents that fire often enough."""
        key = _digest(a), _digest(b)
        if (*key, what) not in self._pairs:
            for one, evidence in _read_codes(a, b, self._wanted | {what}).items():
                self._pairs[*key, one] = evidence
        return self._pairs[*key, what]

    def of_rows(
        self, a: Any, b: Any, *, absolute: bool = False, centred: bool = False
    ) -> CandidatePairs:
        """Candidates by cosine of rows, or its size; `centred`: less each side's mean unit row."""
        key = _digest(a), _digest(b), absolute, centred
        if key not in self._pairs:
            x, y = (_centred(v) if centred else np.asarray(v) for v in (a, b))
            blocks = cosine_blocks(x, y)
            blocks = ((i, np.abs(s)) for i, s in blocks) if absolute else blocks
            self._pairs[key] = candidates("cosine", (len(x), len(y)), blocks, CANDIDATES)
        return self._pairs[key]

    def assigned(self, e: CandidatePairs) -> Pairs:
        """The best assignment that pairs as many as candidates allow; `e` is from this memory."""
        if id(e) not in self._assigned:
            self._assigned[id(e)] = assigned(e)
        return self._assigned[id(e)]


def assigned(e: CandidatePairs) -> Pairs:
    """Rows, columns and scores of the best assignment that pairs as many as candidates allow."""
    # So low that no gain elsewhere pays for one pair less, as in `matching.pruned`.
    span = float(e.value.max() - e.value.min()) + 1.0 if e.value.size else 1.0
    floor = (float(e.value.min()) if e.value.size else 0.0) - span * min(e.shape)
    assignment = assign_candidates(e.row, e.col, e.value.astype(np.float64), e.shape, floor)
    return assignment.row, assignment.col, scores_of(e, assignment.row, assignment.col)


def _read_codes(
    a: sparse.csr_matrix, b: sparse.csr_matrix, wanted: Iterable[Wanted]
) -> dict[Wanted, CandidatePairs]:
    """Several kinds of candidates from one pass over the codes."""
    shape = (a.shape[1], b.shape[1])
    # of one score those that leave out more come later, and leave out more of the same block
    order = sorted(wanted)
    best = {what: Candidates(what.score, shape, what.k) for what in order}
    scores = list(dict.fromkeys(what.score for what in order))
    for part, counts in count_blocks(a, b):
        fired = np.asarray(counts.fired_a), np.asarray(counts.fired_b)
        for name in scores:
            s = np.array(_scored(name)(counts))
            s[~np.isfinite(s)] = -np.inf
            for what in order:
                if what.score == name:
                    least = max(what.least, 1)
                    s[fired[0] < least] = -np.inf
                    s[:, fired[1] < least] = -np.inf
                    best[what].add(part.start, s)
    return {what: collected.evidence() for what, collected in best.items()}


@functools.cache
def _scored(name: str) -> Callable[[PairCounts], jax.Array]:
    return jax.jit(count_scores[name])


def _centred(rows: Any) -> np.ndarray:
    rows = host_unit_rows(rows).astype(np.float32)
    return rows - rows.mean(0, keepdims=True)


def _digest(values: Any) -> bytes:
    """What stands for the contents of an array or a CSR matrix."""
    parts = (
        (values.indptr, values.indices, values.data)
        if sparse.issparse(values)
        else (np.asarray(values),)
    )
    digest = hashlib.blake2b(repr([(p.shape, p.dtype.str) for p in parts]).encode(), digest_size=16)
    for part in parts:
        digest.update(np.ascontiguousarray(part))
    return digest.digest()
