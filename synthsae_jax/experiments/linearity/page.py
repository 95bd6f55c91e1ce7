"""The page of linearity@1."""

from __future__ import annotations

from synthsae_jax.experiments.linearity.measure import (
    DEPARTURES,
    DISJOINT,
    HALF,
    SHARED,
    TRUTHS,
    WHOLE,
    LinearityScale,
)
from synthsae_jax.experiments.linearity.quantities import (
    DECLARED,
    EXPLAINED,
    LINEAR,
    SCORES,
    TRACKED,
    TRULY_SHARED,
    change,
    tracked_by,
)
from synthsae_jax.report.block_plots import Curve, Mark, Matrix, along
from synthsae_jax.report.block_tables import Grid
from synthsae_jax.report.blocks import Reader, Telling
from synthsae_jax.report.design_page import Page, Section

NAMES = {
    "turning": "turning with magnitude",
    "circle": "circles",
    "plane": "planes",
    "family": "mixed with parents",
    "squash": "pointwise nonlinearity",
}


def _extremes(reader: Reader) -> str:
    falls = {d: reader.estimate(change(TRACKED, WHOLE, d)) for d in DEPARTURES}
    falls = {d: e.value for d, e in falls.items() if e.known}
    if not falls:
        return "No departure has both ends of its strength, so that nothing can be compared."
    most, least = min(falls, key=lambda d: falls[d]), max(falls, key=lambda d: falls[d])
    declared, true = (reader.estimate(change(q, WHOLE, most)) for q in (DECLARED, TRULY_SHARED))
    text = (
        f"At full strength the share of latents that track a feature changes most with "
        f"{NAMES[most]} ({falls[most]:+.2f})"
    )
    if len(falls) > 1:
        text += f" and least with {NAMES[least]} ({falls[least]:+.2f})"
    return (
        f"{text}. With {NAMES[most]}, what r > .1 declares changes by {declared.value:+.2f}, what "
        f"is truly shared by {true.value:+.2f}."
    )


_ENDS = tuple(change(q, WHOLE, d) for d in DEPARTURES for q in (TRACKED, DECLARED, TRULY_SHARED))
_STRENGTHS = LinearityScale.strengths
_PANELS = {NAMES[d]: {"departure": d} for d in DEPARTURES}


def _scores(name: str, condition: str) -> Curve:
    numbers = [q.at(condition=condition) for q in (TRULY_SHARED, *SCORES)]
    marks = along("strength", _STRENGTHS, numbers, panels=_PANELS)
    return Curve(name, "strength", marks, "Scores by strength.")


PAGE = Page(
    title="What rests on features being linear",
    asked="What of recovery, truth and scores of universality rests on features being linear?",
    findings=(Telling(_ENDS, _extremes),),
    not_shown="It does not show how linear the features of real models are.",
    sections=(
        Section(
            "What latents track",
            "Share of the living latents that track a feature, by what tracking is taken to mean.",
            Grid(
                "departure, strength",
                {
                    f"{NAMES[d]}, {s:g}": {"departure": d, "strength": s}
                    for d in DEPARTURES
                    for s in _STRENGTHS
                },
                (LINEAR, EXPLAINED, TRACKED, TRULY_SHARED.at(condition=SHARED)),
            ),
            Curve(
                "truths",
                "strength",
                along(
                    "strength",
                    _STRENGTHS,
                    [tracked_by(m).called(m).at(condition=SHARED) for m in TRUTHS],
                    panels=_PANELS,
                ),
                "What latents track, by strength.",
            ),
        ),
        Section(
            "Scores beside what is truly shared",
            "Models that share all features and their directions, up to a rotation. A score that "
            "stays where it is while the truth falls does not notice.",
            _scores("scores", SHARED),
        ),
        Section(
            "Scores where nothing is shared",
            "Models without a common feature, firing independently.",
            _scores("zeros", DISJOINT),
        ),
        Section(
            "Change at half strength",
            "Each number at strength .5 less at strength 0, mean over worlds.",
            Matrix(
                "changes",
                [
                    Mark(q.title, NAMES[d], change(q, HALF, d))
                    for q in (*(tracked_by(m) for m in TRUTHS), TRULY_SHARED, *SCORES)
                    for d in DEPARTURES
                ],
                "Change at strength .5 against 0.",
                limits=(-0.5, 0.5),
            ),
        ),
    ),
    limits="- Effective directions stand for a feature's direction: the best that a linear method "
    "can find. They are those of the features, not of the SAE's inputs.\n"
    "- Trees only where the departure is about parents; SAEs of one architecture (TopK).\n"
    "- Strengths of different departures are not on one scale; the linear share is printed for "
    "those that have one.",
)
