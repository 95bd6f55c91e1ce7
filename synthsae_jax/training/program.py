"""The compiled pieces of training: the only run-vmap of the project, and its jit.

Axes are [I, R]: instances, and runs of each. All runs of an instance see one stream of batches
(or each its own); runs never see each other. On a CPU they take their steps in turn, in a loop, and
then a run has the same bits whoever it shares the program with (see `turns`).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax import lax

from synthsae_jax import keys
from synthsae_jax.saes import SAEParams
from synthsae_jax.training.batches import Data, Streams, batches_in_turn, batches_side_by_side
from synthsae_jax.training.config import TrainConfig
from synthsae_jax.training.match_l0 import steered
from synthsae_jax.training.resample import forgotten, resampled
from synthsae_jax.training.scale import folded, folded_records
from synthsae_jax.training.schedules import annealed
from synthsae_jax.training.step import (
    Batch,
    Learned,
    Numbers,
    Report,
    RunState,
    StepRule,
    clipped,
    dead_latents,
    init_state,
    learn,
    moved_moments,
    moved_weights,
    updated,
)
from synthsae_jax.training.turns import (
    at_least_two,
    first_rows,
    in_turn,
    row,
    rows_of_runs,
    with_row,
)

Array = jax.Array
_LONG_RUN = 2000  # steps


@dataclasses.dataclass(frozen=True)
class Program:
    """What a compiled training program depends on besides shapes."""

    rule: StepRule
    streams: Streams
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
def start(program: Program, init_seeds: Array, hyper: Any, n_runs: Array) -> RunState:
    """All runs before their first step; `n_runs` is their number as a traced one."""
    seeds, numbers = rows_of_runs((init_seeds, hyper))

    def one(i):
        key = keys.init_key(row(seeds, i))
        return init_state(program.rule, key, row(numbers, i))

    return first_rows(in_turn(one, n_runs, init_seeds.size), init_seeds.shape)


@struct.dataclass
class Finished:
    """What training hands out, for inputs as they are; axes [I, R]."""

    params: SAEParams  # for the inference rule
    finite: Array  # bool: the last update may have broken what its loss did not show
    raw: SAEParams  # weights as training left them
    carried: Any
    hyper: Any  # each run's numbers as its weights need them


@functools.partial(jax.jit, static_argnums=0)
def finished(program: Program, state: RunState, data: Data) -> Finished:
    """Weights for inference, with the inputs' scale folded in, and all that goes with them."""
    runs, numbers = rows_of_runs((state, data.numbers))
    scale = at_least_two(data.scale.reshape(-1))
    readers = _readers(program, data)

    def one(i):
        run, hyper = row(runs, i), row(numbers, i).hyper
        raw, carried = run.params, run.carried
        finite = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(raw)]
        params = program.rule.sae.finalize(raw, carried)
        if program.rule.penalty:
            hyper = steered(hyper, program.rule.penalty, run.control)
        if program.scaled:
            s = row(scale, i // readers)
            params, raw = folded(params, s), folded(raw, s)
            carried, hyper = folded_records(carried, s), folded_records(hyper, s)
        return Finished(params, jnp.all(jnp.stack(finite)), raw, carried, hyper)

    n_instances, n_runs = data.shape
    return first_rows(in_turn(one, data.n_runs, n_instances * n_runs), data.shape)


@functools.partial(jax.jit, static_argnums=0)
def estimated_scale(program: Program, data: Data, n_batches: Array) -> Array:
    """The inputs' scale over the first batches of each stream, float32 [I], or [I, R]."""
    batches = batches_in_turn(program.streams, data, scaled=False)
    n_streams = program.streams.count(*data.shape)

    def add(step, total):
        x, _ = batches(step)
        norm = lambda i: jnp.mean(jnp.linalg.norm(row(x, i), axis=-1))
        return total + in_turn(norm, data.n_streams, n_streams)

    total = lax.fori_loop(0, n_batches, add, jnp.zeros(max(n_streams, 2)))
    scale = jnp.sqrt(data.instance.dictionary.shape[-1]) * n_batches / total
    return first_rows(scale, data.seeds.shape)


@functools.partial(jax.jit, static_argnums=0, donate_argnums=1)
def revived(program: Program, state: RunState, data: Data, step: Array) -> RunState:
    """All runs with their dead latents started again on inputs of the batch of `step`."""
    x, _ = batches_in_turn(program.streams, data, program.scaled)(step)
    runs, numbers = rows_of_runs((state, data.numbers))
    readers = _readers(program, data)
    sae = program.rule.sae

    def one(i):
        run, of_run, inputs = row(runs, i), row(numbers, i), row(x, i // readers)
        params = run.params
        hyper = annealed(of_run.hyper, of_run.ramps, step)
        dead = dead_latents(run, of_run)
        latents = sae.train_encode(params, inputs, hyper=hyper, state=run.carried)
        error = jnp.sum(jnp.square(sae.decode(params, latents) - inputs), axis=-1)
        key = jax.random.fold_in(jax.random.fold_in(keys.init_key(of_run.init_seed), 2), step)
        new = resampled(key, params, dead, inputs, error, sae.project)
        optimizer = jax.tree.map(
            lambda moment: forgotten(moment, dead) if isinstance(moment, SAEParams) else moment,
            run.optimizer,
            is_leaf=lambda leaf: isinstance(leaf, SAEParams),
        )
        since_fired = jnp.where(dead, 0, run.since_fired)
        return run.replace(params=new, optimizer=optimizer, since_fired=since_fired)

    n_instances, n_runs = data.shape
    return first_rows(in_turn(one, data.n_runs, n_instances * n_runs), data.shape)


def _readers(program: Program, data: Data) -> int:
    """How many runs read one stream."""
    return 1 if program.streams.own else data.shape[1]


# (state, the reports' sums, step) -> both after the step, and samples that overflowed
Step = Callable[[RunState, Report, Array], tuple[RunState, Report, Array]]


@functools.partial(jax.jit, static_argnums=0, donate_argnums=3)
def chunk(
    program: Program, data: Data, first: Array, state: RunState, count: Array
) -> tuple[RunState, Report, Array]:
    """`count` steps from step `first`: state, mean report [I, R], samples that overflowed.

    `count` is traced, so the length of a run is not compiled in.
    """
    if program.in_turn:
        one_step, state = steps_in_turn(program, data), rows_of_runs(state)
    else:
        one_step = steps_side_by_side(program, data)

    def body(i, carry):
        state, total, overflow = carry
        state, total, lost = one_step(state, total, first + i)
        return state, total, overflow + lost

    carry = (state, _empty_report(program, data, state), jnp.zeros((), jnp.int32))
    state, total, overflow = lax.fori_loop(0, count, body, carry)
    report = jax.tree.map(lambda t: t / count, total)
    if program.in_turn:
        state, report = first_rows((state, report), data.shape)
    return state, report, overflow


def steps_in_turn(program: Program, data: Data) -> Step:
    """A step of all runs `[I R]`, one run after the other, each with the caches for itself."""
    batches = batches_in_turn(program.streams, data, program.scaled)
    numbers = rows_of_runs(data.numbers)
    readers = _readers(program, data)

    def one_step(state, total, step):
        x, overflow = batches(step)

        def one_run(i, carry):
            state, total = carry
            run, of_run = row(state, i), row(numbers, i)
            dead = jnp.any(dead_latents(run, of_run))
            inputs = (run, of_run, row(x, i // readers), step)
            learned = _whether(program, dead, _learn(program), *inputs)
            state, report = with_update(program.rule, (state, i), of_run, step, learned)
            return state, with_row(total, i, jax.tree.map(jnp.add, row(total, i), report))

        state, total = lax.fori_loop(0, data.n_runs, one_run, (state, total))
        return state, total, overflow

    return one_step


def with_update(
    rule: StepRule, rows: tuple[RunState, Array], numbers: Numbers, step: Array, learned: Learned
) -> tuple[RunState, Report]:
    """`updated` for run i of `rows` = (states, i), written in place; and the run's whole report."""
    state, i = rows
    gradient, norm = clipped(learned.gradient, numbers)
    moments = moved_moments(rule, gradient, row(state.optimizer, i))
    # the weights read the moments where they were written: where they computed them again from
    # the old ones, those would have to be kept, and nothing could be written in place
    moments = lax.optimization_barrier(with_row(state.optimizer, i, moments))
    params = moved_weights(rule, numbers, step, row(state.params, i), row(moments, i))
    new_state = learned.rest
    stacks = (state.params, state.carried, state.since_fired, state.diverged, state.control)
    new = (params, new_state.carried, new_state.since_fired, new_state.diverged, new_state.control)
    params, carried, since_fired, diverged, control = with_row(stacks, i, new)
    state = RunState(params, moments, carried, since_fired, diverged, control)
    return state, {**learned.report, "grad_norm": norm}


def steps_side_by_side(program: Program, data: Data) -> Step:
    """A step of all runs `[I, R]` as one batched step."""
    batches = batches_side_by_side(program.streams, data, program.scaled)
    x_axis = 0 if program.streams.own else None

    def all_runs(any_dead, *inputs):
        by_run = jax.vmap(functools.partial(_learn(program), any_dead), (0, 0, x_axis, None))
        return jax.vmap(by_run, (0, 0, 0, None))(*inputs)

    update = functools.partial(updated, program.rule)

    def one_step(state, total, step):
        x, overflow = batches(step)
        # one condition for all runs: a condition per run computes both branches under vmap
        dead = jnp.any(dead_latents(state, data.numbers))
        learned = _whether(program, dead, all_runs, state, data.numbers, x, step)
        axes = (0, 0, None, 0)
        state, report = jax.vmap(jax.vmap(update, axes), axes)(state, data.numbers, step, learned)
        return state, jax.tree.map(jnp.add, total, report), overflow

    return one_step


def _learn(program: Program) -> Callable[..., Learned]:
    """`learn` of one run: `(any_dead, state, numbers, x, step)`."""

    def of_run(any_dead, state, numbers, x, step):
        key = jax.random.fold_in(keys.init_key(numbers.init_seed), 1)
        batch = Batch(x, step, jax.random.fold_in(key, step))
        return learn(program.rule, state, numbers, batch, any_dead)

    return of_run


def _whether(program: Program, dead: Array, of: Callable[..., Learned], *inputs: Any) -> Learned:
    """`of(any_dead, *inputs)`, with the auxiliary loss as the program has it."""
    if program.revival != "while some are dead":
        return of(program.revival == "always", *inputs)
    return lax.cond(dead, *(functools.partial(of, d) for d in (True, False)), *inputs)


def _empty_report(program: Program, data: Data, state: RunState) -> Report:
    """Zeros for the sums of what `train_step` reports, one for each run."""
    lead = state.since_fired.shape[:-1]
    of_one = lambda tree, axes: jax.tree.map(
        lambda a: jax.ShapeDtypeStruct(a.shape[axes:], a.dtype), tree
    )
    run, numbers = of_one(state, len(lead)), of_one(data.numbers, 2)
    dim = data.instance.dictionary.shape[-1]
    x = jax.ShapeDtypeStruct((program.streams.batch_size, dim), jnp.float32)
    step = jax.ShapeDtypeStruct((), jnp.int32)
    of_run = functools.partial(_learn(program), True)
    report = jax.eval_shape(of_run, run, numbers, x, step).report
    return {name: jnp.zeros(lead, jnp.float32) for name in (*report, "grad_norm")}
