"""The page of a result folder: the general sections, or those its benchmark registered."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from synthsae_jax.errors import unknown_name
from synthsae_jax.io import manifest as manifests
from synthsae_jax.registry import Registry
from synthsae_jax.report import canvas, dots, marks, page, tables
from synthsae_jax.report.summary import RECORD, summarise

READING = (
    "A score stands between its chance level and its ceiling, where they are known. Intervals are "
    "95 % intervals over instances; seeds of one instance are averaged first, since they are not "
    "independent. Below five instances the single values are shown and no interval."
)


class Contents(NamedTuple):
    """What a benchmark's page says: title, lead, sections, limits."""

    title: str
    sections: Sequence[page.Section]
    lead: str = ""
    notes: str = ""


# benchmark's name without version -> (rows, width of figures) -> Contents
pages: Registry[Callable[[Sequence[Mapping[str, Any]], str], Contents]] = Registry(
    "page", package="synthsae_jax.experiments"
)


def contents(folder: manifests.Folder, width: str = "page") -> Contents:
    """The page of a result folder: its benchmark's own, or the general one."""
    benchmark = folder.manifest["benchmark"]
    name = benchmark.split("@")[0]
    if name in pages and folder.rows:
        return pages[name](folder.rows, width)
    return Contents(benchmark, default_sections(folder.rows, width=width))


def write_report(
    folder: str | os.PathLike[str],
    formats: Sequence[str] = (),
    width: str = "page",
    out: str | os.PathLike[str] | None = None,
) -> list[Path]:
    """Write `report.html` for a result folder (into it, or into `out`); returns what was written.

    With `formats` ("pdf", "svg", "png") each figure is also written to `figures/`, as wide as a
    "column" or a "page", with a CSV of its numbers. The page itself keeps the page's width.
    """
    read = manifests.read_folder(folder)
    out = Path(out or read.path)
    paths = []
    if formats:
        for plot, name in named_figures(contents(read, width).sections):
            paths += canvas.save(plot, out / "figures", name, formats)
    content = contents(read)
    html = page.write_page(
        out / "report.html",
        content.title,
        content.sections,
        read.manifest,
        content.notes,
        content.lead,
    )
    return [html, *paths]


def summary(folder: manifests.Folder) -> tables.Table:
    """The first table of the folder's page."""
    every = all_tables(folder)
    return every[0] if every else tables.plain([], title="No rows yet")


def all_tables(folder: manifests.Folder) -> list[tables.Table]:
    """Every table of the folder's page, in order."""
    return [table for section in contents(folder).sections for table in section.tables]


def figure_names(folder: manifests.Folder) -> tuple[str, ...]:
    """The figures of the folder's page."""
    return tuple(name for _, name in named_figures(contents(folder).sections))


def figure(folder: manifests.Folder, name: str | None = None) -> canvas.Plot:
    """A figure of the folder's page by name (None: the first)."""
    plots = {name: plot for plot, name in named_figures(contents(folder).sections)}
    if name is None and plots:
        return next(iter(plots.values()))
    if name not in plots:
        raise unknown_name("figure", name, plots)
    return plots[name]


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
    figures: list[tuple[canvas.Plot, str]] = []
    for number, section in enumerate(sections, start=1):
        for i, figure in enumerate(section.figures, start=1):
            captioned = isinstance(figure, page.Captioned)
            plot = figure.plot if captioned else figure
            name = figure.name if captioned else "figure"
            taken = {other for _, other in figures}
            figures.append((plot, name if name not in taken else f"{name}-{number}-{i}"))
    return figures
