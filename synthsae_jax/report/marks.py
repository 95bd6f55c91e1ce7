"""The marks that several figures draw alike: a mean with its interval, levels, panel grids."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import ScaledTranslation, Transform

from synthsae_jax.report import canvas, style

LEVELS = ("chance", "ceiling", "no effect")  # columns of records, printed as they are
READING = (
    "Dot and line: mean with its interval; stroke and rings: mean and single values of fewer than "
    "five units."
)
DASHED = {"color": style.MUTED, "lw": 0.8, "ls": (0, (3, 2)), "zorder": 1}


def estimate(
    axes: Axes,
    record: Mapping[str, Any],
    at: float,
    colour: str,
    along: str,
    marker: str = "o",
    shift: float = 0.0,
) -> None:
    """A mean at coordinate `at` of the other axis: dot and interval line, or stroke and points.

    `along` is the axis of the value, "x" or "y". The single values of a mean that has no interval
    are open rings around a stroke, so that nobody reads their range as an interval. `shift` moves
    the marks by so many points sideways, for groups that share a coordinate.
    """
    mean = record["estimate"]
    lo, hi = record.get("lo"), record.get("hi")

    base = {"transform": shifted(axes, shift, along)}

    def placed(values):
        values = np.atleast_1d(values)
        positions = np.full(values.shape, at)
        return (values, positions) if along == "x" else (positions, values)

    if lo is not None and hi is not None:
        axes.plot(*placed([lo, hi]), **base, color=colour, lw=1.4, solid_capstyle="butt", zorder=3)
    points = canvas.finite(record.get("points") or ())
    if len(points) > 1:
        axes.plot(
            *placed(points),
            **base,
            ls="",
            marker="o",
            ms=3.4,
            mfc="none",
            mec=colour,
            mew=0.7,
            zorder=4,
        )
        stroke = "|" if along == "x" else "_"
        axes.plot(*placed(mean), **base, ls="", marker=stroke, ms=8, mec=colour, mew=1.4, zorder=3)
    elif math.isfinite(mean):
        axes.plot(
            *placed(mean),
            **base,
            ls="",
            marker=marker,
            ms=4,
            mfc=colour,
            mec="white",
            mew=0.5,
            zorder=4,
        )


def shifted(axes: Axes, points: float, along: str) -> Transform:
    """The data transform of the axes, moved by some points across the axis of the values."""
    x, y = (0.0, points / 72) if along == "x" else (points / 72, 0.0)
    return axes.transData + ScaledTranslation(x, y, axes.figure.dpi_scale_trans)


def level_lines(axes: Axes, rows: Sequence[tuple[float, Mapping[str, Any]]]) -> list[Text]:
    """Chance and ceiling of a panel whose rows are given as (height, record), named above it.

    One vertical line where all rows agree on a level, a short stroke in each row where not.
    """
    names = []
    lift = ScaledTranslation(0, 1.5 / 72, axes.figure.dpi_scale_trans)
    above = axes.get_xaxis_transform() + lift
    for level in LEVELS:
        levels = [(at, record[level]) for at, record in rows if record.get(level) is not None]
        if not levels:
            continue
        if len(levels) == len(rows) and len({value for _, value in levels}) == 1:
            axes.axvline(levels[0][1], **DASHED)
        else:
            for at, value in levels:
                axes.plot([value] * 2, [at - 0.3, at + 0.3], color=style.MUTED, lw=1.1, zorder=1)
        _, value = max(levels)
        names.append(
            axes.text(
                value,
                1.0,
                level,
                transform=above,
                ha="center",
                va="bottom",
                size=6.2,
                color=style.MUTED,
            )
        )
    return names


def panel_grid(figure: Figure, n: int, columns: int, **options: Any) -> list[Axes]:
    """`n` panels in rows of `columns`; places left over stay empty."""
    rows = math.ceil(n / columns)
    grid = figure.subplots(rows, columns, squeeze=False, **options)
    for axes in grid.flat[n:]:
        axes.remove()
    return list(grid.flat[:n])


def pad_limits(values: Sequence[Any], limits: tuple[float, float] | None) -> tuple[float, float]:
    """Axis limits a little wider than the values, unless the caller gave some."""
    if limits is not None:
        return limits
    finite = canvas.finite(values) or [0.0, 1.0]
    low, high = min(finite), max(finite)
    room = 0.07 * (high - low) or 0.07 * abs(high) or 0.5
    return low - room, high + room
