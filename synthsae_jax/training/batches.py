"""The batches of a program: one stream for all runs of an instance, or one for each run.

Codes are drawn once for all who read the same tokens, activations once per instance and stream.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from synthsae_jax import keys
from synthsae_jax.training.step import Numbers
from synthsae_jax.training.turns import at_least_two, in_turn, row
from synthsae_jax.worlds.records import Instance, World
from synthsae_jax.worlds.sample import sample_codes
from synthsae_jax.worlds.stream import draw, see, stream_keys

Array = jax.Array


class Streams(NamedTuple):
    """Who reads what, as it is compiled in."""

    batch_size: int
    own: bool  # every run has a stream of batches of its own
    world_stacked: bool  # every instance has a world of its own
    same_codes: bool  # all instances read the same codes: one world, one seed

    def count(self, n_instances: int, n_runs: int) -> int:
        """How many batches a step takes."""
        return n_instances * (n_runs if self.own else 1)


@struct.dataclass
class Data:
    """What the compiled pieces of one training read besides its state."""

    world: World  # of all instances, or stacked [I]
    instance: Instance  # [I]
    numbers: Numbers  # [I, R]
    seeds: Array  # int32, one per stream: [I] or [I, R]
    scale: Array  # float32, one per stream: [I] or [I, R]
    # how many there are, as numbers that no compiler sees: see `turns`
    n_runs: Array  # int32 []: I R
    n_streams: Array  # int32 []
    n_codes: Array  # int32 []: 1 or `n_streams`

    @property
    def shape(self) -> tuple[int, int]:
        """(I, R)."""
        n_instances, n_runs = self.numbers.init_seed.shape
        return n_instances, n_runs


def data_of(
    streams: Streams, world: World, instance: Instance, numbers: Numbers, seeds: Array, scale: Array
) -> Data:
    """The record, with everything counted."""
    n_instances, n_runs = numbers.init_seed.shape
    n_streams = streams.count(n_instances, n_runs)
    counts = (n_instances * n_runs, n_streams, 1 if streams.same_codes else n_streams)
    return Data(world, instance, numbers, seeds, scale, *(jnp.int32(c) for c in counts))


Batches = Callable[[Array], tuple[Array, Array]]


def batches_in_turn(streams: Streams, data: Data, scaled: bool) -> Batches:
    """`step -> x [streams, n, D], overflow`, one stream after the other; x has two rows at least.

    Codes, activations and what reads them are loops of their own: each is the same code whoever
    else reads the codes, and whether others read other ones.
    """
    n_instances, n_runs = data.shape
    n_streams = streams.count(n_instances, n_runs)
    each = n_streams // n_instances  # streams of an instance
    seeds, scale = (at_least_two(a.reshape(-1)) for a in (data.seeds, data.scale))
    instances = at_least_two(data.instance)
    worlds = at_least_two(data.world) if streams.world_stacked else data.world

    def batches(step: Array) -> tuple[Array, Array]:
        def keys_of(i):
            return stream_keys(jax.random.fold_in(keys.data_key(row(seeds, i), "train"), step))

        def codes_of(i):
            world = row(worlds, i // each) if streams.world_stacked else worlds
            return sample_codes(keys_of(i)[0], world, streams.batch_size)

        codes = in_turn(codes_of, data.n_codes, 1 if streams.same_codes else n_streams)

        def x_of(i):
            parent = row(codes, jnp.where(data.n_codes > 1, i, 0))
            instance_codes, x = see(keys_of(i)[1], row(instances, i // each), parent)
            return x * row(scale, i) if scaled else x, jnp.sum(instance_codes.overflow)

        x, overflow = in_turn(x_of, data.n_streams, n_streams)
        return x, jnp.sum(overflow)

    return batches


def batches_side_by_side(streams: Streams, data: Data, scaled: bool) -> Batches:
    """`step -> x [I, n, D] or [I, R, n, D], overflow`, drawn together."""

    def batch(world, instance, seed, scale, step):
        key = jax.random.fold_in(keys.data_key(seed, "train"), step)
        codes, x = draw(key, world, instance, streams.batch_size)
        return x * scale if scaled else x, jnp.sum(codes.overflow)

    world_axis, seed_axis = (0 if streams.world_stacked else None), 0
    seeds = data.seeds
    if streams.same_codes:
        seed_axis, seeds = None, seeds[0]  # one number, so that vmap draws the codes once
    many: Any = batch
    if streams.own:
        many = jax.vmap(many, in_axes=(None, None, 0, 0, None))
    many = jax.vmap(many, in_axes=(world_axis, 0, seed_axis, 0, None))

    def batches(step: Array) -> tuple[Array, Array]:
        x, overflow = many(data.world, data.instance, seeds, data.scale, step)
        return x, jnp.sum(overflow)

    return batches
