"""The claims of linearity@1."""

from __future__ import annotations

from synthsae_jax.experiments.linearity.measure import (
    DEPARTURES,
    DISJOINT,
    HALF,
    RULES,
    WHOLE,
)
from synthsae_jax.experiments.linearity.quantities import (
    DECLARED,
    SCORES,
    TRACKED,
    TRULY_SHARED,
    change,
    tracked_by,
)
from synthsae_jax.suite.claims import Claim

_SAID = {
    RULES[0]: "r > .1",
    RULES[1]: "decoder cosine > .7 after alignment",
    "mppc2024": "the mean best correlation",
    "song2025": "the mean assigned decoder cosine",
}
CLAIMS = (
    *(
        Claim(
            f"L1 {departure}",
            f"Recovery falls where {words}.",
            change(TRACKED, HALF, departure).called(
                "share of living latents that track a feature, strength .5 less 0"
            ),
            smallest_effect=-0.1,
            margin=0.02,
            changes="Other strengths: see the curves; width and training are held.",
        )
        for departure, words in DEPARTURES.items()
    ),
    *(
        Claim(
            f"L2 {score.needs[0].variant}",
            f"At half strength {_SAID[score.needs[0].variant]} keeps its value.",
            change(score, HALF).called(
                "score at strength .5 less 0, mean over departures, models that share everything"
            ),
            smallest_effect=0.05,
            margin=0.05,
            kind="equivalent",
            changes="Single departures: a mean over five hides one that breaks it.",
            family="scores",
        )
        for score in SCORES
    ),
    Claim(
        "L3",
        "Truth by direction breaks before truth by firing.",
        (change(tracked_by("functional"), HALF) - change(tracked_by("geometric"), HALF)).called(
            "change of the share of latents that track a feature, functional less geometric, at "
            "strength .5, mean over departures"
        ),
        smallest_effect=0.05,
        margin=0.02,
        changes="Effective directions: with the drawn ones geometric truth would break sooner.",
        family="truth",
    ),
    Claim(
        "L4",
        "What r > .1 declares falls less than what is truly shared.",
        (change(DECLARED, WHOLE) - change(TRULY_SHARED, WHOLE)).called(
            "change of declared less change of true universality, strength 1, mean over departures"
        ),
        smallest_effect=0.05,
        margin=0.02,
        changes="Another notion of truth for features that are no directions.",
        family="truth",
    ),
    Claim(
        "L5",
        "Departures make no false sharing: r > .1 stays where it is without a common feature.",
        change(DECLARED, WHOLE, condition=DISJOINT).called(
            "declared at strength 1 less 0, disjoint models, mean over departures"
        ),
        smallest_effect=0.05,
        margin=0.05,
        kind="equivalent",
        changes="Coupled models without a common feature, where there is more to find.",
        family="scores",
    ),
)
