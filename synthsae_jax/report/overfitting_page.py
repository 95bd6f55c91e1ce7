"""The page of overfitting: what a pursuit gains in fit, loses in sharing, and shares of noise."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

from synthsae_jax.experiments.architectures.numbers import MATCHED
from synthsae_jax.experiments.overfitting.claims import (
    CORRELATION,
    FRESH,
    LINEAR_SAE,
    PURSUIT,
    SAME,
    at,
    equal_ev,
    excess,
    explained,
)
from synthsae_jax.io.rows import Row
from synthsae_jax.report import lines, marks, page, tables
from synthsae_jax.report.experiment_page import how_sure, lead, verdict_section
from synthsae_jax.report.folder_page import Contents, pages
from synthsae_jax.stats import mean_interval
from synthsae_jax.suite.study import mean, select

SAES = (PURSUIT, LINEAR_SAE)
NAMES = {
    PURSUIT: "matching pursuit",
    LINEAR_SAE: "BatchTopK",
    "k": "multiple of the target L0",
    "explained_variance": "explained variance",
    "unmatched_artefacts": "artefacts among unmatched",
    "precision": "precision of r > .1",
    "shared_artefacts": "shared artefacts",
    "shared_artefact_rate": "artefact pairs among matches",
}
# metric, variant of a pair's rows
PAIRED = (
    ("true_universality", "truth"),
    ("precision", CORRELATION),
    ("unmatched_artefacts", MATCHED),
)
LIMITS = (
    "- One small world without trees per unit, at one width.\n"
    "- An artefact is a living latent that tracks no feature by the default truth (direction and "
    "firing agree); the table gives the band over other truths.\n"
    "- Equal EV is the nearest on a grid of k; the table gives what is left between them."
)
READ_CURVES = (
    "At equal L0, pairs on fresh dictionaries: models with the same features in independent "
    "directions. Explained variance may rise with k while what is truly shared falls."
)
READ_NOISE = (
    "Of the latents that track nothing, the share matched (codes correlate at .5 or more) with one "
    "that tracks nothing in the other SAE. If they are noise of a dictionary, two runs on it share "
    "them and runs on another dictionary do not: the distance between the lines is the primary "
    "number. Chance: the lines lie on each other."
)


@pages.register("overfitting")
def overfitting(rows: Sequence[Row], width: str) -> Contents:
    """Curves over k, shared artefacts, equal explained variance, swapped encoders, verdicts."""
    ks = multiples(rows)
    sections = [
        page.Section("Fit and sharing", READ_CURVES, (), _curves(rows, ks, width)),
        page.Section(
            "Shared artefacts", READ_NOISE, (_noise_table(rows, ks),), _noise(rows, width)
        ),
        page.Section(
            "At equal explained variance",
            "BatchTopK at the k of the grid whose explained variance is nearest; pairs on fresh "
            "dictionaries.",
            (_equal_table(rows, ks),),
        ),
        page.Section(
            "Another encoder on the same dictionary",
            "Support: Jaccard of each token's active latents before and after. Features kept: of "
            "the latents that track a feature, the share that still tracks it.",
            (_swap_table(rows),),
        ),
        verdict_section(rows),
    ]
    text = lead(
        "Does matching pursuit learn the noise of a dictionary?",
        [_found(rows, ks), _fit(rows, ks)],
        how_sure(rows),
        "It does not show which of a language model's latents are such noise.",
    )
    title = "Does matching pursuit learn a dictionary's noise?"
    return Contents(title, sections, text, LIMITS)


def multiples(rows: Sequence[Row]) -> list[float]:
    """The multiples of the L0 at which there is a pursuit."""
    return sorted({r["factor_k"] for r in select(rows, sae=PURSUIT, condition=SAME)})


def _found(rows: Sequence[Row], ks: Sequence[float]) -> str:
    k = 2.0 if 2.0 in ks else max(ks)
    own, other = (excess(rows, sae, k) for sae in SAES)
    beside = "" if math.isnan(other) else f" (BatchTopK at equal L0: {other:+.2f})"
    return (
        f"At {k:g} times the L0, two runs of matching pursuit on one dictionary share "
        f"{own:+.2f} more of their artefacts than two on fresh ones{beside}."
    )


def _fit(rows: Sequence[Row], ks: Sequence[float]) -> str:
    low, high = min(ks), max(ks)
    true = [at(rows, PURSUIT, k, FRESH, "true_universality", "truth") for k in (low, high)]
    fit = [explained(rows, PURSUIT, k) for k in (low, high)]
    return (
        f"From {low:g} to {high:g} times the L0 its explained variance goes from {fit[0]:.2f} to "
        f"{fit[1]:.2f}, and what two of them truly share from {true[0]:.2f} to {true[1]:.2f}."
    )


def _worlds(rows: Sequence[Row], of_world: Callable[[list[Row]], float]) -> list[float]:
    seeds = dict.fromkeys(row["world_seed"] for row in rows)
    return [of_world([r for r in rows if r["world_seed"] == seed]) for seed in seeds]


def _record(found: Sequence[float], **more: Any) -> dict[str, Any]:
    interval = mean_interval(found)
    ends = {"lo": interval.lo, "hi": interval.hi, "points": interval.points}
    return {**more, "estimate": interval.estimate, **ends}


def _curves(rows: Sequence[Row], ks: Sequence[float], width: str) -> tuple[page.Captioned, ...]:
    records = []
    for sae in SAES:
        for k in ks:
            asked = {
                "explained_variance": functools.partial(explained, sae=sae, k=k),
                **{
                    metric: functools.partial(
                        at, sae=sae, k=k, condition=FRESH, metric=metric, variant=variant
                    )
                    for metric, variant in PAIRED
                },
            }
            records += [
                _record(_worlds(rows, of_world), k=f"{k:g}", sae=sae, metric=metric)
                for metric, of_world in asked.items()
            ]
    records = [r for r in records if not math.isnan(r["estimate"])]
    if not records:
        return ()
    records.sort(key=lambda r: ["explained_variance", *dict(PAIRED)].index(r["metric"]))
    plot = lines.line_plot(records, "k", "sae", width=width, names=NAMES)
    return (page.Captioned(plot, f"Against k, at equal L0. {marks.READING}", "fit"),)


def _noise(rows: Sequence[Row], width: str) -> tuple[page.Captioned, ...]:
    records = []
    for sae in SAES:
        for k in multiples(rows):
            for condition in (SAME, FRESH):
                found = _worlds(
                    rows,
                    functools.partial(
                        at, sae=sae, k=k, condition=condition, metric="shared_artefacts"
                    ),
                )
                said = NAMES[sae]
                records.append(_record(found, k=f"{k:g}", dictionary=condition, metric=said))
    records = [r for r in records if not math.isnan(r["estimate"])]
    if not records:
        return ()
    plot = lines.line_plot(records, "k", "dictionary", width=width, names=NAMES)
    return (page.Captioned(plot, f"Shared artefacts against k. {marks.READING}", "noise"),)


def _noise_table(rows: Sequence[Row], ks: Sequence[float]) -> tables.Table:
    records = []
    for sae in SAES:
        for k in ks:
            number = functools.partial(_at, rows, sae, k)
            records.append(
                {
                    "SAE": NAMES[sae],
                    "k": k,
                    "same dictionary": number(SAME, "shared_artefacts"),
                    "fresh": number(FRESH, "shared_artefacts"),
                    "difference": _rounded(excess(rows, sae, k)),
                    "band, same": _band(rows, sae, k, SAME),
                    "band, fresh": _band(rows, sae, k, FRESH),
                    "pairs of artefacts among matches, same": number(SAME, "shared_artefact_rate"),
                    "fresh ": number(FRESH, "shared_artefact_rate"),
                }
            )
    return tables.plain(records)


def _at(rows: Sequence[Row], sae: str, k: float, condition: str, metric: str) -> float | None:
    return _rounded(at(rows, sae, k, condition, metric))


def _mean(rows: Sequence[Row], where: dict[str, Any], metric: str) -> float | None:
    return _rounded(mean(rows, metric=metric, **where))


def _band(rows: Sequence[Row], sae: str, k: float, condition: str) -> str:
    ends = [at(rows, sae, k, condition, f"shared_artefacts_{end}") for end in ("least", "most")]
    return "" if math.isnan(ends[0]) else f"{ends[0]:.2f} to {ends[1]:.2f}"


def _equal_table(rows: Sequence[Row], ks: Sequence[float]) -> tables.Table:
    records = []
    for k in ks:
        asked: dict[str, Callable[[list[Row]], float]] = {
            "BatchTopK's k": functools.partial(equal_ev, k=k),
            "EV": functools.partial(explained, sae=PURSUIT, k=k),
            "BatchTopK's EV less it": functools.partial(
                mean, sae=PURSUIT, factor_k=k, variant="equal_ev", metric="gap"
            ),
        }
        for metric, variant in (*PAIRED, ("shared_artefacts", MATCHED)):
            said = NAMES.get(metric, metric.replace("_", " "))
            asked[said] = functools.partial(
                at, sae=PURSUIT, k=k, condition=FRESH, metric=metric, variant=variant
            )
            asked[f"{said}, BatchTopK"] = functools.partial(_beside, k, metric, variant)
        found = {said: _worlds(rows, of_world) for said, of_world in asked.items()}
        means = {said: _rounded(mean_interval(v).estimate) for said, v in found.items()}
        records.append({"pursuit's k": k, **means})
    return tables.plain(records)


def _beside(k: float, metric: str, variant: str, rows: list[Row]) -> float:
    return at(rows, LINEAR_SAE, equal_ev(rows, k), FRESH, metric, variant)


def _swap_table(rows: Sequence[Row]) -> tables.Table:
    records = []
    for sae in SAES:
        for encoder in ("linear", "pursuit"):
            where = {"sae": sae, "variant": "swapped", "condition": f"encoder: {encoder}"}
            number = functools.partial(_mean, rows, where)
            records.append(
                {
                    "dictionary of": NAMES[sae],
                    "encoder": encoder,
                    "F1": number("f1"),
                    "its own F1": _rounded(
                        mean(rows, sae=sae, variant="", metric="f1", factor_k=1.0)
                    ),
                    "EV": number("explained_variance"),
                    "support": number("support_jaccard"),
                    "features kept": number("tau_kept"),
                    "band": f"{number('tau_kept_least')} to {number('tau_kept_most')}",
                }
            )
    return tables.plain([r for r in records if r["F1"] is not None])


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 3)
