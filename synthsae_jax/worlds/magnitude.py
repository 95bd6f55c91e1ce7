"""How strongly features fire: laws over the rank of a feature, named as in SAELens' JSON."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np

from synthsae_jax.errors import require
from synthsae_jax.registry import Explanation, Registry
from synthsae_jax.worlds.law_base import SOURCE, Law, check_numbers, require_positive
from synthsae_jax.worlds.torch_stream import TorchStream

magnitude_laws: Registry[type[Law]] = Registry("magnitude law")


@magnitude_laws.register(
    "constant", Explanation(what="The same value for every feature.", source=SOURCE)
)
@dataclasses.dataclass(frozen=True)
class ConstantMagnitude(Law):
    """One value for all."""

    value: float = 1.0
    generator_name: ClassVar[str] = "constant"

    def __post_init__(self):
        check_numbers(self)

    def values(self, n: int, seed: int | None) -> np.ndarray:
        return np.full(n, self.value, np.float64)


@magnitude_laws.register(
    "linear",
    Explanation(
        what="Linear in rank.", formula="start + (end - start)(i - 1)/(n - 1)", source=SOURCE
    ),
)
@dataclasses.dataclass(frozen=True)
class LinearMagnitude(Law):
    """From start to end in equal steps over the features."""

    start: float
    end: float
    generator_name: ClassVar[str] = "linear"

    def __post_init__(self):
        check_numbers(self)
        require_positive(self, "start", "end")

    def values(self, n: int, seed: int | None) -> np.ndarray:
        return np.linspace(self.start, self.end, n)


@magnitude_laws.register(
    "exponential",
    Explanation(
        what="Geometric in rank.", formula="start (end/start)^((i - 1)/(n - 1))", source=SOURCE
    ),
)
@dataclasses.dataclass(frozen=True)
class ExponentialMagnitude(Law):
    """From start to end in equal ratios over the features."""

    start: float
    end: float
    generator_name: ClassVar[str] = "exponential"

    def __post_init__(self):
        check_numbers(self)
        require_positive(self, "start", "end")

    def values(self, n: int, seed: int | None) -> np.ndarray:
        return self.start * (self.end / self.start) ** np.linspace(0.0, 1.0, n)


@magnitude_laws.register(
    "folded_normal",
    Explanation(
        what="Absolute values of normal draws, one per feature, optionally clipped.",
        formula="|mean + std z_i|",
        range="min_value to max_value",
        source=SOURCE,
    ),
)
@dataclasses.dataclass(frozen=True)
class FoldedNormal(Law):
    """|N(mean, std^2)| from torch's CPU stream of the seed, clipped to [min_value, max_value]."""

    mean: float = 0.0
    std: float = 0.1
    min_value: float | None = None
    max_value: float | None = None
    generator_name: ClassVar[str] = "folded_normal"

    def __post_init__(self):
        check_numbers(self, optional=("min_value", "max_value"))
        require_positive(self, "std")
        low, high = self.min_value, self.max_value
        require(low is None or low >= 0, f"FoldedNormal: min_value must be >= 0; got {low}.")
        require(high is None or high > 0, f"FoldedNormal: max_value must be > 0; got {high}.")
        require(
            low is None or high is None or low <= high,
            f"FoldedNormal: min_value must be <= max_value; got {low} > {high}.",
        )

    def values(self, n: int, seed: int | None) -> np.ndarray:
        require(
            seed is not None,
            "FoldedNormal: needs a seed; without one every load would draw other magnitudes.",
        )
        draws = np.abs(self.mean + TorchStream(seed).randn(n).astype(np.float64) * self.std)
        if self.min_value is None and self.max_value is None:
            return draws
        return np.clip(draws, self.min_value, self.max_value)
