"""The pages of universality and of the main job: what rules declare shared, and what is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from synthsae_jax.report import dots, marks, page, sharing, tables
from synthsae_jax.report.folder_page import READING, Contents, pages
from synthsae_jax.report.sharing_protocols import READ_PROTOCOLS, by_protocol, protocol_cells
from synthsae_jax.report.summary import interval_of, summarise
from synthsae_jax.stats import mean_interval

Row = Mapping[str, Any]
NAMES = {
    "f1": "F1",
    "mcc": "MCC",
    "l0": "L0",
    "explained_variance": "explained variance",
    "": "inference rule",
    "train": "training rule",
}
LIMITS = (
    "- Synthetic features are linear, sparse and independent of any task. How an SAE ranks here "
    "says how it handles superposition, hierarchy and correlation, not how well it explains a "
    "language model.\n"
    "- Explained variance above its ceiling means that latents fit interference: the ceiling is "
    "what the most frequent features' true codes explain.\n"
    "- Uniqueness has a high chance level: read it beside that number."
)
MAIN_SCORES = ("f1", "mcc", "explained_variance", "l0")
RULES = {
    "best_correlation_0.1": "best correlation > .1",
    "decoder_cosine_0.7_raw": "decoder cosine > .7, raw",
    "decoder_cosine_0.7_aligned": "decoder cosine > .7, aligned",
    "half_rotated": "half shared, rotated",
    "half": "half shared, independent",
    "disjoint_independent": "disjoint, independent",
    "disjoint_coupled": "disjoint, coupled",
}
HEADS = {
    "best_correlation_0.1": "corr. > .1",
    "decoder_cosine_0.7_raw": "cos. > .7 raw",
    "decoder_cosine_0.7_aligned": "cos. > .7 aligned",
}
CONDITIONS = (
    "Model B beside model A: identical directions; the same features rotated; the same features "
    "in independent directions; half of the features, rotated; no feature in common with a stream "
    "of its own (disjoint, independent); no feature in common but the same copula factors and the "
    "same number of active features on each token (disjoint, coupled)."
)
READ_SHARING = (
    "Declared: the share of living latents that a rule calls shared. In common: the features that "
    "both models have. True: the share of latents that track the same feature on both sides, by "
    "direction (cosine .7) and by firing (F1 .5), with the range over other definitions behind "
    "it; it is lower where training did not find the features. Right: of the pairs a rule names, "
    "how many are about the same feature. A declared share far above the true one is universality "
    "that is not there. In brackets: outside the rule's stated use."
)


@pages.register("universality")
def universality(rows: Sequence[Row], width: str) -> Contents:
    """One section per architecture, and the error of each rule over the grid."""
    first = rows[0]
    lead = (
        f"Pairs of SAEs on models of preset {first['world']}. For each pair it is known which "
        "features both models have; each rule sees only what its authors see."
    )
    errors = _errors(rows)
    sections = [
        page.Section(
            "How far declared sharing is from true sharing",
            f"{READING} The error is |declared - features in common|, averaged over the grid of "
            "conditions; cells outside a rule's stated use count in the second column only.",
            (tables.plain(errors),),
        ),
        *_sections(rows, width),
    ]
    return Contents("Declared against true sharing", sections, lead, LIMITS)


@pages.register("quick")
def quick(rows: Sequence[Row], width: str) -> Contents:
    """Recovery on the reference artefact, then sharing in the family."""
    recovery = [r for r in rows if not r.get("condition")]
    pairs = [r for r in rows if r.get("condition")]
    sections = []
    if recovery:
        seeds = len({r["init_seed"] for r in recovery if r["init_seed"] is not None})
        records = summarise(recovery, ("sae",), MAIN_SCORES, unit="run")
        plot = dots.dot_plot(records, "sae", width=width, names=NAMES)
        text = (
            "SAEs of width 256 on saelens-1k, a synthetic model written by SAELens with 1,024 "
            f"features in 128 dimensions: {recovery[0]['n_train']:,} training samples, {seeds} "
            "init seeds each, all settings of an architecture in one compiled program. Chance is "
            "an untrained topk SAE of k 10, the ceiling the 256 most frequent features with their "
            "true codes."
        )
        caption = f"Recovery on the reference artefact. {marks.READING}"
        sections.append(
            page.Section(
                "How well do SAEs find the true features?",
                text,
                (tables.from_records(records, title="Recovery on saelens-1k"),),
                (page.Captioned(plot, caption, "recovery"),),
            )
        )
    sections += _sections(pairs, width)
    lead = (
        "Features of a synthetic model are known, so two questions have answers: how well does an "
        "SAE find the features, and when two SAEs are said to share features, do they? A setting "
        "that is badly tuned on purpose shows what the numbers do then."
    )
    return Contents("The main job", sections, lead, LIMITS)


def _sections(rows: Sequence[Row], width: str) -> list[page.Section]:
    """A section per architecture: table and figure of all conditions and rules, protocols."""
    found = []
    for sae in dict.fromkeys(r["sae"] for r in rows):
        of_sae = [r for r in rows if r["sae"] == sae]
        here = [r for r in of_sae if not by_protocol(r)]
        table, data = _cells(here)
        firings = [r["value"] for r in here if r["metric"] == "median_firings" and r["value"]]
        context = (
            f"{here[0]['n_eval']:,} tokens; median firings of a latent {np.median(firings):,.0f}."
        )
        who = "oracle SAEs (true directions, true codes)" if sae == "oracle" else sae
        name = "sharing-" + "".join(c if c.isalnum() else "-" for c in sae).strip("-")
        plot = sharing.sharing_plot(data, width=width, x_label="share", names=RULES)
        caption = f"Declared and true sharing, {who}: {context} {CONDITIONS}"
        shown = [tables.plain(table, title=f"Sharing, {who}", note=context)]
        asked = [r for r in of_sae if by_protocol(r)]
        if asked:
            title = f"Published protocols, {who}"
            shown.append(
                tables.plain(protocol_cells(asked, RULES), title=title, note=READ_PROTOCOLS)
            )
        found.append(
            page.Section(
                f"When are features called shared? {who}",
                READ_SHARING,
                tuple(shown),
                (page.Captioned(plot, caption, name),),
            )
        )
    return found


def _cells(rows: Sequence[Row]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """A record per condition for the table, and one per condition and rule for the figure."""
    conditions = list(dict.fromkeys(r["condition"] for r in rows))
    rules = list(dict.fromkeys(r["variant"] for r in rows))
    table, data = [], []
    for condition in conditions:
        of = lambda metric, rule, condition=condition: [
            r
            for r in rows
            if (r["condition"], r["metric"], r["variant"]) == (condition, metric, rule)
        ]
        shared = _mean(of("features_shared", rules[0]))
        true = _mean(of("true_universality", rules[0]))
        band = [_mean(of(f"true_universality_{end}", rules[0])) for end in ("least", "most")]
        line: dict[str, Any] = {
            "model B": RULES.get(condition, condition),
            "in common": _percent(shared),
            "true (range)": f"{_percent(true)} ({100 * band[0]:.0f}-{100 * band[1]:.0f})",
        }
        for rule in rules:
            declared = of("declared_shared", rule)
            interval = interval_of(declared, "top") if _spans(declared) else None
            stated = bool(declared[0]["factor_stated_use"])
            value = _mean(declared)
            right = _mean(of("precision", rule))
            text = _percent(value) + ("" if math.isnan(right) else f", {_percent(right)} right")
            line[HEADS.get(rule, rule)] = text if stated else f"({text})"
            data.append(
                {
                    "condition": condition,
                    "rule": rule,
                    "declared": value,
                    "true": true,
                    "lo": interval.lo if interval else None,
                    "hi": interval.hi if interval else None,
                    "points": [r["value"] for r in declared if r["value"] is not None],
                    "stated_use": stated,
                }
            )
        table.append(line)
    return table, data


def _errors(rows: Sequence[Row]) -> list[dict[str, Any]]:
    found = []
    errors = [r for r in rows if r["metric"] == "sharing_error" and r["value"] is not None]
    for sae in dict.fromkeys(r["sae"] for r in errors):
        for rule in dict.fromkeys(r["variant"] for r in errors):
            here = [r for r in errors if (r["sae"], r["variant"]) == (sae, rule)]
            if not here:  # protocols that this architecture was not put through
                continue
            stated = [r for r in here if r["factor_stated_use"]]
            found.append(
                {
                    "SAE": sae,
                    "rule": RULES.get(rule, rule),
                    "error, stated use": _with_interval(stated),
                    "error, whole grid": _with_interval(here),
                }
            )
    return found


def _with_interval(rows: Sequence[Row]) -> str:
    """Mean over conditions, and its interval over worlds where there are enough."""
    if not rows:
        return ""
    worlds: dict[Any, list[float]] = {}
    for r in rows:
        worlds.setdefault(r["world_seed"], []).append(r["value"])
    found = mean_interval([float(np.mean(v)) for v in worlds.values()])
    text = f"{found.estimate:.3f}"
    return text if found.lo is None else f"{text} [{found.lo:.3f}, {found.hi:.3f}]"


def _spans(rows: Sequence[Row]) -> bool:
    return len({r["world_seed"] for r in rows}) > 1


def _mean(rows: Sequence[Row]) -> float:
    values = [r["value"] for r in rows if r["value"] is not None]
    return float(np.mean(values)) if values else math.nan


def _percent(value: float) -> str:
    return "undef." if math.isnan(value) else f"{100 * value:.0f} %"
