"""Arrays in files that somebody else wrote: `.npz`, `.npy` and `.safetensors`, by one reader.

A file says what it holds before its numbers are read. So names, types, shapes and what they would
take are checked first, and a file that declares more than it may, or than it has, costs nothing.
Whatever is wrong is one `ConfigError` that names the file and the array.
"""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from synthsae_jax.errors import ConfigError, require
from synthsae_jax.inputs import PathLike, open_input
from synthsae_jax.io.array_entry import Entry, decoding
from synthsae_jax.io.numpy_files import NPY, NPZ, plain, zipped
from synthsae_jax.io.tensor_files import SAFETENSORS, shards, tensor_files, tensors


class Archive(Mapping[str, Entry]):
    """The arrays of an open file by name. What an array says of itself is read by `[name]`."""

    def __init__(self, path: Path, headers: Mapping[str, Callable[[], Entry]]):
        self.path, self._headers = path, headers

    def __getitem__(self, name: str) -> Entry:
        require(name in self._headers, f"{self.path}: array {name!r} is missing.")
        return self._headers[name]()

    def __contains__(self, name: object) -> bool:
        return name in self._headers

    def __iter__(self) -> Iterator[str]:
        return iter(self._headers)

    def __len__(self) -> int:
        return len(self._headers)


@contextlib.contextmanager
def open_arrays(path: PathLike, *suffixes: str) -> Iterator[Archive]:
    """Context of the arrays in a file of one of these kinds, which its name and its content say.

    `.npy` has one array, named "". A `.safetensors` file that is not there, but has its index
    beside it (`NAME.safetensors.index.json`), is read from the parts that the index names.
    """
    path = Path(path)
    suffix = next((s for s in suffixes if path.name.lower().endswith(s)), None)
    if suffix == SAFETENSORS and len(files := tensor_files(path)) > 1:
        with _sharded(files[0]) as archive:
            yield archive
        return
    with _opened(path, suffix, suffixes) as archive:
        yield archive


@contextlib.contextmanager
def _opened(path: Path, suffix: str | None, suffixes: tuple[str, ...]) -> Iterator[Archive]:
    with open_input(path) as file:
        if suffix is None:
            raise ConfigError(f"{path} must be a file {' or '.join(suffixes)}.")
        _check_kind(path, file, suffix)
        if suffix == NPZ:
            with decoding(str(path)):
                archive = zipfile.ZipFile(file)
            yield Archive(path, zipped(path, archive))
        elif suffix == NPY:
            entry = plain(path, file)
            yield Archive(path, {"": lambda: entry})
        else:
            yield Archive(path, tensors(path, file))


def map_array(path: PathLike) -> np.ndarray:
    """The real array in an `.npy` file, left on disk."""
    with open_arrays(path, NPY) as archive:
        entry = archive[""]
    require(
        entry.is_real and entry.type != "bfloat16",
        f"{entry.where}: real numbers are needed; it holds {entry.type} {list(entry.shape)}.",
    )
    order = "F" if entry.column_major else "C"
    if not entry.size:  # there is nothing to map
        return np.empty(entry.shape, entry.dtype, order)
    return np.memmap(path, entry.dtype, "r", entry.offset or 0, entry.shape, order)


def as_float32(where: str, values: np.ndarray, what: str = "values") -> np.ndarray:
    """Real numbers as float32; `ConfigError` where one is not finite, or beyond float32."""
    require(
        values.dtype.kind in "fiub",
        f"{where}: real numbers are needed; it holds {values.dtype}.",
    )
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32)
    bad = ~np.isfinite(narrow)
    if bad.any():
        offending = values[bad]
        kind = "not finite" if not np.isfinite(offending).all() else "too large for float32"
        raise ConfigError(
            f"{where}: {offending.size:,} {what} are {kind}, such as {offending.ravel()[0]}."
        )
    return narrow


def _check_kind(path: Path, file: BinaryIO, suffix: str) -> None:
    """Raise where the content is of another kind than the name says."""
    start = file.read(9)
    file.seek(0)
    kind = None
    if start.startswith(b"\x93NUMPY"):
        kind = NPY
    elif start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        kind = NPZ
    elif start[8:] == b"{" and not start.lstrip().startswith(b"{"):
        kind = SAFETENSORS
    if kind == suffix:
        return
    if not start:
        raise ConfigError(f"{path} is empty.")
    if kind is not None:
        raise ConfigError(f"{path} holds what a {kind} file holds: name it so, or save it again.")
    raise ConfigError(f"{path} is no {suffix} file: it starts with {start!r}.")


@contextlib.contextmanager
def _sharded(index: Path) -> Iterator[Archive]:
    """The arrays of all parts that the index of a safetensors file names."""
    parts = shards(index)
    with contextlib.ExitStack() as stack:
        opened = {
            name: stack.enter_context(_opened(index.with_name(name), SAFETENSORS, ()))
            for name in sorted(set(parts.values()))
        }
        yield Archive(
            index,
            {name: lambda name=name, part=part: opened[part][name] for name, part in parts.items()},
        )
