"""Children whose direction is a mix with their parent's."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from synthsae_jax.numerics import unit_rows
from synthsae_jax.registry import Explanation
from synthsae_jax.worlds.departures.base import Kind, departures
from synthsae_jax.worlds.records import Departure

Array = jax.Array


def _mixed(departure: Departure) -> Array:
    """Rows of which each child's is turned towards its parent's, from the roots down."""
    s, parent = departure.strength, departure.parent
    rows = departure.rows
    for _ in range(departure.levels):  # each pass settles one more level
        child = unit_rows((1 - s) * departure.rows + s * rows[jnp.maximum(parent, 0)])
        rows = jnp.where((parent >= 0)[:, None], child, departure.rows)
    # A unit row normalised again moves by rounding; at strength 0 it must be the row of `embed`.
    return jnp.where(s == 0, departure.rows, rows)


def _embed(departure, bias, ids, values, size, token_key, sum_of_rows) -> Array:
    return sum_of_rows(_mixed(departure), bias, ids, values)


departures.register(
    "family",
    Explanation(
        what="A child's direction is a mix with its parent's, at strength 1 the same; so an active "
        "child also moves its parent's coordinate. Linear in the codes: what is lost is that "
        "features have directions of their own.",
        formula="d_c' = normalise((1 - strength) d_c + strength d_p'), from the roots down",
        range="strength 0 (as drawn) to 1",
    ),
)(Kind(_embed, lambda d: (_mixed(d), jnp.ones(d.rows.shape[0]))))
