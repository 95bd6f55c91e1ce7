"""Positions of the true entries of a mask, left-justified into a fixed number of slots."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

Array = jax.Array
WORD = 32


class Marks(NamedTuple):
    """A mask [n, N] packed into words, and how many are set up to the end of each word."""

    words: Array  # uint32 [n, W], the first position in the lowest bit
    ends: Array  # int32 [n, W]

    @property
    def count(self) -> Array:
        """Set positions of each row, int32 [n]."""
        return self.ends[:, -1]

    def position(self, row: Array, rank: Array) -> Array:
        """Position of the `rank`-th (from 0) set entry of a row, for any pairs of the two.

        Meaningless, but within the words, where a row has fewer.
        """
        n_words = self.words.shape[-1]
        at = lambda table, word: table.reshape(-1)[row * n_words + word]
        word = jnp.minimum(first_above(lambda i: at(self.ends, i), n_words, rank), n_words - 1)
        bits = at(self.words, word)
        before = at(self.ends, word) - jax.lax.population_count(bits).astype(jnp.int32)
        return word * WORD + _nth_bit(bits, rank - before)


def marks(words: Array) -> Marks:
    """The marks of packed words [n, W]."""
    counts = jax.lax.population_count(words).astype(jnp.int32)
    return Marks(words, jnp.cumsum(counts, axis=-1))


def pack(mask: Array) -> Array:
    """A mask [n, N] as words uint32 [n, ceil(N / 32)]."""
    n, size = mask.shape
    n_words = -(-size // WORD)
    padded = jnp.pad(mask, ((0, 0), (0, n_words * WORD - size)))
    bit = jnp.uint32(1) << jnp.arange(WORD, dtype=jnp.uint32)
    return jnp.sum(
        jnp.where(padded.reshape(n, n_words, WORD), bit, jnp.uint32(0)),
        axis=-1,
        dtype=jnp.uint32,
    )


def compact(mask: Array, slots: int) -> tuple[Array, Array]:
    """The first `slots` true positions of each row, ascending, and each row's true count.

    `mask [n, N] -> (positions int32 [n, slots], count int32 [n])`; an empty slot holds N. The mask
    is packed into words first, so the work is bound by reading it once, not by the slots.
    """
    n, size = mask.shape
    marked = marks(pack(mask))
    rank = jnp.broadcast_to(jnp.arange(slots, dtype=jnp.int32), (n, slots))
    position = marked.position(jnp.arange(n, dtype=jnp.int32)[:, None], rank)
    return jnp.where(rank < marked.count[:, None], position, size), marked.count


def first_above(value: Callable[[Array], Array], size: int, rank: Array) -> Array:
    """Least i < size with `value(i) > rank`, or size; `value` rises with i (binary search)."""
    low = jnp.zeros_like(rank)
    # As many steps as the size has bits, whatever the data: straight code, without a loop on the
    # device.
    step = 1 << max(size - 1, 0).bit_length()
    while step:
        probe = low + step
        low = jnp.where((probe <= size) & (value(jnp.minimum(probe, size) - 1) <= rank), probe, low)
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
