"""Features on circles."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from synthsae_jax.registry import Explanation
from synthsae_jax.worlds.departures.planar import planar

Array = jax.Array


@planar(
    "circle",
    Explanation(
        what="A firing lies anywhere on an arc around the feature's direction, the whole circle at "
        "strength 1, as days of the week do; the angle belongs to the token.",
        formula="cos(h) d + sin(h) e, h uniform in +- pi strength",
        range="strength 0 (linear) to 1",
        undefined="At strength 1 a feature has no mean direction; its middle is kept for one.",
        source="Engels et al., arXiv 2405.14860",
    ),
    random=True,
)
def circle(strength: Array, rank: Array, lot: Array) -> tuple[Array, Array]:
    """An angle drawn for each firing, of the same length everywhere."""
    angle = 2 * jnp.pi * strength * (lot - 0.5)
    return jnp.cos(angle), jnp.sin(angle)
