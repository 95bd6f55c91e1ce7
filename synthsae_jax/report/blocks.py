"""A page as a list of blocks: what is asked, sentences, tables, curves, dots, matrices, verdicts.

A block names quantities and where to take them; one renderer reads them off the rows and prints
with each number how many of how many observations it rests on. Where a scale lacks an arm, its
row, curve or cell is left out; where a number is undefined it says so.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from synthsae_jax.report import dots, lines, marks, matrix, page, tables
from synthsae_jax.report.canvas import Plot
from synthsae_jax.suite.claims import Claim
from synthsae_jax.suite.quantity import Estimate, Observed, Quantity

Where = Mapping[str, Any]
EVERYWHERE: Where = {}


@dataclasses.dataclass(frozen=True)
class Drawn:
    """What a block comes to."""

    tables: tuple[tables.Table, ...] = ()
    figures: tuple[page.Captioned, ...] = ()


@dataclasses.dataclass(frozen=True)
class Reader:
    """What a block is drawn from."""

    observed: Observed
    claims: Sequence[Claim]
    names: Mapping[str, str]  # what to print instead of a value
    width: str  # of figures: "page" or "column"

    def estimate(self, quantity: Quantity, where: Where = EVERYWHERE) -> Estimate:
        """A quantity where columns have these values."""
        return self.observed.estimate(quantity.at(**where))

    def name(self, value: Any) -> str:
        """What to print for a value of a column."""
        return self.names.get(value, str(value)) if isinstance(value, str) else str(value)


class Block(Protocol):
    """A part of a section."""

    def quantities(self) -> Sequence[Quantity]:
        """Everything that it reads."""
        ...

    def draw(self, reader: Reader) -> Drawn:
        """Its tables and figures; nothing where there is nothing to show."""
        ...


@dataclasses.dataclass(frozen=True)
class Finding:
    """A sentence with numbers: `Finding("Recovery falls by {loss}.", loss=quantity)`.

    `{loss}` prints the estimate with its interval, `{loss:alone}` without, `{loss:.3}` with three
    digits. Where one is undefined the sentence gives way to the reason.
    """

    text: str
    values: Mapping[str, Quantity]

    def __init__(self, text: str, /, **values: Quantity):
        object.__setattr__(self, "text", text)
        object.__setattr__(self, "values", values)

    def quantities(self) -> tuple[Quantity, ...]:
        """What it reads."""
        return tuple(self.values.values())

    def say(self, reader: Reader) -> str:
        """The sentence."""
        estimates = {name: reader.estimate(q) for name, q in self.values.items()}
        for estimate in estimates.values():
            if not estimate.known:
                return _undefined(estimate)
        return self.text.format(**estimates)


@dataclasses.dataclass(frozen=True)
class Telling:
    """A sentence that has to choose its words: `say(reader)` writes it from these quantities."""

    of: tuple[Quantity, ...]
    write: Callable[[Reader], str]

    def quantities(self) -> tuple[Quantity, ...]:
        """What it reads."""
        return self.of

    def say(self, reader: Reader) -> str:
        """The sentence."""
        return self.write(reader)


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


Cell = Estimate | str | None


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
                    _level(reader, among[i].at(**where)) if among else None
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


Level = Quantity | float | None


@dataclasses.dataclass(frozen=True)
class Every:
    """Where a mark stands on a curve: at each value of a column that the rows have."""

    column: str


@dataclasses.dataclass(frozen=True)
class Mark:
    """One number of a figure: in which panel, with which label, what of.

    `x` is where it stands on a curve: a number, a text, a quantity that is measured there, or
    `Every` value of a column. `no_effect` is where a difference would be if nothing differed.
    """

    panel: str
    label: str
    of: Quantity
    x: Any = None
    chance: Level = None
    ceiling: Level = None
    no_effect: Level = None

    @property
    def levels(self) -> dict[str, Level]:
        """What stands beside it, by the names that figures print."""
        levels = (self.chance, self.ceiling, self.no_effect)
        return dict(zip(marks.LEVELS, levels, strict=True))

    def quantities(self) -> list[Quantity]:
        """What it reads."""
        read = (self.of, self.x, *self.levels.values())
        return [q for q in read if isinstance(q, Quantity)]

    def each(self, reader: Reader) -> list[Mark]:
        """Itself, or a mark for every value of its column."""
        if not isinstance(self.x, Every):
            return [self]
        column = self.x.column
        return [
            dataclasses.replace(
                self,
                of=self.of.at(**{column: value}),
                x=value,
                chance=_at(self.chance, **{column: value}),
                ceiling=_at(self.ceiling, **{column: value}),
                no_effect=_at(self.no_effect, **{column: value}),
            )
            for value in reader.observed.values_of(column)
        ]

    def record(self, reader: Reader, **columns: Any) -> dict[str, Any] | None:
        """For a figure; None where the number is undefined."""
        estimate = reader.estimate(self.of)
        if not estimate.known:
            return None
        values = {name: _level(reader, level) for name, level in self.levels.items()}
        drawn = {name: value for name, value in values.items() if value is not None}
        return estimate.record(**columns, **drawn)


def across(
    quantities: Sequence[Quantity],
    rows: Mapping[str, Where],
    chance: Level = None,
    ceiling: Level = None,
    no_effect: Level = None,
) -> list[Mark]:
    """Marks of dots: a panel per quantity, a row per label; levels are taken where the row is."""
    levels = (chance, ceiling, no_effect)
    return [
        Mark(q.title, row, q.at(**where), None, *(_at(level, **where) for level in levels))
        for q in quantities
        for row, where in rows.items()
    ]


def along(
    column: str,
    values: Iterable[Any],
    quantities: Sequence[Quantity],
    series: Mapping[str, Where] | None = None,
    panels: Mapping[str, Where] | None = None,
) -> list[Mark]:
    """Marks of a curve against the values of a column.

    A panel per quantity with a line per series; where `panels` are told, a panel for each of them
    with a line per quantity.
    """
    values = list(values)
    if panels is not None:
        return [
            Mark(panel, q.title, q.at(**where, **{column: x}), x)
            for panel, where in panels.items()
            for q in quantities
            for x in values
        ]
    return [
        Mark(q.title, name, q.at(**where, **{column: x}), x)
        for q in quantities
        for name, where in (series or {"": EVERYWHERE}).items()
        for x in values
    ]


@dataclasses.dataclass(frozen=True)
class Curve:
    """Numbers against a factor or a measured quantity: a line per label, panel by panel.

    A line of one point is left out, since a point alone shows no course, as is a panel whose lines
    stand at fewer than `least` places in all.
    """

    name: str  # of its file
    x: str  # what the axis is called
    marks: Sequence[Mark]
    caption: str
    log_x: bool = False
    limits: Mapping[str, tuple[float, float]] | None = None
    least: int = 2

    def quantities(self) -> Sequence[Quantity]:
        """What it reads."""
        return [q for mark in self.marks for q in mark.quantities()]

    def draw(self, reader: Reader) -> Drawn:
        """The figure."""
        records = []
        at: dict[tuple[str, str], set[Any]] = {}
        for mark in (single for each in self.marks for single in each.each(reader)):
            x = mark.x
            if isinstance(x, Quantity):
                measured = reader.estimate(x)
                x = round(measured.value, 3) if measured.known else None
            record = mark.record(reader, **{self.x: x, "series": mark.label, "metric": mark.panel})
            if record is not None and x is not None:
                records.append(record)
                at.setdefault((mark.panel, mark.label), set()).add(x)
        courses = {line: xs for line, xs in at.items() if len(xs) > 1}
        reached: dict[str, set[Any]] = {}
        for (panel, _), xs in courses.items():
            reached.setdefault(panel, set()).update(xs)
        shown = {line for line in courses if len(reached[line[0]]) >= self.least}
        records = [r for r in records if (r["metric"], r["series"]) in shown]
        if not records:
            return Drawn()
        plot = lines.line_plot(
            records,
            self.x,
            "series",
            width=reader.width,
            log_x=self.log_x,
            limits=self.limits,
            names=reader.names,
        )
        return _figure(plot, self.caption, self.name, records)


@dataclasses.dataclass(frozen=True)
class Dots:
    """Numbers by group: a row per label, panel by panel, with chance and ceiling."""

    name: str
    marks: Sequence[Mark]
    caption: str
    limits: Mapping[str, tuple[float, float]] | None = None  # of panels

    def quantities(self) -> Sequence[Quantity]:
        """What it reads."""
        return [q for mark in self.marks for q in mark.quantities()]

    def draw(self, reader: Reader) -> Drawn:
        """The figure."""
        drawn = [m.record(reader, group=m.label, metric=m.panel) for m in self.marks]
        records = [record for record in drawn if record is not None]
        if not records:
            return Drawn()
        plot = dots.dot_plot(
            records, "group", width=reader.width, limits=self.limits, names=reader.names
        )
        return _figure(plot, self.caption, self.name, records)


@dataclasses.dataclass(frozen=True)
class Matrix:
    """Numbers as a shaded table: the panel of a mark is its row, its label the column."""

    name: str
    marks: Sequence[Mark]
    caption: str
    limits: tuple[float, float] = (0.0, 1.0)

    def quantities(self) -> Sequence[Quantity]:
        """What it reads."""
        return [q for mark in self.marks for q in mark.quantities()]

    def draw(self, reader: Reader) -> Drawn:
        """The figure."""
        drawn = [m.record(reader, row=m.panel, column=m.label) for m in self.marks]
        records = [record for record in drawn if record is not None]
        if not records:
            return Drawn()
        plot = matrix.matrix_plot(
            records,
            "row",
            "column",
            width=reader.width,
            limits=self.limits,
            names=reader.names,
        )
        return _figure(plot, self.caption, self.name, ())  # it has neither dots nor lines


@dataclasses.dataclass(frozen=True)
class Figure:
    """A figure of an experiment's own: `plot(reader)`, None where there is nothing to show."""

    name: str
    of: Sequence[Quantity]
    plot: Callable[[Reader], Plot | None]
    caption: str

    def quantities(self) -> Sequence[Quantity]:
        """What it reads."""
        return self.of

    def draw(self, reader: Reader) -> Drawn:
        """The figure."""
        plot = self.plot(reader)
        return Drawn() if plot is None else _figure(plot, self.caption, self.name, ())


@dataclasses.dataclass(frozen=True)
class Own:
    """A table of an experiment's own: `table(reader)`, None where there is nothing to show."""

    of: Sequence[Quantity]
    table: Callable[[Reader], tables.Table | None]

    def quantities(self) -> Sequence[Quantity]:
        """What it reads."""
        return self.of

    def draw(self, reader: Reader) -> Drawn:
        """The table."""
        table = self.table(reader)
        return Drawn() if table is None else Drawn(tables=(table,))


def _at(level: Level, **where: Any) -> Level:
    return level.at(**where) if isinstance(level, Quantity) else level


def _level(reader: Reader, level: Level) -> float | None:
    if not isinstance(level, Quantity):
        return level
    estimate = reader.estimate(level)
    return estimate.value if estimate.known else None


def _figure(plot: Plot, caption: str, name: str, records: Sequence[Mapping[str, Any]]) -> Drawn:
    text = f"{caption} {marks.READING}" if records else caption
    return Drawn(figures=(page.Captioned(plot, text, name),))


def _rests(lines: Iterable[Sequence[Estimate]]) -> str:
    counts = sorted({e.total for estimates in lines for e in estimates if e.total})
    if not counts:
        return ""
    spread = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
    each = "observation" if counts[-1] == 1 else "observations"
    return f"Each number rests on {spread} {each}, on all of them unless it says on how many."


def _undefined(estimate: Estimate) -> str:
    title = estimate.quantity.title
    return f"{title[:1].upper()}{title[1:]} is undefined: {estimate.reason}."


def _distinct_heads(titles: Sequence[str]) -> list[str]:
    """Titles as columns of one table; of equal ones the later get a number."""
    heads: list[str] = []
    for title in titles:
        copies = sum(head.startswith(title) for head in heads)
        heads.append(f"{title} ({copies + 1})" if title in heads else title)
    return heads
