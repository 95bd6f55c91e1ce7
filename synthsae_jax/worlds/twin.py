"""Twin registries: every feature id has a twin with the same statistics that never is the same.

A model that has a feature's twin instead of the feature sees equal rates, hierarchy, magnitudes
and correlations, and shares nothing. So at any shared fraction two models have the same frequency
histogram and the same expected L0 exactly (PROTOCOL 1), and both zeros come from one sampler:

- `independent`: the twins have copula factors of their own;
- `factors`: the twins see the same factors, as two models that read the same text would;
- `counts`: the same factors, and the same number of features active on each token.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from synthsae_jax.errors import check_choice, require
from synthsae_jax.modes import fixed
from synthsae_jax.worlds import bits
from synthsae_jax.worlds.compact import compact
from synthsae_jax.worlds.presence import roots_of
from synthsae_jax.worlds.records import Codes, World
from synthsae_jax.worlds.tree import draw_tree

Array = jax.Array

COUPLINGS = ("independent", "factors", "counts")
# How a second copy with a given number of active features is put together (`match_counts`)
_DONORS = 12
_HALF = 8  # parts in one half of a token's trees
_PARTS = 2 * _HALF
_TRIES = 32  # of each half
_ROUNDS = 3  # right halves that each left half meets
_TILTS = (0.0, 0.5, -0.7, 1.0, -2.0, 2.0, 4.0)


@fixed
def twin(world: World, coupling: str = "factors") -> World:
    """The registry of `world` and its twins: ids i and n_base + i, `copies == 2`."""
    check_choice("coupling", coupling, COUPLINGS)
    require(world.copies == 1, "worlds.twin takes a plain world; this one is a twin registry.")
    require(
        not (coupling == "counts" and world.forest.exclusive_tops),
        "coupling 'counts' needs top features without mutual exclusion; use 'factors'.",
    )
    return world.replace(
        copies=2,
        shared_factors=jnp.full_like(world.shared_factors, coupling != "independent"),
        equal_counts=coupling == "counts",
    )


def draw_pair(keys: Array, world: World, factors: Array) -> tuple[Codes, Codes]:
    """Codes of both copies, drawn from keys [2] and the copula states [2, n, r] of each."""
    # one after the other, so that the large program of a draw is compiled once
    both = jax.lax.map(lambda inputs: draw_tree(inputs[0], world, inputs[1])[0], (keys, factors))
    return tuple(jax.tree.map(lambda x, i=i: x[i], both) for i in range(2))


def draw_equal_counts(keys: Array, world: World, factors: Array) -> tuple[Codes, Codes]:
    """Codes of both copies with, on nearly every token, equally many active features.

    Given the factors, whole trees are independent of each other. So twelve draws of the copy are
    cut into 16 random parts by tree, and choosing a donor for each part at random is again an exact
    draw. Of 672 such choices a token takes the first that has the wanted count, or else the
    nearest. Some choices favour donors with many (or few) active features by exp(tilt x count),
    to find rare counts: among choices with the same total that factor is the same, so it does not
    bend the law given a count. That there are only twelve donors does, a little: rates of whole
    classes of features (roots, free ones) move by up to 2 %, and some per cent of the tokens miss
    their count.
    """
    key_parts, key_choice, key_donors = jax.random.split(keys[1], 3)
    draws = jax.lax.map(
        lambda key: draw_tree(key, world, factors)[0],
        jnp.concatenate([keys[:1], jax.random.split(key_donors, _DONORS)]),
    )
    first = jax.tree.map(lambda x: x[0], draws)
    donated = jax.tree.map(lambda x: x[1:], draws)
    n = factors.shape[0]
    token = jnp.arange(n, dtype=jnp.uint32)[:, None]
    # one more for empty slots, whose id is F
    root = jnp.append(roots_of(world.forest.parent, world.levels), world.n_base)

    # [n, donors, K]
    ids, values = (jnp.moveaxis(x, 0, 1) for x in (donated.indices, donated.values))
    part = bits.words(key_parts, token[..., None], root[ids])[0] % _PARTS
    # counts[n, part, donor]
    counts = jnp.stack(
        [jnp.sum((part == p) & (values > 0), axis=-1, dtype=jnp.int32) for p in range(_PARTS)],
        axis=1,
    )
    target = jnp.sum(first.values > 0, axis=-1, dtype=jnp.int32)
    donor = _choose_donors(key_choice, counts, target)

    mine = jnp.arange(_DONORS)[None, :, None]
    chosen = jnp.take_along_axis(donor, part.astype(jnp.int32).reshape(n, -1), axis=-1)
    mask = (chosen.reshape(part.shape) == mine) & (values > 0)
    slots = world.slots[-1]
    position, count = compact(mask.reshape(n, -1), slots)
    empty = position == mask[0].size
    position = jnp.minimum(position, mask[0].size - 1)
    second = Codes(
        indices=jnp.where(
            empty, world.n_base, jnp.take_along_axis(ids.reshape(n, -1), position, axis=-1)
        ),
        values=jnp.where(empty, 0.0, jnp.take_along_axis(values.reshape(n, -1), position, axis=-1)),
        overflow=(count > slots) | donated.overflow.any(axis=0),
    )
    return first, second


def _choose_donors(key: Array, counts: Array, target: Array) -> Array:
    """A donor for each part, [n, parts], whose counts [n, parts, donors] sum to `target` [n]."""
    n = counts.shape[0]
    halved = counts.reshape(n, 1, 1, 2, _HALF, _DONORS)
    tilts = jnp.array(_TILTS).reshape(1, -1, 1, 1, 1, 1)
    # Inverse transform: one lot decides for every tilt, so that tilts cost no further random words.
    edges = jnp.cumsum(jax.nn.softmax(tilts * halved, axis=-1), axis=-1)[..., :-1]
    token = jnp.arange(n, dtype=jnp.uint32)[:, None]
    blocks = jnp.arange(_TRIES * _HALF, dtype=jnp.uint32)[None]
    lot = bits.uniform(jnp.stack(bits.words(key, token, blocks), axis=1))  # a word for each half
    lot = jnp.moveaxis(lot.reshape(n, 1, 2, _TRIES, _HALF, 1), 2, 3)  # [n, 1, tries, 2, half, 1]

    # the donor is how many edges its lot passes; its count, the steps between counts that it passes
    passed = jnp.where(lot > edges, jnp.diff(halved, axis=-1), 0)
    sums = passed.sum(axis=(-2, -1)) + halved[..., 0].sum(axis=-1)  # [n, tilts, tries, 2]
    # in a round each left half meets another right one
    total = [sums[..., 0] + jnp.roll(sums[..., 1], -i, axis=-1) for i in range(_ROUNDS)]
    off = jnp.abs(jnp.stack(total, axis=1) - target[:, None, None, None])
    best = jnp.argmin(off.reshape(n, -1), axis=-1)
    shift, tilt, left = jnp.unravel_index(best, off.shape[1:])
    row, tries = jnp.arange(n)[:, None], jnp.stack([left, (left + shift) % _TRIES], axis=-1)
    half = jnp.arange(2)[None]
    chosen = lot[row, 0, tries, half] > edges[row, tilt[:, None], 0, half]
    return chosen.sum(axis=-1, dtype=jnp.int32).reshape(n, _PARTS)
