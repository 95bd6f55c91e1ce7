"""A pointwise nonlinearity on the activations."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from synthsae_jax.numerics import row_norms, unit_rows
from synthsae_jax.registry import Explanation
from synthsae_jax.worlds.departures.base import Kind, departures
from synthsae_jax.worlds.records import Departure

Array = jax.Array


def _embed(departure, bias, ids, values, size, token_key, sum_of_rows) -> Array:
    x = sum_of_rows(departure.rows, bias, ids, values)
    y = x - bias[None]
    size = row_norms(y)[:, None]
    scale = jnp.where(size > 0, size, 1.0) / y.shape[-1] ** 0.5
    bent = size * unit_rows(jnp.tanh(y / scale))  # as long as before
    return x + departure.strength * (bent - y)


def _effective(departure: Departure) -> tuple[Array, Array]:
    return departure.rows, jnp.full(departure.rows.shape[0], jnp.nan)


departures.register(
    "squash",
    Explanation(
        what="Coordinates of the activations are squashed one by one, by tanh at the scale of the "
        "token's own root mean square, and brought back to its length: features interact, and the "
        "basis of neurons counts, so a rotated model is another model. A feature's direction stays "
        "its effective one to first order, where coordinates are alike and nearly Gaussian.",
        formula="y' = (1 - strength) y + strength |y| t / |t|, t = tanh(y / rms(y)), y = x - bias",
        range="strength 0 (linear) to 1",
        undefined="The linear share by feature is NaN: the nonlinearity acts on the sum.",
    ),
)(Kind(_embed, _effective))
