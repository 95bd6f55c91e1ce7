"""Published numbers beside simulated ones: a row per number, a panel per half."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from synthsae_jax.report import canvas, marks, style

_COLUMNS = ("half", "number", "lo_published", "hi_published")
_BAR = 0.56  # height of a published range, of the distance between rows


def published_plot(
    data: Sequence[Mapping[str, Any]],
    width: str = "page",
    limits: tuple[float, float] = (-0.2, 1.1),
    names: Mapping[str, str] | None = None,
) -> canvas.Plot:
    """A grey bar for what was published, a ring for each setting, a dot for the chosen one.

    `data`, one dict per number: `half` (its panel, in order of appearance), `number`,
    `lo_published` and `hi_published` (infinite ends reach the panel's edge; equal ones are widened
    by `tolerance`), `others` (means at all settings), and `estimate`, `lo`, `hi`, `points` at the
    chosen one, absent where undefined. What lies outside `limits` is drawn as an arrow at the edge.
    """
    canvas.need(data, _COLUMNS, "Published plot")
    halves = canvas.distinct([r["half"] for r in data])
    groups = {half: [r for r in data if r["half"] == half] for half in halves}
    tallest = max(map(len, groups.values()))
    stacked = width != "page"
    lines = sum(map(len, groups.values())) if stacked else tallest
    with canvas.styled():
        height = 0.21 * lines + 0.62 * (len(halves) if stacked else 1)
        figure = canvas.new_figure(width, height)
        panels = marks.panel_grid(figure, len(halves), 1 if stacked else len(halves))
        for (half, rows), axes in zip(groups.items(), panels, strict=True):
            for at, record in zip(range(len(rows) - 1, -1, -1), rows, strict=True):
                _row(axes, record, at, limits)
            axes.set_title(style.readable(half, names), loc="left")
            axes.set_xlim(*limits)
            axes.set_ylim(-0.7, len(rows) - 0.3)
            axes.set_yticks(range(len(rows)), [r["number"] for r in reversed(rows)])
            axes.tick_params(axis="y", length=0)
            axes.spines["left"].set_visible(False)
            axes.grid(axis="y", color=style.FAINT, lw=0.5)
            axes.set_axisbelow(True)
    alt = "Published numbers as bars, simulated ones as dots, by half."
    shown = [*_COLUMNS, "estimate", "lo", "hi", "points", "others"]
    return canvas.Plot(figure, canvas.figure_data(data, shown), alt)


def _row(axes, record: Mapping[str, Any], at: int, limits: tuple[float, float]) -> None:
    slack = record.get("tolerance", 0.0)
    ends = record["lo_published"] - slack, record["hi_published"] + slack
    low, high = np.clip(ends, *limits)
    axes.barh(at, high - low, _BAR, left=low, color=style.FAINT, zorder=1)
    if record["lo_published"] == record["hi_published"]:
        middle = [record["lo_published"]] * 2
        axes.plot(middle, [at - _BAR / 2, at + _BAR / 2], color=style.INK, lw=1.1, zorder=2)
    others = np.array(canvas.finite(record.get("others") or ()))
    inside = others[(others >= limits[0]) & (others <= limits[1])]
    ring = {"ls": "", "mfc": "none", "mec": style.MUTED, "mew": 0.6, "zorder": 3}
    axes.plot(inside, np.full(inside.size, at), **ring, marker="o", ms=3.2)
    colour = style.PALETTE[0]
    value = record.get("estimate")
    if value is not None and math.isfinite(value) and limits[0] <= value <= limits[1]:
        shown = {**record}
        for end in ("lo", "hi"):
            if shown.get(end) is not None:
                shown[end] = float(np.clip(shown[end], *limits))
        marks.estimate(axes, shown, at, colour, "x")
    far = [(v, style.MUTED) for v in others] + ([] if value is None else [(value, colour)])
    for v, shade in far:
        if v < limits[0] or v > limits[1]:
            edge, arrow = (limits[0], "<") if v < limits[0] else (limits[1], ">")
            axes.plot(edge, at, arrow, color=shade, ms=3.5, clip_on=False, zorder=4)
