"""SAELens' folders on disk: JSON and float32 tensors in, whole folders out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save as tensor_bytes

from synthsae_jax.errors import ConfigError, require
from synthsae_jax.io import atomic

_DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "U8": "u1",
    "BOOL": "?",
}


def folder(path: atomic.PathLike) -> Path:
    """The path as an existing folder."""
    place = Path(path).expanduser()
    require(place.is_dir(), f"{path}: no such folder.")
    return place


def read_json(path: Path) -> Any:
    """The content of a JSON file; `ConfigError` where it is missing or broken."""
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: cannot be read as JSON ({_one_line(error)}).") from None


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file."""
    value = read_json(path)
    require(isinstance(value, dict), f"{path}: expected a JSON object; got {value!r:.60}.")
    return value


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """All tensors of a safetensors file; bfloat16, which numpy lacks, comes out as float32."""
    try:
        entries = deserialize(path.read_bytes())
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file.") from None
    except (SafetensorError, OSError) as error:
        raise ConfigError(f"{path}: broken or truncated tensors ({_one_line(error)}).") from None
    return {name: _array(path, name, entry) for name, entry in entries}


def check_shape(
    path: Path, tensors: Mapping[str, np.ndarray], name: str, shape: tuple[int, ...]
) -> np.ndarray:
    """The tensor of this name and shape, finite and float32."""
    require(name in tensors, f"{path}: tensor {name!r} is missing.")
    tensor = tensors[name]
    require(
        tensor.shape == shape,
        f"{path}: tensor {name!r} must have shape {list(shape)}; got {list(tensor.shape)}.",
    )
    require(
        tensor.dtype == np.float32,
        f"{path}: tensor {name!r} must be float32; got {tensor.dtype}.",
    )
    require(
        bool(np.isfinite(tensor).all()),
        f"{path}: tensor {name!r} holds values that are not finite.",
    )
    return tensor


def check_known(path: Path, given: Iterable[str], known: Iterable[str], what: str) -> None:
    """Raise where a file holds something that would be lost on the way back."""
    strange = sorted(set(given) - set(known))
    require(
        not strange,
        f"{path}: unknown {what} {', '.join(map(repr, strange[:3]))}; known: "
        f"{', '.join(sorted(known))}.",
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
    place = Path(path).expanduser()
    if place.is_dir():
        others = sorted(entry.name for entry in place.iterdir() if entry.name not in set(ours))
        require(
            not others,
            f"{path}: the folder also holds {', '.join(others[:3])}; give a new or an empty one.",
        )
    with atomic.new_folder(place, replace=True) as new:
        for name, data in files.items():
            (new / name).write_bytes(data)
    return place


def _array(path: Path, name: str, entry: Mapping[str, Any]) -> np.ndarray:
    kind, data = entry["dtype"], entry["data"]
    if kind == "BF16":  # the upper half of a float32
        array = (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
    else:
        require(
            kind in _DTYPES,
            f"{path}: tensor {name!r} has type {kind}; known: {', '.join(sorted(_DTYPES))}.",
        )
        array = np.frombuffer(data, _DTYPES[kind])
    return array.reshape(entry["shape"])


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
