"""Instances: synthetic models that see a world, and the axes along which two of them differ."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from synthsae_jax.errors import require
from synthsae_jax.modes import fixed
from synthsae_jax.numerics import narrow, unit_rows
from synthsae_jax.worlds.departures import start
from synthsae_jax.worlds.geometry import init_geometry, second_rows
from synthsae_jax.worlds.instance_config import InstanceConfig, InstanceKeys, instance_keys
from synthsae_jax.worlds.records import Instance, World

Array = jax.Array


@fixed
def init_instance(key: Array | InstanceKeys, world: World, config: InstanceConfig) -> Instance:
    """An instance of `world`: dictionary [F, D] of unit rows, presence, bias. Vmaps over keys.

    `sharing` t mixes the world's reference dictionary, rotated, with fresh directions orthogonal
    to it, `t R d + sqrt(1 - t^2) fresh` (PROTOCOL 1); the realised cosine and the correlation of
    Gram matrices with the reference are stored, NaN where t = 0 (there is no reference to compare).
    With geometry "learned" the correlation is that with the world's own learned reference at every
    t, over features that both represent; features that a toy model drops are absent.
    """
    require(
        config.shared == 1 or world.copies == 2,
        f"InstanceConfig.shared below 1 needs a world with twins to take the place of what is not "
        f"shared: worlds.twin(world); got shared={config.shared} and a plain world.",
    )
    keys = key if isinstance(key, InstanceKeys) else instance_keys(key)
    n_features = world.n_features
    geometry = init_geometry(keys, world, config)
    bias = jax.random.normal(keys.bias, (1, config.hidden_dim))
    gain_sd, rate_sd = config.magnitude_jitter, config.rate_jitter
    # the mean of exp(sd z - sd^2 / 2) is 1
    gain = jnp.exp(gain_sd * jax.random.normal(keys.gain, (n_features,)) - gain_sd**2 / 2)
    # Rates only fall: codes can lose firings on the way to a model, and none can be added.
    thinning = jnp.exp(-jnp.abs(rate_sd * jax.random.normal(keys.rate, (n_features,))))
    instance = Instance(
        dictionary=geometry.rows,
        present=geometry.present,
        bias=config.bias_norm * unit_rows(bias)[0],
        keep=(1 - config.drop) * thinning,
        gain=gain,
        # in units of the mean magnitude, so that one number means the same in all worlds
        noise=config.noise * jnp.mean(world.mean),
        cosine=geometry.cosine,
        gram_correlation=geometry.gram_correlation,
        stream=jax.random.bits(keys.stream),
        config=config,
    )
    if config.departure is None:
        return instance
    across = second_rows(keys, world, config, geometry.rows)
    return start(config.departure, world, instance, config.strength, across)


@fixed
def make_instance(world: World, dictionary: Array, bias: Array | None = None) -> Instance:
    """Your own model: `dictionary` [F, D] is normalised by row, `bias` [D] defaults to zero."""
    shape = np.shape(dictionary)
    require(
        len(shape) == 2 and shape[0] == world.n_features,
        f"make_instance: dictionary must have shape [{world.n_features}, D] (a row per feature of "
        f"the world), got {list(shape)}.",
    )
    dictionary = narrow(dictionary, scale=(1,))
    require(
        bool(jnp.all(jnp.isfinite(dictionary)) and jnp.all(jnp.any(dictionary != 0, axis=1))),
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
