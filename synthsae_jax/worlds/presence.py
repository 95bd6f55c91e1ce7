"""Which features two instances have in common: whole trees, spread evenly over sizes and rates."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from synthsae_jax.worlds.records import World

Array = jax.Array
_GOLDEN = 0.6180339887498949


def shared_features(world: World, share: float) -> Array:
    """The base features shared at this share, bool [F_base].

    Units are whole trees and free features, so no child comes without its parents. Each unit gets
    a lot, and units are taken by lot until the share of all features is reached, to the nearest
    unit: a larger share contains a smaller one. Lots follow the golden ratio over the units ordered
    by size and rate, so that every stretch of that order is represented evenly.
    """
    root = roots_of(world.forest.parent, world.levels)
    is_unit = root == jnp.arange(world.n_base)
    size = jnp.zeros(world.n_base).at[root].add(1.0)
    order = jnp.lexsort((-world.probabilities, -size, ~is_unit))
    key = jax.random.fold_in(jax.random.wrap_key_data(world.geometry_key), 0)
    phase = jax.random.uniform(key)
    lot = (
        jnp.zeros(world.n_base)
        .at[order]
        .set(jnp.mod(phase + _GOLDEN * jnp.arange(world.n_base), 1.0))
    )
    drawn = jnp.lexsort((lot, ~is_unit))
    weight = jnp.where(is_unit, size, 0.0)[drawn]
    # By a unit's middle, which rounds to the nearest unit and not always up.
    middle = jnp.cumsum(weight) - weight / 2
    taken = (
        jnp.zeros(world.n_base, bool)
        .at[drawn]
        .set(is_unit[drawn] & (middle <= share * world.n_base))
    )
    return taken[root]


def presence(world: World, share: float) -> Array:
    """Features present in an instance that shares this much with the reference member, bool [F].

    The reference member (share 1) has the first copy of everything. Others have the twin of what
    they do not share. A plain world has one copy and every feature of it.
    """
    if world.copies == 1:
        return jnp.ones(world.n_base, bool)
    shared = shared_features(world, share)
    return jnp.concatenate([shared, ~shared])


def roots_of(parent: Array, levels: int) -> Array:
    """The top ancestor of each feature, int32 [F_base]."""
    root = jnp.arange(parent.shape[-1], dtype=jnp.int32)
    for _ in range(levels):
        root = jnp.where(parent[root] >= 0, parent[root], root)
    return root
