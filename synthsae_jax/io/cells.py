"""`cells/<id>.jsonl`: the rows of one finished cell, written whole, with a check of its own.

The first line says which cell it is, how many rows follow, the sha256 of their bytes, and what
made them. `results.jsonl` is these rows without the first lines, in the order of the plan; the
manifest has number and sha256 of each cell, so either of the two can be checked without the other.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from synthsae_jax.errors import ConfigError, require
from synthsae_jax.io import atomic, results
from synthsae_jax.io.names import file_name
from synthsae_jax.io.rows import Row
from synthsae_jax.strict_json import parse_json

FOLDER = "cells"
SUFFIX = ".jsonl"
Header = dict[str, Any]  # "cell", "id", "rows", "sha256", and what else was known
_CHECKED = {"id": str, "rows": int, "sha256": str}


class CellFile(NamedTuple):
    """A cell's file, checked."""

    header: Header
    body: bytes  # its rows, a line each


def path_of(folder: Path, cell_id: str) -> Path:
    """Where the rows of a cell are."""
    return folder / FOLDER / f"{cell_id}{SUFFIX}"


def write_cell(
    folder: Path, name: str, cell_id: str, rows: Iterable[Mapping[str, Any]], **about: Any
) -> Header:
    """Write a cell's rows at once, all checked before; returns its header."""
    body = results.to_lines(rows)
    header = {
        "cell": name,
        "id": cell_id,
        "rows": _count(body),
        "sha256": hashlib.sha256(body).hexdigest(),
        **about,
    }
    first = json.dumps(header, ensure_ascii=False, allow_nan=False)
    atomic.write_bytes(path_of(folder, cell_id), atomic.utf8(first) + b"\n" + body)
    return header


def read_cell(folder: Path, cell_id: str) -> CellFile | None:
    """A cell's file; None where there is none, `ConfigError` where it is not as it was written."""
    path = path_of(folder, cell_id)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {(error.strerror or '').lower()}.") from None
    first, _, body = data.partition(b"\n")
    try:
        header = parse_json(first, str(path))
        check_entry(header)
    except ConfigError:
        header = {}
    if header.get("id") != cell_id or not _is_body(header, body):
        rows = f"{_count(body)} of {header.get('rows', 'an unknown number of')} rows"
        raise ConfigError(
            f"{path} is not as it was written ({rows}); remove it to have the cell computed again."
        )
    return CellFile(header, body)


def entry(header: Header) -> Header:
    """What the manifest notes of a finished cell."""
    return {key: header[key] for key in ("id", "rows", "sha256", "seconds") if key in header}


def check_entry(value: Any) -> None:
    """Raise `ConfigError` unless this can be a cell's header or its entry in a manifest."""
    require(
        isinstance(value, dict)
        and all(type(value.get(key)) is kind for key, kind in _CHECKED.items())
        and value["rows"] >= 0
        and file_name(value["id"]) == value["id"]
        and isinstance(value.get("seconds", 0.0), float | int)
        and isinstance(value.get("provenance", {}), dict),
        f"not a finished cell: {value!r:.60}",
    )


def read_table(folder: Path, entries: Mapping[str, Header]) -> list[Row]:
    """The rows of all cells of a manifest, from `results.jsonl` or else from the cells' files.

    `ConfigError` with the number of rows that are missing where neither has them as written.
    """
    table = folder / results.RESULTS
    data = table.read_bytes() if table.is_file() else b""
    if is_table(data, entries.values()):
        return results.parse_lines(data, table)
    rows = []
    for name, noted in entries.items():
        file = read_cell(folder, noted["id"])
        if file is None or file.header["sha256"] != noted["sha256"]:
            total = sum(noted["rows"] for noted in entries.values())
            raise ConfigError(
                f"{table} is not as it was written ({_count(data)} of {total} rows), and the "
                f"file of cell {name!r} is missing or another; run the benchmark again."
            )
        rows += results.parse_lines(file.body, path_of(folder, noted["id"]))
    return rows


def is_table(data: bytes, entries: Iterable[Header]) -> bool:
    """Whether these are the lines of these cells, in order and nothing more."""
    lines = io.BytesIO(data).readlines()
    start = 0
    for noted in entries:
        end = start + noted["rows"]
        if not _is_body(noted, b"".join(lines[start:end])):
            return False
        start = end
    return start == len(lines)


def _is_body(noted: Header, body: bytes) -> bool:
    return _count(body) == noted["rows"] and hashlib.sha256(body).hexdigest() == noted["sha256"]


def _count(body: bytes) -> int:
    return body.count(b"\n")
