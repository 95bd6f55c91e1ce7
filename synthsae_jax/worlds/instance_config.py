"""Choices that make an instance, and the keys of their randomness."""

from __future__ import annotations

import dataclasses

import jax
from flax import struct

from synthsae_jax.errors import check_choice, is_number, require
from synthsae_jax.modes import fixed
from synthsae_jax.worlds.departures import departures
from synthsae_jax.worlds.learned import LearnedConfig

Array = jax.Array

GEOMETRIES = ("random", "structured", "anisotropic", "orthogonal", "learned")
_LEARNED = LearnedConfig()
# what the fields of an InstanceConfig may be: whole numbers and their least, shares, sizes
_WHOLE = {"hidden_dim": 1, "reference_dim": 1, "orthogonalize_steps": 0}
_SHARES = ("sharing", "structure", "mean_share", "shared", "drop", "strength")
_SIZES = (
    "bias_norm",
    "orthogonalize_lr",
    "spectrum_power",
    "magnitude_jitter",
    "rate_jitter",
    "noise",
)


@dataclasses.dataclass(frozen=True)
class InstanceConfig:
    """Choices that make an instance. Each axis has a key of its own (`InstanceKeys`)."""

    hidden_dim: int
    bias_norm: float = 0.0
    orthogonalize_steps: int = 100
    orthogonalize_lr: float = 3e-4
    geometry: str = "random"
    overlap: float | None = None  # mean-max overlap by pairs, geometry "random"; None: as drawn
    learned: LearnedConfig = _LEARNED  # geometry "learned"
    sharing: float = 0.0  # t: cosine with the world's reference dictionary, after a rotation
    rotate: bool = True  # False leaves the rotation out: with sharing 1, identical directions
    reference_dim: int | None = None  # None: hidden_dim
    structure: float = 0.5  # gamma of geometry "structured"
    mean_share: float = 0.2  # squared share of the common direction, geometry "anisotropic"
    spectrum_power: float = 1.0  # k^-power spectrum, geometry "anisotropic"
    shared: float = 1.0  # fraction of features in common with the reference member (twins)
    drop: float = 0.0  # per-token probability that a firing feature does not reach this model
    magnitude_jitter: float = 0.0  # sd of the log of the factor on each feature's magnitude
    rate_jitter: float = 0.0  # sd of the log rate; rates only fall: exp(-|sd z|), a thinning
    noise: float = 0.0  # sd of the noise along any direction, relative to the mean magnitude
    departure: str | None = None  # from linear features: a name of `worlds.departures`
    strength: float = 0.0  # of the departure

    def __post_init__(self) -> None:
        where = "InstanceConfig"
        check_choice(f"{where}.geometry", self.geometry, GEOMETRIES)
        for name, least in _WHOLE.items():
            value = getattr(self, name)
            require(
                (isinstance(value, int) and value >= least)
                or (value is None and name == "reference_dim"),
                f"{where}.{name} must be a whole number >= {least}, got {value!r}.",
            )
        for name in _SHARES:
            value = getattr(self, name)
            require(
                is_number(value) and 0 <= value <= 1,
                f"{where}.{name} must lie in [0, 1], got {value!r}.",
            )
        require(self.drop < 1, f"{where}.drop must lie in [0, 1), got {self.drop}.")
        for name in _SIZES:
            value = getattr(self, name)
            require(
                is_number(value) and value >= 0,
                f"{where}.{name} must be a finite number >= 0, got {value!r}.",
            )
        require(
            isinstance(self.learned, LearnedConfig),
            f"{where}.learned must be a LearnedConfig, got {self.learned!r}.",
        )
        require(
            self.overlap is None or self.geometry == "random",
            f"{where}.overlap is of geometry 'random', got geometry={self.geometry!r}.",
        )
        require(
            self.overlap is None or (is_number(self.overlap) and 0 < self.overlap < 1),
            f"{where}.overlap must lie between 0 and 1, got {self.overlap!r}.",
        )
        if self.departure is not None:
            check_choice(f"{where}.departure", self.departure, departures)
        require(
            self.departure is not None or self.strength == 0,
            f"{where}.strength needs a departure ({', '.join(departures)}), got {self.strength}.",
        )
        narrower = self.hidden_dim < (self.reference_dim or self.hidden_dim)
        require(
            not (self.sharing == 1 and narrower),
            f"{where}.sharing 1 needs hidden_dim >= reference_dim (a narrower model cannot hold a "
            f"rotated copy), got hidden_dim={self.hidden_dim}, reference_dim={self.reference_dim}.",
        )
        require(
            self.rotate or self.hidden_dim == (self.reference_dim or self.hidden_dim),
            f"{where}.rotate=False needs hidden_dim == reference_dim, got {self.hidden_dim} and "
            f"{self.reference_dim}.",
        )


@struct.dataclass
class InstanceKeys:
    """One key per axis, so that each can be shared between instances on its own."""

    directions: Array
    rotation: Array
    bias: Array
    gain: Array
    rate: Array
    stream: Array


@fixed
def instance_keys(key: Array) -> InstanceKeys:
    """The keys that `init_instance(key, ...)` uses."""
    return InstanceKeys(*(jax.random.fold_in(key, i) for i in range(6)))
