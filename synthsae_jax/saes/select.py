"""The k largest of many numbers, for a k known only at run time.

`lax.top_k` needs k as a shape and sorts; here k is a number in the trace, so that runs with
different k share one program. Floats are mapped to integers in the same order, and the k-th
largest integer is built from the top, two bits a pass: 16 passes that only count, exact to the last
bit.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

Array = jax.Array

_LOWEST = -(2**31)
_BITS = 32
# Two bits a pass take three counts. Least of 25 times on one thread of a server CPU, 524,288 keys:
# one bit a pass 7.2 ms, two .9, three 1.4, four 2.3; 256 rows of 128 keys: .33, .15, .23 and .56.
_BITS_A_PASS = 2


def kth_largest(x: Array, k: Array | int) -> Array:
    """The k-th largest value along the last axis, float32 `[..., n] -> [...]`.

    k counts from 1, may be traced, and may have the shape of the result; outside 1..n it is
    clipped. Exact: the value is one of `x`, for either sign, denormals and infinities too. A NaN
    ranks above infinity (below minus infinity with its sign bit set). No gradient flows.
    """
    keys = ordered_keys(lax.stop_gradient(x))
    return lax.bitcast_convert_type(_flip(kth_key(keys, k)), jnp.float32)


def top_k_mask(x: Array, k: Array | int) -> Array:
    """Which values are among the k largest of the last axis, bool `[..., n]`.

    Exactly min(k, n) are marked (none for k <= 0); among equal values those that come first, as
    in `lax.top_k`. k may be traced and have the shape `[...]`. No gradient flows.
    """
    x = lax.stop_gradient(x)

    def mask(k):
        return rank_mask(ordered_keys(x), k, ignore_up_to=_LOWEST)

    # k is 0 all along in a training without dead latents
    k = jnp.asarray(k, jnp.int32)
    return if_needed(jnp.any(k > 0), mask, k, jnp.zeros(x.shape, bool))


def keep_top_k(x: Array, k: Array | int) -> Array:
    """Values that are positive and among the k largest of their row, 0 elsewhere, `[..., n]`.

    The gradient is 1 at kept values and 0 elsewhere; the choice itself has none.
    """
    keys = ordered_keys(lax.stop_gradient(x))
    # Zeros are dropped below whether ranked or not, so ties among them need no settling.
    chosen = rank_mask(keys, k, ignore_up_to=0) & (x > 0)
    return jnp.where(chosen, x, 0)


def keep_top_k_of_batch(x: Array, k: Array | int) -> Array:
    """As `keep_top_k`, with the k largest taken over all of `x` `[n, L]` together."""
    return keep_top_k(x.reshape(-1), k).reshape(x.shape)


def ordered_keys(x: Array) -> Array:
    """int32 in the order of the float32 values; +0 and -0 share the key 0."""
    bits = lax.bitcast_convert_type(x.astype(jnp.float32), jnp.int32)
    # Integer operations throughout: float comparisons may flush denormals to zero.
    return _flip(jnp.where(bits == _LOWEST, 0, bits))


def _flip(bits: Array) -> Array:
    """Float bits <-> ordered key: negative floats grow towards zero, so all but the sign turns."""
    return jnp.where(bits < 0, bits ^ jnp.int32(0x7FFFFFFF), bits)


def _counts(*masks: Array) -> tuple[Array, ...]:
    """How many are marked along the last axis of each mask, int32.

    Counted together, in one reduction of several values, since that is fast on a CPU and others
    are not: with a sum for each of three counts the search takes ten times as long (524,288 keys).
    """
    zeros = (jnp.zeros((), jnp.int32),) * len(masks)
    ones = tuple(mask.astype(jnp.int32) for mask in masks)
    add = lambda totals, more: tuple(a + b for a, b in zip(totals, more, strict=True))
    return tuple(lax.reduce(ones, zeros, add, (masks[0].ndim - 1,)))


def kth_key(keys: Array, k: Array | int) -> Array:
    """The largest key that at least k keys of the last axis reach, k clipped to 1..n."""
    k = jnp.clip(k, 1, keys.shape[-1])

    def next_bits(i, reached):
        # from the lowest integer upwards, so that the sign bit is one like any other; sums wrap
        unit = jnp.int32(1) << (_BITS - _BITS_A_PASS * (i + 1))
        candidates = [reached + unit * j for j in range(1, 1 << _BITS_A_PASS)]
        counts = _counts(*(keys >= candidate[..., None] for candidate in candidates))
        return reached + unit * sum((count >= k).astype(jnp.int32) for count in counts)

    start = jnp.full(keys.shape[:-1], _LOWEST, jnp.int32)
    return lax.fori_loop(0, _BITS // _BITS_A_PASS, next_bits, start)


def rank_mask(keys: Array, k: Array | int, ignore_up_to: int) -> Array:
    """Which keys are the k largest of the last axis, bool `[..., n]`, the first of equal ones.

    Ties at a key up to `ignore_up_to` need no settling, and may be marked beyond k.
    """
    n = keys.shape[-1]
    k = jnp.broadcast_to(jnp.asarray(k, jnp.int32), keys.shape[:-1])
    kth = kth_key(keys, k)
    above = keys > kth[..., None]
    tied = keys == kth[..., None]
    n_above, n_tied = _counts(above, tied)
    spare = k - n_above
    crowded = (n_tied > spare) & (kth > ignore_up_to) & (k > 0)
    position = jnp.arange(n, dtype=jnp.int32).reshape((1,) * (keys.ndim - 1) + (n,))

    def settle(spare):
        def next_bit(i, end):
            candidate = end | (jnp.int32(1) << (n.bit_length() - 1 - i))
            (before,) = _counts(tied & (position < candidate[..., None]))
            fits = before <= spare
            return jnp.where(fits, candidate, end)

        return lax.fori_loop(0, n.bit_length(), next_bit, jnp.zeros(kth.shape, jnp.int32))

    # ties that matter are rare in float32
    end = if_needed(jnp.any(crowded), settle, spare, jnp.full(kth.shape, n, jnp.int32))
    end = jnp.where(crowded, end, n)
    return (above | (tied & (position < end[..., None]))) & (k > 0)[..., None]


def if_needed(
    needed: Array, compute: Callable[[Array], Array], argument: Array, otherwise: Array
) -> Array:
    """`compute(argument)` where it is needed, else `otherwise`.

    A loop of at most one round: under `vmap` it is left out as long as no run needs it, where
    `lax.cond` would do the work for all and choose afterwards.
    """

    def once(carry):
        needed, _ = carry
        # the argument hangs on the carry, or XLA would move the work out of the loop
        return jnp.zeros((), bool), compute(jnp.where(needed, argument, 0))

    return lax.while_loop(lambda carry: carry[0], once, (needed, otherwise))[1]
