"""`results.jsonl`: write, read, export. One JSON object per line, never NaN.

A line counts once its newline is written. Files of earlier versions may end in half a line after an
interrupt; reading says so and leaves it out.
"""

from __future__ import annotations

import csv
import io
import json
import os
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from synthsae_jax.errors import ConfigError, short
from synthsae_jax.inputs import read_input
from synthsae_jax.io import atomic
from synthsae_jax.io.rows import COLUMNS, WRITTEN, Row, check_row, merge
from synthsae_jax.strict_json import parse_json

RESULTS = "results.jsonl"
MOST_BYTES = 1 << 32  # of a table that is read
PathLike = str | os.PathLike[str]


def write_rows(path: PathLike, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Write the whole table at once, replacing the file only when it is complete."""
    return atomic.write_bytes(path, to_lines(rows))


def to_lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """The rows as they stand in the file; a wrong one is a `ConfigError`."""
    return atomic.utf8("".join(_line(check_row(row)) for row in rows))


def read_rows(path: PathLike) -> list[Row]:
    """All rows in the order they were written, every column present; equal keys: the last holds.

    Half a line at the end is left out with a warning; anything else that is not a valid row is a
    `ConfigError` naming the line.
    """
    return merge(parse_lines(read_input(path, MOST_BYTES), Path(path)))


def parse_lines(data: bytes, path: Path) -> list[Row]:
    """The rows in the bytes of a file, every one of them; errors name the file and the line."""
    lines = io.BytesIO(data).readlines()
    rows = (
        _parse_line(path, number, raw, last=number == len(lines))
        for number, raw in enumerate(lines, start=1)
    )
    return [row for row in rows if row is not None]


def write_csv(path: PathLike, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Write rows (or any list of flat dicts) as CSV with a header; None is an empty cell."""
    return atomic.write_text(path, to_csv(rows))


def to_csv(rows: Iterable[Mapping[str, Any]]) -> str:
    """The CSV text of `write_csv`: columns in order of appearance, lines end in a newline."""
    rows = list(rows)
    names = list(dict.fromkeys(name for row in rows for name in row)) or list(COLUMNS)
    text = io.StringIO()
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _line(row: Row) -> str:
    written = {c: v for c, v in row.items() if v is not None or c in WRITTEN}
    return json.dumps(written, ensure_ascii=False, allow_nan=False) + "\n"


def _parse_line(path: Path, number: int, raw: bytes, last: bool) -> Row | None:
    """The row on a line; None for an empty line, and with a warning for half a line at the end."""
    if not raw.strip():
        return None
    where = f"{path}, line {number}"
    try:
        value = parse_json(raw, where)
    except ConfigError:
        if last and raw.startswith(b"{") and not raw.endswith(b"\n"):
            warnings.warn(f"{where} was cut off by an interrupt and is left out.", stacklevel=3)
            return None
        raise
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: not a result row; got {short(value)}.")
    return check_row(value, where)
