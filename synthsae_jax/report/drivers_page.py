"""The page of drivers: effects, what of them goes through recovery, overlap in three ways."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from synthsae_jax.experiments.drivers.claims import TRUTH, effects, mediated
from synthsae_jax.experiments.drivers.worlds import LEVELS
from synthsae_jax.io.rows import Row
from synthsae_jax.report import dots, lines, marks, page, tables
from synthsae_jax.report.experiment_page import how_sure, lead, verdict_section
from synthsae_jax.report.folder_page import Contents, pages
from synthsae_jax.stats import Interval, mean_interval
from synthsae_jax.suite.study import by_world, mean, select

NAMES = {
    "co_recovery": "both recover (total)",
    "expected": "predicted by recovery",
    "excess": "excess, log odds",
    "recovery": "each recovers",
    "exact": "matched to itself",
    "kin": "matched to a relative",
}
WAYS = {
    "fewer dimensions": ("dim .10", "dim .15", "base", "dim .30"),
    "coherence": ("base", "coherence .25", "coherence .30"),
    "more features": ("base", "twice the features"),
    "as many dimensions as those": ("base", "dim of twice the features"),
    "orthogonal": ("orthogonal",),
}
DEPTHS = ("base", *(f"depth {d}" for d in range(1, 6)))
LIMITS = (
    "- Small worlds with independent directions; a pair has every feature in common, so what "
    "differs between its SAEs is what they recover.\n"
    "- `more features` moves the width and every rate with the features: L0 and width per feature "
    "are held, rates are not.\n"
    "- Exclusion and scaling of children stand beside depth 3, not in the fraction."
)


@pages.register("drivers")
def drivers(rows: Sequence[Row], width: str) -> Contents:
    """Effects, mediation, dose and response, what was held, verdicts."""
    sections = [
        page.Section(
            "Effects",
            "Each factor from low to high, over a half fraction of 2^5 arms in every world: main "
            "effects and interactions of two are apart from each other. Left: on the share of "
            "features that both SAEs recover. Middle: on what both would recover if they did so "
            "independently within tenths by frequency; the part of the effect that goes through "
            "recovery. Right: on the log odds ratio of co-recovery; the part that does not.",
            (_levels(), _mediation(rows)),
            _effects(rows, width),
        ),
        page.Section(
            "Overlap, moved in several ways",
            "If it is the mean-max overlap that matters, the lines lie on each other.",
            (),
            _overlap(rows, width),
        ),
        page.Section(
            "Depth, at a fixed number of features in trees",
            "Each tree has a root and five features below it: side by side at depth 1, a chain at "
            "depth 5. Realised rates are held.",
            (),
            _depth(rows, width),
        ),
        page.Section(
            "One factor at a time",
            "Difference from the base arm, mean over worlds with its interval.",
            (_singles(rows),),
        ),
        page.Section(
            "What was held",
            "Worst over worlds: features whose realised rate is off by more than 2 %, expected L0, "
            "and what the last tenth of training still added to explained variance (flagged from "
            ".002 on).",
            (_held(rows),),
        ),
        verdict_section(rows),
    ]
    return Contents("Drivers of universality", sections, _lead(rows), LIMITS)


def _lead(rows: Sequence[Row]) -> str:
    known = {n: _over(rows, _main(n)).estimate for n in LEVELS}
    known = {n: v for n, v in known.items() if not math.isnan(v)}
    base = _over(rows, lambda r: mean(r, condition="base", variant=TRUTH, metric="excess"))
    if known:
        strongest = max(known, key=lambda n: abs(known[n]))
        share = _over(rows, lambda r: mediated(r, strongest)).estimate
        through = "an undefined share" if math.isnan(share) else f"{100 * share:.0f} %"
        found = (
            f"{strongest.capitalize()} moves what two SAEs recover in common most, by "
            f"{100 * known[strongest]:+.1f} % of the features; {through} of that is what each "
            "SAE's own recovery predicts."
        )
    else:
        found = "The fraction is not complete, so that no effect can be told."
    return lead(
        "What makes features universal, and is it more than what makes them recoverable?",
        [found, f"With nothing moved, the log odds ratio of co-recovery is {_number(base)}."],
        how_sure(rows),
        "It does not show what moves features of real models, whose causes are not set one by one.",
    )


def _main(factor: str) -> Callable[[list[Row]], float]:
    return lambda rows: effects(rows, TRUTH, "co_recovery")[factor]


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


def _levels() -> tables.Table:
    records = [{"factor": n, "low": low, "high": high} for n, (low, high) in LEVELS.items()]
    return tables.plain(records, title="Levels")


def _mediation(rows: Sequence[Row]) -> tables.Table:
    records = []
    for n in LEVELS:
        total, direct = (
            _over(rows, lambda r, n=n, m=m: effects(r, TRUTH, m)[n])
            for m in ("co_recovery", "expected")
        )
        records.append(
            {
                "factor": n,
                "total effect": _number(total),
                "through recovery": _number(direct),
                "share through recovery": _number(_over(rows, lambda r, n=n: mediated(r, n))),
                "direct, on r > .1 (oracle SAEs)": _number(
                    _over(rows, lambda r, n=n: effects(r, "oracle", "declared")[n])
                ),
            }
        )
    return tables.plain(records, title="Total and direct effects")


def _effects(rows: Sequence[Row], width: str):
    records = []
    for metric in ("co_recovery", "expected", "excess"):
        for term in effects((), TRUTH, metric):
            interval = _over(rows, lambda r, m=metric, t=term: effects(r, TRUTH, m)[t])
            if not math.isnan(interval.estimate):
                records.append(_record(interval, effect=term, metric=metric, chance=0.0))
    if not records:
        return ()
    plot = dots.dot_plot(records, "effect", width=width, names=NAMES)
    return (page.Captioned(plot, f"Effects, high less low. {marks.READING}", "effects"),)


def _overlap(rows: Sequence[Row], width: str):
    records = []
    for metric in ("recovery", "co_recovery", "excess"):
        for way, conditions in WAYS.items():
            for arm in conditions:
                here = select(rows, condition=arm)
                interval = _over(here, lambda r, m=metric: mean(r, variant=TRUTH, metric=m))
                at = mean(here, variant="held", metric="overlap")
                if not (math.isnan(interval.estimate) or math.isnan(at)):
                    records.append(_record(interval, overlap=round(at, 3), way=way, metric=metric))
    return _lines(records, "overlap", "way", width, "Against the mean-max overlap.", "overlap")


def _depth(rows: Sequence[Row], width: str):
    records = []
    told = (
        ("recovery", TRUTH),
        ("co_recovery", TRUTH),
        ("excess", TRUTH),
        ("exact", "best_correlation_0.1"),
        ("kin", "best_correlation_0.1"),
    )
    for metric, variant in told:
        for depth, arm in enumerate(DEPTHS):
            here = select(rows, condition=arm)
            interval = _over(here, lambda r, m=metric, v=variant: mean(r, variant=v, metric=m))
            if not math.isnan(interval.estimate):
                records.append(_record(interval, depth=depth, sae="topk", metric=metric))
    return _lines(records, "depth", "sae", width, "Against the depth of the trees.", "depth")


def _lines(records: Sequence[Mapping[str, Any]], x: str, by: str, width: str, text: str, name: str):
    if not records:
        return ()
    plot = lines.line_plot(records, x, by, width=width, names=NAMES)
    return (page.Captioned(plot, f"{text} {marks.READING}", name),)


def _singles(rows: Sequence[Row]) -> tables.Table:
    records = []
    for arm in dict.fromkeys(r["condition"] for r in rows if not r["factor_block"]):
        records.append(
            {
                "arm": arm,
                **{
                    NAMES[metric]: _number(
                        _over(rows, lambda r, a=arm, m=metric: _from_base(r, a, m))
                    )
                    for metric in ("recovery", "co_recovery", "expected", "excess")
                },
            }
        )
    return tables.plain(records)


def _from_base(rows: list[Row], arm: str, metric: str) -> float:
    at = {"variant": TRUTH, "metric": metric}
    return mean(rows, condition=arm, **at) - mean(rows, condition="base", **at)


def _held(rows: Sequence[Row]) -> tables.Table:
    records = []
    for arm in dict.fromkeys(r["condition"] for r in select(rows, variant="held")):
        here = select(rows, condition=arm, variant="held")
        of = lambda metric, here=here: [r["value"] for r in select(here, metric=metric)]
        first = here[0]
        records.append(
            {
                "arm": arm,
                "F": first["factor_n_features"],
                "D": first["factor_dim"],
                "width": first["factor_width"],
                "overlap": f"{mean(here, metric='overlap'):.3f}",
                "expected L0": f"{mean(here, metric='mean_l0'):.2f}",
                "rates off": f"{max(of('rates_missed')):.0f}",
                "EV": f"{mean(here, metric='explained_variance'):.3f}",
                "last tenth": f"{max(of('last_tenth')):.4f}",
                "converged in": f"{mean(here, metric='converged'):.0%} of worlds",
            }
        )
    return tables.plain(records)


def _number(interval: Interval) -> str:
    if math.isnan(interval.estimate):
        return "undefined"
    if interval.lo is None:
        return f"{interval.estimate:.3f}"
    return f"{interval.estimate:.3f} [{interval.lo:.3f}, {interval.hi:.3f}]"
