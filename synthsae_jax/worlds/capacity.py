"""How many slots a world's codes need: a pilot sample's maximum and a margin.

The margin is a quarter, or 1.7 times the distance from mean to maximum where that is more. A tail
between Gaussian and exponential that is reached once in 16,384 tokens is passed by that factor
less than once in 1e8 tokens, so a training run of some million samples does not overflow.
"""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from synthsae_jax.errors import ConfigError, require
from synthsae_jax.modes import IMPL
from synthsae_jax.worlds.filled import WIDE
from synthsae_jax.worlds.records import Codes, Forest, World
from synthsae_jax.worlds.tree import draw_tree, factor_draw

_PILOT_BATCHES, _PILOT_BATCH = 16, 1024  # one batch at a time is held in memory
_MOST_CANDIDATES = 1 << 15  # children of active parents, of one token
_MOST_AT_ONCE = 1 << 22  # the same, of all tokens that are drawn at once: 16 MB a number
_GRAIN = 8  # slots come in multiples, so that like worlds share compiled programs


def pilot_slots(world: World) -> tuple[int, ...]:
    """Slots (roots, top candidates, level 1, ..., codes) for a world whose `slots` are not set.

    Only `len(world.slots)` of the argument matters. The pilot draws from a key of its own, so the
    same world always gets the same slots.
    """
    world = world.replace(config=None, seed=None)  # like worlds share one compiled pilot
    slots = _generous(world)
    while True:
        mean, most = (
            np.asarray(x) for x in _pilot(world.replace(slots=slots), _batch(world, slots))
        )
        if (most <= np.array(slots)).all():
            wanted = np.maximum(1.25 * most, mean + 1.7 * (most - mean) + 3)
            return tuple(_round_up(w) for w in np.minimum(wanted, _limits(world)))
        # What overflows is cut, and so is all that hangs from it: counts are right only once all
        # fit.
        slots = tuple(2 * s for s in slots)


def raise_on_overflow(codes: Codes, world: World) -> None:
    """Raise if a sample needed more slots than the world has (eager calls only)."""
    lost = int(np.asarray(codes.overflow).sum())
    if lost:
        wanted = tuple(_round_up(1.5 * s) for s in world.slots)
        if world.probabilities.ndim == 1:  # a stack of worlds has no pilot of its own
            wanted = tuple(map(max, wanted, pilot_slots(world)))
        raise ConfigError(
            f"{lost} of {codes.overflow.size} samples had more active features than the world's "
            f"slots {world.slots} hold; build it with slots={wanted}."
        )


def _batch(world: World, slots: tuple[int, ...]) -> int:
    """Tokens of the pilot that are drawn at once: fewer where a token has many candidates.

    Raises where a token has more than can be drawn: every active parent takes as much room as the
    largest family.
    """
    widest = world.forest.children.shape[-1]
    if widest <= WIDE:
        return _PILOT_BATCH
    parents = max(slots[0], *slots[2:-1])
    require(
        parents * widest <= _MOST_CANDIDATES,
        f"This hierarchy has a parent with {widest:,} children, and may need room for {parents:,} "
        f"active features of a level on one token: {parents * widest:,} candidates, and at most "
        f"{_MOST_CANDIDATES:,} are drawn for a token. Split the largest families, or make their "
        "members rarer.",
    )
    fitting = _MOST_AT_ONCE // (parents * widest)
    return min(_PILOT_BATCH, 1 << (fitting.bit_length() - 1))


@functools.partial(jax.jit, static_argnums=1)
def _pilot(world: World, size: int) -> tuple[jax.Array, jax.Array]:
    def batch(key: jax.Array) -> jax.Array:
        key_factors, key_tree = jax.random.split(key)
        return draw_tree(key_tree, world, factor_draw(key_factors, world, size))[1]

    batches = _PILOT_BATCHES * _PILOT_BATCH // size
    pilot = jax.random.key(0x91107, impl=IMPL)
    counts = jax.lax.map(batch, jax.random.split(pilot, batches))
    return counts.astype(jnp.float32).mean(axis=(0, 1)), counts.max(axis=(0, 1))


def _limits(world: World) -> np.ndarray:
    """More than this many can never be active at each stage."""
    n_roots = world.forest.roots.shape[-1]
    n_tops = n_roots + world.forest.free.shape[-1]
    below = world.n_base - n_tops
    return np.array([n_roots, n_tops, *[below] * world.levels, world.n_base])


def _generous(world: World) -> tuple[int, ...]:
    """A first guess from the expected number of active tops, in powers of two."""
    forest = world.forest
    probabilities = np.asarray(world.probabilities, np.float64)
    roots, free = np.asarray(forest.roots), np.asarray(forest.free)
    expected_roots = probabilities[roots].sum()
    expected_tops = expected_roots + probabilities[free].sum()
    # A byte that ties with a feature's edge leaves it open, so one feature in 256 is a candidate
    # that does not fire.
    coarse_misses = (roots.size + free.size) / 256
    level = max(2 * _spread(expected_roots), _spread(_largest_burst(forest, probabilities)))
    levels = [level] * world.levels
    total = _spread(expected_tops) + sum(levels)
    return (_spread(expected_roots), _spread(expected_tops + coarse_misses), *levels, total)


def _largest_burst(forest: Forest, probabilities: np.ndarray) -> float:
    """Most children that a parent, when it is active, brings along on average; 0 of small families.

    Small families find their slots by doubling, at little cost.
    """
    children = np.asarray(forest.children)
    if children.shape[-1] <= WIDE:
        return 0.0
    padded = np.append(probabilities, 0.0)
    return float(padded[np.minimum(children, len(probabilities))].sum(axis=-1).max(initial=0.0))


def _spread(mean: float) -> int:
    """Generously above what a sum with this mean reaches, as a power of two."""
    return 1 << max(3, math.ceil(math.log2(8 + 2 * mean + 8 * math.sqrt(mean))))


def _round_up(count: float) -> int:
    return max(_GRAIN, _GRAIN * math.ceil(count / _GRAIN))
