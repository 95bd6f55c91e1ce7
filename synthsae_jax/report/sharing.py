"""What published rules declare shared, against what is truly shared."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from synthsae_jax.report import canvas, style

OUTSIDE = "Hollow: outside the rule's stated use."
CHANCE = "Cross: what the rule declares where nothing is shared."


def sharing_plot(
    data: Sequence[Mapping[str, Any]],
    condition: str = "condition",
    rule: str = "rule",
    width: str = "page",
    x_label: str = "share of features",
    names: Mapping[str, str] | None = None,
) -> canvas.Plot:
    """A block per condition: the true share as a grey bar, below it a mark per rule.

    `data` has a record per condition and rule: the columns `condition` and `rule`, `declared`
    (share the rule declares shared), `true` (share truly shared), and where known `lo`, `hi`,
    `points` of `declared`, `chance` (what the rule declares where nothing is shared: a cross) and
    `stated_use` (False where the rule was not made for this cell: its mark is hollow). A thin
    line leads from the truth to each mark, so its length is the error. Rules are named beside the
    first block, in a narrow figure above it.
    """
    canvas.need(data, [condition, rule, "declared", "true"], "Sharing plot")
    conditions = canvas.distinct([r[condition] for r in data])
    rules = canvas.distinct([r[rule] for r in data])
    lanes = len(rules) + 1
    lane_height = 0.135
    notes = [OUTSIDE] if any(r.get("stated_use") is False for r in data) else []
    notes += [CHANCE] if any(r.get("chance") is not None for r in data) else []
    height = len(conditions) * (lanes + 0.9) * lane_height + 0.55 + 0.13 * len(notes)
    height += lane_height * (lanes + 0.4) if width == "column" else 0
    wrap = 20 if width == "page" else 12
    with canvas.styled():
        figure = canvas.new_figure(width, height)
        axes = figure.subplots()
        colours, shapes = style.colours(rules), style.markers(rules)
        middles = []
        for i, block in enumerate(conditions):
            top = i * (lanes + 0.9)
            middles.append(top + (lanes - 1) / 2)
            by_rule = {r[rule]: r for r in data if r[condition] == block}
            _truth(axes, by_rule, top, lanes)
            for j, name in enumerate(rules, start=1):
                if name in by_rule:
                    _declared(axes, by_rule[name], top + j, colours[name], shapes[name])
            if i:
                axes.axhline(top - 0.95, color=style.FAINT, lw=0.5)
        key = 0.0 if width == "page" else lanes + 0.4
        for j, name in enumerate(["truly shared", *rules]):
            colour = colours.get(name, style.MUTED)
            _name(axes, style.readable(name, names), j, colour, shapes.get(name), key)
        axes.set_ylim((lanes + 0.9) * len(conditions) - 1.2, -0.75 - key)
        shown = [textwrap.fill(style.readable(c, names), wrap) for c in conditions]
        axes.set_yticks(middles, shown)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        shares = canvas.finite([r.get(c) for r in data for c in ("declared", "true", "hi")])
        axes.set_xlim(-0.02, max([1.0, *shares]) + 0.02)
        axes.set_xlabel("\n".join([x_label, *notes]))
        axes.vlines(
            axes.get_xticks(), -0.75, axes.get_ylim()[0], color=style.FAINT, lw=0.4, zorder=0
        )
        axes.set_axisbelow(True)
    alt = "Share declared shared by each rule, beside the share truly shared, by condition."
    columns = [condition, rule, "declared", "true"]
    optional = ("lo", "hi", "points", "chance", "stated_use")
    return canvas.Plot(figure, canvas.figure_data(data, columns, optional), alt)


def _name(axes: Axes, name: str, lane: int, colour: str, marker: str | None, key: float) -> None:
    """A rule's name beside its lane, or with its marker in a key of height `key` on top."""
    text = {
        "color": style.for_text(colour),
        "size": 6.5,
        "va": "center",
        "textcoords": "offset points",
    }
    if not key:
        name = textwrap.shorten(name, 34, placeholder="...")
        axes.annotate(name, (1, lane), (8, 0), xycoords=axes.get_yaxis_transform(), **text)
        return
    at = lane - key
    if marker is None:
        axes.barh(at, 0.05, left=-0.015, height=0.6, color=style.TRUTH)
    else:
        axes.plot(0.01, at, ls="", marker=marker, ms=4.6, mfc=colour, mec=colour, mew=0.9)
    axes.annotate(textwrap.shorten(name, 48, placeholder="..."), (0.03, at), (6, 0), **text)


def _truth(axes: Axes, by_rule: Mapping[str, Mapping[str, Any]], top: float, lanes: int) -> None:
    shares = canvas.finite([r["true"] for r in by_rule.values()])
    if not shares:
        return
    share = sum(shares) / len(shares)
    axes.barh(top, share, height=0.72, color=style.TRUTH, zorder=1)
    # where nothing is shared the stroke is all there is to see
    axes.plot([share, share], [top - 0.36, top + lanes - 0.55], color=style.MUTED, lw=0.9, zorder=2)


def _declared(axes: Axes, record: Mapping[str, Any], at: float, colour: str, marker: str) -> None:
    share = record["declared"]
    if share is None or not math.isfinite(share):
        return
    inside = record.get("stated_use") is not False
    truth = record["true"]
    if truth is not None and math.isfinite(truth):
        axes.plot([truth, share], [at, at], color=colour, lw=0.8, alpha=0.45, zorder=2)
    if record.get("lo") is not None and record.get("hi") is not None:
        ends = [record["lo"], record["hi"]]
        axes.plot(ends, [at, at], color=colour, lw=2.2, solid_capstyle="butt", zorder=3)
    points = canvas.finite(record.get("points") or ())
    if len(points) > 1:
        axes.plot(points, [at] * len(points), ls="", marker="|", ms=4, mec=colour, mew=0.6)
    if record.get("chance") is not None:
        axes.plot(record["chance"], at, ls="", marker="x", ms=3.2, mec=style.MUTED, zorder=3)
    axes.plot(
        share,
        at,
        ls="",
        marker=marker,
        ms=4.6,
        mfc=colour if inside else "white",
        mec=colour,
        mew=0.9,
        zorder=4,
        clip_on=False,
    )
