"""Explained variance of an SAE on a few tokens, as a check beside other numbers."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from synthsae_jax.suite import pairs
from synthsae_jax.suite.reading import Subject
from synthsae_jax.worlds import World, see
from synthsae_jax.worlds.inputs import bare


def explained_variance(subject: Subject, world: World, seed: int, params: Any = None) -> float:
    """Share of the activations' variance that a subject explains, on 8,192 tokens.

    `params` are other weights in place of its own.
    """
    key, parents = next(iter(pairs.parent_codes(bare(world), 8192, seed, "truth")))
    weights = subject.run[0] if params is None else params
    run = (weights, *subject.run[1:])
    return float(_explained(subject.reconstruct, key, parents, bare(subject.instance), run))


@functools.partial(jax.jit, static_argnums=0)
def _explained(reconstruct, key, parents, instance, run):
    def batch(inputs):
        i, parent = inputs
        codes, x = see(jax.random.fold_in(key, i), instance, parent)
        error = jnp.sum((x - reconstruct(run, codes, x)[1]) ** 2)
        return error, jnp.sum(x, axis=0), jnp.sum(x**2), x.shape[0]

    n_batches = parents.values.shape[0]
    error, total, square, n = jax.lax.map(batch, (jnp.arange(n_batches), parents))
    n = jnp.sum(n)
    return 1 - jnp.sum(error) / (jnp.sum(square) - jnp.sum(jnp.sum(total, axis=0) ** 2) / n)
