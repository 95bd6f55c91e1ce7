"""Figures of one matching: how credible its pairs are, and how score and firing rate bear on it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from synthsae_jax.report import canvas, style

_BINS = 20
_COLOURS = LinearSegmentedColormap.from_list("credence", style.SEQUENTIAL[1:])


def pair_records(pair: Mapping[str, Any], latents: Sequence[Mapping[str, Any]]) -> list[dict]:
    """A record per matched pair: its latents, score, credence, and the rarer one's firing rate."""
    columns = pair["matching"]
    rates = [latents[pair[side]]["firing_rate"] for side in ("a", "b")]
    records = []
    for i, (a, b) in enumerate(zip(columns["a"], columns["b"], strict=True)):
        rate = None if None in rates else min(rates[0][a], rates[1][b])
        records.append(
            {
                "a": a,
                "b": b,
                "score": columns["score"][i],
                "credence": columns["credence"][i],
                "rate": rate,
            }
        )
    return records


def pairs_plot(
    records: Sequence[Mapping[str, Any]], score: str = "score", width: str = "page"
) -> canvas.Plot:
    """Left: how many pairs by credence. Right: score against the rarer latent's firing rate.

    `records` as of `pair_records`. Pairs without a credence are grey rings, and named beside the
    histogram; without rates the right panel is a histogram of scores.
    """
    canvas.need(records, ["score", "credence", "rate"], "Matched pairs")
    credible = [r for r in records if r["credence"] is not None]
    with canvas.styled():
        figure = canvas.new_figure(width, 2.4 if width == "page" else 4.6)
        shape = (1, 2) if width == "page" else (2, 1)
        left, right = figure.subplots(*shape).flat
        _credences(left, credible, len(records) - len(credible))
        name = style.readable(score)
        if all(r["rate"] for r in records):
            _scores_by_rate(figure, right, records, credible)
            right.set_ylabel(name)
        else:
            right.hist([r["score"] for r in records], bins=_BINS, color=style.PALETTE[0])
            right.set_xlabel(name)
            right.set_ylabel("pairs")
    alt = f"Credence of {len(records)} matched pairs, and their {name} by firing rate."
    return canvas.Plot(figure, canvas.FigureData(tuple(dict(r) for r in records)), alt)


def _credences(axes: Axes, credible: Sequence[Mapping[str, Any]], without: int) -> None:
    if credible:
        values = [r["credence"] for r in credible]
        axes.hist(values, bins=np.linspace(0, 1, _BINS + 1).tolist(), color=style.PALETTE[0])
    else:
        axes.text(0.5, 0.5, "no pair has a credence", ha="center", transform=axes.transAxes)
    axes.set_xlim(0, 1)
    note = f" ({without} without one)" if without and credible else ""
    axes.set_xlabel(f"credence that the two are one feature{note}")
    axes.set_ylabel("pairs")


def _scores_by_rate(
    figure: Figure,
    axes: Axes,
    records: Sequence[Mapping[str, Any]],
    credible: Sequence[Mapping[str, Any]],
) -> None:
    xy = lambda rows: ([r["rate"] for r in rows], [r["score"] for r in rows])
    # a picture inside the drawing where there are too many marks to draw one by one
    many = len(records) > 500
    size = 16 if not many else 5
    others = [r for r in records if r["credence"] is None]
    if others:
        axes.scatter(
            *xy(others),
            s=size,
            facecolors="none",
            edgecolors=style.MUTED,
            linewidths=0.4,
            rasterized=many,
        )
    if credible:
        marks = axes.scatter(
            *xy(credible),
            c=[r["credence"] for r in credible],
            s=size,
            cmap=_COLOURS,
            vmin=0,
            vmax=1,
            edgecolors=style.INK,
            linewidths=0.0 if many else 0.3,
            rasterized=many,
        )
        bar = figure.colorbar(marks, ax=axes, fraction=0.05, pad=0.02)
        bar.set_label("credence")
        bar.outline.set_visible(False)  # type: ignore[operator]
    axes.set_xscale("log")
    # the house's text is no mathematics, and the default labels are
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("firing rate of the rarer latent")
    low = min(0.0, *(r["score"] for r in records if math.isfinite(r["score"])))
    # room for marks at 1
    axes.set_ylim(low, 1.03)
