"""A direction that turns with magnitude."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from synthsae_jax.registry import Explanation
from synthsae_jax.worlds.departures.planar import planar

Array = jax.Array


@planar(
    "turning",
    Explanation(
        what="A feature's direction turns with its magnitude: over half a turn from the weakest "
        "firing to the strongest at strength 1.",
        formula="cos(h) d + sin(h) e, h = pi strength (quantile of the magnitude - 1/2)",
        range="strength 0 (linear) to 1",
        undefined="Nothing turns where magnitudes have no spread.",
    ),
)
def turning(strength: Array, rank: Array, lot: Array) -> tuple[Array, Array]:
    """Angles from -90 to 90 degrees at strength 1, by the quantile of the magnitude."""
    angle = jnp.pi * strength * (rank - 0.5)
    return jnp.cos(angle), jnp.sin(angle)
