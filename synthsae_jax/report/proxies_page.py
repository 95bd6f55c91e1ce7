"""The page of proxies: the 2x2 of true and reproduced, AUROCs, what ranks SAEs, verdicts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from synthsae_jax.experiments.proxies.claims import (
    area,
    histograms,
    quadrants,
    rank_with_f1,
    stable_but_untrue,
)
from synthsae_jax.experiments.proxies.latents import PROXIES
from synthsae_jax.io.rows import Row
from synthsae_jax.report import dots, marks, matrix, page, tables
from synthsae_jax.report.experiment_page import how_sure, lead, verdict_section
from synthsae_jax.report.folder_page import Contents, pages
from synthsae_jax.stats import Interval, mean_interval
from synthsae_jax.suite.study import by_world, select

NAMES = {
    "reappearance_decoder": "reappears in seeds, decoder cosine .7",
    "reappearance_codes": "reappears in seeds, code correlation .5",
    "best_cosine": "best decoder cosine, seeds",
    "best_correlation": "best code correlation, seeds",
    "cycle": "cycle consistency over seeds",
    "encoder_decoder": "encoder aligned with decoder",
    "firing_rate": "firing rate",
    "universality_credence": "universality_credence, seeds",
    "best_correlation_architectures": "best correlation, other architectures",
    "best_correlation_models": "best correlation, another model",
    "pw_mcc": "PW-MCC",
    "low_l0": "low L0",
    "matching_pursuit": "matching pursuit",
    "standard": "L1",
    "topk": "TopK",
    "true_reproduced": "true, reproduced",
    "true_single": "true, not",
    "artefact_reproduced": "artefact, reproduced",
    "artefact_single": "artefact, not",
    "q1": "rarest quarter",
    "q4": "most frequent quarter",
}
SAE_PROXIES = (*PROXIES[:8], "pw_mcc", "explained_variance", "low_l0", "alive")
WITNESSES = ("seeds, decoder", "seeds, codes", "architectures", "models")
STABLE = WITNESSES[0]
LIMITS = (
    "- A latent is true where direction and firing name one feature (cosine and F1 thresholds of "
    "the default truth); `any` counts it as soon as one method at one threshold does.\n"
    "- Reproduced by seeds: in both other seeds, by decoder cosine >= .7 in the optimal "
    "assignment or mean best code correlation >= .5; architectures and models by the latter.\n"
    "- Three seeds a setting; F1 here is that of firing with the feature of the nearest direction."
)
Rows = list[Row]


@pages.register("proxies")
def proxies(rows: Sequence[Row], width: str) -> Contents:
    """2x2, AUROCs, reliability, ranks of SAEs, verdicts."""
    text = lead(
        "Which number that needs no truth tells whether a latent is true, and which SAE is good?",
        [_stable_sentence(rows), _best_sentence(rows)],
        how_sure(rows),
        "It does not show what share of a language model's stable latents is true: only that "
        "stability does not settle it, and by how much here.",
    )
    sections = [
        page.Section(
            "Stable is not true",
            "Living latents by whether they track a feature and whether all other seeds have them "
            "(decoder cosine >= .7), as shares of all, by architecture and firing rate.",
            (_quadrant_table(rows),),
            _quadrant_figure(rows, width),
        ),
        page.Section(
            "Witnesses",
            "Of the latents that are reproduced, the share that track nothing, by who reproduces "
            "them and by what is called true.",
            (_witness_table(rows),),
        ),
        page.Section(
            "What predicts that a latent is true",
            "AUROC over living latents, mean over architectures; chance is 1/2.",
            (),
            _area_figure(rows, width),
        ),
        page.Section(
            "What a value means",
            "Share of true latents by value of the proxy, all architectures.",
            (_value_table(rows),),
        ),
        page.Section(
            "What ranks SAEs",
            "Spearman correlation with F1 over the settings of a world.",
            (),
            _rank_figure(rows, width),
        ),
        verdict_section(rows),
    ]
    return Contents("Proxies of the truth", sections, text, LIMITS)


def _arms(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(r["factor_arm"] for r in rows))


def _over_worlds(rows: Sequence[Row], of: Callable[[Rows], float]) -> Interval:
    return mean_interval(list(by_world(of)(rows).values()))


def _stable_sentence(rows: Sequence[Row]) -> str:
    said = []
    for arm in _arms(rows):
        at = {"factor_arm": arm, "factor_truth": "agree"}
        share = _over_worlds(rows, lambda r, at=at: stable_but_untrue(r, STABLE, **at)).estimate
        if not math.isnan(share):
            said.append(f"{100 * share:.0f} % in the {arm} worlds")
    if not said:
        return "No latent was reproduced by all seeds."
    return f"Of the latents that all seeds reproduce, {' and '.join(said)} track no single feature."


def _best_sentence(rows: Sequence[Row]) -> str:
    arm = _arms(rows)[0]
    areas = {p: _over_worlds(rows, lambda r, p=p: area(r, p, arm)).estimate for p in PROXIES}
    areas = {p: v for p, v in areas.items() if not math.isnan(v)}
    if not areas:
        return "No proxy could be scored."
    best = max(areas, key=lambda p: areas[p])
    return f"The best predictor in the {arm} worlds is '{NAMES[best]}', AUROC {areas[best]:.2f}."


def _shares(rows: Sequence[Row], **columns: Any) -> dict[str, float]:
    found = quadrants(list(rows), STABLE, **columns)
    total = sum(found.values())
    return {kind: n / total if total else math.nan for kind, n in found.items()}


def _quadrant_figure(rows: Sequence[Row], width: str) -> tuple[page.Captioned, ...]:
    figures = []
    for arm in _arms(rows):
        records = []
        for label in _architectures(rows):
            for q in ("q1", "q2", "q3", "q4"):
                at = {"factor_arm": arm, "factor_truth": "agree"}
                shares = _shares(rows, condition=label, factor_stratum=q, **at)
                name = f"{NAMES.get(label, label)}, {q}"
                records += [
                    {"latents": name, "kind": kind, "estimate": share}
                    for kind, share in shares.items()
                    if not math.isnan(share)
                ]
        if records:
            title = f"{arm} worlds"
            plot = matrix.matrix_plot(
                records, "latents", "kind", width=width, names=NAMES, title=title
            )
            caption = f"The 2 x 2 in the {arm} worlds; q1 is the rarest quarter of the latents."
            figures.append(page.Captioned(plot, caption, f"quadrants-{arm}"))
    return tuple(figures)


def _architectures(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(r["condition"] for r in select(rows, metric="auroc")))


def _quadrant_table(rows: Sequence[Row]) -> tables.Table:
    records = []
    for arm in _arms(rows):
        for label in _architectures(rows):
            shares = _shares(rows, condition=label, factor_arm=arm, factor_truth="agree")
            if all(map(math.isnan, shares.values())):
                continue
            records.append(
                {
                    "worlds": arm,
                    "architecture": NAMES.get(label, label),
                    **{NAMES[kind]: _text(share) for kind, share in shares.items()},
                }
            )
    return tables.plain(records)


def _witness_table(rows: Sequence[Row]) -> tables.Table:
    records = []
    for arm in _arms(rows):
        for truth in ("agree", "any"):
            record: dict[str, Any] = {"worlds": arm, "truth": truth}
            for witness in WITNESSES:
                at = {"factor_arm": arm, "factor_truth": truth}
                found = _over_worlds(
                    rows, lambda r, w=witness, at=at: stable_but_untrue(r, w, **at)
                )
                record[witness] = _interval(found)
            records.append(record)
    return tables.plain(records)


def _area_figure(rows: Sequence[Row], width: str) -> tuple[page.Captioned, ...]:
    records = []
    for arm in _arms(rows):
        for proxy in PROXIES:
            found = _over_worlds(rows, lambda r, p=proxy, a=arm: area(r, p, a))
            if not math.isnan(found.estimate):
                records.append(_record(found, proxy=proxy, metric=f"{arm} worlds", chance=0.5))
    if not records:
        return ()
    plot = dots.dot_plot(records, "proxy", width=width, names=NAMES)
    return (page.Captioned(plot, f"AUROC of proxies. {marks.READING}", "auroc"),)


def _rank_figure(rows: Sequence[Row], width: str) -> tuple[page.Captioned, ...]:
    records = []
    for arm in _arms(rows):
        for proxy in SAE_PROXIES:
            found = _over_worlds(rows, lambda r, p=proxy, a=arm: rank_with_f1(r, p, a))
            if not math.isnan(found.estimate):
                records.append(_record(found, proxy=proxy, metric=f"{arm} worlds", chance=0.0))
    if not records:
        return ()
    plot = dots.dot_plot(records, "proxy", width=width, names=NAMES)
    return (page.Captioned(plot, f"Rank correlation with F1. {marks.READING}", "ranks"),)


def _value_table(rows: Sequence[Row]) -> tables.Table:
    records = []
    for arm in _arms(rows):
        for proxy in ("universality_credence", "best_correlation", "reappearance_decoder"):
            true, artefact = histograms(list(rows), proxy, arm)
            record: dict[str, Any] = {"worlds": arm, "proxy": NAMES[proxy]}
            for b, (t, n) in enumerate(zip(true, true + artefact, strict=True)):
                here = f"{b / len(true):.1f} to {(b + 1) / len(true):.1f}"
                record[here] = f"{t / n:.2f} of {int(n)}" if n else ""
            records.append(record)
    return tables.plain(records)


def _record(interval: Interval, **more: Any) -> dict[str, Any]:
    ends = {"estimate": interval.estimate, "lo": interval.lo, "hi": interval.hi}
    return {**more, **ends, "points": interval.points}


def _interval(found: Interval) -> str:
    ends = "" if found.lo is None or found.hi is None else f" [{found.lo:.2f}, {found.hi:.2f}]"
    return _text(found.estimate) + ends


def _text(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.2f}"
