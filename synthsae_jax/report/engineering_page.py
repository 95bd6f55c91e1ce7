"""The page of engineered universality: what a method gains in truth, seemingly, and falsely."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from synthsae_jax.experiments.engineering import claims
from synthsae_jax.experiments.engineering.claims import SHARED, ZEROS
from synthsae_jax.experiments.engineering.methods import BASELINES, WITHIN
from synthsae_jax.experiments.engineering.numbers import CODES, NEAREST, PW_MCC
from synthsae_jax.io.rows import Row
from synthsae_jax.report import page, tables
from synthsae_jax.report.engineering_figures import crossed, pareto
from synthsae_jax.report.experiment_page import (
    how_sure,
    lead,
    verdict_section,
    verdicts,
    with_interval,
)
from synthsae_jax.report.folder_page import Contents, pages
from synthsae_jax.stats import mean_interval
from synthsae_jax.suite.pair import TRUTH
from synthsae_jax.suite.study import by_world, mean

NAMES = {
    "batchtopk": "BatchTopK",
    "topk": "TopK",
    "batchtopk, 2 x": "BatchTopK, 2 x samples",
    "batchtopk, 5 x": "BatchTopK, 5 x samples",
    "orthogonal": "orthogonality penalty",
    "aligned": "aligned encoder and decoder",
    "archetypal": "archetypal, own anchors",
    "matryoshka": "Matryoshka",
    "consistency": "consistency loss, 2 seeds",
    "universal": "universal SAE, 2 models",
    "crosscoder": "crosscoder, 2 models",
    PW_MCC: "PW-MCC",
    NEAREST: "mutual nearest > .7",
    CODES: "correlation of codes",
    "identical": "same model",
    "independent": "all features, own directions",
    "disjoint": "no feature in common",
    "disjoint_independent": "no feature in common",
    "disjoint_coupled": "none in common, coupled",
    "f1": "F1",
    "universality": "true universality between groups",
    "true_gain": "gain in true universality",
    "net_gain": "apparent gain, less that on both zeros",
}
READ_PARETO = (
    "True universality of two SAEs against the F1 of each. The two read the same model but come "
    "from different groups, which share no partner, start, order or tokens; it is the share of "
    "living latents that could be matched with one of the same feature. Dashed lines join what no "
    "method with as many samples (1, 2 or 5 times those of one SAE) beats in both."
)
READ_GAIN = (
    "What a method adds to the baseline that saw as many samples: in the correlation of codes "
    "between groups, after the same gain on models without a common feature is taken off (mean of "
    "both zeros), against what it adds in true universality. On the dashed line all that seems "
    "gained is gained; above it universality looks higher than it became."
)
READ_ZEROS = (
    "Scores of pairs between groups. Where the models have no feature in common whatever a method "
    "adds is false; PW-MCC of random rows stands beside it. Coupled: as many features fire on each "
    "token in one model as in the other."
)
READ_FORCED = (
    "Scores of two SAEs of one group: a common start, or one training with a loss for agreement. "
    "These values are forced, and say nothing about other SAEs. A joint SAE implies an overlap by "
    "the norms of its decoder: S / (S + E / 2) for S living latents with .4 to .6 of the norm in "
    "each model and E with less than a tenth in one. Right is 1 where all features are in common "
    "and 0 where none is."
)
READ_QUALITY = (
    "Each SAE by itself, mean over the models. Samples: what all SAEs of a group see, over those "
    "of one SAE. True latents: the share of living latents that track a feature, with the least "
    "and the most over ways and thresholds of saying so. Price: the worst of F1, MCC and explained "
    "variance less that of the best baseline with at most as many samples."
)
LIMITS = (
    "- Small worlds without trees, and models of one dictionary: rotated or half-shared "
    "directions are those of validity@1 and transfer@1.\n"
    "- Left out: weight decay, which trainings here do not have (encoders always start as the "
    "decoder's transpose); anchors fitted to data, which share what they were fitted on; a "
    "crosscoder between groups, whose latents need both of its models.\n"
    "- One strength per method, chosen among four on a dev world as the baseline's learning rate "
    "was. Matryoshka widths and the pooling threshold of .7 were not tuned.\n"
    "- Equal samples are not quite equal work: ordered and Matryoshka SAEs decode several times "
    "per sample.\n"
    "- Joint trainings on disjoint models saw these fire independently; the coupled zero is in the "
    "reading alone."
)


@pages.register("engineering")
def engineering(rows: Sequence[Row], width: str) -> Contents:
    """The Pareto front, gains that are true and that only seem so, zeros, forced values, prices."""
    sections = [
        page.Section("What universality costs", READ_PARETO, (), _pareto(rows, width)),
        page.Section("True and apparent gain", READ_GAIN, (_gains(rows),), _gained(rows, width)),
        page.Section("Where nothing is shared", READ_ZEROS, (_zeros(rows),)),
        page.Section("Within a group", READ_FORCED, _within(rows)),
        page.Section("Single SAEs", READ_QUALITY, (_quality(rows),)),
        verdict_section(rows),
    ]
    text = lead(
        "Can SAEs be made to find the same features without getting worse, and which ways only "
        "make them look alike?",
        [_found(rows), _false(rows)],
        how_sure(rows),
        "It does not show what these methods do in large models, at other strengths, or to "
        "features that are no directions.",
    )
    return Contents("Engineering universality", sections, text, LIMITS)


def _title(method: str) -> str:
    return NAMES.get(method, method)


def _methods(rows: Sequence[Row], engineered: bool = False) -> list[str]:
    found = dict.fromkeys(row["factor_method"] for row in rows)
    return [name for name in found if not (engineered and name in BASELINES and name != "topk")]


def _worlds(rows: Sequence[Row], number: Callable[..., float], *args: Any) -> dict[Any, float]:
    return dict(by_world(lambda found: number(found, *args))(rows))


def _shown(rows: Sequence[Row], number: Callable[..., float], *args: Any) -> str:
    return with_interval(_worlds(rows, number, *args))


def _crossing(method: str, x: dict[Any, float], y: dict[Any, float]) -> list[dict[str, Any]]:
    a, b = (mean_interval(list(values.values())) for values in (x, y))
    if not (a.n and b.n):
        return []
    ends = {"x_lo": a.lo, "x_hi": a.hi, "y_lo": b.lo, "y_hi": b.hi}
    return [{"method": method, "x": a.estimate, "y": b.estimate, **ends}]


def _front(rows: Sequence[Row]) -> list[dict[str, Any]]:
    return [
        {**record, "samples": _samples(rows, method)}
        for method in _methods(rows)
        for record in _crossing(
            method, _worlds(rows, claims.inside, method, "f1"), _worlds(rows, claims.true, method)
        )
    ]


def _samples(rows: Sequence[Row], method: str) -> int:
    return next(row["factor_samples"] for row in rows if row["factor_method"] == method)


def _pareto(rows: Sequence[Row], width: str):
    records = _front(rows)
    if not records:
        return ()
    shown = {"methods": _methods(rows), "names": NAMES}
    plot = crossed(records, "f1", "universality", width, front="samples", **shown)
    text = "A dot per method, intervals over worlds; none below five worlds."
    return (page.Captioned(plot, text, "pareto"),)


def _gained(rows: Sequence[Row], width: str):
    records = [
        record
        for method in _methods(rows, engineered=True)
        for record in _crossing(
            method,
            _worlds(rows, claims.true_gain, method),
            _worlds(rows, claims.net_gain, method, CODES),
        )
    ]
    if not records:
        return ()
    shown = {"methods": _methods(rows), "names": NAMES}
    plot = crossed(records, "true_gain", "net_gain", width, diagonal=True, **shown)
    text = "Correlation of codes against truth, both as gains; intervals over worlds."
    return (page.Captioned(plot, text, "gains"),)


def _gains(rows: Sequence[Row]) -> tables.Table:
    records = []
    for method in _methods(rows, engineered=True):
        values = {"true universality": _shown(rows, claims.true_gain, method)}
        for score in (PW_MCC, NEAREST, CODES):
            values[f"{NAMES[score]}, net"] = _shown(rows, claims.net_gain, method, score)
        values["MCC with features"] = _shown(rows, claims.inside_gain, method, "mcc")
        values["PW-MCC beyond it"] = _shown(rows, claims.pseudo, method)
        # a method without pairs between groups has its values below
        if any(values.values()):
            records.append({"method": _title(method), **values})
    return tables.plain(records, title="Gains between groups over the baseline")


def _zeros(rows: Sequence[Row]) -> tables.Table:
    records = []
    for method in _methods(rows):
        values = {}
        for score in (PW_MCC, NEAREST, CODES):
            for condition in (SHARED, *ZEROS):
                title = f"{NAMES[score]}: {NAMES[condition]}"
                values[title] = _shown(rows, claims.apparent, method, score, condition)
        chance = _shown(rows, claims.apparent, method, f"{PW_MCC}/chance")
        if any(values.values()):
            records.append({"method": _title(method), **values, "random rows": chance})
    return tables.plain(records)


def _within(rows: Sequence[Row]) -> tuple[tables.Table, ...]:
    return tuple(table for table in (_forced(rows), _implied(rows)) if table.rows)


def _forced(rows: Sequence[Row]) -> tables.Table:
    records = []
    for method in _methods(rows):
        for condition in (SHARED, "independent", *ZEROS):
            values = {
                NAMES[score]: _shown(rows, claims.apparent, method, score, condition, WITHIN)
                for score in (PW_MCC, NEAREST, CODES)
            }
            if any(values.values()):
                at = {"method": _title(method), "models": NAMES[condition]}
                records.append({**at, **values})
    return tables.plain(records, title="Two SAEs of one group")


def _implied(rows: Sequence[Row]) -> tables.Table:
    records = []
    for method in _methods(rows):
        values = {
            NAMES[condition]: _shown(rows, claims.declared, method, condition)
            for condition in ("independent", "disjoint")
        }
        if any(values.values()):
            records.append({"joint SAE": _title(method), **values})
    return tables.plain(records, title="Overlap that joint SAEs imply")


def _quality(rows: Sequence[Row]) -> tables.Table:
    records = []
    for method in _methods(rows):
        f1 = _shown(rows, claims.inside, method, "f1")
        if not f1:
            continue
        least, most = (
            mean(rows, factor_method=method, variant=TRUTH, metric=f"tracked_{end}")
            for end in ("least", "most")
        )
        records.append(
            {
                "method": _title(method),
                "samples": f"{_samples(rows, method)} x",
                "F1": f1,
                "MCC": _shown(rows, claims.inside, method, "mcc"),
                "EV": _shown(rows, claims.inside, method, "explained_variance"),
                "L0": _shown(rows, claims.inside, method, "l0"),
                "true latents": _shown(rows, claims.inside, method, "tracked", TRUTH),
                "least to most": f"{least:.2f} to {most:.2f}",
                "of several seeds": _shown(rows, claims.inside, method, "stable", TRUTH),
                "price": _shown(rows, claims.price, method),
            }
        )
    return tables.plain(records)


def _found(rows: Sequence[Row]) -> str:
    records = _front(rows)
    if not records:
        return "No pair between groups was scored."
    fronts = [
        f"{' and '.join(_title(r['method']) for r in pareto(group))} (of {samples} x samples)"
        for samples in sorted({r["samples"] for r in records})
        if (group := [r for r in records if r["samples"] == samples])
    ]
    gains = {
        method: _worlds(rows, claims.true_gain, method)
        for method in _methods(rows, engineered=True)
    }
    means = {method: mean_interval(list(found.values())) for method, found in gains.items()}
    known = {method: found.estimate for method, found in means.items() if found.n}
    said = f"On the fronts of true universality and F1 stand {', '.join(fronts)}"
    if not known or all(math.isnan(value) for value in known.values()):
        return f"{said}; no method has a baseline with as many samples here."
    best = max(known, key=lambda method: known[method])
    return (
        f"{said}; over a baseline with as many samples the largest true gain is that of "
        f"{_title(best)}, {with_interval(gains[best])}."
    )


def _false(rows: Sequence[Row]) -> str:
    judged = [r for r in verdicts(rows) if r["hypothesis"].startswith("H5a")]
    pseudo = [r["hypothesis"].removeprefix("H5a ") for r in judged if r["verdict"] == "supported"]
    said = ", ".join(map(_title, pseudo)) or "none of the methods tried"
    universal = _shown(rows, claims.declared, "universal") or "unknown"
    crosscoder = _shown(rows, claims.declared, "crosscoder") or "unknown"
    return (
        f"Agreement rises by more than .1 beyond any true gain with {said}; on models without a "
        f"common feature a universal SAE implies an overlap of {universal} and a crosscoder one "
        f"of {crosscoder}."
    )
