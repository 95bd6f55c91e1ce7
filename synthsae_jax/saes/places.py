"""Where the active latents of a batch are, as a list: found without ranking all of them.

A batch of n samples has n L pre-activations and some k n active latents. A few passes over all
pre-activations leave hardly more candidates than that; what is exact happens among those.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct
from jax import lax

from synthsae_jax.saes.select import kth_key, ordered_keys, rank_mask, top_k_mask

Array = jax.Array

_WORD = 32  # candidates marked in one integer
_STRIDE = 16  # one pre-activation in so many is looked at to guess where the k-th largest lies
_SPREAD = 5.0  # standard deviations of that guess that are allowed for
_LOWEST = -(2**31)


@struct.dataclass
class Places:
    """Candidates for active latents, sample by sample without gaps; E is fixed.

    The first `sum(count)` places are candidates and the rest is padding: sums and products over
    the active latents read no further.
    """

    sample: Array  # int32 [E]
    latent: Array  # int32 [E]
    active: Array  # bool [E]: the others have value 0
    start: Array  # int32 [n]: the first place of each sample
    count: Array  # int32 [n]: its places, active or not


@struct.dataclass
class Groups:
    """Places put in groups: those of group g are `order[start[g] : start[g] + count[g]]`."""

    order: Array  # int32 [E]
    start: Array  # int32 [G]
    count: Array  # int32 [G]


def places_of_batch(pre: Array, total: Array, capacity: int) -> Places:
    """The `total` largest positive values of `pre` `[n, L]`, as `keep_top_k_of_batch` keeps them.

    At most `capacity` times n, which is the caller's to see to; `total` may be traced. About a
    quarter more room than is needed keeps the exact search for rare batches. No gradient flows.
    """
    pre = lax.stop_gradient(pre)
    n, width = pre.shape
    size = n * capacity
    # of positive numbers the bits are in their order; negative ones only have to stay below 1
    bits = lax.bitcast_convert_type(pre, jnp.int32)
    least = jnp.maximum(_guess(bits, total), 1)
    words = _packed(bits >= least)
    n_candidates = jnp.sum(_bits(words))
    missed = (n_candidates < total) & (least > 1)

    def exactly(pre):
        keys = ordered_keys(pre)
        chosen = rank_mask(keys.reshape(-1), total, ignore_up_to=0).reshape(pre.shape)
        return _packed(chosen & (keys > 0))

    needed = missed | (n_candidates > size)
    words = lax.cond(needed, exactly, lambda pre: words, pre)
    sample, latent, start, count = _listed(words, size)
    exists = jnp.arange(size) < jnp.sum(count)
    values = pre.reshape(-1)[jnp.where(exists, sample * width + latent, 0)]
    chosen = top_k_mask(jnp.where(exists, values, -jnp.inf), total)
    return Places(sample, latent, chosen & exists & (values > 0), start, count)


def places_of_samples(size: Array, k: Array, capacity: int) -> Places:
    """The k largest values of each row of `size` `[n, L]` that are not 0; k is at most `capacity`.

    Among equal values those that come first, as `keep_top_k` has it. No gradient flows.
    """
    n, width = size.shape
    capacity = min(capacity, width)
    values, latent = lax.top_k(lax.stop_gradient(size), capacity)
    taken = jnp.clip(jnp.asarray(k, jnp.int32), 0, capacity)
    # k is traced and the room is not, so the table [n, room] is read as a list [n k]: `Places`
    # promises that nothing but padding follows the counted ones, and sums stop there
    index = jnp.arange(n * capacity, dtype=jnp.int32)
    each = jnp.maximum(taken, 1)
    sample, rank = jnp.minimum(index // each, n - 1), index % each
    exists = index < n * taken
    return Places(
        sample=sample,
        latent=latent[sample, rank].astype(jnp.int32),
        active=exists & (values[sample, rank] > 0),
        start=jnp.arange(n, dtype=jnp.int32) * taken,
        count=jnp.full(n, taken),
    )


def by_sample(places: Places) -> Groups:
    """The places of each sample."""
    order = jnp.arange(places.sample.size, dtype=jnp.int32)
    return Groups(order, places.start, places.count)


def grouped(group: Array, exists: Array, n_groups: int) -> Groups:
    """Places sorted by the number of their group, int32 `[E]`; those without one are left out."""
    size = group.size
    group_of = jnp.where(exists, group, n_groups)
    order = jnp.arange(size, dtype=jnp.int32)
    if (n_groups + 1) * size < 2**32:
        # group and place in one integer sort several times faster than a pair does
        packed = group_of.astype(jnp.uint32) * size + order.astype(jnp.uint32)
        packed = lax.sort(packed, is_stable=False)
        group_of, order = packed // size, (packed % size).astype(jnp.int32)
        group_of = group_of.astype(jnp.int32)
    else:
        group_of, order = lax.sort((group_of, order), num_keys=1)
    bounds = jnp.searchsorted(group_of, jnp.arange(n_groups + 1, dtype=jnp.int32)).astype(jnp.int32)
    return Groups(order, bounds[:-1], bounds[1:] - bounds[:-1])


def _guess(bits: Array, total: Array) -> Array:
    """What a little more than `total` entries reach, from every sixteenth column of each row."""
    n, width = bits.shape
    stride = min(_STRIDE, width)
    rows = jnp.arange(n, dtype=jnp.int32)[:, None]
    columns = jnp.arange(width // stride, dtype=jnp.int32)[None] * stride + rows % stride
    share = (width // stride) / width
    expected = total * share
    rank = jnp.ceil(expected + _SPREAD * jnp.sqrt(expected) + 1).astype(jnp.int32)
    return kth_key(bits[rows, columns].reshape(-1), rank)


def _packed(mask: Array) -> Array:
    """Each row of a mask as words of 32 bits, the first column lowest. `[n, L] -> [n, words]`."""
    n, width = mask.shape
    mask = jnp.pad(mask, ((0, 0), (0, -width % _WORD))).reshape(n, -1, _WORD)
    bit = jnp.uint32(1) << jnp.arange(_WORD, dtype=jnp.uint32)
    return jnp.sum(jnp.where(mask, bit, jnp.uint32(0)), axis=-1, dtype=jnp.uint32)


def _bits(words: Array) -> Array:
    return lax.population_count(words).astype(jnp.int32)


def _listed(words: Array, size: int) -> tuple[Array, Array, Array, Array]:
    """Row and column of the first `size` set bits, and where each row's begin and how many."""
    n, width = words.shape
    upto = jnp.cumsum(_bits(words), axis=-1)  # set bits of a row up to and with each word
    count = upto[:, -1]
    end = jnp.cumsum(count)
    start = end - count
    index = jnp.arange(size, dtype=jnp.int32)
    row = jnp.minimum(_first_above(end, 0, index, n), n - 1)
    left = index - start[row]
    upto, words = upto.reshape(-1), words.reshape(-1)
    word = row * width + jnp.minimum(_first_above(upto, row * width, left, width), width - 1)
    left = left - jnp.where(word > row * width, upto[word - 1], 0)
    bits, column = words[word], jnp.zeros_like(row)
    for half in (16, 8, 4, 2, 1):
        low = _bits((bits >> column.astype(jnp.uint32)) & jnp.uint32((1 << half) - 1))
        above = low <= left
        left = left - jnp.where(above, low, 0)
        column = column + jnp.where(above, half, 0)
    return row, (word - row * width) * _WORD + column, start, count


def _first_above(ascending: Array, offset: Array | int, value: Array, length: int) -> Array:
    """How many of `ascending[offset : offset + length]` do not exceed `value`; all broadcast."""
    lower = jnp.zeros_like(value)
    step = 1 << (length.bit_length() - 1)
    while step:
        last = lower + step - 1
        at = ascending[offset + jnp.minimum(last, length - 1)]
        lower = lower + jnp.where((last < length) & (at <= value), step, 0)
        step //= 2
    return lower
