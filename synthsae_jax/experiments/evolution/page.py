"""The page of evolution@1: when each curve comes to its end, the curves, the models' maturity."""

from __future__ import annotations

from collections.abc import Iterable

from synthsae_jax.experiments.evolution.measure import MATURITY, TRAINING
from synthsae_jax.experiments.evolution.quantities import (
    ALIGNED,
    BEST_R,
    CURVES,
    FEATURES,
    FROM_THE_START,
    RELATIONAL,
    STILL_RISING,
    TRUTH,
    UNIVERSALITY,
    chance,
    curve,
    step_of,
)
from synthsae_jax.report.block_plots import Curve, Every, Mark
from synthsae_jax.report.block_tables import Grid, Listing
from synthsae_jax.report.blocks import Finding, Reader, Telling
from synthsae_jax.report.design_page import Page, Section

QUARTERS = {
    "": "all",
    "q1": "rarest quarter",
    "q2": "second",
    "q3": "third",
    "q4": "most frequent",
}
_DRAWN = ("", "q1", "q4")


def _settled(reader: Reader) -> str:
    steps = {name: reader.estimate(step_of(name, TRAINING)) for name in (TRUTH, BEST_R, ALIGNED)}
    if not any(e.known for e in steps.values()):
        return "No curve over training has an end above 0."
    say = lambda name: f"{steps[name]:.0}"
    return (
        f"Over the training of SAEs, what is {TRUTH} reaches nine tenths of its end at step "
        f"{say(TRUTH)}, the share with {BEST_R} at step {say(BEST_R)} and that with an "
        f"{ALIGNED} at step {say(ALIGNED)}."
    )


def _by_frequency(reader: Reader) -> str:
    rare, frequent = (reader.estimate(step_of(TRUTH, TRAINING, q)) for q in ("q1", "q4"))
    say = lambda e: f"{e:.0}" if e.known else "none"
    return (
        f"The truth gets there at step {say(rare)} for the rarest quarter of the features and "
        f"{say(frequent)} for the most frequent."
    )


def _steps(arm: str, title: str) -> Listing:
    rows = {
        name: [
            None if quarter and name in RELATIONAL else step_of(name, arm, quarter)
            for quarter in QUARTERS
        ]
        for name in CURVES
    }
    return Listing("curve", tuple(QUARTERS.values()), rows, title=title, digits=0)


def _curves(arm: str) -> Curve:
    marks = [
        Mark(
            name,
            QUARTERS[quarter],
            curve(name, arm, quarter),
            Every("age"),
            chance=None if quarter else chance(name, arm),
        )
        for name in CURVES
        for quarter in _DRAWN
        if not (quarter and name in RELATIONAL)
    ]
    return Curve(arm, "steps", marks, "Truth and scores by step.", log_x=True)


def page(ages: Iterable[int]) -> Page:
    """The page; `ages` are those of the models at all scales."""
    return Page(
        title="Evolution over training",
        asked="When in training do scores of universality settle, and when does what is truly "
        "shared?",
        findings=(
            Telling(tuple(step_of(n, TRAINING) for n in (TRUTH, BEST_R, ALIGNED)), _settled),
            Telling(tuple(step_of(TRUTH, TRAINING, q) for q in ("q1", "q4")), _by_frequency),
            Finding(
                "After one step r > .1 already declares {first} shared, which is what it says of "
                "SAEs that have learned nothing; between the last two snapshots what is truly "
                "shared still rose by {rise}, so its end is that of this training.",
                first=FROM_THE_START,
                rise=STILL_RISING,
            ),
        ),
        not_shown="It does not show how long a real training has to be: only which number settles "
        "before which.",
        sections=(
            Section(
                "When each settles",
                "The step at which a curve first comes to nine tenths of its last value, read off "
                "a line between snapshots over the logarithm of the step; geometric steps, so a "
                "factor is what counts. The truth: features that both SAEs track, as a share of "
                "the width, and in quarters by how often the feature fires. Scores by quarter take "
                "the latents that fire so often; CKA and RSA are of all matched pairs together.",
                _steps(TRAINING, "Steps of the SAEs' training"),
            ),
            Section(
                "Over the training of SAEs",
                "Two models with the same features and rotated directions, SAEs from their own "
                "starts on their own data. Dashed: models without a common feature, or for CKA and "
                "RSA the same rows out of order. What is declared or true in a quarter counts "
                "against a quarter of the width: where more latents than that fire so often, it "
                "can exceed 1.",
                _curves(TRAINING),
            ),
            Section(
                "Over the models' own training",
                "Two toy models learn one world's codes, each from its own start and data. At each "
                "age a feature counts as present in a model once its direction is long enough; "
                "SAEs are then trained to their end on both. Steps are those of the models. "
                "Learned directions of two models are not rotations of each other, so scores of "
                "directions need not rise.",
                _steps(MATURITY, "Steps of the models' training"),
                Grid(
                    "model steps",
                    {f"{age}": {"age": age} for age in sorted(set(ages))},
                    (FEATURES, *UNIVERSALITY),
                    title="Models by age",
                    note="Truth by its default, and at its least and most over all truths and "
                    "thresholds.",
                ),
                _curves(MATURITY),
            ),
        ),
        limits="- Small worlds without trees, one learning rate with a linear decay over the last "
        "third: part of what comes late comes with the decay.\n"
        "- A curve that is there at its first snapshot is given that step; one that never leaves 0 "
        "has none.",
    )
