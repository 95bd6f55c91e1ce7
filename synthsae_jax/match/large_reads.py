"""What protocols read off all pairs of latents, read off candidates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from synthsae_jax import similarity
from synthsae_jax.match.shared import SharedEvidence
from synthsae_jax.matching.pruned import assign_candidates
from synthsae_jax.protocols import View
from synthsae_jax.protocols.base import NAN, Numbers
from synthsae_jax.protocols.ours import dustbin_count
from synthsae_jax.protocols.paulo import THRESHOLDS, curve
from synthsae_jax.protocols.reads import centred_assignment


def _dustbin_count(view: View) -> Numbers:
    """`ours.dustbin_count` among the candidates."""
    score = view.pairs[2]
    living = min(int(alive.sum()) for alive in view.alive)
    if not living or score.size == 0:
        return dustbin_count(view)
    null = np.asarray(view.step("fdr")["null_scores"])
    null = null[np.isfinite(null)]
    level = max(float(score.min()), float(np.quantile(null, 0.95)) if null.size else -np.inf)
    # as in `ours.dustbin_count`: a pair at the level itself would gain nothing
    level -= 1e-6 * (1 + abs(level))
    evidence: Any = view.result.evidence
    e = evidence.pairs
    assignment = assign_candidates(e.row, e.col, e.value.astype(np.float64), e.shape, level)
    return {"shared_by_assignment": (assignment.row.size / living, "")}


def _curve(view: View) -> Numbers:
    """`paulo.curve` from assignments among the candidates."""
    shared = _shared(view)
    arrays = {}
    for part in ("decoder", "encoder"):
        e = shared.of_rows(getattr(view.a, part), getattr(view.b, part))
        row, col, score = shared.assigned(e)
        to, cosine = np.full(view.alive[0].size, -1), np.full(view.alive[0].size, -1.0)
        to[row], cosine[row] = col, score
        arrays |= {f"{part}_partner": to, f"{part}_cosine": cosine}
    at = np.asarray(similarity.shared_at(**arrays, thresholds=(-1.0, *THRESHOLDS)))
    at = at * view.alive[0].size / min(alive.size for alive in view.alive)
    return {
        "assignments_agree": (float(at[0]), ""),
        "shared_area": (float(at[1:].mean()), ""),
    }


def _centred(view: View) -> Numbers:
    """`stability_centred` from an assignment among the candidates."""
    shared = _shared(view)
    score = shared.assigned(shared.of_rows(view.a.decoder, view.b.decoder, centred=True))[2]
    smaller = min(alive.size for alive in view.alive)
    total = float(score.astype(np.float64).sum())
    return {"stability_centred": (total / smaller if score.size else NAN, "nothing is matched")}


def _shared(view: View) -> SharedEvidence:
    pipeline: Any = view.pipeline
    return pipeline.shared


# reading of a protocol -> the same of candidates; others read only what was matched
READS: dict[Callable[[View], Numbers], Callable[[View], Numbers]] = {
    dustbin_count: _dustbin_count,
    curve: _curve,
    centred_assignment: _centred,
}
