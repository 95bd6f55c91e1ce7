"""What several measures do to their points first."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from synthsae_jax.numerics import HIGHEST

Array = jax.Array
# a numpy number: as a JAX array it stops who looks for NaN by `jax_debug_nans`
NAN: Any = np.float32(np.nan)


def centred(X: Array) -> Array:
    """Columns minus their means, then all divided by the largest absolute entry, `[n, p]`.

    The division keeps squares of very large and very small points inside float32; what is left
    knows nothing of scale (`centred_and_size` for measures that do). A constant column becomes
    exactly 0: rounding of its mean would otherwise pass for variance.
    """
    return centred_and_size(X)[0]


def centred_and_size(X: Array) -> tuple[Array, Array]:
    """`centred(X)` and the number `[]` it was divided by."""
    constant = jnp.max(X, axis=0) == jnp.min(X, axis=0)
    moved = jnp.where(constant, 0.0, X - jnp.mean(X, axis=0, keepdims=True))
    largest = jnp.max(jnp.abs(moved))
    size = jnp.where(largest > 0, largest, 1.0)
    return moved / size, size


def cross_energy(X: Array, Y: Array) -> Array:
    """Squared Frobenius norm of X'Y, `[n, p], [n, q] -> []`, by the smaller of its two forms."""
    if X.shape[0] < max(X.shape[1], Y.shape[1]):
        return jnp.sum(gram(X) * gram(Y))
    return jnp.sum(jnp.square(times(X.T, Y)))


def row_energies(X: Array) -> Array:
    """Squared norm of each row, `[n, p] -> [n]`."""
    return jnp.sum(jnp.square(X), axis=1)


def gram(X: Array) -> Array:
    """Inner products of the rows, `[n, p] -> [n, n]`."""
    return times(X, X.T)


def squared_distances(X: Array) -> Array:
    """Squared Euclidean distances of the rows, `[n, p] -> [n, n]`; centre first, for rounding."""
    K = gram(X)
    d = jnp.diagonal(K)
    return jnp.maximum(d[:, None] + d[None, :] - 2 * K, 0.0)


def times(A: Array, B: Array) -> Array:
    """Matrix product in full float32, on every device."""
    return jnp.matmul(A, B, precision=HIGHEST)
