"""The claims of linearity@1: what changes with the strength of a departure from linear features."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from synthsae_jax.io.rows import Row
from synthsae_jax.suite.claims import Claim
from synthsae_jax.suite.study.select import by_world, mean

DEPARTURES = ("turning", "circle", "plane", "family", "squash")
STRENGTHS = (0.0, 0.25, 0.5, 1.0)
SHARED, DISJOINT = "rotated", "disjoint_independent"
HALF, WHOLE = 0.5, 1.0
KEPT = 0.05  # a score keeps its value where it changes by less
SCORES = {
    "best_correlation_0.1": "declared",
    "decoder_cosine_0.7_aligned": "declared",
    "mppc2024": "score",
    "song2025": "score",
}
_SAID = {
    "best_correlation_0.1": "r > .1",
    "decoder_cosine_0.7_aligned": "decoder cosine > .7 after alignment",
    "mppc2024": "the mean best correlation",
    "song2025": "the mean assigned decoder cosine",
}


def change(
    rows: Sequence[Row],
    variant: str,
    metric: str,
    strength: float,
    departure: str | None = None,
    condition: str = SHARED,
) -> float:
    """A number at this strength less at strength 0, in one world; None: mean over departures.

    NaN where a departure lacks either.
    """
    kinds = DEPARTURES if departure is None else (departure,)
    found = []
    for kind in kinds:
        at = {"variant": variant, "metric": metric, "condition": condition}
        here, linear = (
            mean(rows, factor_departure=kind, factor_strength=s, **at) for s in (strength, 0.0)
        )
        found.append(here - linear)
    return float(np.mean(found)) if found else math.nan


def _change(variant: str, metric: str, strength: float, departure: str | None = None, **more: str):
    return by_world(lambda rows: change(rows, variant, metric, strength, departure, **more))


def _geometric_first(strength: float) -> Callable[[list[Row]], float]:
    """How much more of what latents track is lost by cosine than by firing."""
    return lambda rows: (
        change(rows, "functional", "tracked", strength)
        - change(rows, "geometric", "tracked", strength)
    )


def _unnoticed(rows: list[Row]) -> float:
    """Change of what r > .1 declares less that of the truth."""
    declared = change(rows, "best_correlation_0.1", "declared", WHOLE)
    return declared - change(rows, "truth", "true_universality", WHOLE)


def _recovery(departure: str, said: str) -> Claim:
    return Claim(
        f"L1 {departure}",
        f"Recovery falls where {said}.",
        "share of living latents that track a feature, strength .5 less 0",
        _change("agree", "tracked", HALF, departure),
        smallest_effect=-0.1,
        margin=0.02,
        changes="Other strengths: see the curves; width and training are held.",
    )


def _kept(score: str, metric: str) -> Claim:
    return Claim(
        f"L2 {score}",
        f"At half strength {_SAID[score]} keeps its value.",
        "score at strength .5 less 0, mean over departures, models that share everything",
        _change(score, metric, HALF),
        smallest_effect=KEPT,
        margin=KEPT,
        kind="equivalent",
        changes="Single departures: a mean over five hides one that breaks it.",
        family="scores",
    )


CLAIMS = (
    _recovery("turning", "directions turn with magnitude"),
    _recovery("circle", "features lie on circles"),
    _recovery("plane", "features have two dimensions"),
    _recovery("family", "children's directions are mixed with their parents'"),
    _recovery("squash", "activations pass a pointwise nonlinearity"),
    *(_kept(score, metric) for score, metric in SCORES.items()),
    Claim(
        "L3",
        "Truth by direction breaks before truth by firing.",
        "change of the share of latents that track a feature, functional less geometric, at "
        "strength .5, mean over departures",
        by_world(_geometric_first(HALF)),
        smallest_effect=0.05,
        margin=0.02,
        changes="Effective directions: with the drawn ones geometric truth would break sooner.",
        family="truth",
    ),
    Claim(
        "L4",
        "What r > .1 declares falls less than what is truly shared.",
        "change of declared less change of true universality, strength 1, mean over departures",
        by_world(_unnoticed),
        smallest_effect=0.05,
        margin=0.02,
        changes="Another notion of truth for features that are no directions.",
        family="truth",
    ),
    Claim(
        "L5",
        "Departures make no false sharing: r > .1 stays where it is without a common feature.",
        "declared at strength 1 less 0, disjoint models, mean over departures",
        _change("best_correlation_0.1", "declared", WHOLE, condition=DISJOINT),
        smallest_effect=KEPT,
        margin=KEPT,
        kind="equivalent",
        changes="Coupled models without a common feature, where there is more to find.",
        family="scores",
    ),
)
