"""JSON that somebody else wrote, through one reader: configs, manifests, rows, records.

Python's reader takes more than JSON has (NaN, Infinity) and more than this package can hold
(integers of any length, halves of surrogate pairs, nesting as deep as its stack). Those are
refused here, with the file's name and the reason, so that what was read is plain everywhere.
"""

from __future__ import annotations

import codecs
import json
import math
import re
from collections.abc import Iterator
from typing import Any

from synthsae_jax.errors import ConfigError, require, short
from synthsae_jax.inputs import PathLike, read_input

DEPTH = 100  # levels of objects and lists within each other
_MOST_BYTES = 1 << 28
# an escape that may be half of a surrogate pair
_HALF = re.compile(r"\\u[dD][89a-fA-F]")
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_json(path: PathLike, depth: int = DEPTH, most: int = _MOST_BYTES) -> Any:
    """The content of a JSON file of at most `most` bytes and `depth` levels."""
    return parse_json(read_input(path, most), str(path), depth)


def read_object(path: PathLike, depth: int = DEPTH, most: int = _MOST_BYTES) -> dict[str, Any]:
    """The JSON object in a file."""
    value = read_json(path, depth, most)
    require(isinstance(value, dict), f"{path}: expected a JSON object; got {short(value)}.")
    return value


def parse_json(text: bytes | str, where: str, depth: int = DEPTH) -> Any:
    """The value of a JSON text; `where` names it in a `ConfigError`.

    Bytes are UTF-8, or UTF-16 with a mark of it; a mark in front of UTF-8 is left out. Numbers
    are finite, integers have 64 bits.
    """
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-16" if text.startswith(_UTF16) else "utf-8")
        text = text.removeprefix("\ufeff")
        value = json.loads(text, parse_constant=_constant, parse_int=_integer, parse_float=_number)
    except RecursionError:
        raise ConfigError(f"{where}: {_too_deep(depth)}") from None
    except ValueError as error:
        raise ConfigError(f"{where}: cannot be read as JSON ({error}).") from None
    if text.count("[") + text.count("{") > depth and isinstance(value, dict | list):
        deepest = max(level for level, item in _walk(value) if isinstance(item, dict | list))
        require(deepest < depth, f"{where}: {_too_deep(depth)}")
    if _HALF.search(text):
        for _, word in _walk(value):
            require(
                not isinstance(word, str) or _is_text(word),
                f"{where}: a text holds half of a surrogate pair: {short(word)}.",
            )
    return value


def _walk(value: Any) -> Iterator[tuple[int, Any]]:
    """Every value and key in a value, with the number of objects and lists it is in."""
    pending = [(0, value)]
    while pending:
        level, item = pending.pop()
        if isinstance(item, dict):
            pending += [(level + 1, part) for part in (*item.keys(), *item.values())]
        elif isinstance(item, list):
            pending += [(level + 1, part) for part in item]
        yield level, item


def _is_text(word: str) -> bool:
    try:
        word.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _too_deep(depth: int) -> str:
    return f"nested too deeply; at most {depth} levels of objects and lists are read."


def _constant(word: str) -> float:
    raise ValueError(f"{word} is no number in JSON; write null")


def _integer(digits: str) -> int:
    value = int(digits) if len(digits) <= 20 else None
    if value is None or not -(2**63) <= value < 2**64:
        raise ValueError(f"an integer of {len(digits.lstrip('-'))} digits; 64 bits are read")
    return value


def _number(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"{short(digits)} is beyond the range of float64")
    return value
