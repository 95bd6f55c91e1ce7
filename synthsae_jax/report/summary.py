"""Rows of the tidy table -> one record per group and metric, with interval, chance and ceiling.

Tables and figures both start from these records, so they cannot disagree.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from synthsae_jax import stats
from synthsae_jax.errors import ConfigError, check_choice
from synthsae_jax.io import rows as schema

Record = dict[str, Any]
UNITS = ("top", "instance", "world", "run")
# the columns of a record that are not settings
RECORD = (
    "metric",
    "variant",
    "estimate",
    "lo",
    "hi",
    "n",
    "method",
    "excluded",
    "points",
    "level",
    "chance",
    "ceiling",
)
# rows that differ here answer different questions
SHARED = ("same_instance", "same_init", "same_data", "same_dictionary")
_APART = (
    "benchmark",
    "world",
    "condition",
    "sae",
    "sae_b",
    "target_l0",
    "learning_rate",
    "sparsity_coef",
    "n_train",
    *SHARED,
)


def summarise(
    rows: Iterable[Mapping[str, Any]],
    by: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,
    unit: str = "top",
    level: float = 0.95,
) -> list[Record]:
    """One record per group, variant and metric, in order of first appearance.

    A record holds the columns of `by`, `metric`, `variant`, then `estimate`, `lo`, `hi` (None
    below 5 units), `n`, `method`, `excluded`, `points` and `level` of the interval, and the levels
    `chance` and `ceiling` (None where no row gives them).

    `by` None: every column that tells settings apart and takes more than one value. Only the last
    step of each run counts. `unit` is what was drawn independently: "world", "instance" within
    one world (pairs of instances get the dyadic interval), or "run", which says no more than how
    well these very instances are known; "top" is the world where a group has several, else the
    instance. Rows whose status is not "ok" are excluded and counted. Groups in which a
    `same_...` column varies are refused: such pairs do not pool.
    """
    check_choice("unit", unit, UNITS)
    rows = last_steps(rows)
    wanted = list(metrics) if metrics is not None else _distinct(r["metric"] for r in rows)
    rows = [row for row in rows if row["metric"] in wanted]
    values = [row for row in rows if not schema.reference(row["variant"])[1]]
    levels = [row for row in rows if schema.reference(row["variant"])[1]]
    by = _varying(values) if by is None else tuple(by)
    groups: dict[tuple, list[Mapping[str, Any]]] = {}
    for row in values:
        group = (tuple(row.get(column) for column in by), row["variant"], row["metric"])
        groups.setdefault(group, []).append(row)
    ordered = sorted(groups, key=lambda group: wanted.index(group[2]))
    places = {group[:2]: order for order, group in enumerate(_distinct(g[:2] for g in groups))}
    ordered.sort(key=lambda group: places[group[:2]])
    records = []
    for group in ordered:
        settings, variant, metric = group
        interval = interval_of(groups[group], unit, level)
        record: Record = dict(zip(by, settings, strict=True))
        record |= {"metric": metric, "variant": variant, "estimate": interval.estimate}
        record |= {"lo": interval.lo, "hi": interval.hi, "n": interval.n}
        record |= {"method": interval.method, "excluded": interval.excluded}
        record |= {"points": interval.points, "level": level}
        record |= {name: _level(levels, name, by, group) for name in schema.REFERENCES}
        records.append(record)
    return records


def interval_of(
    rows: Sequence[Mapping[str, Any]], unit: str = "top", level: float = 0.95
) -> stats.Interval:
    """The interval of one metric over rows of one setting, by what the rows are about."""
    for column in SHARED:
        kinds = {row.get(column) for row in rows}
        if len(kinds) > 1:
            raise ConfigError(
                f"Rows with {column} = {' and '.join(sorted(map(str, kinds)))} do not pool; "
                f"select one kind or group by {column!r}."
            )
    values = [_value(row) for row in rows]
    if unit == "run":
        return stats.mean_interval(values, level)
    home = [(row.get("world"), row.get("world_seed")) for row in rows]
    several = len(set(home)) > 1
    if unit == "instance" and several:
        raise ConfigError(
            f"Instances of {len(set(home))} worlds are not independent of each other; "
            "take unit 'world' or group by world."
        )
    if unit == "world" or several:
        return stats.nested_interval(values, home, level)
    first = [(*h, row.get("instance")) for h, row in zip(home, rows, strict=True)]
    if any(row.get("run_id_b") and row.get("instance_b") is not None for row in rows):
        second = [(*h, row.get("instance_b")) for h, row in zip(home, rows, strict=True)]
        return stats.dyadic_interval(values, first, second, level)
    return stats.nested_interval(values, first, level)


def last_steps(rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Of each run (or pair), metric and variant the row with the largest step."""
    last: dict[tuple, Mapping[str, Any]] = {}
    columns = [column for column in schema.KEY if column != "step"]
    for row in rows:
        about = tuple(row.get(column) for column in columns)
        if about not in last or row["step"] >= last[about]["step"]:
            last[about] = row
    return list(last.values())


def _level(
    levels: Sequence[Mapping[str, Any]], name: str, by: Sequence[str], group: tuple
) -> float | None:
    """Mean of the reference rows that belong to a group; an empty column fits every group.

    Where some rows name the group in more columns than others, only those count.
    """
    settings, variant, metric = group
    values_of: dict[int, list[float]] = {}
    for row in levels:
        base, kind = schema.reference(row["variant"])
        if kind != name or row["metric"] != metric or base not in ("", variant):
            continue
        cells = [row.get(column) for column in by]
        empty = [cell is None or cell == "" for cell in cells]
        fits = [e or cell == s for e, cell, s in zip(empty, cells, settings, strict=True)]
        if all(fits):
            exactness = len(by) - sum(empty) + (base == variant)
            values_of.setdefault(exactness, []).append(_value(row))
    if not values_of:
        return None
    values = np.array(values_of[max(values_of)])
    values = values[np.isfinite(values)]
    return float(values.mean()) if values.size else None


def _value(row: Mapping[str, Any]) -> float:
    defined = row.get("status") in (None, "ok") and row["value"] is not None
    return float(row["value"]) if defined else math.nan


def _varying(rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    factors = _distinct(c for row in rows for c in row if c.startswith(schema.FACTOR))
    names = [*_APART, *factors]
    varying = [c for c in names if len({row.get(c) for row in rows}) > 1]
    return tuple(varying) or ("sae",)


def _distinct(items: Iterable[Any]) -> list[Any]:
    return list(dict.fromkeys(items))
