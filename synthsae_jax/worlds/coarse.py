"""Which features without parent may fire, by one random byte of each: the candidates of a draw.

A byte is the high end of a feature's random word, so most features are settled by it, and no
further word of theirs is looked at. A block of threefry serves eight of them. What a candidate
does is decided in `tree`, with all its bits.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from synthsae_jax.worlds import bits
from synthsae_jax.worlds.compact import WORD
from synthsae_jax.worlds.records import World

Array = jax.Array
Test = Callable[[Array, slice], Array]  # bytes [n, W] of these positions -> may fire, bool [n, W]
_PER_BLOCK = 8  # bytes in one block of two words
_EXACT = jax.lax.Precision.HIGHEST  # an accelerator's shortcuts would move the firing edges
_LOGISTIC = 1.5976, 0.07056  # Phi(z) = 1 / (1 + exp(-1.5976 z - .07056 z^3)) within 1.4e-4
_SLACK = 0.06  # of a byte, which covers that and rounding: a candidate too many costs nothing
_NEVER = -6.5  # below it Phi is less than one of 2^32 words
_FAR = 1e30  # for an edge at infinity, which times 0 would be no number


def top_features(world: World) -> Array:
    """Features without parent, those with children first, int32 [N0]."""
    return jnp.concatenate([world.forest.roots, world.forest.free])


def candidates(key: Array, world: World, factors: Array) -> Array:
    """Who among `top_features` may fire, given each token's copula state: packed uint32 [n, W].

    Position i is bit i % 32 of word i // 32.
    """
    ids = top_features(world)
    n, n_words = factors.shape[0], -(-ids.shape[0] // WORD)
    padding = jnp.full((n_words * WORD - ids.shape[0],), world.n_base, ids.dtype)
    # bit by bit, so that what is computed for one bit reads neighbours, and all fuses into one pass
    ids = jnp.concatenate([ids, padding]).reshape(n_words, WORD).T.reshape(-1)
    may_fire = _test(world, factors, ids)
    token = jnp.arange(n, dtype=jnp.uint32)[:, None]
    word = jnp.arange(n_words, dtype=jnp.uint32)[None]
    packed = jnp.zeros((n, n_words), jnp.uint32)
    # One block of threefry for eight features: `random.bits` in 8 bits spends one on each (92 ms
    # where this takes 10, 1,024 tokens of 5,632 features).
    for block in range(WORD // _PER_BLOCK):
        pair = bits.words(key, token, WORD // _PER_BLOCK * word + block)
        for lane in range(_PER_BLOCK):
            bit = _PER_BLOCK * block + lane
            byte = (pair[lane // 4] >> (8 * (lane % 4))) & 255
            where = slice(bit * n_words, (bit + 1) * n_words)
            packed |= may_fire(byte, where).astype(jnp.uint32) << bit
    return packed


def coarse_byte(key: Array, token: Array, position: Array) -> Array:
    """The byte that `candidates` read for these (token, position) pairs, uint32."""
    first, second = bits.words(key, token, position // _PER_BLOCK)
    half = jnp.where(position % _PER_BLOCK < 4, first, second)
    return (half >> (8 * (position % 4)).astype(jnp.uint32)) & 255


def _test(world: World, factors: Array, ids: Array) -> Test:
    """The test of a byte for these features; a position is an index into `ids` (F: nobody)."""
    real = ids < world.n_base
    ids = jnp.minimum(ids, world.n_base - 1)
    if world.cholesky.shape[-1]:
        fires = (factors[:, ids] > world.threshold[ids][None]) & real[None]
        return lambda byte, where: fires[:, where]
    if world.factor.shape[-1]:
        edge = jnp.where(real, world.threshold[ids], _FAR)[:, None]
        loadings = jnp.concatenate([world.factor[ids], -edge], axis=-1)
        # in units of the feature's own Gaussian, with the edge as one more factor, which is 1
        loadings = jnp.clip(loadings / jnp.sqrt(world.residual[ids])[:, None], -_FAR, _FAR)
        state = jnp.concatenate([factors, jnp.ones_like(factors[:, :1])], axis=-1)
        above = jnp.matmul(state, loadings.T, precision=_EXACT)
        return lambda byte, where: _below_normal_cdf(_float(byte), above[:, where])
    chance = 256 * jnp.where(real, world.probabilities[ids], 0.0)[None]
    return lambda byte, where: _float(byte) < chance[:, where]


def _below_normal_cdf(byte: Array, z: Array) -> Array:
    """`byte < 256 Phi(z)`, or nearly so: never False where that holds and matters."""
    slope, cubic = _LOGISTIC
    inverse = 1 + jnp.exp(-z * (slope + cubic * z * z))
    return ((byte - _SLACK) * inverse < 256) & (z > _NEVER)


def _float(byte: Array) -> Array:
    # by way of int32, for which there is an instruction
    return byte.astype(jnp.int32).astype(jnp.float32)
