"""`sample_codes`: the codes of some tokens, for a plain world or a twin registry."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from synthsae_jax.modes import fixed
from synthsae_jax.worlds.capacity import raise_on_overflow
from synthsae_jax.worlds.records import Codes, World
from synthsae_jax.worlds.tree import draw_tree, factor_draw
from synthsae_jax.worlds.twin import draw_equal_counts, draw_pair

Array = jax.Array


@fixed
def sample_codes(key: Array, world: World, n: int) -> Codes:
    """Codes of `n` tokens, a pure function of (key, world): token i is the same for every n > i.

    Indices `[n, K]` run over `world.n_features` ids (both halves of a twin registry), K being
    `world.n_slots`. `overflow` marks
    tokens with more active features than slots, whose codes are incomplete: an eager call raises
    `ConfigError` with the slots to ask for, inside a trace see to it with `raise_on_overflow`.
    Source: the generative model of SynthSAEBench (arXiv 2602.14687), in the order copula,
    magnitude, hierarchy.
    """
    # where a world comes from says nothing about its codes, and would only cause another trace
    codes = _draw(key, world.replace(config=None, seed=None), n)
    if not isinstance(codes.overflow, jax.core.Tracer):
        raise_on_overflow(codes, world)
    return codes


# compiled here because some hundred small steps would each be compiled alone in an eager call
@functools.partial(jax.jit, static_argnums=2)
def _draw(key: Array, world: World, n: int) -> Codes:
    # One key per part, also where a world has no use for it, so that a twin registry's first copy
    # is drawn as the plain world is.
    key_factors, key_first, key_own_factors, key_second = (
        jax.random.fold_in(key, i) for i in range(4)
    )
    factors = factor_draw(key_factors, world, n)
    if world.copies == 1:
        return draw_tree(key_first, world, factors)[0]
    keys = jnp.stack([key_first, key_second])
    if world.equal_counts:
        first, second = draw_equal_counts(keys, world, factors)
    else:
        second_factors = factor_draw(key_own_factors, world, n)
        second_factors = jnp.where(world.shared_factors, factors, second_factors)
        first, second = draw_pair(keys, world, jnp.stack([factors, second_factors]))
    # an empty slot must point one past the whole registry, not past one half of it
    base = world.n_base
    return Codes(
        indices=jnp.concatenate(
            [
                jnp.where(first.indices == base, 2 * base, first.indices),
                jnp.where(second.indices == base, 2 * base, second.indices + base),
            ],
            axis=-1,
        ),
        values=jnp.concatenate([first.values, second.values], axis=-1),
        overflow=first.overflow | second.overflow,
    )
