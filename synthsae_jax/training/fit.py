"""Train many SAEs in one compiled program: the only run-vmap of the project, and its jit.

Axes are [I, R]: instances, and runs of each. All runs of an instance see one stream of batches
(or each its own, where data seeds are given per run); runs never see each other.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from synthsae_jax import keys
from synthsae_jax.errors import require
from synthsae_jax.saes import SAE, SAEParams
from synthsae_jax.training.config import TrainConfig
from synthsae_jax.training.runs import data_streams, numbers_of_runs, seeds_of_runs
from synthsae_jax.training.step import Adam, Numbers, RunState, init_state, train_step
from synthsae_jax.worlds.inputs import program_inputs, raise_on_lost
from synthsae_jax.worlds.records import Instance, World
from synthsae_jax.worlds.stream import draw

Array = jax.Array
_LONG_RUN = 2000  # steps
Progress = Callable[[int, int, dict[str, np.ndarray]], None]


@dataclasses.dataclass(frozen=True)
class TrainResult:
    """Trained runs, stacked: axes [R], or [I, R] where instances were stacked."""

    sae: SAE
    config: TrainConfig
    params: SAEParams  # finalized: for the inference rule
    state: RunState  # as training left it: raw weights, optimiser, running averages
    hyper: Any  # the numbers each run was trained with
    history: dict[str, np.ndarray]  # name -> [..., points]; "step" is [points]
    status: np.ndarray  # "ok" or "diverged" per run
    init_seeds: np.ndarray
    data_seeds: np.ndarray


def train(
    world: World,
    instance: Instance,
    sae: SAE,
    config: TrainConfig,
    init_seeds: Sequence[int] | np.ndarray = (0,),
    data_seed: int | Sequence[int] | np.ndarray = 0,
    *,
    hyper: Any = None,
    lr: float | np.ndarray | None = None,
    progress: Progress | None = None,
) -> TrainResult:
    """Train one run per init seed, on one instance or on each of a stack of instances.

    - `instance` (and `world`) may carry a leading axis I (`worlds.stack`): all I x R runs are one
      program with axes [I, R]. One world may serve all instances.
    - `init_seeds`: R of them for every instance, or an array [I, R].
    - `data_seed`: one number (all instances read the same parent codes), one per stacked instance
      [I], or one per run ([R] on a single instance, [I, R] on stacked ones), which draws every
      run's batches anew.
    - `hyper`: the SAE's record with any leaf an array of shape [R] or [I, R]; `lr` likewise. They
      are traced: other values do not compile again.
    - `progress(done, total, report)` is called between chunks of steps; report is the chunk's row
      of the history, [I, R].

    A run that diverges has status "diverged" and takes nobody with it. Raises `ConfigError` where
    sizes do not fit, a number is out of range, or a sample has more active features than the world
    has slots.
    """
    world, instance, stacked = program_inputs(world, instance)
    n_instances, _, dim = instance.dictionary.shape
    require(sae.d_in == dim, f"The SAE has d_in={sae.d_in}, the instance hidden_dim={dim}.")
    init_seeds = seeds_of_runs("init_seeds", init_seeds, n_instances)
    n_runs = init_seeds.shape[1]
    data_seeds, own_streams = data_streams(data_seed, n_instances, n_runs, stacked)

    sae = sae.with_options(dtype=config.dtype) if config.dtype != "float32" else sae
    numbers = numbers_of_runs(config, sae, hyper, lr, init_seeds)
    adam = Adam(config.adam_b1, config.adam_b2, config.adam_eps)
    program = _Program(
        sae.static,
        adam,
        config.batch_size,
        world.probabilities.ndim == 2,
        own_streams,
        revival=_revival(config),
    )
    state = _start(program, jnp.asarray(init_seeds), numbers.hyper)
    state, history = _loop(program, config, world, instance, numbers, data_seeds, state, progress)

    params, finite = _finalize(program, state)
    status = np.where(np.asarray(finite & ~state.diverged), "ok", "diverged")
    shared = data_seeds if own_streams else np.broadcast_to(data_seeds[:, None], status.shape)
    squeeze = (lambda a: a) if stacked else (lambda a: a[0])
    return TrainResult(
        sae=sae,
        config=config,
        params=jax.tree.map(squeeze, params),
        state=jax.tree.map(squeeze, state),
        hyper=jax.tree.map(squeeze, numbers.hyper),
        history={k: v if k == "step" else squeeze(v) for k, v in history.items()},
        status=squeeze(status),
        init_seeds=squeeze(init_seeds),
        data_seeds=squeeze(shared),
    )


@dataclasses.dataclass(frozen=True)
class _Program:
    """What a compiled training program depends on besides shapes."""

    sae: SAE
    adam: Adam
    batch_size: int
    world_stacked: bool
    own_streams: bool
    revival: str  # is the auxiliary loss compiled in: "never", "always", "while some are dead"


def _revival(config: TrainConfig) -> str:
    """The auxiliary loss is 0 for a run without dead latents, so it can be left out meanwhile.

    That takes both steps to be compiled, which only a long run earns back.
    """
    if config.n_steps <= config.dead_window + 1:
        return "never"
    return "while some are dead" if config.n_steps > _LONG_RUN else "always"


@functools.partial(jax.jit, static_argnums=0)
def _start(program: _Program, init_seeds: Array, hyper: Any) -> RunState:
    def start(seed, hyper):
        return init_state(program.sae, program.adam, keys.init_key(seed), hyper)

    return jax.vmap(jax.vmap(start))(init_seeds, hyper)


@functools.partial(jax.jit, static_argnums=0)
def _finalize(program: _Program, state: RunState) -> tuple[SAEParams, Array]:
    def finalize(params, carried):
        # the last update may have broken what its loss did not show
        finite = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(params)]
        return program.sae.finalize(params, carried), jnp.all(jnp.stack(finite))

    return jax.vmap(jax.vmap(finalize))(state.params, state.carried)


@functools.partial(jax.jit, static_argnums=0, donate_argnums=6)
def _chunk(
    program: _Program,
    world: World,
    instance: Instance,
    numbers: Numbers,
    data_seeds: Array,
    first: Array,
    state: RunState,
    count: Array,
) -> tuple[RunState, dict[str, Array], Array]:
    """`count` steps from step `first`: state, mean report [I, R], samples that overflowed.

    `count` is traced, so the length of a run is not compiled in.
    """

    def batch(world, instance, seed, step):
        key = jax.random.fold_in(keys.data_key(seed, "train"), step)
        codes, x = draw(key, world, instance, program.batch_size)
        return x, jnp.sum(codes.overflow)

    def run(any_dead, state, numbers, x, step):
        key = jax.random.fold_in(keys.init_key(numbers.init_seed), 1)
        key = jax.random.fold_in(key, step)  # for architectures that draw while training
        sae, adam = program.sae, program.adam
        return train_step(sae, adam, state, numbers, x, step, key, any_dead)

    world_axis = 0 if program.world_stacked else None
    seed_axis = None if data_seeds.ndim == 0 else 0
    if program.own_streams:
        batch = jax.vmap(batch, in_axes=(None, None, 0, None))
    batches = jax.vmap(batch, in_axes=(world_axis, 0, seed_axis, None))

    def all_runs(any_dead):
        def over_runs(state, numbers, x, step):
            x_axis = 0 if program.own_streams else None
            one = functools.partial(run, any_dead)
            return jax.vmap(one, in_axes=(0, 0, x_axis, None))(state, numbers, x, step)

        return jax.vmap(over_runs, in_axes=(0, 0, 0, None))

    def one_step(state, step):
        x, overflow = batches(world, instance, data_seeds, step)
        if program.revival == "while some are dead":
            # one condition for all runs: a condition per run computes both branches under vmap
            dead = jnp.any(state.since_fired > numbers.dead_window[..., None])
            with_aux, without = all_runs(True), all_runs(False)
            state, report = jax.lax.cond(dead, with_aux, without, state, numbers, x, step)
        else:
            state, report = all_runs(program.revival == "always")(state, numbers, x, step)
        return state, report, jnp.sum(overflow)

    def body(i, carry):
        state, total, overflow = carry
        state, report, lost = one_step(state, first + i)
        return state, jax.tree.map(jnp.add, total, report), overflow + lost

    _, shapes, _ = jax.eval_shape(one_step, state, first)
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    carry = (state, zeros, jnp.zeros((), jnp.int32))
    state, total, overflow = jax.lax.fori_loop(0, count, body, carry)
    return state, jax.tree.map(lambda t: t / count, total), overflow


def _loop(program, config, world, instance, numbers, data_seeds, state, progress):
    n_steps = config.n_steps
    size = max(1, -(-n_steps // config.history_points))
    # equal seeds for all instances stay one number, so that their codes are drawn once
    alike = not program.own_streams and len(set(data_seeds.tolist())) == 1
    seeds = jnp.asarray(data_seeds[0] if alike and not program.world_stacked else data_seeds)
    steps, reports = [], []
    for first in range(0, n_steps, size):
        count = min(size, n_steps - first)
        state, report, overflow = _chunk(
            program, world, instance, numbers, seeds, jnp.int32(first), state, jnp.int32(count)
        )
        report = jax.tree.map(np.asarray, report)
        raise_on_lost(int(overflow), world, "training")
        steps.append(first + count)
        reports.append(report)
        if progress is not None:
            progress(first + count, n_steps, report)
    history = {k: np.stack([r[k] for r in reports], axis=-1) for k in reports[0]}
    return state, {"step": np.array(steps), **history}
