"""What is read of the rows: which of them, by name and columns, and their values in one unit."""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from synthsae_jax.io.rows import COLUMNS, Row, column
from synthsae_jax.stats import defined_mean

Name = tuple[str, str]  # (metric, variant)
Where = tuple[tuple[str, tuple[Any, ...]], ...]  # column -> the values that fit

# what tells observations apart: all but the number itself and when and where it was made
_NOT_IDENTITY = {
    "metric",
    "variant",
    "value",
    "status",
    "reason",
    "n_eval",
    "commit",
    "jax_version",
    "device",
    "created_at",
}
IDENTITY = tuple(name for name in COLUMNS if name not in _NOT_IDENTITY)


@dataclasses.dataclass(frozen=True)
class Need:
    """Rows that a quantity reads: of one name, where columns have one of some values.

    `beside` are names that must be defined on the same observation; else it does not count. Needs
    with the same `one_of` stand for each other: a folder holds the rows of one of them, such as of
    its scale's number of tokens.
    """

    metric: str
    variant: str = ""
    where: Where = ()
    beside: tuple[Name, ...] = ()
    one_of: str = ""

    @property
    def names(self) -> tuple[Name, ...]:
        """All (metric, variant) that are read."""
        return ((self.metric, self.variant), *self.beside)

    def at(self, where: Where) -> Need:
        """The same rows, fewer of them: a column that is already fixed keeps its value."""
        fixed = {name for name, _ in self.where}
        more = tuple(item for item in where if item[0] not in fixed)
        return dataclasses.replace(self, where=(*self.where, *more))

    def with_beside(self, names: Iterable[Name]) -> Need:
        """The same rows, those alone on whose observation these are defined too."""
        others = (name for name in names if name != (self.metric, self.variant))
        return dataclasses.replace(self, beside=tuple(dict.fromkeys((*self.beside, *others))))


class Values:
    """The rows of one need in one unit: `values` float [n], NaN where undefined."""

    def __init__(self, rows: Sequence[Row], counts: Sequence[bool]):
        self.rows = tuple(row for row, counted in zip(rows, counts, strict=True) if counted)
        self.values = np.array(
            [math.nan if row["value"] is None else row["value"] for row in self.rows], np.float64
        )
        self.total = len(rows)
        reasons = [row["reason"] for row in self.rows if row["value"] is None]
        self.reasons = collections.Counter(reasons)

    @property
    def defined(self) -> np.ndarray:
        """The finite values."""
        return self.values[np.isfinite(self.values)]

    def mean(self) -> float:
        """Mean of the defined values; NaN where there is none."""
        return defined_mean(self.values)

    def by(self, *columns: str) -> dict[Any, float]:
        """Mean of the defined values by a column (by several: by tuples of their values)."""
        names = [column(name) for name in columns]
        groups: dict[Any, list[float]] = {}
        for row, value in zip(self.rows, self.values, strict=True):
            if math.isfinite(value):
                at = tuple(row.get(name) for name in names)
                groups.setdefault(at[0] if len(at) == 1 else at, []).append(float(value))
        return {at: sum(v) / len(v) for at, v in groups.items()}


def where_of(**where: Any) -> Where:
    """Columns and the values that fit, from keywords; factors may lack their prefix."""
    return tuple(
        (column(name), tuple(value) if isinstance(value, tuple | list | set) else (value,))
        for name, value in where.items()
    )


def fits(row: Mapping[str, Any], where: Where) -> bool:
    """Has the row one of the values in each column?"""
    return all(row.get(name) in values for name, values in where)
