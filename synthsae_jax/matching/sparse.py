"""Codes as slots: the few latents that fire on each token, and counts made from those alone."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
from flax import struct

from synthsae_jax.errors import require
from synthsae_jax.matching.moments import CoMoments

Array = jax.Array


class Slots(Protocol):
    """Anything with `indices` int `[n, K]` and `values` float `[n, K]`, such as a world's codes.

    An empty slot has value 0 (its index does not matter); a latent fills at most one slot.
    """

    indices: Array
    values: Array


@struct.dataclass
class LatentSlots:
    """Latents' values on n tokens in K slots each; an empty slot has index L and value 0."""

    indices: Array  # int32 [n, K]
    values: Array  # float [n, K]
    overflow: Array  # bool [n]: more than K latents fire, and the smallest are missing


def slots_of(latents: Array, k: int) -> LatentSlots:
    """The k largest values of each token by size, `[n, L] -> [n, k]` slots. Check `overflow`."""
    n_latents = latents.shape[1]
    require(0 < k <= n_latents, f"slots_of needs 0 < k <= {n_latents} latents; given {k}.")
    size, indices = jax.lax.top_k(jnp.abs(latents), k)
    values = jnp.take_along_axis(latents, indices, axis=1)
    return LatentSlots(
        indices=jnp.where(size > 0, indices, n_latents).astype(jnp.int32),
        values=values,
        overflow=(latents != 0).sum(1) > k,
    )


class SlotBlock(NamedTuple):
    """The counts of one batch of slots."""

    moments: CoMoments
    fired_a: Array  # int32 [L_a]
    fired_b: Array  # int32 [L_b]
    joint: Array  # int32 [L_a, L_b]
    index_a: Array  # int32 [n, K_a]: L_a where the slot is empty
    index_b: Array  # int32 [n, K_b]
    on_a: Array  # bool [n, K_a]: is the slot filled?
    on_b: Array  # bool [n, K_b]


def block_of_slots(a: Slots, b: Slots, n_a: int, n_b: int) -> SlotBlock:
    """Moments and firing counts of paired tokens, without a dense row.

    With f the values, m the means over all n tokens and J the tokens on which both fire,
    `cross = sum_J (f_a f_b - m_a m_b) - (n - |J|) m_a m_b`: the deviations' product summed over
    all tokens, arranged so that a latent that is always on loses no digits.
    """
    on_a, on_b = a.values != 0, b.values != 0
    index_a = jnp.where(on_a, a.indices, n_a).astype(jnp.int32)
    index_b = jnp.where(on_b, b.indices, n_b).astype(jnp.int32)
    n = a.values.shape[0]
    require(n == b.values.shape[0], f"slots of unlike numbers of tokens: {n}, {b.values.shape[0]}.")
    fired_a, mean_a, spread_a, at_a = _side(index_a, a.values, n_a)
    fired_b, mean_b, spread_b, at_b = _side(index_b, b.values, n_b)
    both = index_a[:, :, None], index_b[:, None, :]
    product = lambda u, v: u[:, :, None] * v[:, None, :]
    # Less the means token by token, before the sum: of a latent that is always on, the sums alone
    # are large numbers that nearly cancel.
    excess = product(a.values, b.values) - product(at_a, at_b)
    joint = jnp.zeros((n_a, n_b), jnp.int32).at[both].add(1, mode="drop")
    over_joint = jnp.zeros((n_a, n_b), jnp.float32).at[both].add(excess, mode="drop")
    cross = over_joint - (n - joint) * (mean_a[:, None] * mean_b[None, :])
    moments = CoMoments(jnp.asarray(n, jnp.int32), mean_a, mean_b, spread_a, spread_b, cross)
    return SlotBlock(moments, fired_a, fired_b, joint, index_a, index_b, on_a, on_b)


def _side(index: Array, values: Array, width: int) -> tuple[Array, Array, Array, Array]:
    """Firings, mean and spread of each latent, and the mean of the latent in each slot."""
    add = lambda v: jnp.zeros(width, v.dtype).at[index].add(v, mode="drop")
    values = values.astype(jnp.float32)
    n = values.shape[0]
    fired = add(jnp.ones(index.shape, jnp.int32))
    mean = add(values) / max(n, 1)
    mean_at = mean.at[index].get(mode="fill", fill_value=0.0)
    # silent tokens deviate by the mean
    spread = add((values - mean_at) ** 2) + (n - fired) * mean**2
    return fired, mean, spread, mean_at
