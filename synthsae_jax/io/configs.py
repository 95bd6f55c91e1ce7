"""Configs as canonical JSON: equal choices have equal text, and so an equal hash.

A result row carries only the hash; the text is stored once in `configs/<hash>.json`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from synthsae_jax import registry
from synthsae_jax.errors import ConfigError
from synthsae_jax.io import atomic
from synthsae_jax.io.names import file_name
from synthsae_jax.strict_json import read_json

FOLDER = "configs"
_EXACT_INTEGERS = 2.0**53


def canonical(value: Any) -> Any:
    """`value` as JSON types, the same for everything that means the same.

    A dataclass becomes `{"name": registered or class name, **fields}` (its class goes under
    "class" where it has a field "name" of its own), at every depth; a whole float becomes an
    int, so that `lr=1` and `lr=1.0` agree; an array its dtype, shape and sha256; a function its
    qualified name. What cannot be told apart by its text (a lambda, an object) is refused.
    """
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return _number(float(value))
    if isinstance(value, np.bool_):
        return bool(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: canonical(getattr(value, f.name)) for f in dataclasses.fields(value)}
        key = "class" if "name" in fields else "name"
        return dict(sorted({key: registered_name(type(value)), **fields}.items()))
    if isinstance(value, Mapping):
        return {key: canonical(value[key]) for key in sorted(value, key=_text_key)}
    if isinstance(value, (set, frozenset)):
        return sorted((canonical(v) for v in value), key=json.dumps)
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {"name": type(value).__name__, **canonical(value._asdict())}
    if isinstance(value, (list, tuple)):
        return [canonical(v) for v in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "__array__") and hasattr(value, "dtype"):
        array = np.asarray(value)
        return _array(array) if array.ndim else canonical(array.item())
    if callable(value):
        return registered_name(value)
    raise ConfigError(f"Config: a {type(value).__name__} has no canonical text: {value!r}.")


def canonical_json(value: Any) -> str:
    """`canonical(value)` as one line of JSON with sorted keys."""
    return json.dumps(canonical(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def config_hash(value: Any) -> str:
    """sha256 (64 hex digits) of the canonical JSON."""
    return hashlib.sha256(atomic.utf8(canonical_json(value))).hexdigest()


def store_config(folder: str | os.PathLike[str], value: Any) -> str:
    """Write `configs/<hash>.json` below the result folder unless it is there; returns the hash."""
    digest = config_hash(value)
    path = _path(folder, digest)
    if not path.exists():
        text = json.dumps(canonical(value), sort_keys=True, indent=2, ensure_ascii=False)
        atomic.write_text(path, text + "\n")
    return digest


def load_config(folder: str | os.PathLike[str], digest: str) -> Any:
    """The stored config of this hash, as JSON types; `ConfigError` where missing or altered."""
    path = _path(folder, digest)
    if not os.path.lexists(path):
        raise ConfigError(f"{folder}: no config {digest[:12]} is stored here.")
    value = read_json(path)
    if config_hash(value) != digest:
        raise ConfigError(f"{path}: its content has another hash than its name says.")
    return value


def _path(folder: str | os.PathLike[str], digest: str) -> Path:
    # a hash that is read from a row or a manifest may be anything
    return Path(folder) / FOLDER / f"{file_name(digest)}.json"


def registered_name(entry: Any) -> str:
    """The name an entry (class or function) was registered under, else its own."""
    for names in registry._registries:
        for name in names:
            if names[name] is entry:
                return name
    name = getattr(entry, "__qualname__", None)
    if name is None or "<lambda>" in name:
        raise ConfigError(f"Config: {entry!r} has no name; register it or define it by name.")
    return name if isinstance(entry, type) else f"{entry.__module__}.{name}"


def _number(value: float) -> int | float | str:
    if not math.isfinite(value):
        return str(value)  # "inf", "-inf", "nan": JSON has none of them
    return int(value) if value.is_integer() and abs(value) < _EXACT_INTEGERS else value


def _text_key(key: Any) -> str:
    if not isinstance(key, str):
        raise ConfigError(f"Config: keys must be text, got {key!r}.")
    return key


def _array(value: np.ndarray) -> dict[str, Any]:
    little_endian = np.ascontiguousarray(value, value.dtype.newbyteorder("<"))
    digest = hashlib.sha256(little_endian.tobytes()).hexdigest()
    return {"dtype": value.dtype.name, "sha256": digest, "shape": list(value.shape)}
