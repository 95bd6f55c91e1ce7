"""Instances: synthetic models that see a world, and the axes along which two of them differ."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
from flax import struct

from synthsae_jax.errors import check_choice, require
from synthsae_jax.numerics import row_norms, unit_rows
from synthsae_jax.worlds import dictionary as directions
from synthsae_jax.worlds.law_base import is_number
from synthsae_jax.worlds.presence import presence
from synthsae_jax.worlds.records import Instance, World
from synthsae_jax.worlds.structure import embedding

Array = jax.Array

GEOMETRIES = ("random", "structured", "anisotropic")
# what the fields of an InstanceConfig may be: whole numbers and their least, shares, sizes
_WHOLE = {"hidden_dim": 1, "reference_dim": 1, "orthogonalize_steps": 0}
_SHARES = ("sharing", "structure", "mean_share", "shared", "drop")
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


def instance_keys(key: Array) -> InstanceKeys:
    """The keys that `init_instance(key, ...)` uses."""
    return InstanceKeys(*(jax.random.fold_in(key, i) for i in range(6)))


def init_instance(key: Array | InstanceKeys, world: World, config: InstanceConfig) -> Instance:
    """An instance of `world`: dictionary [F, D] of unit rows, presence, bias. Vmaps over keys.

    `sharing` t mixes the world's reference dictionary, rotated, with fresh directions orthogonal
    to it, `t R d + sqrt(1 - t^2) fresh` (PROTOCOL 1); the realised cosine and the correlation of
    Gram matrices with the reference are stored, NaN where t = 0 (there is no reference to compare).
    """
    require(
        config.shared == 1 or world.copies == 2,
        f"InstanceConfig.shared below 1 needs a world with twins to take the place of what is not "
        f"shared: worlds.twin(world); got shared={config.shared} and a plain world.",
    )
    keys = key if isinstance(key, InstanceKeys) else instance_keys(key)
    n_features = world.n_features
    cosine = correlation = jnp.float32(jnp.nan)
    if config.sharing < 1:
        rows = _draw_rows(keys.directions, world, config, config.hidden_dim)
    if config.sharing > 0:
        dim = config.reference_dim or config.hidden_dim
        key_reference = jax.random.fold_in(jax.random.wrap_key_data(world.geometry_key), 1)
        reference = _draw_rows(key_reference, world, config, dim)
        turned = reference
        if config.rotate:
            turned = _rotate(keys.rotation, reference, config.hidden_dim)
        rows = turned if config.sharing == 1 else directions.mix(turned, rows, config.sharing)
        cosine, correlation = _relation(rows, turned, reference)
    bias = jax.random.normal(keys.bias, (1, config.hidden_dim))
    gain_sd, rate_sd = config.magnitude_jitter, config.rate_jitter
    # the mean of exp(sd z - sd^2 / 2) is 1
    gain = jnp.exp(gain_sd * jax.random.normal(keys.gain, (n_features,)) - gain_sd**2 / 2)
    thinning = jnp.exp(-jnp.abs(rate_sd * jax.random.normal(keys.rate, (n_features,))))
    return Instance(
        dictionary=rows,
        present=_presence(world.replace(config=None, seed=None), config.shared),
        bias=config.bias_norm * unit_rows(bias)[0],
        keep=(1 - config.drop) * thinning,
        gain=gain,
        noise=config.noise * jnp.mean(world.mean),
        cosine=cosine,
        gram_correlation=correlation,
        stream=jax.random.bits(keys.stream),
        config=config,
    )


def make_instance(world: World, dictionary: Array, bias: Array | None = None) -> Instance:
    """Your own model: `dictionary` [F, D] is normalised by row, `bias` [D] defaults to zero."""
    dictionary = jnp.asarray(dictionary, jnp.float32)
    require(
        dictionary.ndim == 2 and dictionary.shape[0] == world.n_features,
        f"make_instance: dictionary must have shape [{world.n_features}, D] (a row per feature of "
        f"the world), got {list(dictionary.shape)}.",
    )
    require(
        bool(jnp.all(jnp.isfinite(dictionary)) and jnp.all(row_norms(dictionary) > 0)),
        "make_instance: every row of the dictionary must be finite and non-zero.",
    )
    dim = dictionary.shape[1]
    bias = jnp.zeros(dim) if bias is None else jnp.asarray(bias, jnp.float32)
    require(
        bias.shape == (dim,),
        f"make_instance: bias must have shape [{dim}], got {list(bias.shape)}.",
    )
    ones = jnp.ones(world.n_features)
    nan = jnp.float32(jnp.nan)
    return Instance(
        dictionary=unit_rows(dictionary),
        present=ones > 0,
        bias=bias,
        keep=ones,
        gain=ones,
        noise=jnp.float32(0),
        cosine=nan,
        gram_correlation=nan,
        stream=jnp.uint32(0),
    )


def _draw_rows(key: Array, world: World, config: InstanceConfig, dim: int) -> Array:
    if config.geometry == "structured":
        rows = directions.structured_rows(key, embedding(world), dim, config.structure)
    elif config.geometry == "anisotropic":
        rows = directions.anisotropic_rows(
            key, world.n_features, dim, config.mean_share, config.spectrum_power
        )
    else:
        rows = directions.random_rows(key, world.n_features, dim)
    if config.orthogonalize_steps and config.geometry == "random":
        rows = _orthogonalize(rows, config.orthogonalize_steps, config.orthogonalize_lr)
    return rows


# The pieces of an instance, compiled apart: each serves every config of the same shapes, which one
# program per config would not, and op by op they would take many times as long to start.
_orthogonalize = functools.partial(jax.jit, static_argnums=1)(directions.orthogonalize)
_presence = jax.jit(presence)


@functools.partial(jax.jit, static_argnums=2)
def _rotate(key: Array, rows: Array, dim: int) -> Array:
    turn = directions.random_isometry(key, rows.shape[1], dim)
    return unit_rows(directions.rotate(rows, turn))


@jax.jit
def _relation(rows: Array, turned: Array, reference: Array) -> tuple[Array, Array]:
    cosine = jnp.mean(jnp.sum(rows * turned, axis=-1))
    return cosine, directions.gram_correlation(rows, reference)
