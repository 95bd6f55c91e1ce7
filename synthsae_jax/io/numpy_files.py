"""What `.npz` and `.npy` files say of their arrays, read before any number is."""

from __future__ import annotations

import contextlib
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from synthsae_jax.errors import require, short
from synthsae_jax.io.array_entry import Entry, check_end, decoding

NPZ, NPY = ".npz", ".npy"


def zipped(path: Path, archive: zipfile.ZipFile) -> dict[str, Callable[[], Entry]]:
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
    with decoding(where), archive.open(member) as file:
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


def plain(path: Path, file: BinaryIO) -> Entry:
    """The array of an .npy file."""
    with decoding(str(path)):
        shape, column_major, dtype = _header(file)
    offset = file.tell()

    def start():
        file.seek(offset)
        return contextlib.nullcontext(file)

    entry = Entry(str(path), *_types(str(path), dtype), shape, start, offset, column_major)
    check_end(entry, os.fstat(file.fileno()).st_size)
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
