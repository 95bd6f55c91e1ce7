"""One number against another, a dot for each label, with the labels at the side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from synthsae_jax.report import canvas, marks, style

_INTERVALS = ("x_lo", "x_hi", "y_lo", "y_hi")


def crossed(
    records: Sequence[Mapping[str, Any]],
    x: str,
    y: str,
    width: str = "page",
    *,
    front: str | None = None,
    diagonal: bool = False,
    labels: Sequence[str] = (),
    names: Mapping[str, str] | None = None,
) -> canvas.Plot:
    """A dot per label with intervals both ways; `x` and `y` name the axes.

    `records` have "label", "x" and "y", and where known `x_lo`, `x_hi`, `y_lo`, `y_hi`. `front`
    names a column: among records with the same value a dashed line joins the Pareto front, more of
    both being better. `diagonal` draws the line on which both are equal, and zero lines. `labels`
    are those of the whole page, so that each has one colour in all of its figures.
    """
    canvas.need(records, ("label", "x", "y"), "Crossed plot")
    labels = canvas.distinct([*labels, *(r["label"] for r in records)])
    with canvas.styled():
        figure = canvas.new_figure(width, max(2.6, 0.17 * len(records) + 1.0))
        axes = figure.subplots()
        colours, shapes = style.colours(labels), style.markers(labels)
        for r in records:
            _dot(axes, r, colours[r["label"]], shapes[r["label"]])
        zero = [0.0] if diagonal else []
        axes.set_xlim(*marks.pad_limits([*_values(records, "x"), *zero], None))
        axes.set_ylim(*marks.pad_limits([*_values(records, "y"), *zero], None))
        if diagonal:
            axes.axline((0, 0), slope=1, **marks.DASHED)
            axes.axhline(0, color=style.FAINT, lw=0.8, zorder=0)
            axes.axvline(0, color=style.FAINT, lw=0.8, zorder=0)
        for value in canvas.distinct([r[front] for r in records] if front else []):
            best = pareto([r for r in records if r[front] == value])
            axes.plot([r["x"] for r in best], [r["y"] for r in best], **marks.DASHED)
        axes.set_xlabel(style.readable(x, names))
        axes.set_ylabel(style.readable(y, names))
        texts = [
            axes.text(
                1.06,
                r["y"],
                style.readable(r["label"], names),
                transform=axes.get_yaxis_transform(),
                color=style.for_text(colours[r["label"]]),
                size=6.8,
                ha="left",
                va="center",
            )
            for r in records
        ]
        canvas.spread_texts(figure, [(axes, texts)], "y")
        low, high = axes.get_xlim()
        for r, text in zip(records, texts, strict=True):
            # from the dot to its name, which may have had to move
            ends = [r["x"], low + 1.05 * (high - low)], [r["y"], text.get_position()[1]]
            axes.plot(*ends, color=colours[r["label"]], lw=0.4, alpha=0.6, clip_on=False, zorder=1)
        axes.set_xlim(low, high)
    alt = f"{style.readable(y, names)} against {style.readable(x, names)}, a dot for each label."
    return canvas.Plot(figure, canvas.figure_data(records, ("label", "x", "y"), _INTERVALS), alt)


def pareto(records: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The records that no other beats in both "x" and "y", from the least x up."""
    best: list[Mapping[str, Any]] = []
    for r in sorted(records, key=lambda r: (-r["x"], -r["y"])):
        if not best or r["y"] > best[-1]["y"]:
            best.append(r)
    return best[::-1]


def _dot(axes: Axes, record: Mapping[str, Any], colour: str, marker: str) -> None:
    at = record["x"], record["y"]
    for along, lo, hi in (
        (0, record.get("x_lo"), record.get("x_hi")),
        (1, record.get("y_lo"), record.get("y_hi")),
    ):
        if lo is not None and hi is not None:
            ends = [[v, v] for v in at]
            ends[along] = [lo, hi]
            axes.plot(*ends, color=colour, lw=0.9, alpha=0.7, zorder=2)
    axes.plot(*at, ls="", marker=marker, ms=4.5, mfc=colour, mec="white", mew=0.5, zorder=4)


def _values(records: Sequence[Mapping[str, Any]], name: str) -> list[Any]:
    return [r.get(key) for r in records for key in (name, f"{name}_lo", f"{name}_hi")]
