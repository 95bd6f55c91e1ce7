"""How well does A's SAE rebuild B's activations, as they are and carried into A's space?

Arrays in, numbers out: the SAE itself is run in between.

    raw      x_hat = A(x_b)                          where both models have one width
    aligned  x_hat = A(carry(x_b, rotation, ...))    rotation [D_b, D_a] fitted on other tokens
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from synthsae_jax.errors import require
from synthsae_jax.similarity.points import ratio_or_nan, row_energies, times

Array = jax.Array


def carry(
    x_b: Array, rotation: Array, mean_b: Array | None = None, mean_a: Array | None = None
) -> Array:
    """B's activations in A's space, `(x_b - mean_b) R + mean_a`, `[n, D_b] -> [n, D_a]`.

    `rotation [D_b, D_a]` has orthonormal columns, or rows where D_a > D_b, as
    `matching.fit_procrustes(x_a, x_b)` gives it. The means are 0 where not given.
    """
    x_b, rotation = jnp.asarray(x_b, jnp.float32), jnp.asarray(rotation, jnp.float32)
    require(
        x_b.ndim == 2 and rotation.ndim == 2 and x_b.shape[1] == rotation.shape[0],
        f"carry takes x_b [n, D_b] and rotation [D_b, D_a]; given {x_b.shape} and "
        f"{rotation.shape}.",
    )
    return times(x_b - _row(mean_b), rotation) + _row(mean_a)


def carry_back(
    x_a: Array, rotation: Array, mean_b: Array | None = None, mean_a: Array | None = None
) -> Array:
    """The way back, `(x_a - mean_a) R' + mean_b`, `[n, D_a] -> [n, D_b]`, arguments as `carry`'s.

    Exact after `carry` where D_a >= D_b; else what A's space cannot hold is gone.
    """
    return carry(x_a, jnp.asarray(rotation).T, mean_a, mean_b)


def stitched_explained_variance(
    x_b: Array,
    *,
    raw: Array | None = None,
    aligned: Array | None = None,
    own: Array | None = None,
    rotation: Array | None = None,
    mean_b: Array | None = None,
    mean_a: Array | None = None,
) -> dict[str, Array]:
    """Explained variance of B's activations `x_b [n, D_b]` under A's SAE, raw and after alignment.

    `raw [n, D_b]`: A's reconstruction of x_b itself. `aligned [n, D_a]`: A's reconstruction of
    `carry(x_b, rotation, mean_b, mean_a)`, still in A's space. `own [n, D_b]`: that of B's own
    SAE. Returned:

        raw, aligned   1 - sum |x - x_hat|^2 / sum |x - mean x|^2, aligned's x_hat carried back
        carried        the same for carrying there and back alone: 1 where D_a >= D_b
        ceiling        that of own: report the other two beside it

    NaN for what was not given and where x_b does not vary. Use tokens on which neither the
    rotation nor an SAE was fitted.
    """
    x_b = jnp.asarray(x_b, jnp.float32)
    require(x_b.ndim == 2, f"x_b must be activations [n, D_b]; given shape {x_b.shape}.")
    require(
        aligned is None or rotation is not None,
        "stitched_explained_variance: aligned needs the rotation it was made with.",
    )
    rebuilt = {"raw": raw, "aligned": None, "carried": None, "ceiling": own}
    if rotation is not None:
        rebuilt["carried"] = carry_back(
            carry(x_b, rotation, mean_b, mean_a), rotation, mean_b, mean_a
        )
        if aligned is not None:
            rebuilt["aligned"] = carry_back(aligned, rotation, mean_b, mean_a)
    return {name: _explained(name, x_b, x_hat) for name, x_hat in rebuilt.items()}


def _explained(name: str, x: Array, x_hat: Array | None) -> Array:
    if x_hat is None or x.size == 0:
        return jnp.float32(jnp.nan)
    x_hat = jnp.asarray(x_hat, jnp.float32)
    require(
        x_hat.shape == x.shape,
        f"stitched_explained_variance: {name} must rebuild all of x_b {x.shape}; given shape "
        f"{x_hat.shape}.",
    )
    mean = jnp.mean(x, axis=0, keepdims=True)
    varies = jnp.any(x != x[:1])
    share = ratio_or_nan(jnp.sum(row_energies(x - x_hat)), jnp.sum(row_energies(x - mean)))
    return jnp.where(varies, 1 - share, jnp.nan)


def _row(mean: Array | None) -> Array:
    return jnp.zeros((1, 1)) if mean is None else jnp.asarray(mean, jnp.float32)[None, :]
