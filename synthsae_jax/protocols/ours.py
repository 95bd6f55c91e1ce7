"""The suite's own protocol: counts of firing together, judged by frequency, latents left single."""

from __future__ import annotations

import numpy as np

from synthsae_jax import matching
from synthsae_jax.matching import Pipeline
from synthsae_jax.protocols.base import Numbers, Protocol, View, register_protocol
from synthsae_jax.protocols.null_steps import of_side
from synthsae_jax.protocols.reads import shared_of_living
from synthsae_jax.registry import Explanation


def dustbin_count(view: View) -> Numbers:
    """Pairs of the best assignment in which latents may stay single, as a share of living ones.

    A pair must score as well as the worst pair that passed the filters and as 95 % of the null's
    pairs: nothing passed, nothing counts.
    """
    score = view.pairs[2]
    living = min(int(alive.sum()) for alive in view.alive)
    if not living:
        return {"shared_by_assignment": (float("nan"), "all latents of a side are dead")}
    if score.size == 0:
        return {"shared_by_assignment": (0.0, "")}
    null = np.asarray(view.step("fdr")["null_scores"])
    # where the null finds no pair at all, its one entry is infinity (`run`)
    null = null[np.isfinite(null)]
    level = max(float(score.min()), float(np.quantile(null, 0.95)) if null.size else -np.inf)
    # a pair that scores just this much would gain nothing by being taken
    level -= 1e-6 * (1 + abs(level))
    s = np.asarray(view.result.evidence.s)
    assignment = matching.solve("assignment_dustbin", s, unmatched=level)
    return {"shared_by_assignment": (int(np.asarray(assignment.valid).sum()) / living, "")}


def judged(view: View) -> Numbers:
    """Pairs as a share of the smaller side's latents that fire often enough to be judged."""
    best = [view.result.evidence.best_scores(axis) for axis in (0, 1)]
    n = min(int((~np.isnan(v)).sum()) for v in best)
    size = view.pairs[0].size
    reason = "no latent fires often enough to be judged"
    return {"shared_of_judged": (size / n, "") if n else (float("nan"), reason)}


register_protocol(
    "ours@1",
    Protocol(
        pipeline=Pipeline(
            score="hypergeometric_z_plain",
            solver="mutual_nearest",
            filters=(("min_firings", {"at_least": 30}), ("fdr", {"q": 0.05})),
        ),
        reads=(shared_of_living, judged, dustbin_count),
        primary="shared",
        needs=("latents",),
        nulls=(
            of_side("activity_shift"),
            of_side("disjoint_independent", stand_ins=True),
            of_side("disjoint_coupled", stand_ins=True),
        ),
        level_null="activity_shift",
    ),
    Explanation(
        what="Latents that fire 30 times or more are paired as mutual nearest by the z-score of "
        "firing together; pairs are kept so that a share of .05 is false, by the pairs the null "
        "finds at their frequency. How busy tokens are is the null's matter and not the score's: "
        "strata by both sides' activity make latents of either side alone look alike where other "
        "latents are shared. `shared`: pairs as a share of "
        "the smaller side's living latents; `shared_of_judged`: of those that fire often enough; "
        "`shared_by_assignment`: counted by the assignment that may leave latents single.",
        formula="Benjamini-Hochberg at .05 over p = (1 + #{null z >= z}) / (1 + R) by frequency; "
        "the null rolls B's tokens among equally busy ones",
        range="[0, 1]",
        chance="near 0; both zeros are run as well where B brings stand-ins for them",
        undefined="no codes on paired tokens, or all latents of a side dead",
        source="this suite",
    ),
)
