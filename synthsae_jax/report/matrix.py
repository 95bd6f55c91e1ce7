"""A table of numbers as a heatmap, with the numbers in it."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patches import Rectangle

from synthsae_jax.report import canvas, style


def matrix_plot(
    data: Sequence[Mapping[str, Any]],
    row: str,
    column: str,
    value: str = "estimate",
    width: str = "column",
    limits: tuple[float, float] = (0.0, 1.0),
    digits: int = 2,
    title: str = "",
    names: Mapping[str, str] | None = None,
) -> canvas.Plot:
    """One cell per pair of `row` and `column` values, shaded from `limits[0]` to `limits[1]`.

    Every cell prints its number; a cell that is missing or undefined is hatched. Values beyond
    the limits take the colour of the end.
    """
    canvas.need(data, [row, column, value], "Matrix plot")
    rows = canvas.distinct([r[row] for r in data])
    columns = canvas.distinct([r[column] for r in data])
    cells = np.full((len(rows), len(columns)), np.nan)
    for record in data:
        if record[value] is not None:
            cells[rows.index(record[row]), columns.index(record[column])] = record[value]
    low, high = limits
    shade = np.clip((cells - low) / (high - low), 0, 1)
    row_names = [textwrap.fill(style.readable(r, names), 20) for r in rows]
    column_names = [
        textwrap.shorten(style.readable(c, names), 26, placeholder="...") for c in columns
    ]
    # what is left for the cells beside the row names, at about .065 in per letter
    letters = max(len(part) for name in row_names for part in name.split("\n"))
    space = style.inches(width) - 0.065 * letters - 0.3
    tallest = max(name.count("\n") + 1 for name in row_names)
    cell_width = min(0.8, space / len(columns))
    used = cell_width * len(columns) / space
    long = max(map(len, column_names)) * 0.062 > cell_width
    size = max(4.0, min(7.0, cell_width * 72 / (0.68 * (digits + 3))))
    head = 0.05 * max(map(len, column_names)) + 0.2 if long else 0.25
    height = (
        head
        + 0.3
        + max(0.12 * tallest + 0.05, min(0.3, cell_width)) * len(rows)
        + (0.2 if title else 0)
    )
    with canvas.styled():
        figure = canvas.new_figure(width, height)
        # few columns do not fill the width: cells stay compact, the rest stays empty
        axes, margin = figure.subplots(1, 2, width_ratios=(used, max(1 - used, 1e-3)))
        margin.remove()
        colours = LinearSegmentedColormap.from_list("shade", style.SEQUENTIAL)
        axes.pcolormesh(
            np.ma.masked_invalid(shade), cmap=colours, vmin=0, vmax=1, edgecolors="white", lw=1
        )
        for i, j in np.ndindex(cells.shape):
            if math.isfinite(cells[i, j]):
                ink = "white" if shade[i, j] > 0.8 else style.INK
                shown = f"{cells[i, j]:.{digits}f}"
                axes.text(j + 0.5, i + 0.5, shown, ha="center", va="center", color=ink, size=size)
            else:
                axes.add_patch(
                    Rectangle((j, i), 1, 1, fc="none", ec=style.FAINT, hatch="////", lw=0)
                )
        axes.set_xlim(0, len(columns))
        axes.set_ylim(len(rows), 0)
        axes.xaxis.tick_top()
        turn = {"rotation": 40, "ha": "left", "rotation_mode": "anchor"} if long else {}
        axes.set_xticks(np.arange(len(columns)) + 0.5, column_names, **turn)
        axes.set_yticks(np.arange(len(rows)) + 0.5, row_names)
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        if title:
            figure.suptitle(title, size=8, x=0.01, ha="left")
    alt = f"{style.readable(value, names)} for each {row} and {column}."
    return canvas.Plot(figure, canvas.figure_data(data, [row, column, value], ("lo", "hi")), alt)
