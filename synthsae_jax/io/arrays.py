"""Arrays in files that somebody else wrote: `.npz`, `.npy` and `.safetensors`, by one reader.

A file says what it holds before its numbers are read. So names, types, shapes and what they would
take are checked first, and a file that declares more than it may, or than it has, costs nothing.
Whatever is wrong is one `ConfigError` that names the file and the array.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np

from synthsae_jax.errors import ConfigError, require, short
from synthsae_jax.inputs import PathLike, check_memory, open_input
from synthsae_jax.strict_json import parse_json, read_object

NPZ, NPY, SAFETENSORS = ".npz", ".npy", ".safetensors"
INDEX = ".index.json"  # behind the name of a safetensors file: it is in several parts
_MOST_HEADER = 10 << 20  # bytes
_PIECE = 4 << 20  # bytes read at a time
_PLAIN = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2"}
_PLAIN |= {"I8": "i1", "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1"}
# of safetensors: the types of the values when read, and in the file
_TYPES = {name: (word, word) for name, word in _PLAIN.items()}
_TYPES |= {"BF16": ("<f4", "<u2"), "BOOL": ("?", "u1")}


class _Readable(Protocol):
    """The part of a binary file that reading numbers takes."""

    def readinto(self, buffer: Any, /) -> int | None: ...

    def read(self, size: int, /) -> bytes: ...


@dataclasses.dataclass(frozen=True)
class Entry:
    """One array of a file: what the file says of it, and its numbers once they are asked for."""

    where: str  # file and name, for messages
    dtype: np.dtype  # of its values as they are read; float32 for bfloat16, which numpy lacks
    stored: np.dtype  # in the file: for bfloat16 16 bits, for truth values bytes
    shape: tuple[int, ...]
    start: Callable[[], contextlib.AbstractContextManager[_Readable]]  # at its first number
    offset: int | None = None  # of its first number in its file, where it lies there as it is
    column_major: bool = False

    @property
    def size(self) -> int:
        """How many numbers it declares."""
        return math.prod(self.shape)

    @property
    def n_bytes(self) -> int:
        """What it takes in its file."""
        return self.size * self.stored.itemsize

    @property
    def type(self) -> str:
        """The name of the type it is stored in."""
        return "bfloat16" if self.dtype.kind == "f" != self.stored.kind else str(self.dtype)

    @property
    def is_real(self) -> bool:
        """Whether its values are real numbers (or truth values)."""
        return self.dtype.kind in "fiub"

    def read(self) -> np.ndarray:
        """All its values."""
        check_memory(self.where, self.size * self.dtype.itemsize)
        with self.stream() as stream:
            values = stream.take(self.size)
        return values.reshape(self.shape, order="F" if self.column_major else "C")

    def number(self) -> float | int | bool:
        """Its only value, where it is one real number."""
        require(
            self.size == 1 and self.is_real,
            f"{self.where} must be one number; got {self.type} {list(self.shape)}.",
        )
        return self.read().reshape(()).item()

    @contextlib.contextmanager
    def stream(self) -> Iterator[Stream]:
        """Context of its values in the order in which they are stored."""
        with _decoding(self.where):
            opened = self.start()
        with opened as file:
            yield Stream(self, file)


class Stream:
    """The values of one array, taken from its start to its end."""

    def __init__(self, entry: Entry, file: _Readable):
        self._entry, self._file, self._left = entry, file, entry.size

    def take(self, count: int) -> np.ndarray:
        """The next `count` values `[count]`; one that is damaged is known when it is read."""
        stored, dtype = self._entry.stored, self._entry.dtype
        values = np.empty(count, stored)
        buffer, done = memoryview(values.view(np.uint8)), 0
        with _decoding(self._entry.where):
            while done < len(buffer):
                step = self._file.readinto(buffer[done : done + _PIECE])
                if not step:
                    raise EOFError("it ends too early")
                done += step
            self._left -= count
            # an archive compares checksums when it comes to the end
            if self._left == 0 and self._entry.offset is None and self._file.read(1):
                raise ValueError("it is longer than it says")
        if stored == dtype:
            return values
        if dtype.kind == "b":  # to numpy a byte of 2 is no truth value
            return values != 0
        # bfloat16: the upper half of a float32
        return (values.astype(np.uint32) << 16).view(np.float32)


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
            with _decoding(str(path)):
                archive = zipfile.ZipFile(file)
            yield Archive(path, _zipped(path, archive))
        elif suffix == NPY:
            entry = _plain(path, file)
            yield Archive(path, {"": lambda: entry})
        else:
            yield Archive(path, _tensors(path, file))


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
        given = values[bad]
        kind = "not finite" if not np.isfinite(given).all() else "too large for float32"
        raise ConfigError(f"{where}: {given.size:,} {what} are {kind}, such as {given.ravel()[0]}.")
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


def _zipped(path: Path, archive: zipfile.ZipFile) -> dict[str, Callable[[], Entry]]:
    """The arrays of an .npz file by name."""
    members: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        name = member.filename.removesuffix(NPY)
        require(name not in members, f"{path} holds {short(name)} twice.")
        members[name] = member
    return {
        name: lambda name=name, member=member: _member(f"{path}: {name}", archive, member)
        for name, member in members.items()
    }


def _member(where: str, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Entry:
    require(not member.flag_bits & 1, f"{where} is encrypted; save it without a password.")
    require(
        member.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED),
        f"{where} is compressed by method {member.compress_type}; arrays are stored or deflated, "
        "as numpy.savez and numpy.savez_compressed do.",
    )
    require(member.filename.endswith(NPY), f"{where} is no array.")
    with _decoding(where), archive.open(member) as file:
        shape, column_major, dtype = _header(file)
        skip = file.tell()
    start = lambda: _opened_at(archive, member, skip)
    entry = Entry(where, *_types(where, dtype), shape, start, column_major=column_major)
    declared = skip + entry.n_bytes
    require(
        declared == member.file_size,
        f"{where} is damaged: it declares {declared:,} bytes and has {member.file_size:,}.",
    )
    return entry


def _opened_at(archive: zipfile.ZipFile, member: zipfile.ZipInfo, skip: int) -> Any:
    file = archive.open(member)
    file.read(skip)
    return file


def _plain(path: Path, file: BinaryIO) -> Entry:
    with _decoding(str(path)):
        shape, column_major, dtype = _header(file)
    offset = file.tell()

    def start():
        file.seek(offset)
        return contextlib.nullcontext(file)

    entry = Entry(str(path), *_types(str(path), dtype), shape, start, offset, column_major)
    _check_end(entry, os.fstat(file.fileno()).st_size)
    return entry


def _header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype]:
    """What numpy wrote in front of an array: shape, order and type."""
    version = np.lib.format.read_magic(file)
    # 3.0 differs from 2.0 only in the encoding of field names
    read = np.lib.format.read_array_header_1_0
    if version != (1, 0):
        read = np.lib.format.read_array_header_2_0
    shape, column_major, dtype = read(file)
    if any(size < 0 for size in shape):
        raise ValueError(f"its shape is {short(shape)}")
    return tuple(int(size) for size in shape), column_major, dtype


def _types(where: str, dtype: np.dtype) -> tuple[np.dtype, np.dtype]:
    """The types that values of a numpy header have when read, and in the file."""
    require(not dtype.hasobject, f"{where} holds pickled Python objects; save plain numbers.")
    if dtype.kind == "V" and dtype.itemsize == 2 and dtype.names is None:
        # all that numpy writes of bfloat16 is its size
        return np.dtype(np.float32), np.dtype("<u2")
    require(
        dtype.kind in "fiubcSU" and dtype.itemsize > 0,
        f"{where} holds {short(dtype)}; plain numbers are needed.",
    )
    return dtype, np.dtype("u1") if dtype.kind == "b" else dtype


def _check_end(entry: Entry, size: int) -> None:
    end = (entry.offset or 0) + entry.n_bytes
    require(
        end <= size,
        f"{entry.where} is truncated: it declares {end:,} bytes and the file has {size:,}.",
    )


def _tensors(path: Path, file: BinaryIO) -> dict[str, Callable[[], Entry]]:
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
    _check_end(entry, size)
    return entry


def tensor_files(path: PathLike) -> tuple[Path, ...]:
    """The files that hold the tensors of this path: itself, or its index and the parts."""
    path = Path(path)
    index = path.with_name(path.name + INDEX)
    if not path.name.lower().endswith(SAFETENSORS) or os.path.lexists(path):
        return (path,)
    if not os.path.isfile(index):
        return (path,)
    return (index, *(index.with_name(name) for name in sorted(set(_parts(index).values()))))


def _parts(index: Path) -> dict[str, str]:
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


@contextlib.contextmanager
def _sharded(index: Path) -> Iterator[Archive]:
    """The arrays of all parts that the index of a safetensors file names."""
    parts = _parts(index)
    with contextlib.ExitStack() as stack:
        opened = {
            name: stack.enter_context(_opened(index.with_name(name), SAFETENSORS, ()))
            for name in sorted(set(parts.values()))
        }
        yield Archive(
            index,
            {name: lambda name=name, part=part: opened[part][name] for name, part in parts.items()},
        )


@contextlib.contextmanager
def _decoding(where: str) -> Iterator[None]:
    """Whatever a decoder says of damaged bytes, as one `ConfigError`.

    zipfile, zlib, struct, tokenize and ast raise a dozen kinds between them, most of them not
    documented, and ast warns of text that is no header.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except ConfigError:
        raise
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise ConfigError(f"{where} is damaged: {reason}.") from None
