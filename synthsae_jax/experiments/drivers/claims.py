"""The claims of drivers@1, and the effects that they are about."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np

from synthsae_jax.experiments.drivers.worlds import LEVELS
from synthsae_jax.io.rows import Row
from synthsae_jax.suite.claims import Claim
from synthsae_jax.suite.study.select import by_world, mean, select

RULE = "best_correlation_0.1"
TRUTH = "agree"
_NO_EFFECT = 0.01  # of the features: below it no share of an effect is defined


def effects(rows: Sequence[Row], variant: str, metric: str) -> dict[str, float]:
    """Main effects and interactions of two over the fraction, high minus low, of one world.

    Each is twice the mean of the outcome times the signs of its factors. NaN where a run of the
    fraction is missing or undefined.
    """
    found: dict[tuple[int, ...], float] = {}
    for row in select(rows, variant=variant, metric=metric, factor_block=True):
        signs = tuple(1 if row[f"factor_{n}"] > LEVELS[n][0] else -1 for n in LEVELS)
        if row["value"] is not None:
            found[signs] = row["value"]
    names = list(LEVELS)
    terms = [(n,) for n in names] + list(itertools.combinations(names, 2))
    if len(found) < 16:
        return {" x ".join(term): math.nan for term in terms}
    signs, values = np.array(list(found)), np.array(list(found.values()))
    column = lambda term: np.prod([signs[:, names.index(n)] for n in term], axis=0)
    return {" x ".join(term): 2 * float(np.mean(column(term) * values)) for term in terms}


def mediated(rows: Sequence[Row], factor: str, truth: str = TRUTH) -> float:
    """Share of a factor's effect on co-recovery that each side's recovery predicts, one world.

    The effect on what two SAEs recovering independently (within tenths by frequency) would have in
    common, over the effect on what they do; NaN where there is no effect to divide.
    """
    total = effects(rows, truth, "co_recovery")[factor]
    indirect = effects(rows, truth, "expected")[factor]
    return indirect / total if abs(total) >= _NO_EFFECT else math.nan


def _effect(variant: str, metric: str, factor: str):
    return by_world(lambda rows: effects(rows, variant, metric)[factor])


def _difference(variant: str, metric: str, arm: str, other: str = "base"):
    """An arm's value less another's."""

    def of_world(rows: list[Row]) -> float:
        at = {"variant": variant, "metric": metric}
        return mean(rows, condition=arm, **at) - mean(rows, condition=other, **at)

    return by_world(of_world)


def _overstated(rows: list[Row]) -> float:
    """Effect of correlation on what the rule declares beyond what is true."""
    declared = effects(rows, RULE, "declared")["correlation"]
    return declared - effects(rows, "truth", "true_universality")["correlation"]


def _lost(sae: str) -> Callable[[list[Row]], float]:
    """Exact matches lost to three levels of trees."""
    flat, deep = {"topk": ("base", "depth 3"), "matryoshka": ("matryoshka", "matryoshka, depth 3")}[
        sae
    ]

    def of_world(rows: list[Row]) -> float:
        at = {"variant": RULE, "metric": "exact"}
        return mean(rows, condition=flat, **at) - mean(rows, condition=deep, **at)

    return of_world


CLAIMS = (
    Claim(
        "H2",
        "Two SAEs recover the same features more often than their frequency and each one's "
        "recovery predict.",
        "log odds ratio of co-recovery within tenths by frequency, base arm",
        by_world(lambda rows: mean(rows, variant=TRUTH, metric="excess", condition="base")),
        smallest_effect=0.5,
        margin=0.2,
        changes="Finer strata, or SAEs that recover nearly all or nearly none of each.",
    ),
    Claim(
        "H2a",
        "Superposition lowers what two SAEs recover in common.",
        "main effect of overlap .20 to .30 by coherence, share of the features",
        _effect(TRUTH, "co_recovery", "overlap"),
        smallest_effect=-0.03,
        margin=0.01,
        changes="A larger step: at overlap .30 directions of different features stay far apart.",
    ),
    Claim(
        "H2a mediated",
        "At least 80 % of what superposition does goes through recovery.",
        "effect on expected over effect on actual co-recovery; undefined where there is no effect",
        by_world(lambda rows: mediated(rows, "overlap")),
        smallest_effect=0.8,
        margin=0.5,
        changes="Larger effects: a ratio of small ones is uncertain.",
    ),
    Claim(
        "H2a direct",
        "Superposition does nothing to co-recovery beyond what it does to recovery.",
        "main effect of overlap on the log odds ratio of co-recovery",
        _effect(TRUTH, "excess", "overlap"),
        smallest_effect=0.5,
        margin=0.5,
        kind="equivalent",
        changes="More features: the odds ratio rests on those that just one side recovers.",
        family="secondary",
    ),
    Claim(
        "H2a oracle",
        "With recovery planted, superposition leaves what r > .1 declares as it is.",
        "main effect of overlap on the share declared, oracle SAEs of equal recovery",
        _effect("oracle", "declared", "overlap"),
        smallest_effect=0.02,
        margin=0.02,
        kind="equivalent",
        changes="Nothing: an oracle's codes do not depend on directions; a check of the suite.",
        family="control",
    ),
    Claim(
        "ways agree",
        "An overlap of .30 costs the same recovery by coherence as by fewer dimensions.",
        "share of features recovered at overlap .30: coherence less dimensions",
        _difference(TRUTH, "recovery", "coherence .30", "dim .30"),
        smallest_effect=0.03,
        margin=0.03,
        kind="equivalent",
        changes="A difference says that the mean-max overlap is not all of superposition.",
        family="secondary",
    ),
    Claim(
        "H2b",
        "Correlation raises what r > .1 declares beyond what is true.",
        "main effect of correlation on declared less true universality",
        by_world(_overstated),
        smallest_effect=0.03,
        margin=0.01,
        changes="Stronger correlation than a scale of .2 at rank 10.",
    ),
    Claim(
        "H2b true",
        "Correlation leaves true universality as it is.",
        "main effect of correlation on true universality",
        _effect("truth", "true_universality", "correlation"),
        smallest_effect=0.03,
        margin=0.03,
        kind="equivalent",
        changes="Stronger correlation: co-firing features end in one latent.",
        family="secondary",
    ),
    Claim(
        "H2c kin",
        "Hierarchy makes matches between relatives.",
        "share of latents matched to a relative's, depth 3 less base",
        _difference(RULE, "kin", "depth 3"),
        smallest_effect=0.03,
        margin=0.01,
        changes="More features in trees than 36 of 128.",
    ),
    Claim(
        "H2c exact",
        "Hierarchy lowers the matches of one feature with itself.",
        "share of latents matched exactly, depth 3 less base",
        _difference(RULE, "exact", "depth 3"),
        smallest_effect=-0.05,
        margin=0.01,
        changes="More features in trees than 36 of 128.",
    ),
    Claim(
        "H2c matryoshka",
        "Matryoshka SAEs lose fewer exact matches to hierarchy than TopK SAEs.",
        "loss at depth 3 of TopK less that of Matryoshka, share of latents",
        by_world(lambda rows: _lost("topk")(rows) - _lost("matryoshka")(rows)),
        smallest_effect=0.03,
        margin=0.01,
        changes="Longer training: Matryoshka's inner levels take longest.",
        family="secondary",
    ),
    Claim(
        "H2d features",
        "A steeper frequency law lowers universality counted by features.",
        "share of features that both recover, exponent 1 less .7",
        _difference(TRUTH, "co_recovery", "exponent 1"),
        smallest_effect=-0.03,
        margin=0.01,
        changes="Wider SAEs or longer training, which reach rarer features.",
    ),
    Claim(
        "H2d firings",
        "A steeper frequency law does not lower universality counted by firings.",
        "share of firings that belong to features that both recover, exponent 1 less .7",
        _difference(TRUTH, "firing_weighted", "exponent 1"),
        smallest_effect=-0.02,
        margin=0.02,
        kind="noninferior",
        changes="SAEs that fail on the most frequent features.",
        family="secondary",
    ),
    Claim(
        "H2e",
        "How often a feature fires says most about whether it reappears.",
        "share of the variance of B's recovery that the log rate explains, of A's features, base",
        by_world(lambda rows: mean(rows, variant=TRUTH, metric="frequency_r2", condition="base")),
        smallest_effect=0.3,
        margin=0.1,
        changes="Wider SAEs: reappearance varies only where rare features are in reach.",
    ),
)
