"""Worlds of any number of features at one L0, so that cost can be held against size alone."""

from __future__ import annotations

import numpy as np

from synthsae_jax import worlds
from synthsae_jax.worlds import World

L0 = 32.8  # near that of the 16k preset
_LEVELS = 4
_PER_TREE = sum(4**level for level in range(_LEVELS))
KINDS = ("trees", "free")


def world_of(kind: str, n_features: int) -> World:
    """A world whose mean L0 is `L0` whatever its size.

    "trees": all features in trees of depth 3 and branching 4. Each child fires with probability
    1/4 where its parent does, so that a level has as many active features as the roots. "free":
    no trees, rates falling with the root of the rank. No correlation, so the mean L0 is exact.
    """
    if kind == "free":
        rates = np.arange(1, n_features + 1) ** -0.5
        return worlds.make_world(L0 * rates / rates.sum(), mean=5.0, std=0.5)
    trees = n_features // _PER_TREE
    starts = np.cumsum([0, *(trees * 4**level for level in range(_LEVELS))])
    parent = np.full(starts[-1], -1)
    for level in range(1, _LEVELS):
        size = starts[level + 1] - starts[level]
        parent[starts[level] : starts[level + 1]] = starts[level - 1] + np.arange(size) // 4
    rates = np.full(starts[-1], 0.25)
    rates[:trees] = L0 / _LEVELS / trees
    return worlds.make_world(rates, hierarchy=parent, mean=5.0, std=0.5)
