"""Work on the filled slots of padded codes alone, so that its cost follows what fires.

A loop whose length the data decide pays on a CPU. An accelerator waits for each such decision and
has lanes to spare, so there all slots are worked on at once, with the same result. This file is
the one place where the two differ.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp

from synthsae_jax.worlds.compact import first_above

Array = jax.Array
Tree = TypeVar("Tree")
_LEAST = 2048  # slots in one piece: fewer would be all overhead
WIDE = 64  # numbers of a slot, above which the numbers of a piece are bounded, not its slots
_MOST_NUMBERS = 1 << 17
_PIECES = 12  # of entirely full slots: an end that is hardly filled wastes a twelfth at most


def on_filled(
    function: Callable[[Array, Array], Tree], count: Array, slots: int, width: int = 1
) -> Tree:
    """`function(token, rank)` of the first `count` [n] of each token's slots, zero in the others.

    The function takes int32 `[C]` pairs, whatever C, and returns arrays `[C, ...]`; they come back
    as `[n, slots, ...]`. More than `slots` are cut. `width`: how many numbers the function
    makes of a slot; where they are many, C is small on a CPU.
    """
    count = jnp.minimum(count, slots)
    return jax.lax.platform_dependent(
        count,
        cpu=lambda count: _in_pieces(function, count, slots, width),
        default=lambda count: _at_once(function, count, slots),
    )


def unless_zero(weights: Array, function: Callable[[Tree], Tree], value: Tree) -> Tree:
    """`function(value)`, which must be `value` itself where all weights are 0."""
    return jax.lax.platform_dependent(
        value,
        cpu=lambda value: jax.lax.cond(jnp.any(weights != 0), function, lambda x: x, value),
        default=function,
    )


def _in_pieces(
    function: Callable[[Array, Array], Tree], count: Array, slots: int, width: int
) -> Tree:
    n = count.shape[0]
    most = n * slots
    piece = max(_LEAST, -(-most // _PIECES))
    if width > WIDE:  # a piece that is hardly filled would cost as much as a full one
        piece = max(8, _MOST_NUMBERS // width)
    piece = min(most, piece)
    ends = jnp.cumsum(count)
    starts = ends - count

    def evaluate(start: Array) -> Tree:
        slot = start + jnp.arange(piece, dtype=jnp.int32)
        token = jnp.minimum(first_above(lambda i: ends[i], n, slot), n - 1)
        return function(token, jnp.clip(slot - starts[token], 0, slots - 1))

    def step(carry: tuple[Array, Tree]) -> tuple[Array, Tree]:
        start, outputs = carry
        write = lambda into, new: jax.lax.dynamic_update_slice_in_dim(into, new, start, axis=0)
        return start + piece, jax.tree.map(write, outputs, evaluate(start))

    shapes = jax.eval_shape(evaluate, jnp.int32(0))
    # one piece more than can be filled, for the end of the last one
    empty = jax.tree.map(lambda s: jnp.zeros((most + piece, *s.shape[1:]), s.dtype), shapes)
    _, outputs = jax.lax.while_loop(lambda carry: carry[0] < ends[-1], step, (jnp.int32(0), empty))
    rank = jnp.arange(slots, dtype=jnp.int32)[None]
    slot = starts[:, None] + rank
    return jax.tree.map(lambda x: _masked(x[slot], rank < count[:, None]), outputs)


def _at_once(function: Callable[[Array, Array], Tree], count: Array, slots: int) -> Tree:
    n = count.shape[0]
    token, rank = jnp.divmod(jnp.arange(n * slots, dtype=jnp.int32), slots)
    filled = (rank < count[token]).reshape(n, slots)
    outputs = function(token, rank)
    return jax.tree.map(lambda x: _masked(x.reshape(n, slots, *x.shape[1:]), filled), outputs)


def _masked(x: Array, filled: Array) -> Array:
    filled = filled.reshape(*filled.shape, *[1] * (x.ndim - 2))
    return jnp.where(filled, x, jnp.zeros((), x.dtype))
