"""Features of two dimensions."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtri

from synthsae_jax.registry import Explanation
from synthsae_jax.worlds.departures.planar import planar

Array = jax.Array


@planar(
    "plane",
    Explanation(
        what="A feature has a second, independent coordinate: a firing is spread across its "
        "direction, at strength 1 as far as it reaches along it. It keeps its mean square.",
        formula="(d + strength z e) / sqrt(1 + strength^2), z ~ N(0, 1) of the token",
        range="strength 0 (linear) to 1",
        source="multi-dimensional features, arXiv 2405.14860",
    ),
    random=True,
)
def plane(strength: Array, rank: Array, lot: Array) -> tuple[Array, Array]:
    """A normal second coordinate, drawn for each firing."""
    along = 1 / jnp.sqrt(1 + strength**2)
    return jnp.broadcast_to(along, lot.shape), strength * along * ndtri(lot)
