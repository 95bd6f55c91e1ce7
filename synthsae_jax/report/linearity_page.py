"""The page of linearity: recovery, sharing and scores against the strength of each departure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from synthsae_jax.experiments.linearity.claims import (
    DEPARTURES,
    DISJOINT,
    SCORES,
    SHARED,
    change,
)
from synthsae_jax.io.rows import Row
from synthsae_jax.report import lines, marks, matrix, page, tables
from synthsae_jax.report.experiment_page import how_sure, lead, verdict_section
from synthsae_jax.report.folder_page import Contents, pages
from synthsae_jax.stats import Interval, mean_interval
from synthsae_jax.suite.study import by_world, mean, select, values

NAMES = {
    "turning": "turning with magnitude",
    "circle": "circles",
    "plane": "planes",
    "family": "mixed with parents",
    "squash": "pointwise nonlinearity",
    "best_correlation_0.1": "r > .1, declared",
    "decoder_cosine_0.7_raw": "decoder cosine > .7, raw",
    "decoder_cosine_0.7_aligned": "decoder cosine > .7, aligned",
    "true_universality": "truly shared",
    "absorption_aware": "absorption-aware truth",
}
TRUTHS = ("agree", "geometric", "functional", "code", "causal")
LIMITS = (
    "- Effective directions stand for a feature's direction: the best that a linear method can "
    "find. They are those of the features, not of the SAE's inputs.\n"
    "- Trees only where the departure is about parents; SAEs of one architecture (TopK).\n"
    "- Strengths of different departures are not on one scale; the linear share is printed for "
    "those that have one."
)


@pages.register("linearity")
def linearity(rows: Sequence[Row], width: str) -> Contents:
    """Truths, scores, changes, verdicts."""
    sections = [
        page.Section(
            "What latents track",
            "Share of the living latents that track a feature, by what tracking is taken to mean.",
            (_linear(rows),),
            _curves(rows, TRUTHS, "tracked", width, "truths"),
        ),
        page.Section(
            "Scores beside what is truly shared",
            "Models that share all features and their directions, up to a rotation. A score that "
            "stays where it is while the truth falls does not notice.",
            (),
            _scores(rows, SHARED, width, "scores"),
        ),
        page.Section(
            "Scores where nothing is shared",
            "Models without a common feature, firing independently.",
            (),
            _scores(rows, DISJOINT, width, "zeros"),
        ),
        page.Section(
            "Change at half strength",
            "Each number at strength .5 less at strength 0, mean over worlds.",
            (),
            _changes(rows, width),
        ),
        verdict_section(rows),
    ]
    return Contents("What rests on features being linear", sections, _lead(rows), LIMITS)


def _lead(rows: Sequence[Row]) -> str:
    last = max(r["factor_strength"] for r in rows)
    fall = {
        d: _over(rows, lambda r, d=d: change(r, "agree", "tracked", last, d)).estimate
        for d in DEPARTURES
    }
    fall = {d: v for d, v in fall.items() if not math.isnan(v)}
    if not fall:
        found = ["No departure has both ends of its strength.", "Nothing can be compared."]
    else:
        worst, least = min(fall, key=lambda d: fall[d]), max(fall, key=lambda d: fall[d])
        said = {
            name: _over(rows, lambda r, n=name, m=m: change(r, n, m, last, worst)).estimate
            for name, m in (
                ("best_correlation_0.1", "declared"),
                ("truth", "true_universality"),
            )
        }
        found = [
            f"At strength {last:g} the share of latents that track a feature changes most with "
            f"{_name(worst)} ({fall[worst]:+.2f}) and least with {_name(least)} "
            f"({fall[least]:+.2f}).",
            f"With {_name(worst)}, r > .1 changes by {said['best_correlation_0.1']:+.2f}, what is "
            f"truly shared by {said['truth']:+.2f}.",
        ]
    return lead(
        "What of recovery, truth and scores of universality rests on features being linear?",
        found,
        how_sure(rows),
        "It does not show how linear the features of real models are.",
    )


def _over(rows: Sequence[Row], of_world: Callable[[list[Row]], float]) -> Interval:
    return mean_interval(list(by_world(of_world)(rows).values()))


def _record(interval: Interval, **more: Any) -> dict[str, Any]:
    return {
        **more,
        "estimate": interval.estimate,
        "lo": interval.lo,
        "hi": interval.hi,
        "points": interval.points,
    }


def _at(rows: Sequence[Row], variant: str, metric: str, **where: Any) -> Interval:
    return _over(rows, lambda r: mean(r, variant=variant, metric=metric, **where))


def _places(rows: Sequence[Row]) -> list[tuple[str, float]]:
    return sorted(
        {(r["factor_departure"], r["factor_strength"]) for r in rows},
        key=lambda p: (DEPARTURES.index(p[0]), p[1]),
    )


def _curves(rows: Sequence[Row], variants: Sequence[str], metric: str, width: str, name: str):
    told = {variant: metric for variant in variants}
    return _drawn(rows, told, SHARED, width, "What latents track, by strength.", name)


def _scores(rows: Sequence[Row], condition: str, width: str, name: str):
    told = {"true_universality": "true_universality", **SCORES}
    return _drawn(rows, told, condition, width, "Scores by strength.", name)


def _drawn(
    rows: Sequence[Row],
    told: dict[str, str],
    condition: str,
    width: str,
    text: str,
    name: str,
):
    records = []
    for departure, strength in _places(rows):
        for variant, metric in told.items():
            interval = _at(
                rows,
                "truth" if variant == "true_universality" else variant,
                metric,
                condition=condition,
                factor_departure=departure,
                factor_strength=strength,
            )
            if not math.isnan(interval.estimate):
                records.append(_record(interval, strength=strength, what=variant, metric=departure))
    if not records:
        return ()
    plot = lines.line_plot(records, "strength", "what", width=width, names=NAMES)
    return (page.Captioned(plot, f"{text} {marks.READING}", name),)


def _changes(rows: Sequence[Row], width: str):
    half = 0.5 if values(rows, factor_strength=0.5) else max(r["factor_strength"] for r in rows)
    told = (
        *((truth, "tracked") for truth in TRUTHS),
        ("truth", "true_universality"),
        *SCORES.items(),
    )
    records = []
    for variant, metric in told:
        for departure in DEPARTURES:
            value = _over(
                rows, lambda r, v=variant, m=metric, d=departure: change(r, v, m, half, d)
            ).estimate
            shown = "true_universality" if variant == "truth" else variant
            records.append(
                {
                    "number": shown,
                    "departure": departure,
                    "estimate": None if math.isnan(value) else value,
                }
            )
    if all(record["estimate"] is None for record in records):
        return ()
    plot = matrix.matrix_plot(
        records, "number", "departure", width=width, limits=(-0.5, 0.5), names=NAMES
    )
    return (page.Captioned(plot, f"Change at strength {half:g} against 0.", "changes"),)


def _linear(rows: Sequence[Row]) -> tables.Table:
    records = []
    for departure, strength in _places(rows):
        here = select(rows, factor_departure=departure, factor_strength=strength)
        share = _at(here, "held", "linear_share").estimate
        records.append(
            {
                "departure": _name(departure),
                "strength": strength,
                "linear share of a feature": "" if math.isnan(share) else f"{share:.2f}",
                "explained variance": f"{mean(here, metric='explained_variance'):.2f}",
                "latents tracking (agree)": _number(_at(here, "agree", "tracked")),
                "truly shared": _number(_at(here, "truth", "true_universality", condition=SHARED)),
            }
        )
    return tables.plain(records)


def _name(departure: str) -> str:
    return NAMES.get(departure, departure)


def _number(interval: Interval) -> str:
    if math.isnan(interval.estimate):
        return "undefined"
    if interval.lo is None:
        return f"{interval.estimate:.2f}"
    return f"{interval.estimate:.2f} [{interval.lo:.2f}, {interval.hi:.2f}]"
