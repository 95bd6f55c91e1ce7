"""`train`: many SAEs in one compiled program, from seeds to finalized weights and a history."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict, Unpack

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from synthsae_jax.errors import require, unknown_name
from synthsae_jax.modes import fixed
from synthsae_jax.saes import SAE, SAEParams
from synthsae_jax.training.batches import Data, Streams, data_of
from synthsae_jax.training.chunks import joined, offset, part_of, stretches
from synthsae_jax.training.config import TrainConfig
from synthsae_jax.training.layout import layout_of, runs_at_once
from synthsae_jax.training.program import (
    Finished,
    Program,
    chunk,
    estimated_scale,
    finished,
    revival_of,
    revived,
    start,
)
from synthsae_jax.training.runs import (
    PerRun,
    check_resampling,
    data_streams,
    numbers_of_runs,
    seeds_of_runs,
    steered_penalty,
)
from synthsae_jax.training.step import Numbers, RunState, StepRule
from synthsae_jax.worlds.inputs import program_inputs, raise_on_lost
from synthsae_jax.worlds.records import Instance, World

Array = jax.Array
Progress = Callable[[int, int, dict[str, np.ndarray]], None]


@dataclasses.dataclass(frozen=True)
class TrainResult:
    """Trained runs, stacked: axes [R], or [I, R] where instances were stacked."""

    sae: SAE
    config: TrainConfig
    params: SAEParams  # finalized: for the inference rule
    state: RunState  # as training left it: raw weights, optimiser, running averages
    hyper: Any  # each run's numbers as its weights need them; a steered penalty is the last one
    history: dict[str, np.ndarray]  # name -> [..., points]; "step" is [points]
    status: np.ndarray  # "ok" or "diverged" per run
    init_seeds: np.ndarray
    data_seeds: np.ndarray
    # one per stream, [] to [I, R]: inputs were multiplied by it; folded back since
    input_scale: np.ndarray
    snapshots: list[SAEParams]  # finalized weights after each step of `config.snapshots`


class TrainOptions(TypedDict, total=False):
    """What `train` takes besides its subject and its seeds, by name; it says what each is."""

    hyper: Any
    lr: float | Sequence[float] | np.ndarray | None
    target_l0: float | Sequence[float] | np.ndarray | None
    weights: SAEParams | None
    frozen: Mapping[str, bool | np.ndarray] | None
    products: str
    at_once: int | None
    progress: Progress | None


@fixed
def train(
    world: World,
    instance: Instance,
    sae: SAE,
    config: TrainConfig,
    init_seeds: Sequence[int] | Sequence[Sequence[int]] | np.ndarray = (0,),
    data_seed: int | Sequence[int] | Sequence[Sequence[int]] | np.ndarray = 0,
    **options: Unpack[TrainOptions],
) -> TrainResult:
    """Train one run per init seed, on one instance or on each of a stack of instances.

    - `instance` (and `world`) may carry a leading axis I (`worlds.stack`): all I x R runs are one
      program with axes [I, R]. One world may serve all instances.
    - `init_seeds`: R of them for every instance, or an array [I, R].
    - `data_seed`: one number (all instances read the same parent codes), one per stacked instance
      [I], or one per run ([R] on a single instance, [I, R] on stacked ones), which draws every
      run's batches anew.
    - `hyper`: the SAE's record with any leaf an array of shape [R] or [I, R]; `lr` and
      `target_l0` likewise, None takes the config's. They are traced: other values do not compile
      again.
    - `weights`: what the runs begin with, raw, with axes [R] or [I, R]; None draws them from the
      init seeds. A k-sparse SAE's finalized weights serve where their decoder rows have norm 1.
    - `frozen`: weights by name that runs leave as they begin, each one bool or an array [R] or
      [I, R]: their gradient is 0. What an architecture does to weights after an update, it still
      does.
    - `products`: "sparse" computes a k-sparse SAE's loss and gradients from its active latents
      alone, "dense" from all; "auto" takes what is faster here for the largest k of all runs. The
      numbers agree but for rounding.
    - `at_once`: the most runs of each instance in memory together; None takes what there is. More
      are trained in stretches, which read the same data again and change no bit of a run.
    - `progress(done, total, report)` is called between chunks of steps; report is the chunk's row
      of the history, [I, R].

    A run that diverges has status "diverged" and takes nobody with it. Raises `ConfigError` where
    sizes do not fit, a number is out of range, or a sample has more active features than the world
    has slots.
    """
    for name in options:
        if name not in TrainOptions.__annotations__:
            raise unknown_name("option of train", name, TrainOptions.__annotations__)
    world, instance, stacked = program_inputs(world, instance)
    n_instances, _, dim = instance.dictionary.shape
    require(sae.d_in == dim, f"The SAE has d_in={sae.d_in}, the instance hidden_dim={dim}.")
    seeds = seeds_of_runs("init_seeds", init_seeds, n_instances)
    n_runs = seeds.shape[1]
    data_seeds, own_streams = data_streams(data_seed, n_instances, n_runs, stacked)
    per_run = PerRun(**{n: v for n, v in options.items() if n in vars(PerRun())})
    numbers = numbers_of_runs(config, sae, seeds, per_run)
    at_once = options.get("at_once")
    require(at_once is None or at_once >= 1, f"at_once must be at least 1, got {at_once}.")
    sae = sae.with_options(dtype=config.dtype) if config.dtype != "float32" else sae
    penalty = steered_penalty(config, sae, per_run.target_l0, numbers.hyper)
    check_resampling(config, sae)
    layout = layout_of(sae, numbers, options.get("products", "auto"))
    adam = (config.adam_b1, config.adam_b2, config.adam_eps)
    world_stacked = world.probabilities.ndim == 2
    # codes of equal seeds are drawn once for all instances
    same_codes = not (own_streams or world_stacked) and len(set(data_seeds.tolist())) == 1
    program = Program(
        StepRule(sae.static, *adam, config.lr_decay, penalty, layout.capacity),
        Streams(config.batch_size, own_streams, world_stacked, same_codes),
        scaled=config.normalize_activations != "none",
        revival=revival_of(config, layout.capacity is not None),
        in_turn=layout.in_turn,
    )
    weights = per_run.weights and _with_axes(per_run.weights, sae, seeds.shape)
    job = _Job(program, config, world, instance, numbers, data_seeds, weights)
    most = at_once or runs_at_once(sae, config.batch_size, n_instances)
    trained = _in_stretches(job, most, options.get("progress"))
    return _result(job, trained, sae, seeds, stacked)


@dataclasses.dataclass(frozen=True)
class _Job:
    """A training whose inputs fit each other; axes [I, R]."""

    program: Program
    config: TrainConfig
    world: World
    instance: Instance
    numbers: Numbers
    data_seeds: np.ndarray  # [I], or [I, R] where every run has a stream of its own
    weights: SAEParams | None

    def of_runs(self, some: slice) -> _Job:
        """The same for some of the runs."""
        numbers, weights = part_of((self.numbers, self.weights), some)
        own_streams = self.program.streams.own
        data_seeds = part_of(self.data_seeds, some) if own_streams else self.data_seeds
        return dataclasses.replace(self, numbers=numbers, weights=weights, data_seeds=data_seeds)


@struct.dataclass
class _Trained:
    """What a job leaves; axes [I, R], but for `scale`, one per stream."""

    final: Finished
    state: RunState
    history: dict[str, np.ndarray]
    snapshots: list[SAEParams]
    scale: np.ndarray


def _in_stretches(job: _Job, most: int, progress: Progress | None) -> _Trained:
    """The job, of at most so many runs of each instance at a time."""
    n_steps = job.config.n_steps
    parts = stretches(job.numbers.init_seed.shape[1], most)
    if len(parts) == 1:
        return _trained(job, progress)
    done = []
    for i, some in enumerate(parts):
        counted = offset(progress, i * n_steps, len(parts) * n_steps)
        # on the host, or nothing would be gained
        done.append(jax.tree.map(np.asarray, _trained(job.of_runs(some), counted)))
    return joined(done)


def _trained(job: _Job, progress: Progress | None) -> _Trained:
    """All runs of a job at once."""
    program, config = job.program, job.config
    seeds = jnp.asarray(job.data_seeds)
    ones = jnp.ones(seeds.shape, jnp.float32)
    data = data_of(program.streams, job.world, job.instance, job.numbers, seeds, ones)
    if program.scaled:
        n_batches = jnp.int32(min(config.n_batches_for_norm_estimate, config.n_steps))
        data = data.replace(scale=estimated_scale(program, data, n_batches))
    state = start(program, data.numbers.init_seed, data.numbers.hyper, data.n_runs)
    if job.weights is not None:
        state = state.replace(params=jax.tree.map(jnp.asarray, job.weights))
    state, history, snapshots = _loop(program, config, data, state, progress)
    final = finished(program, state, data)
    state = state.replace(params=final.raw, carried=final.carried)
    return _Trained(final, state, history, snapshots, np.asarray(data.scale))


def _result(
    job: _Job, trained: _Trained, sae: SAE, init_seeds: np.ndarray, stacked: bool
) -> TrainResult:
    """With the axes that the user gave: without the one of instances where there was none."""
    by_user = lambda tree: tree if stacked else jax.tree.map(lambda leaf: leaf[0], tree)
    finite = np.asarray(trained.final.finite) & ~np.asarray(trained.state.diverged)
    data_seeds = job.data_seeds
    if not job.program.streams.own:
        data_seeds = np.broadcast_to(data_seeds[:, None], finite.shape)
    steps = {"step": trained.history["step"]}
    rows = {name: rows for name, rows in trained.history.items() if name != "step"}
    return TrainResult(
        sae=sae,
        config=job.config,
        params=by_user(trained.final.params),
        state=by_user(trained.state),
        hyper=by_user(trained.final.hyper),
        history=steps | by_user(rows),
        status=by_user(np.where(finite, "ok", "diverged")),
        init_seeds=by_user(init_seeds),
        data_seeds=by_user(data_seeds),
        input_scale=by_user(trained.scale),
        snapshots=by_user(trained.snapshots),
    )


def _with_axes(weights: SAEParams, sae: SAE, shape: tuple[int, ...]) -> SAEParams:
    """Weights with axes [I, R], from [R] or [I, R]; float32 on the host."""
    of_one = (sae.d_sae, sae.d_in)
    given_shape = () if weights.W_dec is None else np.shape(weights.W_dec)
    require(
        given_shape in (shape + of_one, shape[1:] + of_one),
        f"weights must have axes [R] or [I, R] = {list(shape)} before the SAE's {list(of_one)}, "
        f"got W_dec {list(given_shape)}.",
    )
    without_instances = len(given_shape) == 3

    def with_axes(leaf):
        leaf = np.asarray(leaf, np.float32)
        return np.broadcast_to(leaf, (shape[0], *leaf.shape)) if without_instances else leaf

    return jax.tree.map(with_axes, weights)


def _loop(
    program: Program,
    config: TrainConfig,
    data: Data,
    state: RunState,
    progress: Progress | None,
) -> tuple[RunState, dict[str, np.ndarray], list[SAEParams]]:
    """All steps in chunks: the state, the history, and the weights kept on the way."""
    n_steps = config.n_steps
    size = max(1, -(-n_steps // config.history_points))
    reported = [*range(size, n_steps, size), n_steps]
    resample = set(config.resample_steps())
    keep = set(config.snapshots)
    snapshots = [finished(program, state, data).params] if 0 in keep else []
    rows: list[dict[str, np.ndarray]] = []
    pending: list[tuple[int, dict[str, np.ndarray]]] = []
    first = 0
    for end in sorted({*reported, *resample, *(keep - {0})}):
        count = end - first
        state, report, overflow = chunk(program, data, jnp.int32(first), state, jnp.int32(count))
        report = jax.tree.map(np.asarray, report)
        raise_on_lost(int(overflow), data.world, "training")
        pending.append((count, report))
        first = end
        if end in resample:
            state = revived(program, state, data, jnp.int32(end))
        if end in keep:
            snapshots.append(finished(program, state, data).params)
        if end in reported:
            rows.append(_mean(pending))
            pending = []
        if progress is not None:
            progress(end, n_steps, report)
    history = {k: np.stack([row[k] for row in rows], axis=-1) for k in rows[0]}
    return state, {"step": np.array(reported), **history}, snapshots


def _mean(parts: list[tuple[int, dict[str, np.ndarray]]]) -> dict[str, np.ndarray]:
    """The mean report over some stretches of steps."""
    if len(parts) == 1:
        return parts[0][1]
    counts = [count for count, _ in parts]
    return {k: np.average([part[k] for _, part in parts], 0, counts) for k in parts[0][1]}
