"""Blocks that are tables: numbers by label, listings of different numbers, long summaries."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from synthsae_jax.report import tables
from synthsae_jax.report.blocks import Drawn, Reader, Where, level_of
from synthsae_jax.suite.quantity import Estimate, Quantity

Cell = Estimate | str | None


@dataclasses.dataclass(frozen=True)
class Grid:
    """A table: a row per label, a column per quantity.

    `rows` maps what is printed in front to where the numbers are taken. A row of which nothing was
    observed is left out, as is one of differences from an arm that did not run.
    """

    head: str  # over the labels
    rows: Mapping[str, Where]
    columns: Sequence[Quantity]
    title: str = ""
    note: str = ""
    digits: int | None = None  # None: shares in per cent, others with two
    if_any: Sequence[Quantity] = ()  # a row needs an observation of one of these; (): of any column

    def quantities(self) -> Sequence[Quantity]:
        """What it reads."""
        return [q.at(**where) for where in self.rows.values() for q in self.columns]

    def draw(self, reader: Reader) -> Drawn:
        """The table."""
        lines = {
            reader.name(label): [reader.estimate(q, where) for q in self.columns]
            for label, where in self.rows.items()
            if not self.if_any or not all(reader.estimate(q, where).absent for q in self.if_any)
        }
        heads = [q.title for q in self.columns]
        return _drawn_table(self.head, heads, lines, self.title, self.note, self.digits)


@dataclasses.dataclass(frozen=True)
class Listing:
    """A table whose rows are different numbers: what is printed in front -> one per head.

    None leaves a cell empty; rows are left out as in `Grid`.
    """

    head: str  # over the labels
    heads: Sequence[str]
    rows: Mapping[str, Sequence[Quantity | None]]
    title: str = ""
    note: str = ""
    digits: int | None = None  # as for `Grid`

    def quantities(self) -> Sequence[Quantity]:
        """What it reads."""
        return [q for row in self.rows.values() for q in row if q is not None]

    def draw(self, reader: Reader) -> Drawn:
        """The table."""
        lines = {
            reader.name(label): [None if q is None else reader.estimate(q) for q in row]
            for label, row in self.rows.items()
        }
        return _drawn_table(self.head, self.heads, lines, self.title, self.note, self.digits)


def table_of(
    head: str,
    heads: Sequence[str],
    lines: Mapping[str, Sequence[Cell]],
    title: str = "",
    note: str = "",
    digits: int | None = None,
) -> tables.Table | None:
    """Estimates as a table; rows and columns of which nothing was observed are left out.

    None where that is all of them. An estimate that rests on a part of its observations, or is
    defined in a part of its worlds, says on how many; why one is undefined stands below. `digits`
    None: shares in per cent, others with two.
    """
    estimates = {
        label: [c for c in line if isinstance(c, Estimate)] for label, line in lines.items()
    }
    shown = {n: line for n, line in lines.items() if not all(e.absent for e in estimates[n])}
    if not shown:
        return None
    unseen = lambda cell: isinstance(cell, Estimate) and cell.absent
    seen = [not all(map(unseen, column)) for column in zip(*shown.values(), strict=True)]
    distinct = [name for name, shows in zip(_distinct_heads(heads), seen, strict=True) if shows]
    reasons: dict[str, str] = {}
    records = []
    for label, line in shown.items():
        cells = (c for c, shows in zip(line, seen, strict=True) if shows)
        printed = [_printed(cell, digits, reasons) for cell in cells]
        records.append({head: label, **dict(zip(distinct, printed, strict=True))})
    below = [f"({letter}) {reason}." for reason, letter in reasons.items()]
    rests = _rests([estimates[label] for label in shown])
    text = " ".join(part for part in (note, rests, *below) if part)
    return tables.plain(records, title=title, note=text)


def _drawn_table(*what: Any) -> Drawn:
    table = table_of(*what)
    return Drawn() if table is None else Drawn(tables=(table,))


def _printed(cell: Cell, digits: int | None, reasons: dict[str, str]) -> str:
    """A cell's text; `reasons` gets a letter for a reason that is new."""
    if not isinstance(cell, Estimate):
        return cell or ""
    if cell.absent:
        return ""
    if not cell.known:
        return f"undefined ({reasons.setdefault(cell.reason, _letter(len(reasons)))})"
    text = f"{cell:.{digits}}" if digits is not None else f"{cell}"
    if cell.defined < cell.total:
        return f"{text} ({cell.defined} of {cell.total})"
    worlds, defined = len(cell.by_unit), sum(map(math.isfinite, cell.by_unit.values()))
    return f"{text} ({defined} of {worlds} worlds)" if defined < worlds else text


def _letter(n: int) -> str:
    """a to z, then aa, ab, ..."""
    first, last = divmod(n, 26)
    return (chr(96 + first) if first else "") + chr(97 + last)


@dataclasses.dataclass(frozen=True)
class Summary:
    """A long table: a line per label and number, with its chance level and ceiling beside it.

    `rows` are labels and where their numbers are taken; a number's levels are those of `chance`
    and `ceiling` at its position, taken where the number is unless they fix that themselves.
    """

    head: str
    rows: Mapping[str, Where]
    numbers: Sequence[Quantity]
    chance: Sequence[Quantity] = ()  # one for each of `numbers`
    ceiling: Sequence[Quantity] = ()
    title: str = ""
    note: str = ""

    def quantities(self) -> Sequence[Quantity]:
        """What it reads."""
        every = (*self.numbers, *self.chance, *self.ceiling)
        return [q.at(**where) for where in self.rows.values() for q in every]

    def draw(self, reader: Reader) -> Drawn:
        """The table."""
        records = self.records(reader)
        if not records:
            return Drawn()
        return Drawn(tables=(tables.from_records(records, title=self.title, note=self.note),))

    def records(self, reader: Reader) -> list[dict[str, Any]]:
        """One record per label and number, for the table and for a figure of the same."""
        records = []
        for label, where in self.rows.items():
            for i, quantity in enumerate(self.numbers):
                estimate = reader.estimate(quantity, where)
                if not estimate.total:
                    continue
                level = lambda among, i=i, where=where: (
                    level_of(reader, among[i].at(**where)) if among else None
                )
                interval = estimate.interval
                records.append(
                    {
                        self.head: reader.name(label),
                        "metric": quantity.title,
                        "variant": "",
                        "estimate": estimate.value,
                        "lo": interval.lo,
                        "hi": interval.hi,
                        "n": interval.n,
                        "method": interval.method,
                        "excluded": estimate.total - estimate.defined,
                        "points": interval.points,
                        "level": interval.level,
                        "chance": level(self.chance),
                        "ceiling": level(self.ceiling),
                    }
                )
        return records


def _rests(lines: Iterable[Sequence[Estimate]]) -> str:
    counts = sorted({e.total for estimates in lines for e in estimates if e.total})
    if not counts:
        return ""
    spread = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
    each = "observation" if counts[-1] == 1 else "observations"
    return f"Each number rests on {spread} {each}, on all of them unless it says on how many."


def _distinct_heads(titles: Sequence[str]) -> list[str]:
    """Titles as columns of one table; of equal ones the later get a number."""
    heads: list[str] = []
    for title in titles:
        copies = sum(head.startswith(title) for head in heads)
        heads.append(f"{title} ({copies + 1})" if title in heads else title)
    return heads
