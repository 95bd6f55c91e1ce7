"""What all figures share: making, saving, and labels that do not run into each other.

Figures are made without pyplot, so nothing here depends on or leaves a global state.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import html
import io
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from synthsae_jax.errors import ConfigError, check_choice
from synthsae_jax.io import atomic, results
from synthsae_jax.io.names import file_name
from synthsae_jax.report import style

FORMATS = ("svg", "pdf", "png")
# files without a date are equal when the figures are
_METADATA = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}


@dataclasses.dataclass(frozen=True)
class FigureData:
    """The numbers a figure shows, one flat dict per mark."""

    rows: tuple[dict[str, Any], ...]

    def to_csv(self) -> str:
        """The rows as CSV text."""
        return results.to_csv(self.rows)


@dataclasses.dataclass(frozen=True)
class Plot:
    """A figure with the numbers behind it and a sentence for who cannot see it."""

    figure: Figure
    data: FigureData
    alt: str = ""

    def _repr_html_(self) -> str:
        return to_svg(self)


@contextlib.contextmanager
def styled() -> Iterator[None]:
    """The house style for the time of the block; settings of the caller come back after it."""
    with matplotlib.rc_context(style.RC):
        yield


def new_figure(width: str, height: float) -> Figure:
    """An empty figure of the named width and a height in inches; its layout makes room for text."""
    figure = Figure(figsize=(style.inches(width), height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(
    plot: Plot,
    folder: str | os.PathLike[str],
    name: str,
    formats: Sequence[str] = ("svg",),
) -> list[Path]:
    """Write `name.<format>` for each format, and `name.csv` with the numbers; returns the paths.

    A name that is no plain file name (it may come from a row) is made one.
    """
    name = file_name(name)
    for form in formats:
        check_choice("figure format", form, FORMATS)
    paths = []
    for form in dict.fromkeys(formats):
        content = io.BytesIO()
        with matplotlib.rc_context({**style.RC, "svg.hashsalt": name}):
            plot.figure.savefig(content, format=form, metadata=_METADATA[form])
        paths.append(atomic.write_bytes(Path(folder) / f"{name}.{form}", content.getvalue()))
    paths.append(atomic.write_text(Path(folder) / f"{name}.csv", plot.data.to_csv()))
    return paths


def to_svg(plot: Plot | Figure) -> str:
    """The figure as one `<svg>` element for a page: scales with its place, ids of its own."""
    figure, alt = (plot.figure, plot.alt) if isinstance(plot, Plot) else (plot, "")
    content = io.StringIO()
    with matplotlib.rc_context({**style.RC, "svg.hashsalt": "page"}):
        figure.savefig(content, format="svg", metadata=_METADATA["svg"])
    svg = content.getvalue()
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    # several figures on one page must not find each other's clip paths and glyphs
    prefix = "f" + hashlib.sha256(svg.encode()).hexdigest()[:8]
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    svg = svg.replace('href="#', f'href="#{prefix}-').replace("url(#", f"url(#{prefix}-")
    width, height = (72 * size for size in figure.get_size_inches())
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{html.escape(alt)}" '
        # on a phone a wide figure scrolls sideways, since its letters would not be readable
        f'style="width:100%;min-width:{min(width / 72, 5.6):.2f}in;'
        f'max-width:{width / 72 * 1.35:.2f}in;height:auto">'
    )
    return opening + svg[svg.index(">") + 1 :]


def spread(centres: Sequence[float], sizes: Sequence[float], low: float, high: float) -> np.ndarray:
    """Centres moved as little as need be so that intervals of these sizes do not overlap.

    Order is kept, and the intervals stay within [low, high] where all of them fit there.
    """
    middles, widths = np.asarray(centres, float), np.asarray(sizes, float)
    order = np.argsort(middles, kind="stable")
    # blocks of touching intervals: [wish of the block's start, weight, total size, members]
    blocks: list[list] = []
    for i in order:
        blocks.append([middles[i] - widths[i] / 2, 1, widths[i], [i]])
        while len(blocks) > 1 and _start(blocks[-2], low, high) + blocks[-2][2] > _start(
            blocks[-1], low, high
        ):
            start, count, size, members = blocks.pop()
            before = blocks[-1]
            wish = (before[0] * before[1] + (start - before[2]) * count) / (before[1] + count)
            blocks[-1] = [wish, before[1] + count, before[2] + size, before[3] + members]
    moved = np.empty_like(middles)
    for block in blocks:
        at = _start(block, low, high)
        for i in block[3]:
            moved[i] = at + widths[i] / 2
            at += widths[i]
    return moved


def _start(block: list, low: float, high: float) -> float:
    return max(low, min(block[0], high - block[2]))


def spread_texts(figure: Figure, labels: Iterable[tuple[Axes, Sequence[Text]]], along: str) -> None:
    """Move the labels of each panel along "x" or "y" until none covers another; call it last.

    Measures the finished layout, so nothing that changes it may come after.
    """
    labels = [(axes, texts) for axes, texts in labels if texts]
    if not labels:
        return
    # once for all panels: on a figure of seven it takes seconds
    figure.draw_without_rendering()
    # the layout is final from here on; a second pass would move the axes under the labels
    figure.set_layout_engine("none")
    for axes, texts in labels:
        _spread_texts(figure.canvas.get_renderer(), axes, texts, along)


def _spread_texts(renderer: Any, axes: Axes, texts: Sequence[Text], along: str) -> None:
    boxes = [text.get_window_extent(renderer) for text in texts]
    frame = axes.get_window_extent(renderer)
    gap = 0.12 * boxes[0].height
    if along == "x":
        centres = [(box.x0 + box.x1) / 2 for box in boxes]
        sizes = [box.width + 4 * gap for box in boxes]
        low, high = frame.x0, frame.x1
    else:
        centres = [(box.y0 + box.y1) / 2 for box in boxes]
        sizes = [box.height + gap for box in boxes]
        low, high = frame.y0 - sizes[0] / 2, frame.y1 + sizes[0] / 2
    for text, shift in zip(texts, spread(centres, sizes, low, high) - centres, strict=True):
        transform = text.get_transform()
        position = transform.transform(text.get_position())
        position = position + ([shift, 0] if along == "x" else [0, shift])
        text.set_position(transform.inverted().transform(position))


def finite(values: Sequence[Any]) -> list[float]:
    """The defined numbers among the values."""
    return [float(v) for v in values if v is not None and np.isfinite(v)]


def need(records: Sequence[Mapping[str, Any]], columns: Sequence[str], where: str) -> None:
    """Raise unless there is a record and every record has these columns."""
    if not records:
        raise ConfigError(f"{where}: no rows to show.")
    for column in columns:
        if any(column not in record for record in records):
            raise ConfigError(f"{where}: column {column!r} is missing.")


def label(record: Mapping[str, Any], columns: Sequence[str]) -> str:
    """The texts of some columns as one name."""
    parts = (record.get(column) for column in columns)
    return ", ".join(str(p) for p in parts if p is not None and p != "")


def distinct(names: Sequence[Any]) -> list[Any]:
    """The names in order of first appearance, each once."""
    return list(dict.fromkeys(names))


def figure_data(
    data: Sequence[Mapping[str, Any]], columns: Sequence[str], optional: Sequence[str] = ()
) -> FigureData:
    """The shown columns of the records, and of the optional ones those that have a value."""
    used = [c for c in optional if any(r.get(c) is not None for r in data)]
    rows = [{c: _flat(r.get(c)) for c in (*columns, *used)} for r in data]
    return FigureData(tuple(rows))


def _flat(value: Any) -> Any:
    return " ".join(f"{v:.9g}" for v in value) if isinstance(value, tuple) else value
