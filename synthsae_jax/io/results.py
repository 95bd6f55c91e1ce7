"""`results.jsonl`: append, read, merge, export. One JSON object per line, never NaN.

A line counts once its newline is written. After an interrupt the file may end in half a line;
reading says so and leaves it out, the next append cuts it off.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from synthsae_jax.errors import ConfigError
from synthsae_jax.io import atomic
from synthsae_jax.io.rows import COLUMNS, WRITTEN, Row, check_row, merge

RESULTS = "results.jsonl"
PathLike = str | os.PathLike[str]


def append_rows(path: PathLike, rows: Iterable[Mapping[str, Any]]) -> int:
    """Add rows at the end of a `results.jsonl` (made if missing); returns how many.

    All rows are checked before the first is written, so a wrong one leaves the file as it was;
    so does a file whose first or last line shows that it is no table of results.
    """
    path = Path(path)
    text = [_line(check_row(row)) for row in rows]
    if not path.exists():
        atomic.write_text(path, "".join(text))
        return len(text)
    with _readable(path), open(path, "r+b") as file:
        first = file.readline()
        if first.endswith(b"\n"):
            _parse_line(path, 1, first, last=False)
        before = _mend_end(path, file)
        file.seek(0, os.SEEK_END)
        file.write(before + "".join(text).encode("utf-8"))
        file.flush()
        os.fsync(file.fileno())
    return len(text)


def write_rows(path: PathLike, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Write the whole table at once, replacing the file only when it is complete."""
    return atomic.write_text(path, "".join(_line(check_row(row)) for row in rows))


def read_rows(path: PathLike) -> list[Row]:
    """All rows in the order they were written, every column present; equal keys: the last holds.

    Half a line at the end is left out with a warning; anything else that is not a valid row is a
    `ConfigError` naming the line.
    """
    path, rows = Path(path), []
    with _readable(path), open(path, "rb") as file:
        lines = file.readlines()
    for number, raw in enumerate(lines, start=1):
        row = _parse_line(path, number, raw, last=number == len(lines))
        if row is not None:
            rows.append(row)
    return merge(rows)


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
    kept = {c: v for c, v in row.items() if v is not None or c in WRITTEN}
    return json.dumps(kept, ensure_ascii=False, allow_nan=False) + "\n"


def _parse_line(path: Path, number: int | None, raw: bytes, last: bool) -> Row | None:
    """The row on a line; None for an empty line, and with a warning for half a line at the end."""
    if not raw.strip():
        return None
    where = f"{path}, line {number}" if number else f"{path}, last line"
    try:
        value = json.loads(raw.decode("utf-8"), parse_constant=_no_constant)
    except ValueError as error:
        if last and raw.startswith(b"{") and not raw.endswith(b"\n"):
            warnings.warn(f"{where} was cut off by an interrupt and is left out.", stacklevel=3)
            return None
        raise ConfigError(f"{where}: not a result row ({error}).") from None
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: not a result row ({raw[:40]!r}).")
    return check_row(value, where)


def _mend_end(path: Path, file: BinaryIO) -> bytes:
    """Cut half a line off the end; what has to be written before the next row."""
    start, tail = _last_line(file)
    if not tail or tail.endswith(b"\n"):
        return b""
    if _parse_line(path, None, tail, last=True) is not None:
        return b"\n"
    file.truncate(start)
    return b""


def _last_line(file: BinaryIO, block: int = 65536) -> tuple[int, bytes]:
    """Where the last line starts, and its bytes, without reading what is before it."""
    start, tail = file.seek(0, os.SEEK_END), b""
    while start > 0 and b"\n" not in tail[:-1]:
        step = min(block, start)
        start = file.seek(start - step)
        tail = file.read(step) + tail
    cut = tail.rfind(b"\n", 0, max(len(tail) - 1, 0)) + 1
    return start + cut, tail[cut:]


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist.") from None
    except (IsADirectoryError, NotADirectoryError, PermissionError) as error:
        raise ConfigError(f"{path} cannot be opened: {error.strerror.lower()}.") from None


def _no_constant(text: str):
    raise ValueError(f"{text} is not JSON")
