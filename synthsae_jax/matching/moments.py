"""Means and co-deviations of two sets of columns over the same samples, one batch at a time."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from synthsae_jax.numerics import as_array, at_least_float32, is_wide

Array = jax.Array

# A column whose standard deviation is below this share of its mean is constant as far as float32
# can tell: the rounding of its mean alone leaves that much.
CONSTANT = 1e-5
# Rows summed at a time. Longer float32 sums lose digits; shorter ones waste the matrix unit.
BLOCK = 4096


@struct.dataclass
class CoMoments:
    """Sums of products of deviations from the mean, which merge without cancellation.

    Raw sums of squares lose the variance of a latent that is always on: the difference of two
    large numbers. Here every batch is centred by its own mean first, and two parts merge by the
    formula of Chan, Golub and LeVeque (1983), in which nothing is subtracted that is not small:
    `cross = cross_1 + cross_2 + (m_2 - m_1)(m_2 - m_1)^T n_1 n_2 / (n_1 + n_2)`.
    """

    n: Array  # int32 []: samples, at most 2^31 - 1
    mean_a: Array  # float32 [p]
    mean_b: Array  # float32 [q]
    spread_a: Array  # float32 [p]: sum of squared deviations
    spread_b: Array  # float32 [q]
    cross: Array  # float32 [p, q]: sum of products of deviations

    @classmethod
    def init(cls, p: int, q: int) -> CoMoments:
        """The moments of no samples."""
        zeros = lambda *shape: jnp.zeros(shape, jnp.float32)
        return cls(jnp.zeros((), jnp.int32), zeros(p), zeros(q), zeros(p), zeros(q), zeros(p, q))

    def update(self, x: Array, y: Array) -> CoMoments:
        """These moments with the samples `x [n, p]`, `y [n, q]` added."""
        if is_wide(x) or is_wide(y):
            # one block: means of float32 would not tell where the next one lies
            return self.merge(_of_block(x, y)) if x.shape[0] else self
        whole = x.shape[0] // BLOCK * BLOCK
        moments = self
        if whole > BLOCK:
            blocks = [v[:whole].reshape(-1, BLOCK, v.shape[1]) for v in (x, y)]
            add = lambda m, block: (m.merge(_of_block(*block)), None)
            moments, _ = jax.lax.scan(add, moments, tuple(blocks))
            x, y = x[whole:], y[whole:]
        return moments.merge(_of_block(x, y)) if x.shape[0] else moments

    def merge(self, other: CoMoments) -> CoMoments:
        """The moments of both sets of samples together."""
        n = self.n + other.n
        # max: two empty parts merge to an empty one instead of 0 / 0
        share = other.n / jnp.maximum(n, 1)
        weight = self.n * share
        shift_a, shift_b = other.mean_a - self.mean_a, other.mean_b - self.mean_b
        return CoMoments(
            n=n,
            mean_a=self.mean_a + share * shift_a,
            mean_b=self.mean_b + share * shift_b,
            spread_a=self.spread_a + other.spread_a + weight * shift_a**2,
            spread_b=self.spread_b + other.spread_b + weight * shift_b**2,
            cross=self.cross + other.cross + (weight * shift_a)[:, None] * shift_b[None, :],
        )


def pearson(moments: CoMoments) -> Array:
    """Pearson correlation of every column of A with every column of B, `[p, q]`.

    0 where a column is constant (a dead latent): mask those before matching, 0 is not a verdict.
    NaN where a column holds NaN or infinities (a diverged latent).
    """
    sd_a, varies_a = _deviation(moments.n, moments.mean_a, moments.spread_a)
    sd_b, varies_b = _deviation(moments.n, moments.mean_b, moments.spread_b)
    defined = varies_a[:, None] & varies_b[None, :]
    scale = jnp.where(defined, sd_a[:, None] * sd_b[None, :], 1.0)
    value = jnp.where(defined, jnp.clip(moments.cross / scale, -1.0, 1.0), 0.0)
    finite = jnp.isfinite(moments.spread_a)[:, None] & jnp.isfinite(moments.spread_b)[None, :]
    return jnp.where(finite, value, jnp.nan)


def _of_block(x: Array, y: Array) -> CoMoments:
    (a, mean_a), (b, mean_b) = (_deviations(v) for v in (x, y))
    return CoMoments(
        n=jnp.asarray(x.shape[0], jnp.int32),
        mean_a=mean_a,
        mean_b=mean_b,
        spread_a=jnp.sum(a**2, axis=0),
        spread_b=jnp.sum(b**2, axis=0),
        cross=jnp.matmul(a.T, b, precision=jax.lax.Precision.HIGHEST),
    )


def _deviations(x: Array) -> tuple[Array, Array]:
    """`x [n, p]` less its columns' means, and those; centred in its precision, then float32."""
    x = at_least_float32(as_array(x))
    mean = x.mean(0, dtype=np.float64 if is_wide(x) else np.float32)
    return jnp.asarray(x - mean[None, :], jnp.float32), jnp.asarray(mean, jnp.float32)


def _deviation(n: Array, mean: Array, spread: Array) -> tuple[Array, Array]:
    return jnp.sqrt(spread), spread > n * (CONSTANT * mean) ** 2
