"""The schema of the one tidy table: a row per run or pair of runs, step and metric."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from synthsae_jax.errors import ConfigError, unknown_name

Row = dict[str, Any]

# column -> type; the order is that of the file and of the CSV
COLUMNS: dict[str, type] = {
    "benchmark": str,  # versioned id, "recovery@1"
    "run_id": str,  # hash of config, ids and hyperparameters
    "run_id_b": str,  # the other run where the row is about a pair, else ""
    "world": str,  # name of the preset
    "sae": str,  # registered name of the architecture
    "sae_b": str,
    "config_hash": str,  # its text is in configs/<hash>.json
    "world_seed": int,
    "instance": int,
    "instance_b": int,
    "model": int,
    "init_seed": int,
    "init_seed_b": int,
    "data_seed": int,
    "data_seed_b": int,
    "same_instance": bool,  # what the two runs of a pair share
    "same_init": bool,
    "same_data": bool,
    "same_dictionary": bool,
    "condition": str,  # arm of the experiment ("rotated", "disjoint_coupled", ...)
    "learning_rate": float,
    "sparsity_coef": float,
    "target_l0": float,
    "n_train": int,  # training samples
    "step": int,  # optimiser steps done
    "metric": str,
    "variant": str,  # such as "decoder_cosine/assignment"; see `reference`
    "value": float,  # null where undefined
    "status": str,  # "ok", "undefined" or "diverged"
    "reason": str,  # why the status is not "ok"
    "n_eval": int,  # samples behind the value
    "commit": str,
    "jax_version": str,
    "device": str,
    "created_at": str,
}
# left out of a line of the file where they are empty, as are factors
_SOMETIMES = [
    "sae_b",
    "world_seed",
    "instance_b",
    "init_seed_b",
    "data_seed_b",
    "condition",
    "same_instance",
    "same_init",
    "same_data",
    "same_dictionary",
]
WRITTEN = tuple(column for column in COLUMNS if column not in _SOMETIMES)
# the condition too: an experiment may look at one pair in several ways
KEY = ("benchmark", "run_id", "run_id_b", "condition", "step", "metric", "variant")
REQUIRED = ("benchmark", "run_id", "run_id_b", "step", "metric", "variant", "value")
STATUSES = ("ok", "undefined", "diverged")
FACTOR = "factor_"  # prefix of a benchmark's own columns: factor_sharing, factor_geometry, ...
REFERENCES = ("chance", "ceiling")


def column(name: str) -> str:
    """The column of a name: itself, or that of the factor."""
    return name if name in COLUMNS or name.startswith(FACTOR) else FACTOR + name


def make_row(
    *, benchmark: str, run_id: str, step: int, metric: str, value: float | None, **more: Any
) -> Row:
    """A valid row with every column, from keywords; `run_id_b` and `variant` default to ""."""
    about = {"benchmark": benchmark, "run_id": run_id, "run_id_b": "", "step": step}
    return check_row({**about, "metric": metric, "variant": "", "value": value, **more})


def check_row(row: Mapping[str, Any], where: str = "Result row") -> Row:
    """The row in canonical form: every column in order, plain Python values, None where empty.

    NaN and infinity become None, and then `status` must say what happened and `reason` why. A
    value may be absent only with a status other than "ok". Unknown columns, missing key columns
    and wrong types are a `ConfigError` of one line.
    """
    for column in row:
        if column not in COLUMNS and not str(column).startswith(FACTOR):
            raise ConfigError(f"{where}: {unknown_name('column', column, COLUMNS)}")
    for column in REQUIRED:
        if column not in row or (column != "value" and row[column] is None):
            raise ConfigError(f"{where}: column {column!r} is missing.")
    extra = sorted(column for column in row if column not in COLUMNS)
    clean = {c: _cell(where, c, row.get(c), COLUMNS[c]) for c in COLUMNS}
    clean |= {c: _cell(where, c, row[c], None) for c in extra}
    status = clean["status"] or "ok"
    if status not in STATUSES:
        raise ConfigError(f"{where}: {unknown_name('status', status, STATUSES)}")
    if clean["value"] is None and status == "ok":
        raise ConfigError(
            f"{where}: metric {clean['metric']!r} has no finite value, "
            "so status must be 'undefined' or 'diverged', with a reason."
        )
    if status != "ok" and not clean["reason"]:
        raise ConfigError(f"{where}: status {status!r} needs a reason.")
    return {**clean, "status": status}


def key(row: Mapping[str, Any]) -> tuple:
    """What a row is about; of two rows with equal keys the later one holds."""
    return tuple("" if row.get(column) is None else row[column] for column in KEY)


def merge(*tables: Iterable[Row]) -> list[Row]:
    """All rows, of equal keys only the last one, where the first stood."""
    latest: dict[tuple, Row] = {}
    for table in tables:
        for row in table:
            latest[key(row)] = row
    return list(latest.values())


def columns(rows: Iterable[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """The table as one numpy array per column, `[rows]` each.

    Missing text is "", a missing number NaN (whole numbers are then float64), and a column of
    booleans with gaps is an object array with None.
    """
    rows = list(rows)
    names = [*COLUMNS, *sorted({c for row in rows for c in row if c not in COLUMNS})]
    return {name: _column([row.get(name) for row in rows], COLUMNS.get(name)) for name in names}


def reference(variant: str) -> tuple[str, str]:
    """(what the variant is about, "chance" or "ceiling" or "").

    The level beside a score has its variant with "/chance" or "/ceiling" behind it:
    "decoder_cosine/chance" belongs to "decoder_cosine", "chance" to "".
    """
    base, _, last = variant.rpartition("/")
    return (base, last) if last in REFERENCES else (variant, "")


def _cell(where: str, column: str, value: Any, kind: type | None) -> Any:
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = value.item()  # numpy and jax scalars
    if value is None:
        return None
    if kind is None:
        kind = type(value)
    if kind is int and isinstance(value, float) and value.is_integer():
        value = int(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if kind not in (str, int, float, bool) or type(value) is not kind:
        wanted = kind.__name__ if column in COLUMNS else "text, a number or a boolean"
        raise ConfigError(f"{where}: column {column!r} takes {wanted}, got {value!r}.")
    return None if kind is float and not math.isfinite(value) else value


def _column(values: list, kind: type | None) -> np.ndarray:
    present = [v for v in values if v is not None]
    if kind is None:  # a factor: whatever its values are
        kinds = {type(v) for v in present}
        kind = kinds.pop() if len(kinds) == 1 else float if kinds <= {int, float} else str
    if kind is str:
        return np.array(["" if v is None else str(v) for v in values], dtype=np.str_)
    if kind is bool:
        return np.array(values, dtype=bool if len(present) == len(values) else object)
    if kind is int and len(present) == len(values):
        return np.array(values, dtype=np.int64)
    return np.array([math.nan if v is None else v for v in values], dtype=np.float64)
