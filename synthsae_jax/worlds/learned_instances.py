"""Instances of toy models that were learned together, at the end of training or on the way."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from synthsae_jax.errors import require
from synthsae_jax.modes import fixed
from synthsae_jax.numerics import row_norms, unit_rows
from synthsae_jax.worlds.dictionary import gram_correlation
from synthsae_jax.worlds.instance import make_instance
from synthsae_jax.worlds.records import Instance, World

Array = jax.Array


@fixed
def learned_instances(world: World, rows: Array, least_norm: float = 0.5) -> Instance:
    """Instances of toy models' rows [..., F, D], stacked along the leading axes of `rows`.

    `Learned.rows` gives one per seed [R]; `Learned.snapshots` [R, S], a base model as it matures:
    early on most features are absent. A feature is present where the norm of its row reaches
    `least_norm`: the model gives back the square of the norm of a feature's value, so at the
    default of .5 one that loses more than three quarters is called absent. A child may be present
    without its parent.
    `gram_correlation` is each model's mean with the others of the first axis, over features that
    both have; NaN for a single model. Plain worlds only.
    """
    rows = jnp.asarray(rows, jnp.float32)
    require(
        world.copies == 1 and rows.ndim >= 2 and rows.shape[-2] == world.n_features,
        f"learned_instances: rows must be [..., {world.n_base}, D] for a plain world, got "
        f"{list(rows.shape)} and {world.copies} copies.",
    )
    directions, present = unit_rows(rows), row_norms(rows) >= least_norm
    if rows.ndim == 2:
        correlation = jnp.float32(jnp.nan)
    else:
        mean_with_others = _mean_with_others
        for _ in range(rows.ndim - 3):  # the same snapshot of the other models
            mean_with_others = jax.vmap(mean_with_others, in_axes=1, out_axes=1)
        correlation = mean_with_others(directions, present)
    lead = rows.shape[:-2]
    base = make_instance(world, jnp.ones((world.n_features, rows.shape[-1])))
    many = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (*lead, *leaf.shape)), base)
    return many.replace(dictionary=directions, present=present, gram_correlation=correlation)


def _mean_with_others(rows: Array, present: Array) -> Array:
    """Mean Gram correlation of each model with the others, [R, F, D], [R, F] -> [R]."""
    n = rows.shape[0]
    if n < 2:
        return jnp.full(n, jnp.nan)
    pair = lambda a, i, b, j: gram_correlation(a, b, i & j)
    pairs = jax.lax.map(
        lambda one: jax.vmap(pair, in_axes=(None, None, 0, 0))(one[0], one[1], rows, present),
        (rows, present),
    )
    return jnp.sum(jnp.where(jnp.eye(n, dtype=bool), 0.0, pairs), axis=1) / (n - 1)
