"""An embedding of a world's features: children near their parents, co-firing features close."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from synthsae_jax.numerics import unit_rows
from synthsae_jax.worlds.records import World

Array = jax.Array
# Both are choices; nothing was fitted to them.
_WIDTH = 32
_PARENT = 0.8  # weight of the parent's embedding in a child's


def embedding(world: World) -> Array:
    """Unit rows [F, 32] that belong to the world: what geometry "structured" embeds.

    A feature without parent lies along its copula loadings (random where there are none; those of
    a dense copula are the rows of its Cholesky factor) plus a random part of equal norm; a child is
    its parent's row mixed with such a row of its own. Twins get projections of their own, so a
    feature and its twin are unrelated.
    """
    key = jax.random.fold_in(jax.random.wrap_key_data(world.geometry_key), 2)
    copies = [_one_copy(jax.random.fold_in(key, copy), world) for copy in range(world.copies)]
    return jnp.concatenate(copies)


def _one_copy(key: Array, world: World) -> Array:
    key_map, key_own = jax.random.split(key)
    fresh = unit_rows(jax.random.normal(key_own, (world.n_base, _WIDTH)))
    loadings = world.cholesky if world.cholesky.shape[-1] else world.factor
    rank = loadings.shape[-1]
    if rank:
        along = jnp.matmul(
            loadings,
            jax.random.normal(key_map, (rank, _WIDTH)),
            precision=jax.lax.Precision.HIGHEST,
        )
        fresh = unit_rows(fresh + unit_rows(along))
    parent = world.forest.parent
    rows = fresh
    for _ in range(world.levels):  # each pass settles one more level below the roots
        child = _PARENT * rows[parent] + jnp.sqrt(1 - _PARENT**2) * fresh
        rows = jnp.where((parent >= 0)[:, None], unit_rows(child), fresh)
    return rows
