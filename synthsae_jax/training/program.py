"""The compiled pieces of training: the only run-vmap of the project, and its jit.

Axes are [I, R]: instances, and runs of each. All runs of an instance see one stream of batches
(or each its own); runs never see each other. On a CPU they take their gradients in turn, in a loop.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from synthsae_jax import keys
from synthsae_jax.saes import SAE, SAEParams
from synthsae_jax.training.config import TrainConfig
from synthsae_jax.training.resample import forgotten, resampled
from synthsae_jax.training.scale import folded
from synthsae_jax.training.schedules import annealed
from synthsae_jax.training.step import Numbers, Recipe, RunState, init_state, learned, updated
from synthsae_jax.worlds.records import Instance, World
from synthsae_jax.worlds.stream import draw

Array = jax.Array
_LONG_RUN = 2000  # steps


@dataclasses.dataclass(frozen=True)
class Program:
    """What a compiled training program depends on besides shapes."""

    sae: SAE
    recipe: Recipe
    batch_size: int
    world_stacked: bool
    own_streams: bool
    scaled: bool  # are inputs multiplied by a scale
    revival: str  # is the auxiliary loss compiled in: "never", "always", "while some are dead"
    in_turn: bool = False  # runs take their step one after the other instead of side by side


def revival_of(config: TrainConfig, sparse: bool) -> str:
    """The auxiliary loss is 0 for a run without dead latents, so it can be left out meanwhile.

    That takes both steps to be compiled, which only a long run earns back. A sparse loss leaves
    out what is not needed by itself.
    """
    if config.n_steps <= config.dead_window + 1:
        return "never"
    if sparse:
        return "always"
    return "while some are dead" if config.n_steps > _LONG_RUN else "always"


@functools.partial(jax.jit, static_argnums=0)
def start(program: Program, init_seeds: Array, hyper: Any) -> RunState:
    """All runs before their first step."""

    def one(seed, hyper):
        return init_state(program.sae, program.recipe, keys.init_key(seed), hyper)

    return jax.vmap(jax.vmap(one))(init_seeds, hyper)


@functools.partial(jax.jit, static_argnums=0)
def finalized(program: Program, state: RunState, scale: Array) -> tuple[SAEParams, Array]:
    """Weights for inference on inputs as they are, and whether all of them are finite, [I, R]."""

    def one(params, carried, scale):
        # the last update may have broken what its loss did not show
        finite = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(params)]
        params = program.sae.finalize(params, carried)
        return folded(params, scale) if program.scaled else params, jnp.all(jnp.stack(finite))

    over_runs = jax.vmap(one, in_axes=(0, 0, 0 if program.own_streams else None))
    return jax.vmap(over_runs)(state.params, state.carried, scale)


@functools.partial(jax.jit, static_argnums=0)
def estimated_scale(
    program: Program, world: World, instance: Instance, data_seeds: Array, n_batches: Array
) -> Array:
    """The inputs' scale over the first batches of each stream, float32 [I], or [I, R]."""
    batches = _batches(program, data_seeds, scaled=False)

    def add(i, total):
        x, _ = batches(world, instance, data_seeds, i, None)
        norms = jnp.linalg.norm(x, axis=-1)
        return total + jnp.mean(norms, axis=-1)

    n_instances = instance.dictionary.shape[0]
    shape = (n_instances, data_seeds.shape[-1]) if program.own_streams else (n_instances,)
    total = lax.fori_loop(0, n_batches, add, jnp.zeros(shape))
    return jnp.sqrt(instance.dictionary.shape[-1]) * n_batches / total


@functools.partial(jax.jit, static_argnums=0, donate_argnums=1)
def revived(
    program: Program,
    state: RunState,
    world: World,
    instance: Instance,
    numbers: Numbers,
    data_seeds: Array,
    scale: Array,
    step: Array,
) -> RunState:
    """All runs with their dead latents started again on inputs of the batch of `step`."""
    batches = _batches(program, data_seeds, program.scaled)
    x, _ = batches(world, instance, data_seeds, step, scale)

    def one(state, numbers, x):
        sae, params = program.sae, state.params
        hyper = annealed(numbers.hyper, numbers.ramps, step)
        dead = state.since_fired > numbers.dead_window
        latents = sae.train_encode(params, x, hyper=hyper, state=state.carried)
        error = jnp.sum(jnp.square(sae.decode(params, latents) - x), axis=-1)
        key = jax.random.fold_in(jax.random.fold_in(keys.init_key(numbers.init_seed), 2), step)
        new = resampled(key, params, dead, x, error, sae.project)
        optimizer = jax.tree.map(
            lambda moment: forgotten(moment, dead) if isinstance(moment, SAEParams) else moment,
            state.optimizer,
            is_leaf=lambda leaf: isinstance(leaf, SAEParams),
        )
        since_fired = jnp.where(dead, 0, state.since_fired)
        return state.replace(params=new, optimizer=optimizer, since_fired=since_fired)

    over_runs = jax.vmap(one, in_axes=(0, 0, 0 if program.own_streams else None))
    return jax.vmap(over_runs)(state, numbers, x)


def _batches(program: Program, data_seeds: Array, scaled: bool):
    """`(world, instance, data_seeds, step, scale) -> x [I, n, D] or [I, R, n, D], overflow`."""

    def batch(world, instance, seed, step, scale):
        key = jax.random.fold_in(keys.data_key(seed, "train"), step)
        codes, x = draw(key, world, instance, program.batch_size)
        return x * scale if scaled else x, jnp.sum(codes.overflow)

    world_axis = 0 if program.world_stacked else None
    seed_axis = None if data_seeds.ndim == 0 else 0
    if program.own_streams:
        batch = jax.vmap(batch, in_axes=(None, None, 0, None, 0 if scaled else None))
    return jax.vmap(batch, in_axes=(world_axis, 0, seed_axis, None, 0 if scaled else None))


def one_by_one(
    one: Callable[..., Any], state: RunState, numbers: Numbers, x: Array, step: Array
) -> Any:
    """`one(state, numbers, x, step)` of each run `[I, R]`, one after the other.

    x is `[I, n, D]`, or `[I, R, n, D]` with streams of their own.
    """
    n_instances, n_runs = numbers.lr.shape
    total = n_instances * n_runs
    of_runs = jax.tree.map(lambda a: a.reshape(total, *a.shape[2:]), (state, numbers))
    each = n_runs if x.ndim == 3 else 1  # runs that read the same batch
    x = x.reshape(-1, *x.shape[-2:])

    def at(i):
        return jax.tree.map(lambda a: lax.dynamic_index_in_dim(a, i, keepdims=False), of_runs)

    def body(i, found):
        new = one(*at(i), lax.dynamic_index_in_dim(x, i // each, keepdims=False), step)
        return jax.tree.map(lambda a, v: lax.dynamic_update_index_in_dim(a, v, i, 0), found, new)

    shapes = jax.eval_shape(one, *at(0), x[0], step)
    empty = jax.tree.map(lambda a: jnp.zeros((total, *a.shape), a.dtype), shapes)
    found = lax.fori_loop(0, total, body, empty)
    return jax.tree.map(lambda a: a.reshape(n_instances, n_runs, *a.shape[1:]), found)


@functools.partial(jax.jit, static_argnums=0, donate_argnums=7)
def chunk(
    program: Program,
    world: World,
    instance: Instance,
    numbers: Numbers,
    data_seeds: Array,
    scale: Array,
    first: Array,
    state: RunState,
    count: Array,
) -> tuple[RunState, dict[str, Array], Array]:
    """`count` steps from step `first`: state, mean report [I, R], samples that overflowed.

    `count` is traced, so the length of a run is not compiled in.
    """

    sae, recipe = program.sae, program.recipe

    def learn(any_dead, state, numbers, x, step):
        key = jax.random.fold_in(keys.init_key(numbers.init_seed), 1)
        key = jax.random.fold_in(key, step)  # for architectures that draw while training
        return learned(sae, recipe, state, numbers, x, step, key, any_dead)

    def update(state, numbers, step, *found):
        return updated(sae, recipe, state, numbers, step, *found)

    batches = _batches(program, data_seeds, program.scaled)

    always = program.revival == "always"
    sometimes = program.revival == "while some are dead"

    def whether(dead, learn, *given):
        return lax.cond(dead, *(functools.partial(learn, d) for d in (True, False)), *given)

    def in_turn(state, numbers, x, step):
        def one(state, numbers, x, step):
            if not sometimes:
                return learn(always, state, numbers, x, step)
            dead = jnp.any(state.since_fired > numbers.dead_window)
            return whether(dead, learn, state, numbers, x, step)

        return one_by_one(one, state, numbers, x, step)

    def side_by_side(state, numbers, x, step):
        x_axis = 0 if program.own_streams else None

        def all_runs(any_dead, *given):
            by_run = jax.vmap(functools.partial(learn, any_dead), in_axes=(0, 0, x_axis, None))
            return jax.vmap(by_run, in_axes=(0, 0, 0, None))(*given)

        if not sometimes:
            return all_runs(always, state, numbers, x, step)
        # one condition for all runs: a condition per run computes both branches under vmap
        dead = jnp.any(state.since_fired > numbers.dead_window[..., None])
        return whether(dead, all_runs, state, numbers, x, step)

    def one_step(state, step):
        x, overflow = batches(world, instance, data_seeds, step, scale)
        learn_all = in_turn if program.in_turn else side_by_side
        found = learn_all(state, numbers, x, step)
        axes = (0, 0, None, 0, 0, 0)
        state, report = jax.vmap(jax.vmap(update, axes), axes)(state, numbers, step, *found)
        return state, report, jnp.sum(overflow)

    def body(i, carry):
        state, total, overflow = carry
        state, report, lost = one_step(state, first + i)
        return state, jax.tree.map(jnp.add, total, report), overflow + lost

    _, shapes, _ = jax.eval_shape(one_step, state, first)
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    carry = (state, zeros, jnp.zeros((), jnp.int32))
    state, total, overflow = lax.fori_loop(0, count, body, carry)
    return state, jax.tree.map(lambda t: t / count, total), overflow
