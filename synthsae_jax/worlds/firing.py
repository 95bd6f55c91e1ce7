"""How often features fire: laws over the rank of a feature, named as in SAELens' JSON."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np

from synthsae_jax.errors import require
from synthsae_jax.registry import Explanation, Registry
from synthsae_jax.worlds.law_base import SOURCE, Law, check_numbers, require_positive
from synthsae_jax.worlds.torch_stream import DEFAULT_SEED, TorchStream

firing_laws: Registry[type[Law]] = Registry("firing law")


@firing_laws.register(
    "zipfian",
    Explanation(
        what="Firing probability falls with rank as a power law, then flattens at the least one.",
        formula="p_i = min + (max - min)(i^-a - n^-a)/(1 - n^-a)",
        range="min_prob to max_prob",
        source=SOURCE,
    ),
)
@dataclasses.dataclass(frozen=True)
class Zipfian(Law):
    """Power law in the rank, stretched linearly onto [min_prob, max_prob]."""

    exponent: float = 1.0
    max_prob: float = 0.3
    min_prob: float = 0.01
    generator_name: ClassVar[str] = "zipfian"

    def __post_init__(self):
        _check_range(self)
        require_positive(self, "exponent")

    def values(self, n: int, seed: int | None) -> np.ndarray:
        if n == 1:
            return np.array([self.max_prob], np.float64)
        power = np.arange(1, n + 1, dtype=np.float64) ** -float(self.exponent)
        share = (power - power[-1]) / (power[0] - power[-1])
        return self.min_prob + (self.max_prob - self.min_prob) * share


@firing_laws.register(
    "linear",
    Explanation(
        what="Firing probability falls linearly with rank.",
        formula="p_i = max - (max - min)(i - 1)/(n - 1)",
        range="min_prob to max_prob",
        source=SOURCE,
    ),
)
@dataclasses.dataclass(frozen=True)
class Linear(Law):
    """From max_prob down to min_prob in equal steps."""

    max_prob: float = 0.3
    min_prob: float = 0.01
    generator_name: ClassVar[str] = "linear"

    def __post_init__(self):
        _check_range(self, strict=False)

    def values(self, n: int, seed: int | None) -> np.ndarray:
        return np.linspace(self.max_prob, self.min_prob, n)


@firing_laws.register(
    "random",
    Explanation(
        what="Firing probabilities are uniform draws, in no order.",
        formula="p_i = min + (max - min) U_i",
        range="min_prob to max_prob",
        source=SOURCE,
    ),
)
@dataclasses.dataclass(frozen=True)
class Random(Law):
    """Independent uniform draws from torch's CPU stream of the seed."""

    max_prob: float = 0.5
    min_prob: float = 0.01
    generator_name: ClassVar[str] = "random"

    def __post_init__(self):
        _check_range(self)

    def values(self, n: int, seed: int | None) -> np.ndarray:
        draws = TorchStream(DEFAULT_SEED if seed is None else seed).rand(n)
        return self.min_prob + (self.max_prob - self.min_prob) * draws.astype(np.float64)


@firing_laws.register(
    "constant",
    Explanation(what="Every feature has the same firing probability.", source=SOURCE),
)
@dataclasses.dataclass(frozen=True)
class Constant(Law):
    """One probability for all."""

    probability: float = 0.1
    generator_name: ClassVar[str] = "constant"

    def __post_init__(self):
        check_numbers(self)
        require(
            0 <= self.probability <= 1,
            f"Constant: probability must lie in [0, 1]; got {self.probability}.",
        )

    def values(self, n: int, seed: int | None) -> np.ndarray:
        return np.full(n, self.probability, np.float64)


@firing_laws.register(
    "scaled_zipf",
    Explanation(
        what="Firing probability is a pure power law of rank with a given mean L0.",
        formula="p_i = mean_l0 i^-a / sum_j j^-a",
        range="0 to max_prob",
    ),
)
@dataclasses.dataclass(frozen=True)
class ScaledZipf(Law):
    """Pure power law whose probabilities sum to `mean_l0`; refused where one passes max_prob."""

    exponent: float
    mean_l0: float
    max_prob: float = 0.9
    generator_name: ClassVar[str] = "scaled_zipf"
    in_saelens: ClassVar[bool] = False

    def __post_init__(self):
        check_numbers(self)
        require_positive(self, "exponent", "mean_l0", "max_prob")
        require(self.max_prob <= 1, f"ScaledZipf: max_prob must be <= 1; got {self.max_prob}.")

    def values(self, n: int, seed: int | None) -> np.ndarray:
        power = np.arange(1, n + 1, dtype=np.float64) ** -float(self.exponent)
        scaled = self.mean_l0 * power / power.sum()
        require(
            bool(scaled[0] <= self.max_prob),
            f"ScaledZipf: mean_l0={self.mean_l0} over {n} features with "
            f"exponent={self.exponent} needs a probability of {scaled[0]:.3g} > "
            f"max_prob={self.max_prob}; lower mean_l0 or the exponent.",
        )
        return scaled


def _check_range(law: Zipfian | Linear | Random, strict: bool = True) -> None:
    check_numbers(law)
    low, high = law.min_prob, law.max_prob
    ordered = low < high if strict else low <= high
    require(
        low > 0 and ordered and high <= 1,
        f"{type(law).__name__}: min_prob and max_prob must satisfy 0 < min_prob "
        f"{'<' if strict else '<='} max_prob <= 1; got min_prob={low}, max_prob={high}.",
    )
