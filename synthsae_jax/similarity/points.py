"""What several measures do to their points first."""

from __future__ import annotations

import jax
import jax.numpy as jnp

Array = jax.Array
HIGHEST = jax.lax.Precision.HIGHEST


def centred(X: Array) -> Array:
    """Columns minus their means, then all divided by the largest absolute entry, `[n, p]`.

    The division keeps squares of very large and very small points inside float32; every measure
    that centres is free of scale. A constant column becomes exactly 0: rounding of its mean would
    otherwise pass for variance.
    """
    constant = jnp.max(X, axis=0) == jnp.min(X, axis=0)
    moved = jnp.where(constant, 0.0, X - jnp.mean(X, axis=0, keepdims=True))
    largest = jnp.max(jnp.abs(moved))
    return moved / jnp.where(largest > 0, largest, 1.0)


def cross_energy(X: Array, Y: Array) -> Array:
    """Squared Frobenius norm of X'Y, `[n, p], [n, q] -> []`, by the smaller of its two forms."""
    if X.shape[0] < max(X.shape[1], Y.shape[1]):
        return jnp.sum(_gram(X) * _gram(Y))
    return jnp.sum(jnp.square(jnp.matmul(X.T, Y, precision=HIGHEST)))


def ratio_or_nan(numerator: Array, denominator: Array) -> Array:
    """The quotient, NaN where the denominator is not above 0."""
    defined = denominator > 0
    return jnp.where(defined, numerator / jnp.where(defined, denominator, 1.0), jnp.nan)


def _gram(X: Array) -> Array:
    return jnp.matmul(X, X.T, precision=HIGHEST)
