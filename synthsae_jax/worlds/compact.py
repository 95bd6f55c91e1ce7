"""Positions of the true entries of a mask, left-justified into a fixed number of slots."""

from __future__ import annotations

import jax
import jax.numpy as jnp

Array = jax.Array
_WORD = 32


def compact(mask: Array, slots: int) -> tuple[Array, Array]:
    """The first `slots` true positions of each row, ascending, and each row's true count.

    `mask [n, N] -> (positions int32 [n, slots], count int32 [n])`; an empty slot holds N. The mask
    is packed into words first, so the work is bound by reading it once, not by the slots.
    """
    n, size = mask.shape
    n_words = -(-size // _WORD)
    padded = jnp.pad(mask, ((0, 0), (0, n_words * _WORD - size)))
    place = jnp.uint32(1) << jnp.arange(_WORD, dtype=jnp.uint32)
    packed = jnp.sum(
        jnp.where(padded.reshape(n, n_words, _WORD), place, jnp.uint32(0)),
        axis=-1,
        dtype=jnp.uint32,
    )
    counts = jax.lax.population_count(packed).astype(jnp.int32)
    ends = jnp.cumsum(counts, axis=-1)
    rank = jnp.broadcast_to(jnp.arange(slots, dtype=jnp.int32), (n, slots))
    word = _first_above(ends, rank)
    safe = jnp.minimum(word, n_words - 1)
    before = jnp.take_along_axis(ends - counts, safe, axis=-1)
    bit = _nth_bit(jnp.take_along_axis(packed, safe, axis=-1), rank - before)
    filled = rank < ends[:, -1:]
    return jnp.where(filled, safe * _WORD + bit, size), ends[:, -1]


def _first_above(ends: Array, rank: Array) -> Array:
    """Index of the first entry of each sorted row that exceeds `rank` (binary search)."""
    size = ends.shape[-1]
    low = jnp.zeros_like(rank)
    step = 1 << max(size - 1, 0).bit_length()
    while step:
        probe = low + step
        value = jnp.take_along_axis(ends, jnp.minimum(probe - 1, size - 1), axis=-1)
        low = jnp.where((probe <= size) & (value <= rank), probe, low)
        step //= 2
    return low


def _nth_bit(word: Array, n: Array) -> Array:
    """Position of the n-th (from 0) set bit, by halving the word five times."""
    position = jnp.zeros_like(n)
    for width in (16, 8, 4, 2, 1):
        low = word & jnp.uint32((1 << width) - 1)
        count = jax.lax.population_count(low).astype(jnp.int32)
        high = n >= count
        n = jnp.where(high, n - count, n)
        word = jnp.where(high, word >> width, low)
        position = position + jnp.where(high, width, 0)
    return position
