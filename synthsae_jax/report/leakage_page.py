"""The page of leakage: what a common start or order of data fakes, by length of the training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from synthsae_jax.experiments.leakage.claims import (
    BOTH,
    FRESH,
    SAME_INIT,
    SAME_ORDER,
    faked,
)
from synthsae_jax.io.rows import Row
from synthsae_jax.report import dots, lines, marks, page, tables
from synthsae_jax.report.experiment_page import (
    how_sure,
    lead,
    over_worlds,
    verdict_section,
    with_interval,
)
from synthsae_jax.report.folder_page import Contents, pages
from synthsae_jax.suite.study import by_world, mean, select

SHARED = "shared, other init, other order"
NAMES = {
    FRESH: "nothing in common (chance)",
    SAME_INIT: "same start",
    SAME_ORDER: "same order",
    BOTH: "same start and order",
    SHARED: "shared model, nothing else",
    "dead": "dead",
    "q1": "rarest quarter",
    "q2": "second",
    "q3": "third",
    "q4": "most frequent quarter",
    "trained": "share of the training",
    "faked": "latents above .7 from a common start",
    "near_start": "latents still near their own start",
}
READ_TABLE = (
    "Two models without a common feature, SAEs from the same start in different orders of data: "
    "the share of latents whose partner under the optimal assignment has a raw decoder cosine of "
    ".7 or more, less the same share from different starts. That is what a start alone can fake; 0 "
    "is right. Short trainings are runs of an eighth of the samples with a decay of their own."
)
READ_CURVES = (
    "The same share before any difference is taken, after none, 1 %, 10 % and all of the "
    "training. The share of SAEs on one model from other starts and other orders stands beside it: "
    "these latents are alike because the features are the same."
)
READ_WHERE = (
    "Latents of the first SAE by how often they fire, at the end: how many have a partner above .7 "
    "on the disjoint model from a common start, and how many still point to where they started."
)
LIMITS = (
    "- Small worlds without trees; one learning rate for each scale. A start is forgotten at the "
    "speed at which weights move, so larger or slower trainings keep more of it.\n"
    "- In the same order a feature and its twin on the other model fire on the same training "
    "tokens: the most that a common text could couple them. Pairs are read on tokens where they "
    "fire apart.\n"
    "- Runs on one model from one start in one order are one run, and left out."
)


@pages.register("leakage")
def leakage(rows: Sequence[Row], width: str) -> Contents:
    """A number per architecture and length, curves over training, where it sits, verdicts."""
    sections = [
        page.Section("What a start can fake", READ_TABLE, (_table(rows),)),
        page.Section("Over the training", READ_CURVES, (), _curves(rows, width)),
        page.Section("Which latents", READ_WHERE, (), _where(rows, width)),
        page.Section("What rules declare", _RULES, (_rules(rows),)),
        verdict_section(rows),
    ]
    text = lead(
        "How much universality can a shared initialisation or a shared order of data fake?",
        [_found(rows), _order(rows)],
        how_sure(rows),
        "It does not show what leaks in trainings of other lengths and learning rates, nor "
        "through a start that was fitted to data.",
    )
    return Contents("Leakage of initialisation and data order", sections, text, LIMITS)


_RULES = (
    "Living latents declared shared at the end of the training, on models without a common "
    "feature. r > .1 has a floor of its own, since each latent takes the best of many."
)


def _arms(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row["factor_arm"] for row in rows))


def _stages(rows: Sequence[Row]) -> list[float]:
    return sorted({row["factor_stage"] for row in rows})


def _faked(rows: Sequence[Row], condition: str, **where: object) -> dict[Any, float]:
    return dict(by_world(lambda found: faked(found, condition, **where))(rows))


def _share(rows: Sequence[Row], **where: object) -> dict[Any, float]:
    return dict(by_world(lambda found: mean(found, **where))(rows))


def _table(rows: Sequence[Row]) -> tables.Table:
    records = []
    for arm in _arms(rows):
        record = {"SAEs": arm}
        for stage in _stages(rows):
            at = {"factor_arm": arm, "factor_stage": stage}
            record[f"after {stage:.0%}"] = with_interval(_faked(rows, SAME_INIT, **at))
        end = {"factor_arm": arm, "factor_stage": 1.0, "metric": "above_0.7"}
        record["chance at the end"] = with_interval(
            _share(rows, condition=FRESH, variant="all", **end)
        )
        record["by number alone"] = with_interval(
            _share(rows, condition=SAME_INIT, variant="in place", **end)
        )
        records.append(record)
    return tables.plain(records)


def _curves(rows: Sequence[Row], width: str):
    records = [
        record
        for arm in _arms(rows)
        for condition in (FRESH, SAME_ORDER, SAME_INIT, BOTH, SHARED)
        for stage in _stages(rows)
        for record in over_worlds(
            _share(
                rows,
                factor_arm=arm,
                condition=condition,
                factor_stage=stage,
                metric="above_0.7",
                variant="all",
            ),
            trained=f"{stage:.0%}",
            runs=condition,
            metric=arm,
        )
    ]
    if not records:
        return ()
    limits = {arm: (0.0, 1.0) for arm in _arms(rows)}
    plot = lines.line_plot(records, "trained", "runs", width=width, names=NAMES, limits=limits)
    text = f"Share of latents with a raw decoder cosine above .7. {marks.READING}"
    return (page.Captioned(plot, text, "curves"),)


def _where(rows: Sequence[Row], width: str):
    end = {"factor_stage": 1.0}
    records = []
    for arm in ("topk", "standard", "topk, short, slow", "topk, worst"):
        for group in ("dead", "q1", "q2", "q3", "q4"):
            at = {"factor_arm": arm, "variant": group, **end}
            above = _share(rows, metric="above_0.7", condition=SAME_INIT, **at)
            near = _share(rows, metric="near_start", **at)
            for name, values in (("faked", above), ("near_start", near)):
                records += over_worlds(values, sae=arm, latents=group, metric=name)
    if not records:
        return ()
    limits = {"faked": (0.0, 1.0), "near_start": (0.0, 1.0)}
    plot = dots.dot_plot(records, ("sae", "latents"), width=width, names=NAMES, limits=limits)
    text = f"By how often latents fire; no row where there is no such latent. {marks.READING}"
    return (page.Captioned(plot, text, "where"),)


def _rules(rows: Sequence[Row]) -> tables.Table:
    records = []
    for arm in _arms(rows):
        for condition in (FRESH, SAME_ORDER, SAME_INIT, BOTH):
            at = {"factor_arm": arm, "condition": condition, "factor_stage": 1.0}
            shown = {
                title: with_interval(_share(rows, variant=rule, metric="declared", **at))
                for title, rule in (
                    ("r > .1", "best_correlation_0.1"),
                    ("decoder cosine > .7", "decoder_cosine_0.7_raw"),
                )
            }
            if any(shown.values()):
                records.append({"SAEs": arm, "in common": NAMES[condition], **shown})
    return tables.plain(records)


def _found(rows: Sequence[Row]) -> str:
    said = []
    for arm in _arms(rows):
        value = with_interval(_faked(rows, SAME_INIT, factor_arm=arm, factor_stage=1.0))
        if value:
            said.append(f"{value} ({arm})")
    if not said:
        return "No pair without a common feature was scored."
    return (
        "On two models without a common feature a common start adds, at the end of the training, "
        f"this share of latents with a decoder cosine above .7: {', '.join(said)}."
    )


def _order(rows: Sequence[Row]) -> str:
    arm = _arms(rows)[0]
    at = {"factor_arm": arm, "factor_stage": 1.0}
    value = with_interval(_faked(rows, SAME_ORDER, **at))
    shared = select(rows, condition=SHARED, metric="above_0.7", variant="all", **at)
    real = with_interval(_share(shared)) if shared else "unknown"
    return (
        f"A common order of the data adds {value or 'nothing known'} ({arm}); one model that is "
        f"read twice, with nothing else in common, reaches {real}."
    )
