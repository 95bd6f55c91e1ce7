"""Blocks that are figures: curves, dots and matrices of marks."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from synthsae_jax.report import dots, lines, marks, matrix
from synthsae_jax.report.blocks import EVERYWHERE, Drawn, Level, Reader, Where, figure_of, level_of
from synthsae_jax.suite.quantity import Quantity


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
        values = {name: level_of(reader, level) for name, level in self.levels.items()}
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
        return figure_of(plot, self.caption, self.name, records)


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
        return figure_of(plot, self.caption, self.name, records)


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
        return figure_of(plot, self.caption, self.name, ())  # it has neither dots nor lines


def _at(level: Level, **where: Any) -> Level:
    return level.at(**where) if isinstance(level, Quantity) else level
