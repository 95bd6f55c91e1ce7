"""What the laws of firing and of magnitude have in common: fields that check themselves."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np

from synthsae_jax.errors import is_number, require, unknown_name

SOURCE = "SynthSAEBench, arXiv 2602.14687"


@dataclasses.dataclass(frozen=True)
class Law:
    """A law: `values(n, seed)` gives float64 [n]. `generator_name` is its name in JSON."""

    generator_name: ClassVar[str]
    in_saelens: ClassVar[bool] = True

    def values(self, n: int, seed: int | None) -> np.ndarray:
        """One number per feature, by rank. A law without chance ignores the seed."""
        raise NotImplementedError


def make(kind: type, options: dict[str, Any]):
    """`kind(**options)`, where an unknown or a missing field is a `ConfigError`."""
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for name in options:
        if name not in fields:
            raise unknown_name(f"field of {kind.__name__}", name, fields)
    missing = [
        name
        for name, field in fields.items()
        if field.default is dataclasses.MISSING and name not in options
    ]
    require(not missing, f"{kind.__name__}: missing {', '.join(missing)}.")
    return kind(**options)


def check_numbers(law: Any, optional: tuple[str, ...] = ()) -> None:
    """Raise unless every field is a finite number (or None where that is allowed)."""
    for field in dataclasses.fields(law):
        value = getattr(law, field.name)
        require(
            is_number(value) or (value is None and field.name in optional),
            f"{type(law).__name__}: {field.name} must be a finite number; got {value!r}.",
        )


def require_positive(law: Any, *names: str) -> None:
    """Raise unless each of the named fields is above 0."""
    for name in names:
        value = getattr(law, name)
        require(value > 0, f"{type(law).__name__}: {name} must be > 0; got {value}.")
