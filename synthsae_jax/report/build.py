"""The page that every result folder gets, whatever its benchmark; benchmarks add sections."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from synthsae_jax.io import manifest as manifests
from synthsae_jax.report import canvas, dots, marks, page, tables
from synthsae_jax.report.summary import RECORD, summarise

READING = (
    "A score stands between its chance level and its ceiling, where they are known. Intervals are "
    "95 % intervals over what was drawn independently: worlds where there are several, else "
    "instances; seeds of one instance are averaged first. Below five such units the single values "
    "are shown and no interval."
)


def write_report(
    folder: str | os.PathLike[str],
    sections: Sequence[page.Section] | None = None,
    title: str | None = None,
    formats: Sequence[str] = (),
    width: str = "page",
    notes: str = "",
) -> list[Path]:
    """Write `report.html` into a result folder; returns the paths of what was written.

    `sections` None: the general ones of `default_sections`. With `formats` ("pdf", "svg", "png")
    each figure is also written to `figures/`, with a CSV of its numbers.
    """
    found = manifests.read_folder(folder)
    if sections is None:
        sections = default_sections(found.rows, width=width)
    title = title or found.manifest["benchmark"]
    paths = []
    if formats:
        for plot, name in named_figures(sections):
            paths += canvas.save(plot, found.path / "figures", name, formats)
    html = page.write_page(found.path / "report.html", title, sections, found.manifest, notes)
    return [html, *paths]


def default_sections(
    rows: Iterable[Mapping[str, Any]],
    by: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,
    unit: str = "top",
    width: str = "page",
) -> list[page.Section]:
    """A summary table of all metrics and a figure of them by group; empty where no row has any."""
    records = summarise(rows, by, metrics, unit)
    if not records:
        return [page.Section("Results", "No rows yet.")]
    keys = [c for c in records[0] if c not in RECORD]
    if len({r["variant"] for r in records}) > 1:
        keys.append("variant")
    plot = dots.dot_plot(records, keys, width=width)
    caption = f"Means by {', '.join(keys)}; dashed: chance and ceiling. {marks.READING}"
    table = tables.from_records(records)
    figure = page.Captioned(plot, caption, "summary")
    return [page.Section("Results", READING, (table,), (figure,))]


def named_figures(sections: Sequence[page.Section]) -> list[tuple[canvas.Plot, str]]:
    """All figures of the sections, each with a file name of its own."""
    found: list[tuple[canvas.Plot, str]] = []
    for number, section in enumerate(sections, start=1):
        for i, figure in enumerate(section.figures, start=1):
            captioned = isinstance(figure, page.Captioned)
            plot = figure.plot if captioned else figure
            name = figure.name if captioned else "figure"
            taken = {other for _, other in found}
            found.append((plot, name if name not in taken else f"{name}-{number}-{i}"))
    return found
