"""Dead latents start again in the direction of an input that is reconstructed badly."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from synthsae_jax.numerics import row_norms, safe_ratio, unit_rows
from synthsae_jax.saes import SAEParams
from synthsae_jax.saes.records import LATENT_AXES, as_they_are

Array = jax.Array

_ENCODER_SHARE = 0.2  # of the living encoders' mean norm, so that it starts by firing rarely


def resampled(
    key: Array,
    params: SAEParams,
    dead: Array,
    x: Array,
    error: Array,
    project: Callable[[SAEParams], SAEParams] = as_they_are,
) -> SAEParams:
    """Weights in which each dead latent points to an input drawn by its squared loss.

    `dead` bool `[L]`, inputs `x` `[n, D]` with their squared errors `error` `[n]`. The new decoder
    row has the direction of the input minus b_dec and the mean norm of the living rows; the
    encoder column the same direction at a fifth of the living ones' mean norm; biases and gates
    are 0, a threshold is the living ones' mean. Where no latent lives, means are over all.
    `project` is the SAE's: rows keep to where it allows them to be. Bricken et al. 2023, Towards
    Monosemanticity, "Neuron resampling".
    """
    chosen = jax.random.categorical(key, 2 * jnp.log(error + 1e-30), shape=dead.shape)
    allowed = project(params.replace(W_dec=x[chosen] - params.b_dec[None]))
    rows = unit_rows(allowed.W_dec)
    alive = ~dead | jnp.all(dead)

    def mean_of_living(values: Array) -> Array:
        return safe_ratio(jnp.sum(jnp.where(alive, values, 0.0)), jnp.sum(alive))

    new = {"W_dec": rows * mean_of_living(row_norms(params.W_dec))}
    if params.W_enc is not None:
        norm = mean_of_living(row_norms(params.W_enc.T))
        new["W_enc"] = (rows * _ENCODER_SHARE * norm).T
    if params.threshold is not None:
        new["threshold"] = jnp.full(dead.shape, mean_of_living(params.threshold))
    return project(_where_dead(dead, params, new))


def forgotten(moments: SAEParams, dead: Array) -> SAEParams:
    """An optimiser's running moments, 0 for the dead latents' weights."""
    return _where_dead(dead, moments, {})


def _where_dead(dead: Array, params: SAEParams, new: dict[str, Array]) -> SAEParams:
    """Per-latent weights taken from `new`, or 0, for the dead latents."""
    changes = {}
    for name, axis in LATENT_AXES.items():
        value = getattr(params, name)
        if value is None or axis is None:
            continue
        mask = jnp.expand_dims(dead, 1 - axis) if value.ndim == 2 else dead
        changes[name] = jnp.where(mask, new.get(name, 0.0), value)
    return params.replace(**changes)
