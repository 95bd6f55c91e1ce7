"""The numbers of a law and its JSON: what a world asks of `firing` and `magnitude`.

Names, fields and defaults are SAELens' own, so a config moves between the packages as it is.
`ScaledZipf` is ours alone. All numbers are float64.
"""

from __future__ import annotations

import dataclasses
import numbers
from typing import Any, TypeAlias

import numpy as np

from synthsae_jax.errors import ConfigError, is_number, require
from synthsae_jax.registry import Registry
from synthsae_jax.worlds.firing import (
    Constant,
    Linear,
    Random,
    ScaledZipf,
    Zipfian,
    firing_laws,
)
from synthsae_jax.worlds.law_base import Law, make
from synthsae_jax.worlds.magnitude import (
    ConstantMagnitude,
    ExponentialMagnitude,
    FoldedNormal,
    LinearMagnitude,
    magnitude_laws,
)

FiringLaw: TypeAlias = Zipfian | Linear | Random | Constant | ScaledZipf
MagnitudeLaw: TypeAlias = (
    ConstantMagnitude | LinearMagnitude | ExponentialMagnitude | FoldedNormal | float
)


def probabilities(law: FiringLaw, n: int, seed: int | None) -> np.ndarray:
    """Firing probabilities float64 [n] by rank, as SAELens makes them before compensation.

    SAELens computes in float32: its numbers differ from these by rounding (below 1e-6).
    """
    require(isinstance(n, numbers.Integral) and n >= 1, f"n_features must be >= 1; got {n}.")
    check_firing(law, "firing")
    return law.values(int(n), seed)


def magnitudes(law: MagnitudeLaw, n: int, seed: int | None) -> np.ndarray:
    """Magnitude numbers float64 [n]: a law's, or the same number for all.

    SAELens' convention: with a world of seed s, `seed` is s + 1 for the standard deviations and
    s + 2 for the means.
    """
    require(isinstance(n, numbers.Integral) and n >= 1, f"n_features must be >= 1; got {n}.")
    check_magnitude(law, "magnitude")
    if is_number(law):
        return np.full(int(n), law, np.float64)
    return law.values(int(n), seed)


def check_firing(law: object, where: str) -> None:
    """Raise unless this is one of the registered firing laws."""
    require(
        type(law) in [firing_laws[name] for name in firing_laws],
        f"{where}: expected a firing law such as Zipfian(); got {law!r}.",
    )


def check_magnitude(law: object, where: str) -> None:
    """Raise unless this is a number or one of the registered magnitude laws."""
    require(
        is_number(law) or type(law) in [magnitude_laws[name] for name in magnitude_laws],
        f"{where}: expected a number or a magnitude law such as LinearMagnitude(5.0, 4.0); got "
        f"{law!r}.",
    )


def to_json(law: FiringLaw | MagnitudeLaw) -> dict[str, Any] | float:
    """The law as SAELens writes it: its fields in order, then `generator_name`."""
    if is_number(law):
        return law
    return {**dataclasses.asdict(law), "generator_name": law.generator_name}


def firing_from_json(value: Any, where: str = "firing_probability") -> FiringLaw:
    """The firing law of a JSON object; `where` names file and field in an error."""
    return _from_json(firing_laws, value, where)


def magnitude_from_json(value: Any, where: str = "magnitudes") -> MagnitudeLaw:
    """The magnitude law of a JSON object or number."""
    return value if is_number(value) else _from_json(magnitude_laws, value, where)


def _from_json(registry: Registry[type[Law]], value: Any, where: str):
    require(
        isinstance(value, dict) and "generator_name" in value,
        f"{where}: expected an object with a generator_name; got {value!r}.",
    )
    options = dict(value)
    name = options.pop("generator_name")
    try:
        return make(registry[name], options)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
