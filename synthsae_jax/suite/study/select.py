"""Reading rows of the tidy table: which, and their means by world."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from synthsae_jax.io.rows import Row


def select(rows: Iterable[Row], **columns: Any) -> list[Row]:
    """Rows whose columns are as given; a tuple or set means any of its values."""

    def fits(row: Row) -> bool:
        return all(
            row.get(name) in wanted if isinstance(wanted, tuple | set) else row.get(name) == wanted
            for name, wanted in columns.items()
        )

    return [row for row in rows if fits(row)]


def values(rows: Iterable[Row], **columns: Any) -> list[float]:
    """The defined values of the rows selected."""
    return [float(row["value"]) for row in select(rows, **columns) if row["value"] is not None]


def mean(rows: Iterable[Row], **columns: Any) -> float:
    """Mean of the defined values of the rows selected; NaN where there is none."""
    found = values(rows, **columns)
    return sum(found) / len(found) if found else math.nan


def by_world(
    of_world: Callable[[list[Row]], float],
) -> Callable[[Sequence[Row]], dict[int, float]]:
    """The estimate of a claim about worlds: `of_world(rows of one world)`, by world seed."""

    def estimate(rows: Sequence[Row]) -> dict[int, float]:
        worlds: dict[int, list[Row]] = {}
        for row in rows:
            worlds.setdefault(row["world_seed"], []).append(row)
        return {seed: of_world(found) for seed, found in worlds.items()}

    return estimate
