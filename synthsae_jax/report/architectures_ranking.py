"""The part of the page of architectures on their order: in which worlds does it hold?"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from synthsae_jax.experiments.architectures.claims import (
    BASE,
    kept_order,
    scores,
    settings_of,
)
from synthsae_jax.io.rows import Row
from synthsae_jax.report import matrix, page, tables

NAMES = {
    "batchtopk": "BatchTopK",
    "topk": "TopK",
    "matryoshka": "Matryoshka",
    "lista_matryoshka": "LISTA-Matryoshka",
    "matching_pursuit": "matching pursuit",
    "standard": "L1",
    "gated": "gated",
    "jumprelu": "JumpReLU",
    "explained_variance": "explained variance",
}
RANKED = ("f1", "mcc", "explained_variance")


def by_world(rows: Sequence[Row], of_world: Callable[[list[Row]], float]) -> list[float]:
    seeds = dict.fromkeys(row["world_seed"] for row in rows)
    return [of_world([r for r in rows if r["world_seed"] == seed]) for seed in seeds]


def order_records(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Share of worlds in which a pair keeps its base order, per pair, setting and metric."""
    kept: dict[tuple[str, str, str, str], list[bool]] = {}
    seeds = dict.fromkeys(r["world_seed"] for r in rows if r.get("factor_setting"))
    for seed in seeds:
        here = [r for r in rows if r["world_seed"] == seed]
        for setting in settings_of(here):
            if setting == BASE:
                continue
            for metric in RANKED:
                for pair, same in kept_order(here, metric, setting).items():
                    kept.setdefault((*pair, setting, metric), []).append(same)
    return [
        {
            "pair": f"{NAMES.get(a, a)} / {NAMES.get(b, b)}",
            "setting": setting,
            "metric": metric,
            "share": sum(found) / len(found),
        }
        for (a, b, setting, metric), found in kept.items()
    ]


def ranking_sections(rows: Sequence[Row], width: str) -> list[page.Section]:
    ranked = [r for r in rows if r.get("factor_setting")]
    if not ranked:
        return []
    records = order_records(rows)
    figures = []
    for metric in RANKED:
        here = [r for r in records if r["metric"] == metric]
        if here:
            plot = matrix.matrix_plot(
                here,
                "pair",
                "setting",
                "share",
                width=width,
                title=NAMES.get(metric, metric)
                if metric == "explained_variance"
                else metric.upper(),
            )
            text = "Share of worlds in which a pair keeps the order it has at the base setting."
            figures.append(page.Captioned(plot, text, f"order-{metric}"))
    table = []
    for setting in settings_of(ranked):
        means = scores(ranked, setting, "f1")
        ordered = sorted(means, key=lambda name: -means[name])
        table.append(
            {
                "setting": setting,
                "by F1": ", ".join(f"{NAMES.get(n, n)} {means[n]:.2f}" for n in ordered),
                **{
                    f"matching pursuit first in {said}": _share_first(ranked, setting, metric)
                    for said, metric in (("F1", "f1"), ("MCC", "mcc"), ("EV", RANKED[2]))
                },
                "PW-MCC of it": scores(ranked, setting, "pw_mcc").get("matching_pursuit"),
            }
        )
    text = (
        "Each setting changes one thing of a small world with trees. Order by means over worlds, "
        "and the share of worlds in which matching pursuit comes first."
    )
    return [page.Section("Does the order hold?", text, (tables.plain(table),), tuple(figures))]


def _share_first(rows: Sequence[Row], setting: str, metric: str) -> float | None:
    def first(here: list[Row]) -> float:
        found = scores(here, setting, metric)
        if "matching_pursuit" not in found:
            return math.nan
        return float(found["matching_pursuit"] == max(found.values()))

    found = [v for v in by_world(rows, first) if not math.isnan(v)]
    return sum(found) / len(found) if found else None
