"""How many slots a world's codes need: a pilot sample's maximum and a margin.

The margin is a quarter, or 1.7 times the distance from mean to maximum where that is more. A tail
between Gaussian and exponential that is reached once in 16,384 tokens is passed by that factor
less than once in 1e8 tokens, so a training run of some million samples does not overflow.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from synthsae_jax.errors import ConfigError
from synthsae_jax.worlds.records import Codes, World
from synthsae_jax.worlds.tree import draw_tree, factor_draw

_PILOT_BATCHES, _PILOT_BATCH = 16, 1024  # one batch at a time is held in memory
_GRAIN = 8  # slots come in multiples, so that like worlds share compiled programs


def pilot_slots(world: World) -> tuple[int, ...]:
    """Slots (roots, top candidates, level 1, ..., codes) for a world whose `slots` are not set.

    Only `len(world.slots)` of the argument matters. The pilot draws from a key of its own, so the
    same world always gets the same slots.
    """
    world = world.replace(config=None, seed=None)  # like worlds share one compiled pilot
    slots = _generous(world)
    while True:
        mean, most = (np.asarray(x) for x in _pilot(world.replace(slots=slots)))
        if (most <= np.array(slots)).all():
            wanted = np.maximum(1.25 * most, mean + 1.7 * (most - mean) + 3)
            return tuple(_round_up(w) for w in np.minimum(wanted, _limits(world)))
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


@jax.jit
def _pilot(world: World) -> tuple[jax.Array, jax.Array]:
    def batch(key: jax.Array) -> jax.Array:
        key_factors, key_tree = jax.random.split(key)
        return draw_tree(key_tree, world, factor_draw(key_factors, world, _PILOT_BATCH))[1]

    counts = jax.lax.map(batch, jax.random.split(jax.random.key(0x91107), _PILOT_BATCHES))
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
    coarse_misses = (roots.size + free.size) / 256
    levels = [2 * _spread(expected_roots)] * world.levels
    total = _spread(expected_tops) + sum(levels)
    return (_spread(expected_roots), _spread(expected_tops + coarse_misses), *levels, total)


def _spread(mean: float) -> int:
    """Generously above what a sum with this mean reaches, as a power of two."""
    return 1 << max(3, math.ceil(math.log2(8 + 2 * mean + 8 * math.sqrt(mean))))


def _round_up(count: float) -> int:
    return max(_GRAIN, _GRAIN * math.ceil(count / _GRAIN))
