"""SAELens' folders on disk: checked tensors in, whole folders out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save as tensor_bytes

from synthsae_jax.errors import require
from synthsae_jax.inputs import check_memory, expanded, is_folder
from synthsae_jax.io import atomic
from synthsae_jax.io.array_entry import Entry
from synthsae_jax.io.arrays import Archive, as_float32

# one number stands for all latents
_BROADCAST = ("threshold",)


def folder(path: atomic.PathLike) -> Path:
    """The path as an existing folder."""
    directory = expanded(path)
    require(is_folder(directory), f"{path}: no such folder.")
    return directory


def read_tensors(
    archive: Archive, shapes: Mapping[str, tuple[int, ...]], what: str = "tensor"
) -> dict[str, np.ndarray]:
    """The arrays of these names as finite float32 of these shapes.

    A vector may have axes of length 1 (`b_dec [1, D]`), and a threshold may be one number for all
    latents. Shapes and memory are checked for all before the first is read.
    """
    entries = {name: _fitting(archive, name, shape, what) for name, shape in shapes.items()}
    check_memory(str(archive.path), sum(4 * e.size + e.n_bytes for e in entries.values()))
    arrays = {}
    for name, entry in entries.items():
        values = as_float32(f"{archive.path}: {what} {name!r}", entry.read())
        if values.size == 1:
            arrays[name] = np.full(shapes[name], values.ravel()[0], np.float32)
        else:
            arrays[name] = values.reshape(shapes[name])
    return arrays


def _fitting(archive: Archive, name: str, shape: tuple[int, ...], what: str) -> Entry:
    where = f"{archive.path}: {what} {name!r}"
    require(name in archive, f"{where} is missing.")
    entry = archive[name]
    require(
        entry.is_real,
        f"{where} must hold real numbers; got {entry.type}.",
    )
    flat = [size for size in entry.shape if size != 1]
    fits = entry.shape == shape or (len(shape) == 1 and flat == [n for n in shape if n != 1])
    hint = " It looks transposed." if entry.shape == shape[::-1] and len(shape) == 2 else ""
    require(
        fits or (name in _BROADCAST and entry.size == 1),
        f"{where} must have shape {list(shape)}; got {list(entry.shape)}.{hint}",
    )
    return entry


def check_known(path: Path, present: Iterable[str], allowed: Iterable[str], what: str) -> None:
    """Raise where a file holds something that would be lost on the way back."""
    strange = sorted(set(present) - set(allowed))
    require(
        not strange,
        f"{path}: unknown {what} {', '.join(map(repr, strange[:3]))}; known: "
        f"{', '.join(sorted(allowed))}.",
    )


def to_json(value: Any) -> bytes:
    """JSON as SAELens writes it: two spaces, no newline at the end."""
    return json.dumps(value, indent=2).encode("utf-8")


def to_tensors(tensors: Mapping[str, Any]) -> bytes:
    """The safetensors file of these arrays."""
    return tensor_bytes({k: np.ascontiguousarray(v) for k, v in tensors.items()})


def write_folder(path: atomic.PathLike, files: Mapping[str, bytes], ours: Iterable[str]) -> Path:
    """A folder with exactly these files, all or nothing; returns its path.

    A folder that is there is replaced when it is empty or holds nothing but files named in `ours`;
    anything else is somebody's and stays.
    """
    directory = expanded(path)
    if is_folder(directory):
        others = sorted(entry.name for entry in directory.iterdir() if entry.name not in set(ours))
        require(
            not others,
            f"{path}: the folder also holds {', '.join(others[:3])}; give a new or an empty one.",
        )
    with atomic.new_folder(directory, replace=True) as new:
        for name, data in files.items():
            atomic.write_bytes(new / name, data)
    return directory
