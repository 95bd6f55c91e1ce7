"""Codes of one copy of a world, drawn from the roots down, touching only what can be active.

A child counts only where its parent is active, so children are drawn for active parents alone;
given the copula factors of a token all features are independent, which makes that exact. Features
at the top are drawn coarsely first, eight to a block of random bits, and finely only where the
coarse byte leaves the question open.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtr, ndtri

from synthsae_jax.worlds import bits
from synthsae_jax.worlds.compact import compact
from synthsae_jax.worlds.records import Codes, World

Array = jax.Array
_PER_BLOCK = 8  # coarse bytes in one block of two words
_EXACT = jax.lax.Precision.HIGHEST  # an accelerator's shortcuts would move the firing edges


class _Token(NamedTuple):
    """What a token's draw is made of: its key, and the law given its copula state."""

    key: Array  # typed key of the (token, feature) words
    coarse_key: Array
    index: Array  # uint32 [n, 1]
    probability: Callable[[Array], Array]  # ids [n, C] -> probability of firing [n, C]
    tops: Callable[[Array], Array]  # coarse bytes uint8 [n, N0] -> may fire, bool [n, N0]


def factor_draw(key: Array, world: World, n: int) -> Array:
    """Copula state of each token: factors [n, r], or all Gaussians [n, F] of a dense copula."""
    if world.cholesky.shape[-1]:
        own = jax.random.normal(key, (n, world.n_base))
        return jnp.matmul(own, world.cholesky.T, precision=_EXACT)
    return jax.random.normal(key, (n, world.factor.shape[-1]))


def draw_tree(key: Array, world: World, factors: Array) -> tuple[Codes, Array]:
    """Codes of one copy of the world's features, given each token's copula state.

    Also what each of `world.slots` had to hold, int32 [n, len(slots)], for sizing them.
    """
    token = _token(key, world, factors)
    forest = world.forest
    root_slots, top_slots, *level_slots, n_slots = world.slots

    ids, values, top_count = _draw_tops(token, world, top_slots)
    found = [(ids, values)]
    is_parent = forest.family[ids] < forest.children.shape[0] - 1
    ids, values, count = _keep(ids, values, (values > 0) & is_parent, root_slots, world.n_base)
    counts = [count, top_count]
    for slots in level_slots:
        ids, values = _draw_children(token, world, ids, values)
        ids, values, count = _keep(ids, values, values > 0, slots, world.n_base)
        found.append((ids, values))
        counts.append(count)

    ids, values = (jnp.concatenate(part, axis=-1) for part in zip(*found))
    ids, values, count = _keep(ids, values, values > 0, n_slots, world.n_base)
    counts = jnp.stack([*counts, count], axis=-1)
    overflow = jnp.any(counts > jnp.array(world.slots)[None], axis=-1)
    return Codes(indices=ids, values=values, overflow=overflow), counts


def _token(key: Array, world: World, factors: Array) -> _Token:
    dense_copula = world.cholesky.shape[-1] > 0
    correlated = world.factor.shape[-1] > 0
    spread = jnp.sqrt(world.residual)

    def probability(ids: Array) -> Array:
        ids = jnp.minimum(ids, world.n_base - 1)
        if dense_copula:  # the Gaussians are known, so nothing is left to chance
            fired = jnp.take_along_axis(factors, ids, axis=-1) > world.threshold[ids]
            return fired.astype(jnp.float32)
        if correlated:
            pull = jnp.einsum("ncr,nr->nc", world.factor[ids], factors, precision=_EXACT)
            return ndtr((pull - world.threshold[ids]) / spread[ids])
        return world.probabilities[ids]

    def tops(coarse: Array) -> Array:
        ids = jnp.concatenate([world.forest.roots, world.forest.free])
        if dense_copula:
            return factors[:, ids] > world.threshold[ids][None]
        if correlated:
            # in units of the feature's own Gaussian, so that no normal CDF is evaluated here;
            # the margin covers rounding: a candidate too many costs nothing
            loadings = world.factor[ids] / spread[ids, None]
            pull = jnp.matmul(factors, loadings.T, precision=_EXACT)
            edge = (world.threshold[ids] / spread[ids])[None]
            steps = ndtri(jnp.arange(256, dtype=jnp.float32) / 256)
            return steps[coarse] - 1e-4 < pull - edge
        return coarse < 256 * world.probabilities[ids][None]

    n = factors.shape[0]
    return _Token(
        key=jax.random.fold_in(key, 0),
        coarse_key=jax.random.fold_in(key, 1),
        index=jnp.arange(n, dtype=jnp.uint32)[:, None],
        probability=probability,
        tops=tops,
    )


def _draw_tops(token: _Token, world: World, slots: int) -> tuple[Array, Array, Array]:
    """Features without parent: ids, values [n, slots] (with holes), candidates found [n]."""
    forest = world.forest
    ids = jnp.concatenate([forest.roots, forest.free])
    n_tops = ids.shape[0]
    blocks = jnp.arange(-(-n_tops // _PER_BLOCK), dtype=jnp.uint32)[None]
    pair = jnp.stack(bits.words(token.coarse_key, token.index, blocks), axis=-1)
    coarse = jax.lax.bitcast_convert_type(pair, jnp.uint8).reshape(pair.shape[0], -1)
    kept, count = compact(token.tops(coarse[:, :n_tops]), slots)

    byte = jnp.take_along_axis(coarse, jnp.minimum(kept, n_tops - 1), axis=-1)
    ids = jnp.concatenate([ids, jnp.full((1,), world.n_base, ids.dtype)])[kept]
    fine, strength = bits.words(token.key, token.index, ids)
    word = (byte.astype(jnp.uint32) << 24) | (fine >> 8)
    values, score = _raw_values(token, world, ids, word, strength)
    if forest.exclusive_tops:
        values = _one_per_group(values[:, None], score[:, None], forest.group[ids][:, None])[:, 0]
    return ids, values, count


def _draw_children(
    token: _Token, world: World, parents: Array, parent_values: Array
) -> tuple[Array, Array]:
    """Active children of active parents: ids and values [n, S * B] (with holes)."""
    forest = world.forest
    n = parents.shape[0]
    ids = forest.children[forest.family[parents]]  # [n, S, B]
    flat = ids.reshape(n, -1)
    word, strength = bits.words(token.key, token.index, flat)
    values, score = _raw_values(token, world, flat, word, strength)
    values = _one_per_group(values.reshape(ids.shape), score.reshape(ids.shape), forest.group[ids])
    mean = world.mean[jnp.minimum(parents, world.n_base - 1)]
    # scaling uses the parent's processed value, so factors cascade down the tree
    ratio = jnp.where(parent_values > 0, parent_values / jnp.where(mean > 0, mean, 1.0), 0.0)
    values = values * jnp.where(forest.scaled[ids], ratio[..., None], 1.0)
    return flat, values.reshape(n, -1)


def _raw_values(
    token: _Token, world: World, ids: Array, word: Array, strength: Array
) -> tuple[Array, Array]:
    """Magnitude of each candidate before the hierarchy (0: did not fire), and a tie-break score.

    Given that a feature fired, its word over its probability is uniform and independent of all
    else, which makes it the fair lot among exclusive siblings without another draw.
    """
    real = ids < world.n_base
    probability = jnp.where(real, token.probability(ids), 0.0)
    fired = bits.below(word, probability)
    ids = jnp.minimum(ids, world.n_base - 1)
    magnitude = world.mean[ids] + world.std[ids] * bits.normal(strength)
    score = word.astype(jnp.float32) / jnp.maximum(probability, 1e-30)
    return jnp.where(fired & real, jnp.maximum(magnitude, 0.0), 0.0), score


def _one_per_group(values: Array, score: Array, group: Array) -> Array:
    """Zero all but one positive value of each exclusion group, along the last axis.

    `[n, S, B]` each; group -1 excludes nothing. The highest score wins, the first among equals.
    """
    score = jnp.where(values > 0, score, -1.0)
    position = jax.lax.broadcasted_iota(jnp.int32, values.shape, values.ndim - 1)

    # A loop rather than a comparison of all pairs: what a loop reads is stored first, while XLA
    # would draw the scores anew for every pair.
    def against(rival, beaten):
        theirs = jax.lax.dynamic_slice_in_dim(score, rival, 1, axis=-1)
        same = jax.lax.dynamic_slice_in_dim(group, rival, 1, axis=-1) == group
        wins = (theirs > score) | ((theirs == score) & (rival < position))
        return beaten | (same & wins)

    beaten = jax.lax.fori_loop(0, values.shape[-1], against, jnp.zeros(values.shape, bool))
    return jnp.where(beaten & (group >= 0), 0.0, values)


def _keep(
    ids: Array, values: Array, mask: Array, slots: int, empty: int
) -> tuple[Array, Array, Array]:
    """Left-justify the masked entries into `slots`: ids, values, and how many there were [n]."""
    kept, count = compact(mask, slots)
    found = kept < mask.shape[-1]
    kept = jnp.minimum(kept, mask.shape[-1] - 1)
    ids = jnp.where(found, jnp.take_along_axis(ids, kept, axis=-1), empty)
    values = jnp.where(found, jnp.take_along_axis(values, kept, axis=-1), 0.0)
    return ids, values, count
