"""`build`: from a registered name and its options to an `SAE`, with every input checked."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from typing import Any

import numpy as np

from synthsae_jax.errors import ConfigError, check_range, is_number, short, unknown_name
from synthsae_jax.saes.base import SAE, architectures


def names() -> tuple[str, ...]:
    """The registered architectures."""
    return architectures.names()


def option_defaults(name: str) -> dict[str, Any]:
    """All options of an architecture with their defaults; `d_in` and `d_sae` have none (None)."""
    entry = architectures[name]
    fields = (*dataclasses.fields(entry.options), *dataclasses.fields(entry.hyper))
    return {f.name: None if f.default is dataclasses.MISSING else f.default for f in fields}


def build(name: str, *, d_in: int, d_sae: int, **options) -> SAE:
    """An SAE of the named architecture. Option names and defaults are SAELens' config keys.

    Raises `ConfigError` for an unknown name or option and for values outside their range.
    """
    entry = architectures[name]
    defaults = option_defaults(name)
    for option in options:
        if option not in defaults:
            raise unknown_name(f"option of SAE {name!r}", option, defaults)
    settings = {**defaults, "d_in": d_in, "d_sae": d_sae, **options}

    def values(record: type) -> dict[str, Any]:
        kinds = typing.get_type_hints(record)
        return {
            f.name: _converted(f.name, settings[f.name], kinds[f.name])
            for f in dataclasses.fields(record)
        }

    choices = entry.options(**values(entry.options))
    hyper = entry.hyper(**values(entry.hyper))
    entry.check(choices, hyper)
    return SAE(
        name=name,
        options=choices,
        factory=entry.factory,
        hyper=hyper.replace(**{n: _traceable(n, v) for n, v in vars(hyper).items()}),
    )


def _traceable(name: str, value: int | float | None) -> np.generic | None:
    """A number as a numpy scalar of fixed type, so that every value of it has the same trace."""
    if value is None:
        return None
    if isinstance(value, int):
        check_range(name, value, -(2**31), 2**31 - 1)
        return np.int32(value)
    largest = float(np.finfo(np.float32).max)
    check_range(name, value, -largest, largest)
    return np.float32(value)


def _converted(name: str, value: Any, kind: Any) -> Any:
    """The value as the plain Python type that the option is declared with."""
    if isinstance(kind, types.UnionType):  # X | None
        if value is None:
            return None
        (kind,) = (k for k in typing.get_args(kind) if k is not types.NoneType)
    if typing.get_origin(kind) is tuple:
        if isinstance(value, list | tuple):
            return tuple(_converted(name, v, typing.get_args(kind)[0]) for v in value)
        raise ConfigError(f"{name} must be a sequence, got {name}={short(value)}.")
    if isinstance(value, np.generic):
        value = value.item()
    if kind is float and is_number(value):
        return float(value)
    if kind is int and is_number(value) and value == math.floor(value):
        return int(value)
    if kind in (bool, str) and isinstance(value, kind):
        return value
    what = {float: "a finite number", int: "a whole number", bool: "True or False", str: "a word"}
    raise ConfigError(f"{name} must be {what[kind]}, got {name}={short(value)}.")
