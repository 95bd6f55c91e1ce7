"""Small numeric pieces that everything above shares. Knows nothing of worlds or SAEs.

Precision is decided here. Half precision is computed with in float32: squares of its numbers leave
its range, and rounded scores tie. What comes in float64 on the host, and would lose digits as
float32, is first centred and scaled in float64, where the definition allows it (`narrow`).
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.sparse import issparse

Array = jax.Array
# float32 means float32 on every device. Without it a GPU may round a product's operands to TF32 (10
# bits of 23) and a TPU to bfloat16, and with them change which latents are the k largest.
HIGHEST = jax.lax.Precision.HIGHEST


def as_array(x: Any) -> Any:
    """A JAX array as it is, anything else as a numpy array: neither loses digits."""
    return x if isinstance(x, jax.Array) else np.asarray(x)


def is_wide(x: Any) -> bool:
    """Does an array have more digits than float32 (float64 or whole numbers, not half or bool)?"""
    dtype = np.result_type(x) if not hasattr(x, "dtype") else x.dtype
    whole = np.issubdtype(dtype, np.integer) and not isinstance(x, jax.Array)
    return dtype == np.float64 or dtype == np.longdouble or whole


def at_least_float32(x: Any) -> Any:
    """A floating array with half precision as float32; any other as it is."""
    dtype = np.dtype(getattr(x, "dtype", np.float64))
    if jnp.issubdtype(dtype, jnp.floating) and dtype.itemsize < 4:
        return x.astype(np.float32)
    return x


def narrow(x: Any, *, centre: int | None = None, scale: tuple[int, ...] | None = None) -> Array:
    """Any real array as float32, without what float32 would lose.

    `centre`: the axis along which means are taken off, in float64, of what is wider than float32
    (of float32 itself nothing is: there the difference would be no better than the caller's own).
    `scale`: the axes over which the largest entry is brought to [1/2, 1) by a power of two, which
    changes no digit; what is not 0 stays so. Give either only where what follows is free of it.
    """
    x = as_array(x)
    wide = is_wide(x)
    x = x.astype(np.float64 if wide else np.float32)
    # what is not finite stays so, for the caller to say
    with np.errstate(invalid="ignore", over="ignore"):
        if scale is not None:
            x = _scaled(x, scale)
        if wide and centre is not None and x.shape[centre]:
            x = x - x.mean(centre, keepdims=True)
            # again: what varies may be far smaller than what it varied about
            if scale is not None:
                x = _scaled(x, scale)
        return jnp.asarray(x.astype(np.float32))


def narrow_together(x: Any, y: Any) -> tuple[Array, Array]:
    """Samples and their reconstructions `[n, D]` as float32, for what depends on `x - y` alone.

    In float64, the mean of x is taken off both; both are divided by one power of two.
    """
    x, y = as_array(x), as_array(y)
    wide = is_wide(x) or is_wide(y)
    x, y = (v.astype(np.float64 if wide else np.float32) for v in (x, y))
    with np.errstate(invalid="ignore", over="ignore"):
        size = _power_of_two(x, (0, 1))
        x, y = x / size, y / size
        if wide and x.shape[0]:
            mean = x.mean(0, keepdims=True)
            x, y = x - mean, y - mean
            size = _power_of_two(x, (0, 1))
            x, y = x / size, y / size
        return jnp.asarray(x.astype(np.float32)), jnp.asarray(y.astype(np.float32))


def fires(codes: Any) -> Any:
    """bool, of the shape given: where a latent fires, in the precision given. A NaN fires.

    Here, in `firings` and in `is_alive`, it is decided what "fires", "dead" and "alive" mean.
    """
    return as_array(codes) != 0


def firings(codes: Any) -> Any:
    """On how many samples each latent fires, int `[L]`, of codes `[n, L]`, dense or CSR."""
    if issparse(codes):
        return np.asarray((codes != 0).sum(0)).ravel()  # a stored 0 does not fire
    on = fires(codes)
    return on.sum(0, dtype=np.int32)


def is_alive(fired: Any) -> Any:
    """bool `[L]` from `firings`: a latent that fires on no sample is dead, on these samples."""
    return fired > 0


def product(a: Array, b: Array) -> Array:
    """`a @ b`, `[..., n, k], [..., k, m] -> [..., n, m]`, in float32 on every device."""
    return jnp.matmul(a, b, precision=HIGHEST)


def contraction(subscripts: str, *operands: Array) -> Array:
    """`jnp.einsum` in float32 on every device."""
    return jnp.einsum(subscripts, *operands, precision=HIGHEST)


def row_norms(x: Array) -> Array:
    """Euclidean norm of each row, `[..., n, d] -> [..., n]`, with gradient 0 at a zero row.

    NaN for a row that has one. Rows shorter than 1e-19 count as zero and longer than 1e19 as
    infinite, as their squares do in float32: it runs in every step of training. What only asks for
    directions takes `unit_rows`.
    """
    squared = jnp.sum(jnp.square(at_least_float32(x)), axis=-1)
    # sqrt has an infinite slope at 0; the inner where keeps it off the gradient's path
    zero = squared == 0
    return jnp.where(zero, 0.0, jnp.sqrt(jnp.where(zero, 1.0, squared)))


def unit_rows(x: Array) -> Array:
    """Each row `[..., n, d]` divided by its norm, of whatever size; a zero row stays zero."""
    if is_wide(x) and not isinstance(x, jax.Array):
        return jnp.asarray(host_unit_rows(x), jnp.float32)
    x = at_least_float32(jnp.asarray(x))
    x = x / jax.lax.stop_gradient(_power_of_two(x, (-1,)))
    norms = row_norms(x)
    return x / jnp.where(norms == 0, 1.0, norms)[..., None]


def host_unit_rows(x: np.ndarray) -> np.ndarray:
    """`unit_rows` in numpy, in the precision given (at least float32)."""
    x = at_least_float32(np.asarray(x))
    x = x / _power_of_two(x, (-1,))
    norms = np.sqrt(np.square(x).sum(-1, keepdims=True))
    return x / np.where(norms == 0, 1, norms)


def cosine_matrix(a: Array, b: Array) -> Array:
    """Cosines between rows, `[n, d], [m, d] -> [n, m]` float32; 0 for a zero row."""
    a, b = (unit_rows(v).astype(jnp.float32) for v in (a, b))
    return product(a, b.T)


def safe_ratio(numerator: Array, denominator: Array) -> Array:
    """Elementwise quotient, 0 where the denominator is 0."""
    nonzero = denominator != 0
    return jnp.where(nonzero, numerator / jnp.where(nonzero, denominator, 1), 0.0)


def ratio_or_nan(numerator: Array, denominator: Array) -> Array:
    """Elementwise quotient, NaN where the denominator is not above 0."""
    defined = denominator > 0
    return jnp.where(defined, numerator / jnp.where(defined, denominator, 1.0), np.nan)


def _scaled(x: Any, axes: tuple[int, ...]) -> Any:
    """The largest entries over the axes brought to [1/2, 1); none but 0 becomes 0 as float32."""
    xp = jnp if isinstance(x, jax.Array) else np
    scaled = x / _power_of_two(x, axes)
    least = np.float32(np.finfo(np.float32).tiny)
    lost = (xp.abs(scaled) < least) & (x != 0)
    return xp.where(lost, xp.copysign(least, x), scaled).astype(x.dtype)


def _power_of_two(x: Any, axes: tuple[int, ...]) -> Any:
    """2^e with the largest entry over the axes in [2^(e - 1), 2^e): to divide by it is exact."""
    xp = jnp if isinstance(x, jax.Array) else np
    largest = xp.max(xp.abs(x), axis=axes, keepdims=True, initial=0.0)
    usable = xp.isfinite(largest) & (largest > 0)
    exponent = xp.frexp(xp.where(usable, largest, 1.0))[1]
    # at the ends of the range the quotient is as good, and the power still a number
    most = jnp.finfo(x.dtype).maxexp - 2
    return xp.ldexp(xp.ones((), x.dtype), xp.clip(exponent, -most, most))
