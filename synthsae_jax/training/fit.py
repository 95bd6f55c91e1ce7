"""`train`: many SAEs in one compiled program, from seeds to finalized weights and a history."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from synthsae_jax.errors import require
from synthsae_jax.saes import SAE, SAEParams
from synthsae_jax.training.batches import Data, Streams, data_of
from synthsae_jax.training.chunks import joined, offset, part_of, stretches
from synthsae_jax.training.config import TrainConfig
from synthsae_jax.training.layout import layout_of, runs_at_once
from synthsae_jax.training.program import (
    Program,
    chunk,
    estimated_scale,
    finished,
    revival_of,
    revived,
    start,
)
from synthsae_jax.training.runs import (
    check_resampling,
    data_streams,
    numbers_of_runs,
    seeds_of_runs,
    steered_penalty,
)
from synthsae_jax.training.step import Recipe, RunState
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
    input_scale: (
        np.ndarray
    )  # one per stream, [] to [I, R]: inputs were multiplied by it; folded back since
    snapshots: list[SAEParams]  # finalized weights after each step of `config.snapshots`


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
    target_l0: float | np.ndarray | None = None,
    weights: SAEParams | None = None,
    frozen: Mapping[str, bool | np.ndarray] | None = None,
    products: str = "auto",
    at_once: int | None = None,
    progress: Progress | None = None,
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
      alone, "dense" from all; "auto" takes what is faster here. The numbers agree but for rounding.
    - `at_once`: the most runs of each instance in memory together; None takes what there is. More
      are trained in stretches, which read the same data again.
    - `progress(done, total, report)` is called between chunks of steps; report is the chunk's row
      of the history, [I, R].

    A run that diverges has status "diverged" and takes nobody with it. Raises `ConfigError` where
    sizes do not fit, a number is out of range, or a sample has more active features than the world
    has slots.
    """
    given = (world, instance, sae, config)
    world, instance, stacked = program_inputs(world, instance)
    n_instances, _, dim = instance.dictionary.shape
    require(sae.d_in == dim, f"The SAE has d_in={sae.d_in}, the instance hidden_dim={dim}.")
    init_seeds = seeds_of_runs("init_seeds", init_seeds, n_instances)
    n_runs = init_seeds.shape[1]
    data_seeds, own_streams = data_streams(data_seed, n_instances, n_runs, stacked)
    numbers = numbers_of_runs(config, sae, init_seeds, hyper, lr, target_l0, frozen)
    require(at_once is None or at_once >= 1, f"at_once must be at least 1, got {at_once}.")
    most = at_once or runs_at_once(sae, config.batch_size, n_instances)
    if n_runs > most:
        squeeze = (lambda a: a) if stacked else (lambda a: a[0])
        by_run = {"init_seeds": init_seeds, "hyper": numbers.hyper, "lr": numbers.lr}
        by_run |= {"data_seed": data_seeds} if own_streams else {}
        by_run |= {} if target_l0 is None else {"target_l0": numbers.target_l0}
        by_run |= {"frozen": numbers.frozen} if frozen else {}
        if weights is not None:
            by_run["weights"] = _placed(weights, sae, init_seeds.shape)
        others = {"products": products, "at_once": most}
        others |= {} if own_streams else {"data_seed": data_seed}
        return _in_stretches(given, jax.tree.map(squeeze, by_run), others, progress)

    sae = sae.with_options(dtype=config.dtype) if config.dtype != "float32" else sae
    penalty = steered_penalty(config, sae, target_l0, numbers.hyper)
    layout = layout_of(sae, numbers, products)
    adam = (config.adam_b1, config.adam_b2, config.adam_eps)
    world_stacked = world.probabilities.ndim == 2
    # codes of equal seeds are drawn once for all instances
    same_codes = not (own_streams or world_stacked) and len(set(data_seeds.tolist())) == 1
    streams = Streams(config.batch_size, own_streams, world_stacked, same_codes)
    program = Program(
        sae.static,
        Recipe(*adam, config.lr_decay, penalty, layout.capacity),
        streams,
        scaled=config.normalize_activations != "none",
        revival=revival_of(config, layout.capacity is not None),
        in_turn=layout.in_turn,
    )
    check_resampling(config, sae)
    scale = jnp.ones(data_seeds.shape)  # one per stream
    data = data_of(streams, world, instance, numbers, jnp.asarray(data_seeds), scale)
    if program.scaled:
        n_batches = jnp.int32(min(config.n_batches_for_norm_estimate, config.n_steps))
        scale = estimated_scale(program, data, n_batches)
        data = data.replace(scale=scale)
    state = start(program, jnp.asarray(init_seeds), numbers.hyper, data.n_runs)
    if weights is not None:
        state = state.replace(params=_placed(weights, sae, init_seeds.shape))
    state, history, kept = _loop(program, config, data, state, progress)

    final = finished(program, state, data)
    state = state.replace(params=final.raw, carried=final.carried)
    status = np.where(np.asarray(final.finite & ~state.diverged), "ok", "diverged")
    shared = data_seeds if own_streams else np.broadcast_to(data_seeds[:, None], status.shape)
    squeeze = (lambda a: a) if stacked else (lambda a: a[0])
    return TrainResult(
        sae=sae,
        config=config,
        params=jax.tree.map(squeeze, final.params),
        state=jax.tree.map(squeeze, state),
        hyper=jax.tree.map(squeeze, final.hyper),
        history={k: v if k == "step" else squeeze(v) for k, v in history.items()},
        status=squeeze(status),
        init_seeds=squeeze(init_seeds),
        data_seeds=squeeze(shared),
        input_scale=np.asarray(squeeze(scale)),
        snapshots=[jax.tree.map(squeeze, params) for params in kept],
    )


def _placed(weights: SAEParams, sae: SAE, shape: tuple[int, ...]) -> SAEParams:
    """Weights with axes [I, R], from [R] or [I, R]."""
    own = (sae.d_sae, sae.d_in)
    given = () if weights.W_dec is None else np.shape(weights.W_dec)
    require(
        given in (shape + own, shape[1:] + own),
        f"weights must have axes [R] or [I, R] = {list(shape)} before the SAE's {list(own)}, "
        f"got W_dec {list(given)}.",
    )
    alone = len(given) == 3
    place = lambda leaf: jnp.asarray(leaf, jnp.float32)
    spread = lambda leaf: jnp.broadcast_to(leaf[None], (shape[0], *leaf.shape)) if alone else leaf
    return jax.tree.map(lambda leaf: spread(place(leaf)), weights)


def _in_stretches(
    given: tuple[World, Instance, SAE, TrainConfig],
    by_run: dict[str, Any],
    others: dict[str, Any],
    progress: Progress | None,
) -> TrainResult:
    """`train` of at most so many runs at a time; `by_run` are its arguments `[R]` or `[I, R]`."""
    shape = by_run["init_seeds"].shape
    axis = len(shape) - 1
    parts = stretches(shape[-1], others["at_once"])
    results = [
        train(
            *given,
            **part_of(by_run, some, axis),
            **others,
            progress=offset(progress, i * given[3].n_steps, len(parts) * given[3].n_steps),
        )
        for i, some in enumerate(parts)
    ]
    names = ["params", "state", "hyper", "status", "init_seeds", "data_seeds", "snapshots"]
    names += ["input_scale"] if "data_seed" in by_run else []
    fields = {name: joined([getattr(part, name) for part in results], axis) for name in names}
    history = {
        name: rows if name == "step" else joined([part.history[name] for part in results], axis)
        for name, rows in results[0].history.items()
    }
    return dataclasses.replace(results[0], history=history, **fields)


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
    told = [*range(size, n_steps, size), n_steps]
    resample = set(config.resample_steps())
    keep = set(config.snapshots)
    kept = [finished(program, state, data).params] if 0 in keep else []
    rows: list[dict[str, np.ndarray]] = []
    pending: list[tuple[int, dict[str, np.ndarray]]] = []
    first = 0
    for end in sorted({*told, *resample, *(keep - {0})}):
        count = end - first
        state, report, overflow = chunk(program, data, jnp.int32(first), state, jnp.int32(count))
        report = jax.tree.map(np.asarray, report)
        raise_on_lost(int(overflow), data.world, "training")
        pending.append((count, report))
        first = end
        if end in resample:
            state = revived(program, state, data, jnp.int32(end))
        if end in keep:
            kept.append(finished(program, state, data).params)
        if end in told:
            rows.append(_mean(pending))
            pending = []
        if progress is not None:
            progress(end, n_steps, report)
    history = {k: np.stack([row[k] for row in rows], axis=-1) for k in rows[0]}
    return state, {"step": np.array(told), **history}, kept


def _mean(parts: list[tuple[int, dict[str, np.ndarray]]]) -> dict[str, np.ndarray]:
    """The mean report over some stretches of steps."""
    if len(parts) == 1:
        return parts[0][1]
    counts = [count for count, _ in parts]
    return {k: np.average([part[k] for _, part in parts], 0, counts) for k in parts[0][1]}
