"""Numbers with names: what a claim, a table, a curve or a sentence reads off the rows.

Every reader of rows goes through a `Quantity`, so that a number of a page leads to one definition,
says over what it is taken, and how many of how many observations it rests on.
"""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from synthsae_jax import stats
from synthsae_jax.io.rows import COLUMNS, Row, column
from synthsae_jax.suite.needs import IDENTITY, Name, Need, Values, Where, fits, where_of

TOP = ("top",)  # as `units` of a quantity


def mean(values: Values) -> float:
    """The default `of_world`: the mean of the defined values."""
    return values.mean()


@dataclasses.dataclass(frozen=True)
class Quantity:
    """A number of an experiment with its name.

    `of_world(*values)` takes the `Values` of each need in one world (one unit) and gives its
    number, NaN where undefined; the estimate is the mean over worlds with its interval.
    """

    name: str  # unique within a design, for files and notes
    title: str  # what a person calls it; a column's head
    unit: str  # "share of latents", "log odds", "steps": shares are printed in per cent
    needs: tuple[Need, ...]
    of_world: Callable[..., float] = mean
    # columns that name what was drawn independently; TOP: the world where there are several, else
    # the instance within the one; (): all observations are one unit
    units: tuple[str, ...] = ("world_seed",)
    undefined: str = ""  # why `of_world` may give none although observations have values
    # is a unit's number the share of its observations that do something? Then none or all of them
    # has an exact bound, where units without spread would give an interval of width 0
    trials: bool = False
    # {unit: values of each need} -> {unit: number}, where a unit's number takes the others' too
    of_units: Callable[[Mapping[Hashable, Sequence[Values]]], Mapping[Hashable, float]] | None = (
        None
    )

    @property
    def names(self) -> tuple[Name, ...]:
        """All (metric, variant) that it reads."""
        return tuple(dict.fromkeys(name for need in self.needs for name in need.names))

    def at(self, title: str = "", /, **where: Any) -> Quantity:
        """The same number of fewer rows: `at(condition="rotated", strength=(0.5, 1.0))`.

        Names are columns, or factors without their prefix; a tuple means any of its values. A
        column that a need fixes already stays as it is.
        """
        fixed = where_of(**where)
        needs = tuple(need.at(fixed) for need in self.needs)
        label = ",".join(f"{name.removeprefix('factor_')}={_label(v)}" for name, v in fixed)
        name = f"{self.name}[{label}]" if label else self.name
        return dataclasses.replace(self, name=name, title=title or self.title, needs=needs)

    def on_same(self, *others: Quantity) -> Quantity:
        """The same number from those observations alone on which the others are defined too."""
        beside = tuple(dict.fromkeys(name for other in others for name in other.names))
        needs = tuple(
            dataclasses.replace(
                need,
                beside=tuple(
                    n for n in (*need.beside, *beside) if n != (need.metric, need.variant)
                ),
            )
            for need in self.needs
        )
        return dataclasses.replace(self, needs=needs)

    def called(self, title: str, unit: str = "") -> Quantity:
        """The same number under another title."""
        return dataclasses.replace(self, title=title, unit=unit or self.unit)

    def __sub__(self, other: Quantity) -> Quantity:
        return combined(
            lambda a, b: a - b,
            self,
            other,
            name=f"{self.name} - {other.name}",
            title=f"{self.title} less {other.title}",
        )

    def over(self, rows: Observed | Sequence[Row]) -> Estimate:
        """The estimate from these rows."""
        observed = rows if isinstance(rows, Observed) else Observed(rows)
        return observed.estimate(self)


def number(
    metric: str, variant: str = "", *, title: str = "", unit: str = "", **where: Any
) -> Quantity:
    """The plainest quantity: the mean of one number over the observations that fit."""
    name = f"{metric}/{variant}" if variant else metric
    need = Need(metric, variant)
    return Quantity(name, title or name, unit, (need,)).at(**where)


def combined(
    of: Callable[..., float],
    *parts: Quantity,
    name: str,
    title: str,
    unit: str = "",
    undefined: str = "",
) -> Quantity:
    """`of(value of each part)`, world by world: a difference, a ratio, a largest of several.

    `undefined` says why it may have no number where its parts have one; "": for the reason that
    they may have none.
    """
    ends = np.cumsum([0, *(len(part.needs) for part in parts)])

    def of_world(*values: Values) -> float:
        each = [part.of_world(*values[i:j]) for part, i, j in zip(parts, ends, ends[1:])]
        return of(*each)

    needs = tuple(need for part in parts for need in part.needs)
    why = undefined or next((part.undefined for part in parts if part.undefined), "")
    return Quantity(name, title, unit or parts[0].unit, needs, of_world, parts[0].units, why)


def on_same(*quantities: Quantity) -> tuple[Quantity, ...]:
    """Each of them from the observations on which all are defined, so that they compare."""
    return tuple(q.on_same(*(other for other in quantities if other is not q)) for q in quantities)


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A quantity's number: mean over units with its interval, and what it rests on."""

    quantity: Quantity
    by_unit: Mapping[Hashable, float]
    interval: stats.Interval
    defined: int  # observations of which some value counts
    total: int  # observations in all, defined or not
    reasons: Mapping[str, int]  # why the others have none
    absent: bool  # does some of its needs meet no row at all, such as of an arm that did not run?

    @property
    def value(self) -> float:
        """The mean over units; NaN where undefined."""
        return self.interval.estimate

    @property
    def known(self) -> bool:
        """Is there a number?"""
        return math.isfinite(self.value)

    @property
    def reason(self) -> str:
        """Why there is no number, in words; empty where there is one."""
        if self.known:
            return ""
        if not self.total:
            return "nothing was observed"
        if self.absent:
            return "a part of it was not observed"
        if self.defined and self.quantity.undefined:
            return self.quantity.undefined
        most = max(self.reasons, key=lambda r: self.reasons[r], default="")
        if not most and not self.defined and any(need.beside for need in self.quantity.needs):
            return "no observation has all that are compared"
        return most or "too few observations are defined"

    def record(self, **columns: Any) -> dict[str, Any]:
        """One record for a figure."""
        ends = {"estimate": self.value, "lo": self.interval.lo, "hi": self.interval.hi}
        counts = {"defined": self.defined, "observations": self.total}
        return {**columns, **ends, "points": self.interval.points, **counts}

    def __format__(self, spec: str) -> str:
        """In print. "" with its interval, "alone" without; shares are printed in per cent.

        `.3` (and `.3 alone`) sets the digits.
        """
        words = spec.split()
        digits = next((int(w[1:]) for w in words if w.startswith(".")), None)
        share = self.quantity.unit.startswith("share") and digits is None
        if not self.known:
            return "undefined"
        # z: no minus before a zero
        show = lambda v: f"{100 * v:z.0f}" if share else f"{v:z.{2 if digits is None else digits}f}"
        text = show(self.value) + (" %" if share else "")
        lo, hi = self.interval.lo, self.interval.hi
        if "alone" in words or lo is None or hi is None:
            return text
        return f"{text} [{show(lo)}, {show(hi)}]"


class Observed:
    """The rows of a folder, found by name; what quantities are read from."""

    def __init__(self, rows: Iterable[Row]):
        self.rows = tuple(rows)
        self._by_name: dict[Name, list[Row]] = {}
        for row in self.rows:
            self._by_name.setdefault((row["metric"], row["variant"]), []).append(row)
        self._by_value: dict[tuple[Name, str], dict[Any, list[Row]]] = {}
        self._factors = tuple(
            sorted({name for row in self.rows for name in row if name not in COLUMNS})
        )
        self._defined: dict[Name, set[tuple[Any, ...]]] = {}
        self._identities: dict[int, tuple[Any, ...]] = {}  # by the row's id: rows live as long
        self._estimates: dict[Quantity, Estimate] = {}  # a page asks for many of them twice

    def select(self, need: Need) -> list[Row]:
        """The rows of a need."""
        name = need.metric, need.variant
        rows = self._by_name.get(name, [])
        # a page asks some hundred times for a handful of some ten thousand rows
        for column_name, values in need.where:
            if len(values) == 1:
                some = self._with_value(name, column_name).get(values[0], [])
                rows = min(rows, some, key=len)
        return [row for row in rows if fits(row, need.where)]

    def _with_value(self, name: Name, column_name: str) -> dict[Any, list[Row]]:
        """Rows of a name by the value of a column, each list in the order of the rows."""
        at = name, column_name
        if at not in self._by_value:
            by_value = self._by_value.setdefault(at, {})
            for row in self._by_name.get(name, []):
                by_value.setdefault(row.get(column_name), []).append(row)
        return self._by_value[at]

    def values_of(self, name: str) -> list[Any]:
        """The values of a column (or factor) in order of appearance, without empty ones."""
        at = column(name)
        values = dict.fromkeys(row.get(at) for row in self.rows)
        return [value for value in values if value is not None and value != ""]

    def estimate(self, quantity: Quantity) -> Estimate:
        """`Quantity.over`."""
        if quantity not in self._estimates:
            self._estimates[quantity] = self._estimate(quantity)
        return self._estimates[quantity]

    def _estimate(self, quantity: Quantity) -> Estimate:
        units_of = self._top_unit() if quantity.units == TOP else quantity.units
        parts = [self._by_unit(need, units_of) for need in quantity.needs]
        units = dict.fromkeys(unit for part in parts for unit in part)
        nothing = Values((), ())
        values_of = {unit: [part.get(unit, nothing) for part in parts] for unit in units}
        if quantity.of_units is not None:
            by_unit = dict(quantity.of_units(values_of))
        else:
            by_unit = {unit: float(quantity.of_world(*v)) for unit, v in values_of.items()}
        every = [values for part in parts for values in part.values()]
        met: dict[Any, bool] = {}
        for i, (need, part) in enumerate(zip(quantity.needs, parts, strict=True)):
            met[need.one_of or i] = met.get(need.one_of or i, False) or bool(part)
        observations = {self._identity(r) for need in quantity.needs for r in self.select(need)}
        counted = (row for values in every for row in values.rows if row["value"] is not None)
        defined = len({self._identity(row) for row in counted})
        each = list(by_unit.values())
        return Estimate(
            quantity=quantity,
            by_unit=by_unit,
            interval=stats.share_interval(each, defined)
            if quantity.trials
            else stats.mean_interval(each),
            defined=defined,
            total=len(observations),
            reasons=sum((values.reasons for values in every), collections.Counter()),
            absent=not all(met.values()),
        )

    def _top_unit(self) -> tuple[str, ...]:
        several = len(self.values_of("world_seed")) > 1
        return ("world_seed",) if several else ("world_seed", "instance")

    def _by_unit(self, need: Need, units: Sequence[str]) -> dict[Hashable, Values]:
        groups: dict[Hashable, list[Row]] = {}
        for row in self.select(need):
            unit = tuple(row.get(name) for name in units)
            groups.setdefault(unit[0] if len(unit) == 1 else unit, []).append(row)
        return {unit: Values(rows, self._counted(rows, need)) for unit, rows in groups.items()}

    def _counted(self, rows: Sequence[Row], need: Need) -> list[bool]:
        beside = [self._defined_on(name) for name in need.beside]
        if not beside:
            return [True] * len(rows)
        identities = [self._identity(row) for row in rows]
        return [all(identity in defined_on for defined_on in beside) for identity in identities]

    def _defined_on(self, name: Name) -> set[tuple[Any, ...]]:
        if name not in self._defined:
            rows = self._by_name.get(name, [])
            self._defined[name] = {self._identity(r) for r in rows if r["value"] is not None}
        return self._defined[name]

    def _identity(self, row: Row) -> tuple[Any, ...]:
        if id(row) not in self._identities:
            columns = (*IDENTITY, *self._factors)
            self._identities[id(row)] = tuple(row.get(name) for name in columns)
        return self._identities[id(row)]


def reads(quantities: Iterable[Quantity]) -> dict[Name, tuple[Where, ...]]:
    """Every (metric, variant) that the quantities read, with the `where` of each reader."""
    wheres: dict[Name, dict[Where, None]] = {}
    for quantity in quantities:
        for need in quantity.needs:
            for name in need.names:
                wheres.setdefault(name, {})[need.where] = None
    return {name: tuple(each) for name, each in wheres.items()}


def _label(values: tuple[Any, ...]) -> str:
    return "|".join(map(str, values))
