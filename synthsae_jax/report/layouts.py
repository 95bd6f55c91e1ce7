"""How numbers and records are laid out as cells: one decimal rule, a long and a wide form."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

from synthsae_jax.report.summary import Record

NONE = "\u2013"  # an en dash: what an empty cell shows
Layout = tuple[list[str], list[bool], list[tuple[str, ...]]]  # header, right-aligned?, body


def number(value: float | None, digits: int = 3, beside: float | None = None) -> str:
    """A number with `digits` decimals below 10 and one fewer for each further place.

    `beside`: the largest number of its column, so that all of them get the same decimals.
    """
    if value is None or not math.isfinite(value):
        return NONE
    size = max(abs(value), abs(beside or 0.0))
    places = math.floor(math.log10(size)) if size >= 1 else 0
    shown = f"{value:.{max(0, digits - places)}f}"
    return shown.removeprefix("-") if float(shown) == 0 else shown


def text(value: Any, digits: int = 3) -> str:
    """Any cell as text: numbers below .1 by significant digits, booleans as yes and no."""
    if value is None or value == "":
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.{digits + 1}g}" if abs(value) < 0.1 else number(value, digits)
    return str(value)


def long(records: Sequence[Record], by: Sequence[str]) -> Layout:
    """A row per group and metric."""
    levels = [c for c in ("chance", "ceiling") if any(r[c] is not None for r in records)]
    counts = ["n", *(["undef."] if any(r["excluded"] for r in records) else [])]
    header = [*by, "metric", "mean", _interval_head(records), *levels, *counts]
    numeric = [False] * (len(by) + 1) + [True] * (2 + len(levels) + len(counts))
    largest = _largest(records)
    body, above = [], None
    for r in records:
        group = [text(r[c]) for c in by]
        show = functools.partial(number, beside=largest[r["metric"]])
        line = [r["metric"], show(r["estimate"]), _spread(r, show)]
        line += [*(show(r[c]) for c in levels), str(r["n"])]
        line += [str(r["excluded"])] * (len(counts) - 1)
        # a group is named once, above its block
        body.append((*(group if group != above else [""] * len(group)), *line))
        above = group
    return header, numeric, body


def wide(records: Sequence[Record], by: Sequence[str]) -> Layout:
    """A row per group; every metric has a column, and beside it those of its levels."""
    metrics = list(dict.fromkeys(r["metric"] for r in records))
    groups: dict[tuple, dict[str, Record]] = {}
    for r in records:
        groups.setdefault(tuple(text(r[c]) for c in by), {})[r["metric"]] = r
    columns = []
    for metric in metrics:
        columns.append((metric, metric, None))
        for level in ("chance", "ceiling"):
            if any(r[level] is not None for r in records if r["metric"] == metric):
                columns.append((level, metric, level))
    header = [*by, *(title for title, _, _ in columns)]
    numeric = [False] * len(by) + [True] * len(columns)
    body, largest = [], _largest(records)
    for group, cells in groups.items():
        line = []
        for _, metric, level in columns:
            r = cells.get(metric)
            if r is None:
                line.append(NONE)
                continue
            show = functools.partial(number, beside=largest[metric])
            if level:
                line.append(show(r[level]))
            else:
                cell = f"{show(r['estimate'])} {_spread(r, show)}"
                line.append(cell.removesuffix(f" {NONE}"))
        body.append((*group, *line))
    return header, numeric, body


def _interval_head(records: Sequence[Record]) -> str:
    levels = {r["level"] for r in records if r["lo"] is not None}
    return f"{100 * max(levels):g} % interval" if levels else "values"


def _spread(r: Record, show: Callable[[float], str]) -> str:
    if r["lo"] is not None:
        return f"[{show(r['lo'])}, {show(r['hi'])}]"
    return f"({', '.join(map(show, r['points']))})" if len(r["points"]) > 1 else NONE


def _largest(records: Sequence[Record]) -> dict[str, float]:
    """Per metric the largest size among estimates and levels, which sets its decimals."""
    largest: dict[str, float] = {}
    for r in records:
        sizes = [abs(r[c]) for c in ("estimate", "chance", "ceiling") if r[c] is not None]
        sizes.append(largest.get(r["metric"], 0.0))
        largest[r["metric"]] = max(size for size in sizes if math.isfinite(size))
    return largest


def method_note(records: Sequence[Record], note: str = "") -> str:
    """The note under a table: how its intervals came about, and what is left out."""
    says = {
        "points": "In round brackets: single values, since fewer than 5 units carry no interval.",
        "jackknife": "Pairs: jackknife over instances.",
    }
    used = {r["method"] for r in records if len(r["points"]) != 1}
    texts = [*([note] if note else []), *(t for m, t in says.items() if m in used)]
    if any(r["excluded"] for r in records):
        texts.append("undef.: values left out, of diverged runs or empty cases.")
    return " ".join(texts)
