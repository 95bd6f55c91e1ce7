"""Small numeric pieces that everything above shares. Knows nothing of worlds or SAEs."""

from __future__ import annotations

import jax
import jax.numpy as jnp

Array = jax.Array


def row_norms(x: Array) -> Array:
    """Euclidean norm of each row, `[..., n, d] -> [..., n]`, with gradient 0 at a zero row."""
    squared = jnp.sum(jnp.square(x), axis=-1)
    # sqrt has an infinite slope at 0; the inner where keeps it off the gradient's path
    positive = squared > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, squared, 1.0)), 0.0)


def unit_rows(x: Array, floor: float = 1e-8) -> Array:
    """Each row divided by its norm (at least `floor`), so a zero row stays zero."""
    return x / jnp.maximum(row_norms(x), floor)[..., None]


def cosine_matrix(a: Array, b: Array) -> Array:
    """Cosines between rows, `[n, d], [m, d] -> [n, m]`; a zero row has cosine 0 with all."""
    return jnp.matmul(unit_rows(a), unit_rows(b).T, precision=jax.lax.Precision.HIGHEST)


def safe_ratio(numerator: Array, denominator: Array) -> Array:
    """Elementwise quotient, 0 where the denominator is 0."""
    nonzero = denominator != 0
    return jnp.where(nonzero, numerator / jnp.where(nonzero, denominator, 1), 0.0)
