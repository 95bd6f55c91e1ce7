"""Codes of one copy of a world, drawn from the roots down, touching only what can be active.

A child counts only where its parent is active, so children are drawn for active parents alone;
given the copula factors of a token all features are independent, which makes that exact. Features
at the top are drawn coarsely first (`coarse`), and finely only where that leaves the question open.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtr

from synthsae_jax.worlds import bits
from synthsae_jax.worlds.coarse import candidates, coarse_byte, top_features
from synthsae_jax.worlds.compact import compact, marks
from synthsae_jax.worlds.filled import WIDE, on_filled, unless_zero
from synthsae_jax.worlds.records import Codes, World

Array = jax.Array
_EXACT = jax.lax.Precision.HIGHEST  # an accelerator's shortcuts would move the firing edges


class _Token(NamedTuple):
    """What a token's draw is made of: its keys, and the law given its copula state."""

    key: Array  # typed key of the (token, feature) words
    coarse_key: Array
    factors: Array
    probability: Callable[[Array, Array], Array]  # tokens [C], ids [C, m] -> chance of firing


class _Active(NamedTuple):
    """Active features of each token, left-justified in some slots."""

    ids: Array  # int32 [n, S], F where empty
    values: Array  # float32 [n, S]
    count: Array  # int32 [n]: how many there were, which the slots may not have held


def factor_draw(key: Array, world: World, n: int) -> Array:
    """Copula state of each token: factors [n, r], or all Gaussians [n, F] of a dense copula."""
    if world.cholesky.shape[-1]:
        gaussians = jax.random.normal(key, (n, world.n_base))
        return jnp.matmul(gaussians, world.cholesky.T, precision=_EXACT)
    return jax.random.normal(key, (n, world.factor.shape[-1]))


def draw_tree(key: Array, world: World, factors: Array) -> tuple[Codes, Array]:
    """Codes of one copy of the world's features, given each token's copula state.

    Also what each of `world.slots` had to hold, int32 [n, len(slots)], for sizing them.
    """
    token = _token(key, world, factors)
    root_slots, top_slots, *level_slots, n_slots = world.slots
    top, root_count, top_count = _draw_tops(token, world, top_slots)
    parts, counts = [top], [root_count, top_count]
    if level_slots:
        # one width for all levels, so that they are one program however deep the trees are
        width = max(root_slots, *level_slots)

        def descend(parents: _Active, _: None) -> tuple[_Active, _Active]:
            children = _draw_children(token, world, parents)
            return children, children

        roots = _Active(*_roots(top, width, world.n_base), root_count)
        _, levels = jax.lax.scan(descend, roots, None, length=len(level_slots))
        parts += [jax.tree.map(lambda x, i=i: x[i], levels) for i in range(len(level_slots))]
        counts += list(levels.count)

    codes = _join(parts, n_slots, world.n_base)
    counts = jnp.stack([*counts, codes.count], axis=-1)
    overflow = jnp.any(counts > jnp.array(world.slots)[None], axis=-1)
    return Codes(indices=codes.ids, values=codes.values, overflow=overflow), counts


def _token(key: Array, world: World, factors: Array) -> _Token:
    def probability(token: Array, ids: Array) -> Array:
        ids = jnp.minimum(ids, world.n_base - 1)
        if world.cholesky.shape[-1]:  # the Gaussians are known, so nothing is left to chance
            return (factors[token[:, None], ids] > world.threshold[ids]).astype(jnp.float32)
        if world.factor.shape[-1]:
            pull = jnp.einsum("cmr,cr->cm", world.factor[ids], factors[token], precision=_EXACT)
            return ndtr((pull - world.threshold[ids]) / jnp.sqrt(world.residual[ids]))
        return world.probabilities[ids]

    return _Token(
        key=jax.random.fold_in(key, 0),
        coarse_key=jax.random.fold_in(key, 1),
        factors=factors,
        probability=probability,
    )


def _draw_tops(token: _Token, world: World, slots: int) -> tuple[_Active, Array, Array]:
    """Active features without parent; how many of them are roots, and candidates were seen [n]."""
    ids = top_features(world)
    seen = marks(candidates(token.coarse_key, world, token.factors))

    def draw(row: Array, rank: Array) -> tuple[Array, Array, Array]:
        position = jnp.minimum(seen.position(row, rank), ids.shape[0] - 1)
        feature = ids[position][:, None]
        fine, strength = bits.words(token.key, row[:, None], feature)
        # The byte that made it a candidate is the high end of its word: the fine draw goes on where
        # the coarse one stopped, and the two cannot disagree.
        word = (coarse_byte(token.coarse_key, row, position)[:, None] << 24) | (fine >> 8)
        values, score = _raw_values(token, world, row, feature, word, strength)
        return position, values[:, 0], score[:, 0]

    position, values, score = on_filled(draw, seen.count, slots)
    if world.forest.exclusive_tops:
        values = _one_per_group(values, score, world.forest.group[ids[position]])
    is_root = position < world.forest.roots.shape[0]
    n_roots = jnp.sum((values > 0) & is_root, axis=-1, dtype=jnp.int32)
    return _keep(ids[position], values, slots, world.n_base), n_roots, seen.count


def _roots(top: _Active, width: int, empty: int) -> tuple[Array, Array]:
    """Ids and values of the first active features at the top, which the roots are, [n, width]."""
    more = ((0, 0), (0, max(0, width - top.ids.shape[-1])))
    ids, values = jnp.pad(top.ids, more, constant_values=empty), jnp.pad(top.values, more)
    return ids[:, :width], values[:, :width]


def _draw_children(token: _Token, world: World, parents: _Active) -> _Active:
    """Active children of active parents, in as many slots."""
    forest = world.forest

    def draw(row: Array, rank: Array) -> tuple[Array, Array]:
        parent, above = parents.ids[row, rank], parents.values[row, rank]
        ids = forest.children[forest.children_row[parent]]  # [C, B]
        word, strength = bits.words(token.key, row[:, None], ids)
        values, score = _raw_values(token, world, row, ids, word, strength)
        values = _one_per_group(values, score, forest.group[ids])
        mean = world.mean[jnp.minimum(parent, world.n_base - 1)]
        # scaling uses the parent's processed value, so factors cascade down the tree
        ratio = jnp.where(above > 0, above / jnp.where(mean > 0, mean, 1.0), 0.0)
        return ids, values * jnp.where(forest.scaled[ids], ratio[:, None], 1.0)

    n, slots = parents.ids.shape
    drawn = on_filled(draw, parents.count, slots, width=forest.children.shape[-1])
    ids, values = (x.reshape(n, -1) for x in drawn)
    return _keep(ids, values, slots, world.n_base)


def _raw_values(
    token: _Token, world: World, row: Array, ids: Array, word: Array, strength: Array
) -> tuple[Array, Array]:
    """Magnitude of each candidate before the hierarchy (0: did not fire), and a tie-break score.

    `row` [C], all others [C, m]. Given that a feature fired, its word over its probability is
    uniform and independent of all else, which makes it the fair lot among exclusive siblings
    without another draw.
    """
    real = ids < world.n_base
    probability = jnp.where(real, token.probability(row, ids), 0.0)
    fired = bits.below(word, probability)
    ids = jnp.minimum(ids, world.n_base - 1)
    magnitude = world.mean[ids] + world.std[ids] * bits.normal(strength)
    score = word.astype(jnp.float32) / jnp.maximum(probability, 1e-30)
    return jnp.where(fired & real, jnp.maximum(magnitude, 0.0), 0.0), score


def _one_per_group(values: Array, score: Array, group: Array) -> Array:
    """Zero all but one positive value of each exclusion group, along the last axis.

    `[n, B]` each; group -1 excludes nothing. The highest score wins, the first among equals.
    """
    score = jnp.where(values > 0, score, -1.0)
    position = jax.lax.broadcasted_iota(jnp.int32, values.shape, values.ndim - 1)
    alone = lambda values, beaten: jnp.where(beaten & (group >= 0), 0.0, values)
    if values.shape[-1] > WIDE:
        # all pairs of a thousand siblings take minutes; most such families exclude nothing
        in_order = lambda values: alone(values, _behind_another(score, group, position))
        return unless_zero(group + 1, in_order, values)

    # A loop rather than a comparison of all pairs: what a loop reads is stored first, while XLA
    # would draw the scores anew for every pair.
    def against(rival, beaten):
        theirs = jax.lax.dynamic_slice_in_dim(score, rival, 1, axis=-1)
        same = jax.lax.dynamic_slice_in_dim(group, rival, 1, axis=-1) == group
        wins = (theirs > score) | ((theirs == score) & (rival < position))
        return beaten | (same & wins)

    return alone(
        values, jax.lax.fori_loop(0, values.shape[-1], against, jnp.zeros(values.shape, bool))
    )


def _behind_another(score: Array, group: Array, position: Array) -> Array:
    """Whether another of the same group comes first by score, then position; by sorting."""
    group, _, position = jax.lax.sort((group, -score, position), num_keys=3)
    behind = group == jnp.roll(group, 1, axis=-1)
    behind = behind.at[..., 0].set(False)
    return jax.lax.sort((position, behind), num_keys=1)[1]


def _keep(ids: Array, values: Array, slots: int, empty: int) -> _Active:
    """The positive entries, as many as fit into the slots."""
    at, count = compact(values > 0, slots)
    return _Active(*_at(ids, values, at, empty), count)


def _join(parts: list[_Active], slots: int, empty: int) -> _Active:
    """All that the parts hold, one after the other, as many as fit into the slots."""
    ids, values = (jnp.concatenate([part[i] for part in parts], axis=-1) for i in range(2))
    rank = jnp.arange(slots, dtype=jnp.int32)[None]
    at, end = rank, jnp.zeros_like(parts[0].count)[:, None]
    for part in parts:
        width = part.ids.shape[-1]
        held = jnp.minimum(part.count, width)[:, None]
        end = end + held
        at = at + jnp.where(rank >= end, width - held, 0)  # steps over what this part left empty
    at = jnp.where(rank < end, at, ids.shape[-1])
    return _Active(*_at(ids, values, at, empty), end[:, 0])


def _at(ids: Array, values: Array, at: Array, empty: int) -> tuple[Array, Array]:
    """Entries of each row by position, a slot left empty for a position past the end."""
    inside = at < ids.shape[-1]
    at = jnp.minimum(at, ids.shape[-1] - 1)
    ids = jnp.where(inside, jnp.take_along_axis(ids, at, axis=-1), empty)
    return ids, jnp.where(inside, jnp.take_along_axis(values, at, axis=-1), 0.0)
