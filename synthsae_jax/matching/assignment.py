"""Solvers by the optimal one-to-one assignment, exact, on the host in float64."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from synthsae_jax.errors import require
from synthsae_jax.matching.solvers import on_host, solvers
from synthsae_jax.registry import Explanation

HostCandidates = tuple[np.ndarray, np.ndarray, np.ndarray]


@on_host
@solvers.register(
    "assignment",
    Explanation(
        what="The one-to-one pairing with the largest total score (Hungarian), on the host. It "
        "pairs as many as it can: without a threshold junk pairs are forced.",
        formula="max over partial permutations of sum s_ij",
        chance="Every alive latent of the shorter side gets a partner; the mean score is about "
        "0.96 of the expected best of M.",
        undefined="a latent with no allowed partner is not matched",
        source="Kuhn 1955; scipy.optimize.linear_sum_assignment",
    ),
)
def assignment(s: np.ndarray) -> HostCandidates:
    """M = min of the numbers of rows and columns that have an allowed pair."""
    scores = np.asarray(s)
    allowed = np.isfinite(scores)
    rows, cols = np.flatnonzero(allowed.any(1)), np.flatnonzero(allowed.any(0))
    if rows.size == 0:
        return no_candidates()
    if (rows.size, cols.size) != scores.shape:
        part = np.ix_(rows, cols)
        scores, allowed = scores[part], allowed[part]
    low = float(np.min(scores, where=allowed, initial=np.inf))
    # + 1, since with equal scores a span of 0 would make forbidden pairs as cheap as allowed ones.
    span = float(np.max(scores, where=allowed, initial=-np.inf)) - low + 1.0
    # the one copy in float64, as what scipy minimizes: it takes that without another
    cost = np.negative(scores, dtype=np.float64)
    # A forbidden pair costs more than all allowed ones can gain, so it is taken only when nothing
    # else is left, and then dropped; scipy itself refuses such matrices.
    np.copyto(cost, span * min(cost.shape) - low, where=~allowed)
    i, j = linear_sum_assignment(cost)
    return rows[i], cols[j], allowed[i, j]


@on_host
@solvers.register(
    "assignment_dustbin",
    Explanation(
        what="The one-to-one pairing with the largest total score in excess of `unmatched`, on the "
        "host: latents may stay single, so nobody is forced into a junk pair or kept from a good "
        "one by somebody else's.",
        formula="max over partial permutations of sum (s_ij - unmatched)",
        chance="Whatever the scores of unrelated latents above `unmatched` allow: set it at the "
        "null's best of M.",
        undefined="a latent with no allowed partner is not matched",
        source="null columns in the assignment, as in SuperGlue (Sarlin et al., arXiv 1911.11763)",
    ),
)
def assignment_dustbin(s: np.ndarray, *, unmatched: float = 0.0) -> HostCandidates:
    """Pairs that score more than `unmatched`, or as much where that costs nobody anything."""
    require(np.isfinite(unmatched), f"unmatched must be a number; given {unmatched}.")
    scores = np.asarray(s)
    # A pair below is worth what two singles are, so null rows and columns are not needed: clipped
    # at 0, such pairs (and forbidden ones, at +inf before) stand for staying single.
    cost = np.subtract(unmatched, scores, dtype=np.float64)
    i, j = linear_sum_assignment(np.minimum(cost, 0.0, out=cost))
    return i, j, scores[i, j] >= unmatched


def no_candidates() -> HostCandidates:
    """Nothing matched."""
    empty = np.zeros(0, np.int64)
    return empty, empty, empty.astype(bool)
