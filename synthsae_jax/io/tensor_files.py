"""What `.safetensors` files say of their arrays, and which files a sharded one is made of."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from synthsae_jax.errors import ConfigError, require, short
from synthsae_jax.inputs import PathLike
from synthsae_jax.io.array_entry import Entry, check_end
from synthsae_jax.strict_json import parse_json, read_object

SAFETENSORS = ".safetensors"
INDEX = ".index.json"  # behind the name of a safetensors file: it is in several parts
_MOST_HEADER = 10 << 20  # bytes
_PLAIN = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2"}
_PLAIN |= {"I8": "i1", "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1"}
# of safetensors: the types of the values when read, and in the file
_TYPES = {name: (word, word) for name, word in _PLAIN.items()}
_TYPES |= {"BF16": ("<f4", "<u2"), "BOOL": ("?", "u1")}


def tensors(path: Path, file: BinaryIO) -> dict[str, Callable[[], Entry]]:
    """The arrays of a safetensors file by name: 8 bytes of a length, JSON that long, numbers."""
    size = os.fstat(file.fileno()).st_size
    length = int.from_bytes(file.read(8), "little")
    require(
        length <= min(size - 8, _MOST_HEADER),
        f"{path}: broken or truncated tensors: its header declares {length:,} bytes, the file has "
        f"{size:,}, and at most {_MOST_HEADER:,} are read.",
    )
    header = parse_json(file.read(length), f"{path}: header")
    require(isinstance(header, dict), f"{path}: header: expected an object; got {short(header)}.")
    header.pop("__metadata__", None)
    make = lambda name: _tensor(f"{path}: {name}", file, header[name], 8 + length, size)
    return {name: lambda name=name: make(name) for name in header}


def _tensor(where: str, file: BinaryIO, part: Any, base: int, size: int) -> Entry:
    fields = part if isinstance(part, dict) else {}
    kind, shape, ends = (fields.get(name) for name in ("dtype", "shape", "data_offsets"))
    whole = lambda values: (
        isinstance(values, list)
        and all(isinstance(v, int) and not isinstance(v, bool) and v >= 0 for v in values)
    )
    require(
        isinstance(kind, str) and whole(shape) and whole(ends) and len(ends) == 2,
        f"{where}: broken tensor; it needs dtype, shape and two data_offsets, got {short(part)}.",
    )
    require(kind in _TYPES, f"{where} has type {kind}; known: {', '.join(sorted(_TYPES))}.")
    offset = base + ends[0]

    def start():
        file.seek(offset)
        return contextlib.nullcontext(file)

    dtype, stored = (np.dtype(word) for word in _TYPES[kind])
    entry = Entry(where, dtype, stored, tuple(shape), start, offset)
    require(
        entry.n_bytes == ends[1] - ends[0],
        f"{where}: broken tensor; {entry.n_bytes:,} bytes by its shape, {ends[1] - ends[0]:,} by "
        "its offsets.",
    )
    check_end(entry, size)
    return entry


def tensor_files(path: PathLike) -> tuple[Path, ...]:
    """The files that hold the tensors of this path: itself, or its index and the parts."""
    path = Path(path)
    index = path.with_name(path.name + INDEX)
    if not path.name.lower().endswith(SAFETENSORS) or os.path.lexists(path):
        return (path,)
    if not os.path.isfile(index):
        return (path,)
    return (index, *(index.with_name(name) for name in sorted(set(shards(index).values()))))


def shards(index: Path) -> dict[str, str]:
    """Of each tensor the name of the file that holds it."""
    parts = read_object(index).get("weight_map")
    if not isinstance(parts, dict) or not all(
        isinstance(name, str) and name == Path(name).name and name.endswith(SAFETENSORS)
        for name in parts.values()
    ):
        raise ConfigError(
            f"{index}: weight_map must give each tensor the name of a {SAFETENSORS} file beside it."
        )
    return parts
