"""How well does A's SAE rebuild B's activations, as they are and carried into A's space?

Arrays in, numbers out: the SAE itself is run in between.

    raw      x_hat = A(x_b)                          where both models have one width
    aligned  x_hat = A(carry(x_b, rotation, ...))    rotation [D_b, D_a] fitted on other tokens
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from synthsae_jax.errors import require
from synthsae_jax.numerics import as_array, is_wide, narrow, narrow_together, ratio_or_nan
from synthsae_jax.similarity.points import NAN, row_energies, times

Array = jax.Array


def carry(
    x_b: Array, rotation: Array, mean_b: Array | None = None, mean_a: Array | None = None
) -> Array:
    """B's activations in A's space, `(x_b - mean_b) R + mean_a`, `[n, D_b] -> [n, D_a]`.

    `rotation [D_b, D_a]` has orthonormal columns, or rows where D_a > D_b, as
    `matching.fit_procrustes(x_a, x_b)` gives it. The means are 0 where not given.
    """
    rotation = jnp.asarray(rotation, jnp.float32)
    shape = jnp.shape(x_b)
    require(
        len(shape) == 2 and rotation.ndim == 2 and shape[1] == rotation.shape[0],
        f"carry takes x_b [n, D_b] and rotation [D_b, D_a]; given {shape} and {rotation.shape}.",
    )
    return times(_less(x_b, mean_b), rotation) + _row(mean_a)


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
    require(jnp.ndim(x_b) == 2, f"x_b must be activations [n, D_b]; given {jnp.shape(x_b)}.")
    require(
        aligned is None or rotation is not None,
        "stitched_explained_variance: aligned needs the rotation it was made with.",
    )
    numbers = {"raw": _explained("raw", x_b, raw), "aligned": NAN, "carried": NAN}
    if rotation is not None:
        # less B's mean on both sides: what lies far from 0 would lose its digits
        x = _less(x_b, mean_b)
        there_and_back = carry_back(carry(x, rotation), rotation)
        numbers["carried"] = _explained("carried", x, there_and_back)
        if aligned is not None:
            back = carry_back(aligned, rotation, mean_a=mean_a)
            numbers["aligned"] = _explained("aligned", x, back)
    return {**numbers, "ceiling": _explained("ceiling", x_b, own)}


def _explained(name: str, x: Array, x_hat: Array | None) -> Array:
    if x_hat is None or jnp.size(x) == 0:
        return NAN
    require(
        jnp.shape(x_hat) == jnp.shape(x),
        f"stitched_explained_variance: {name} must rebuild all of x_b {jnp.shape(x)}; given shape "
        f"{jnp.shape(x_hat)}.",
    )
    x, x_hat = narrow_together(x, x_hat)
    mean = jnp.mean(x, axis=0, keepdims=True)
    varies = jnp.any(x != x[:1])
    share = ratio_or_nan(jnp.sum(row_energies(x - x_hat)), jnp.sum(row_energies(x - mean)))
    return jnp.where(varies, 1 - share, NAN)


def _less(x: Any, mean: Any) -> Array:
    """x less a mean, taken off in x's own precision, as float32."""
    x = as_array(x)
    mean = 0.0 if mean is None else (np if is_wide(x) else jnp).asarray(mean)[None, :]
    return narrow(x - mean)


def _row(mean: Array | None) -> Array:
    return jnp.zeros((1, 1)) if mean is None else jnp.asarray(mean, jnp.float32)[None, :]
