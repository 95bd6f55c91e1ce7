"""What compiled programs take: worlds and instances that fit each other, and whole seeds."""

from __future__ import annotations

from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from synthsae_jax.errors import ConfigError, require
from synthsae_jax.worlds.records import Instance, World

Record = TypeVar("Record", World, Instance)


def bare(record: Record) -> Record:
    """A world or instance without its provenance, for `draw` and `see`.

    Static fields are compiled in; without config, seed and names, records of equal shapes share
    one program.
    """
    if isinstance(record, World):
        forest = record.forest.replace(feature_ids=())
        return record.replace(config=None, seed=None, forest=forest)
    return record.replace(config=None, stream=jnp.asarray(record.stream, jnp.uint32))


def program_inputs(world: World, instance: Instance) -> tuple[World, Instance, bool]:
    """Both of them bare, the instance with a leading axis I, and whether it came with one.

    Raises `ConfigError` unless they have the same features, and stacked worlds as many instances.
    """
    stacked = instance.dictionary.ndim == 3
    n_features = instance.dictionary.shape[-2]
    require(
        n_features == world.n_features,
        f"The instance has {n_features} features, its world {world.n_features}.",
    )
    if world.probabilities.ndim == 2:
        n_worlds = world.probabilities.shape[0]
        n_instances = instance.dictionary.shape[0] if stacked else "a single one"
        require(
            n_instances == n_worlds,
            f"{n_worlds} stacked worlds need as many stacked instances, got {n_instances}.",
        )
    instance = bare(instance)
    if not stacked:
        instance = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], instance)
    return bare(world), instance, stacked


def whole_seeds(name: str, values: Any) -> np.ndarray:
    """Seeds as int32, of the shape given; raises where one is not a whole number of 31 bits."""
    seeds = np.asarray(values)
    fits = np.issubdtype(seeds.dtype, np.integer) and ((seeds >= 0) & (seeds < 2**31)).all()
    # an empty list has a float type, and is refused for its shape by whoever asked
    require(
        bool(fits) or seeds.size == 0,
        f"{name} must be whole numbers from 0 to 2^31 - 1, got {values!r}.",
    )
    return seeds.astype(np.int32)


def raise_on_lost(lost: int, world: World, what: str) -> None:
    """Raise with the slots to ask for where `lost` samples of a program had too few."""
    if lost:
        wanted = tuple(s + (s + 1) // 2 for s in world.slots)
        raise ConfigError(
            f"{lost} {what} samples had more active features than the world's slots "
            f"{world.slots} hold; build it with slots={wanted}."
        )
