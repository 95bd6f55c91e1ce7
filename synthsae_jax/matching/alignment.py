"""A rotation between two models' activation spaces, fitted on paired activations."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from synthsae_jax.errors import require
from synthsae_jax.matching.moments import CoMoments
from synthsae_jax.numerics import narrow

Array = jax.Array


def fit_procrustes(x_a: Array, x_b: Array) -> Array:
    """The rotation `[D_b, D_a]` under which B's centred activations come closest to A's.

    `x_a [n, D_a]`, `x_b [n, D_b]` are activations on the same n tokens; judge the fit on others.
    With C the cross-covariance and `C_ba = U S V^T`, the answer `R = U V^T` maximises
    `tr(R^T C_ba)` over matrices with orthonormal columns (or rows, where D_a > D_b): the same as
    padding the narrower side with zeros. `align(rows_b, R)` puts B's directions into A's space.
    For streams: accumulate `CoMoments`, then `procrustes_from_covariance(moments.cross)`.
    Schoenemann 1966. With fewer tokens than dimensions the unseen part is arbitrary.
    """
    shapes = jnp.shape(x_a), jnp.shape(x_b)
    require(
        len(shapes[0]) == len(shapes[1]) == 2 and shapes[0][0] == shapes[1][0] > 1,
        "fit_procrustes needs activations [n, D_a] and [n, D_b] on the same n > 1 tokens; given "
        f"{shapes[0]} and {shapes[1]}.",
    )
    # The rotation depends neither on the means nor on a common factor of a side, so both can be
    # taken off in float64, before float32 rounds what varies.
    x_a, x_b = (narrow(x, centre=0, scale=(0, 1)) for x in (x_a, x_b))
    moments = CoMoments.init(x_a.shape[1], x_b.shape[1]).update(x_a, x_b)
    return procrustes_from_covariance(moments.cross)


def procrustes_from_covariance(c: Array) -> Array:
    """The rotation `[D_b, D_a]` from the cross-covariance `c [D_a, D_b]` (any positive scale)."""
    u, _, vt = jnp.linalg.svd(c.T, full_matrices=False)
    # In TF32 or bfloat16 the product of two orthonormal bases is orthonormal to some 1e-3 only.
    return jnp.matmul(u, vt, precision=jax.lax.Precision.HIGHEST)


def align(directions_b: Array, rotation: Array) -> Array:
    """B's directions in A's space, `[L, D_b], [D_b, D_a] -> [L, D_a]`."""
    return jnp.matmul(directions_b, rotation, precision=jax.lax.Precision.HIGHEST)
