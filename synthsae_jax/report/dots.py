"""A metric by group: one row per group, a panel per metric."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from synthsae_jax.report import canvas, marks, style


def dot_plot(
    data: Sequence[Mapping[str, Any]],
    group: str | Sequence[str] = "sae",
    panel: str = "metric",
    width: str = "page",
    limits: Mapping[str, tuple[float, float]] | None = None,
    names: Mapping[str, str] | None = None,
) -> canvas.Plot:
    """Means with intervals by group, a panel per metric, chance and ceiling as dashed lines.

    `data` are summary records (`summary.summarise`): `estimate`, `lo`, `hi`, `points`, and
    optionally `chance` and `ceiling`. `group` names the column (or columns) whose values are the
    rows. Where the groups of a panel differ in a level it is drawn as a short stroke in each row.
    `limits` sets the axis of a panel, `names` what to print instead of a column's value.
    """
    keys = [group] if isinstance(group, str) else list(group)
    canvas.need(data, [*keys, panel, "estimate"], "Dot plot")
    groups = canvas.distinct([canvas.label(r, keys) for r in data])
    panels = canvas.distinct([r[panel] for r in data])
    wrap = textwrap.TextWrapper(24 if width == "page" else 18, break_long_words=False)
    shown = {g: wrap.fill(style.readable(g, names)) for g in groups}
    per_line = min(len(panels), 4 if width == "page" else 2)
    lines = -(-len(panels) // per_line)
    tallest = max(text.count("\n") + 1 for text in shown.values())
    height = lines * (0.62 + max(0.17, 0.125 * tallest + 0.02) * len(groups))
    with canvas.styled():
        figure = canvas.new_figure(width, height)
        grid = marks.panel_grid(figure, len(panels), per_line, sharey=True)
        colours = style.colours(groups)
        labels, pad = [], 11 if any(r.get(c) is not None for r in data for c in marks.LEVELS) else 4
        for name, axes in zip(panels, grid, strict=True):
            in_panel = [r for r in data if r[panel] == name]
            rows = [(len(groups) - 1 - groups.index(canvas.label(r, keys)), r) for r in in_panel]
            labels.append((axes, marks.level_lines(axes, rows)))
            for at, record in rows:
                marks.estimate(axes, record, at, colours[canvas.label(record, keys)], "x")
            axes.set_title(style.readable(name, names), pad=pad)
            axes.set_xlim(*marks.pad_limits(_all_values(in_panel), (limits or {}).get(name)))
            axes.set_ylim(-0.6, len(groups) - 0.4)
            axes.set_yticks(range(len(groups)), [shown[g] for g in reversed(groups)])
            axes.tick_params(axis="y", length=0)
            axes.spines["left"].set_visible(False)
            axes.grid(axis="y", color=style.FAINT, lw=0.5)
            axes.set_axisbelow(True)
            axes.locator_params(axis="x", nbins=4)
        canvas.spread_texts(figure, labels, "x")
    alt = f"{', '.join(style.readable(p, names) for p in panels)} by {' and '.join(keys)}."
    return canvas.Plot(figure, _data(data, keys, panel), alt)


def _all_values(records: Sequence[Mapping[str, Any]]) -> list[Any]:
    values = [r.get(c) for r in records for c in ("estimate", "lo", "hi", *marks.LEVELS)]
    return values + [p for r in records for p in r.get("points") or ()]


def _data(data: Sequence[Mapping[str, Any]], keys: Sequence[str], panel: str) -> canvas.FigureData:
    return canvas.figure_data(data, [*keys, panel, "estimate", "lo", "hi", "points"], marks.LEVELS)
