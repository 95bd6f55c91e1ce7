"""Whole arrays of one stream's samples on the host, for methods that fit to data at hand."""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from synthsae_jax import keys
from synthsae_jax.errors import require
from synthsae_jax.worlds.codes import densify
from synthsae_jax.worlds.inputs import bare, raise_on_lost
from synthsae_jax.worlds.records import Instance, World
from synthsae_jax.worlds.stream import draw

BATCH = 1024


def samples(
    world: World,
    instance: Instance,
    n_samples: int,
    seed: int,
    stream: str,
    features: Sequence[int] | np.ndarray = (),
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The first samples of a stream as one instance has them.

    Activations `[n, D]`, true activations of `features` `[n, len(features)]`, and how many features
    are active `[n]`. The stream is one of `keys.STREAMS`; "train" and "evaluate" are those of
    training and evaluation in batches of 1,024.
    """
    require(n_samples >= 1, f"n_samples must be >= 1, got {n_samples}.")
    require(
        instance.dictionary.ndim == 2 and world.probabilities.ndim == 1,
        "This takes a single world and a single instance; call it once for each of a stack.",
    )
    world, instance = bare(world), bare(instance)
    key = keys.data_key(seed, stream)
    ids = jnp.asarray(features, jnp.int32)
    batches, lost = [], 0
    for step in range(math.ceil(n_samples / BATCH)):
        *arrays, overflow = _batch(jax.random.fold_in(key, step), world, instance, ids)
        batches.append([np.asarray(array) for array in arrays])
        lost += int(overflow)
    raise_on_lost(lost, world, stream)
    x, acts, active = (np.concatenate(arrays)[:n_samples] for arrays in zip(*batches))
    return x, acts, active


@jax.jit
def _batch(key, world, instance, ids):
    codes, x = draw(key, world, instance, BATCH)
    acts = densify(codes, instance.dictionary.shape[0])[:, ids]
    active = jnp.sum(codes.values > 0, axis=-1)
    return x, acts, active, jnp.sum(codes.overflow)
