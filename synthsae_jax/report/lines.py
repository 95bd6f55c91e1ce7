"""A metric against a factor: one line per group, named at its right end."""

from __future__ import annotations

import numbers
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.text import Text

from synthsae_jax.report import canvas, marks, style


def line_plot(
    data: Sequence[Mapping[str, Any]],
    x: str,
    group: str | Sequence[str] = "sae",
    panel: str = "metric",
    width: str = "page",
    log_x: bool = False,
    limits: Mapping[str, tuple[float, float]] | None = None,
    names: Mapping[str, str] | None = None,
) -> canvas.Plot:
    """Means against the column `x`, a line per group, a panel per metric.

    `data` are records with `x`, the group columns, `estimate`, and where known `lo`, `hi`,
    `points`, `chance`, `ceiling`. Intervals are vertical strokes, single values open rings. Levels
    are dashed grey lines over x: the mean over groups where all agree, one faint line per group in
    its colour where not. A text column x is spaced evenly in order of appearance.
    """
    keys = [group] if isinstance(group, str) else list(group)
    canvas.need(data, [x, *keys, panel, "estimate"], "Line plot")
    groups = canvas.distinct([canvas.label(r, keys) for r in data])
    panels = canvas.distinct([r[panel] for r in data])
    numeric = all(isinstance(r[x], numbers.Real) for r in data)
    ticks = sorted({r[x] for r in data}) if numeric else canvas.distinct([r[x] for r in data])
    position_of = {value: value if numeric else i for i, value in enumerate(ticks)}
    shown = {g: textwrap.fill(style.readable(g, names), 22, break_long_words=False) for g in groups}
    # at 6.8 points a letter is about .056 in wide and a line .125 in high
    label_lines = "\n".join([*shown.values(), *marks.LEVELS]).split("\n")
    panel_width = 1.6 + 0.056 * max(map(len, label_lines))
    per_line = max(1, min(len(panels), 3, int(style.inches(width) / panel_width)))
    longest = 0 if numeric else max(len(style.readable(t, names)) for t in ticks)
    height = max(2.1, 0.125 * len(label_lines) + 0.8) + 0.03 * longest
    height *= -(-len(panels) // per_line)
    with canvas.styled():
        figure = canvas.new_figure(width, height)
        colours, shapes = style.colours(groups), style.markers(groups)
        ends: list[tuple[Axes, list[Text]]] = []
        for name, axes in zip(panels, marks.panel_grid(figure, len(panels), per_line), strict=True):
            in_panel = sorted(
                (r for r in data if r[panel] == name), key=lambda r: position_of[r[x]]
            )
            texts = []
            if log_x:
                axes.set_xscale("log")
            for j, row in enumerate(groups):
                # groups stand side by side at each x, so that their intervals can be told apart
                shift = 2.4 * (j - (len(groups) - 1) / 2)
                line = [r for r in in_panel if canvas.label(r, keys) == row]
                if not line:
                    continue
                at = [position_of[r[x]] for r in line]
                axes.plot(
                    at,
                    [r["estimate"] for r in line],
                    color=colours[row],
                    zorder=2,
                    transform=marks.shifted(axes, shift, "y"),
                )
                for position, record in zip(at, line, strict=True):
                    marks.estimate(axes, record, position, colours[row], "y", shapes[row], shift)
                texts.append(_end_label(axes, line[-1]["estimate"], shown[row], colours[row]))
            texts += _levels(axes, in_panel, x, position_of, colours, keys)
            values = [r.get(c) for r in in_panel for c in ("estimate", "lo", "hi", *marks.LEVELS)]
            axes.set_ylim(*marks.pad_limits(values, (limits or {}).get(name)))
            axes.set_title(style.readable(name, names))
            axes.set_xlabel(style.readable(x.removeprefix("factor_"), names))
            axes.margins(x=0.09)
            # shifted lines mislead the automatic limits
            at = list(position_of.values())
            if log_x and 0 < at[0] < at[-1]:
                pad = (at[-1] / at[0]) ** 0.09
                axes.set_xlim(at[0] / pad, at[-1] * pad)
            elif not log_x and at[0] < at[-1]:
                pad = 0.09 * (at[-1] - at[0])
                axes.set_xlim(at[0] - pad, at[-1] + pad)
            if not numeric:
                words = [style.readable(t, names) for t in ticks]
                room = 0.62 * style.inches(width) / per_line / len(ticks)
                # about .06 in per letter
                long = 0.06 * longest > room
                turn = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"} if long else {}
                axes.set_xticks(range(len(ticks)), words, **turn)
            elif log_x and len(ticks) <= 8:
                axes.set_xticks(ticks, [style.compact(t) for t in ticks])
                axes.minorticks_off()
            else:
                axes.xaxis.set_major_formatter(lambda value, _: style.compact(value))
            ends.append((axes, texts))
        canvas.spread_texts(figure, ends, "y")
    alt = f"{', '.join(style.readable(p, names) for p in panels)} against {x}, a line per group."
    columns = [x, *keys, panel, "estimate", "lo", "hi", "points"]
    return canvas.Plot(figure, canvas.figure_data(data, columns, marks.LEVELS), alt)


def _levels(
    axes: Axes,
    records: Sequence[Mapping[str, Any]],
    x: str,
    position: Mapping[Any, float],
    colours: Mapping[str, str],
    keys: Sequence[str],
) -> list[Text]:
    texts = []
    for level in marks.LEVELS:
        with_level = [r for r in records if r.get(level) is not None]
        by_x: dict[float, set[float]] = {}
        for r in with_level:
            by_x.setdefault(position[r[x]], set()).add(r[level])
        if not with_level:
            continue
        last = with_level[-1][level]
        if all(len(values) == 1 for values in by_x.values()):
            at = sorted(by_x)
            axes.plot(at, [min(by_x[p]) for p in at], **marks.DASHED)
        else:
            for row, colour in colours.items():
                line = [r for r in with_level if canvas.label(r, keys) == row]
                heights = [r[level] for r in line]
                faint = {**marks.DASHED, "color": colour, "alpha": 0.6}
                axes.plot([position[r[x]] for r in line], heights, **faint)
            ends = by_x[max(by_x)]
            last = sum(ends) / len(ends)
        texts.append(_end_label(axes, last, level, style.MUTED))
    return texts


def _end_label(axes: Axes, height: float, name: str, colour: str) -> Text:
    return axes.text(
        1.02,
        height,
        name,
        transform=axes.get_yaxis_transform(),
        color=style.for_text(colour),
        size=6.8,
        ha="left",
        va="center",
    )
