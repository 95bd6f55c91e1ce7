"""A world, instances and SAEs of one small size, so that tests share compiled programs."""

from __future__ import annotations

import jax
import numpy as np

from synthsae_jax import saes, worlds

F, D, L, BATCH = 24, 32, 32, 64
SLOTS = (8, 24, 24)  # for (roots, tops, codes); as many codes as features, so none overflow


def world(spread: float = 0.25, **options):
    """Features without hierarchy that fire at rates from `spread` down to .05."""
    given = {"std": 0.1, "slots": SLOTS, **options}
    return worlds.make_world(np.linspace(spread, 0.05, F), **given)


def instance(seed: int = 0):
    """Random directions and a bias; F < D, so they are nearly orthogonal."""
    rng = np.random.default_rng(seed)
    return worlds.make_instance(world(), rng.normal(size=(F, D)), bias=0.1 * rng.normal(size=D))


def sae(name: str = "batchtopk", **options):
    """An SAE of the small size; k = 3 where the architecture has a k."""
    given = options if name == "standard" else {"k": 3, **options}
    return saes.build(name, d_in=D, d_sae=L, **given)


def pick(tree, *index: int):
    """One run of a stacked record."""
    return jax.tree.map(lambda leaf: leaf[index], tree)
