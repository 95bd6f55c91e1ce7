"""What each run of a program gets: seeds and numbers, checked and spread over the axes [I, R]."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from synthsae_jax.errors import ConfigError, require, unknown_name
from synthsae_jax.saes import SAE, SAEParams, architectures
from synthsae_jax.saes.records import LATENT_AXES, Architecture
from synthsae_jax.training.config import TrainConfig
from synthsae_jax.training.schedules import Ramp, Schedule
from synthsae_jax.training.step import Numbers
from synthsae_jax.worlds.inputs import whole_seeds


@dataclasses.dataclass(frozen=True)
class PerRun:
    """What runs may differ in besides their seeds, as `train` takes it; None: all are alike."""

    hyper: Any = None
    lr: Any = None
    target_l0: Any = None
    weights: SAEParams | None = None
    frozen: Mapping[str, Any] | None = None


_ALIKE = PerRun()


def seeds_of_runs(
    name: str, values: Any, n_instances: int, n_runs: int | None = None
) -> np.ndarray:
    """Seeds [I, R] from [R] or [I, R]; `name` is what an error calls them."""
    seeds = np.atleast_1d(whole_seeds(name, values))
    if seeds.ndim == 1:
        seeds = np.broadcast_to(seeds, (n_instances, seeds.size))
    fits = seeds.ndim == 2 and seeds.shape[0] == n_instances and seeds.size > 0
    require(
        fits and (n_runs is None or seeds.shape[1] == n_runs),
        f"{name} must have shape [R] or [I, R] = [{n_instances}, {n_runs or 'R'}], got "
        f"{list(np.shape(values))}.",
    )
    return seeds


def data_streams(
    values: Any, n_instances: int, n_runs: int, stacked: bool
) -> tuple[np.ndarray, bool]:
    """Data seeds [I] (shared by the runs of an instance) or [I, R] (own streams), and which."""
    seeds = whole_seeds("data_seed", values)
    if seeds.ndim == 0:
        return np.full(n_instances, seeds), False
    if seeds.ndim == 1 and stacked:
        require(
            seeds.size == n_instances,
            f"data_seed must be one number, one per instance [{n_instances}] or one per run "
            f"[{n_instances}, {n_runs}], got {list(seeds.shape)}.",
        )
        return seeds, False
    return seeds_of_runs("data_seed", values, n_instances, n_runs), True


def registered(sae: SAE) -> Architecture | None:
    """The architecture that an SAE, or the one it refines, was built from; None: it is wrapped."""
    name = sae.name.partition("+")[0]
    exists = name in architectures
    return architectures[name] if exists else None


def steered_penalty(
    config: TrainConfig, sae: SAE, target_l0: Any = None, hyper: Any = None
) -> str | None:
    """The number that matched L0 steers, None where it is off. Raises where there is none.

    `hyper` are the runs' numbers, None those of the SAE.
    """
    if config.target_l0 is None and target_l0 is None:
        return None
    penalties = {name: architectures[name].penalty for name in architectures.names()}
    entry = registered(sae)
    penalty = entry.penalty if entry else None
    if penalty is None:
        steerable = ", ".join(name for name, number in penalties.items() if number)
        raise ConfigError(
            f"target_l0 steers a penalty, and SAE {sae.name!r} has none: set its k. With one: "
            f"{steerable}."
        )
    require(
        all(ramp.name != penalty for ramp in config.anneal),
        f"{penalty} cannot be annealed and steered to a target L0 at once.",
    )
    start = np.asarray(getattr(sae.hyper if hyper is None else hyper, penalty))
    require(
        bool(np.all(start > 0)),
        f"{penalty} must be positive where it is steered to a target L0 (the steering multiplies "
        f"it), got {start.min()}.",
    )
    require(
        getattr(sae.options, "jumprelu_sparsity_loss_mode", "step") != "quadratic",
        "jumprelu_sparsity_loss_mode 'quadratic' pulls L0 to its own target_l0 and cannot be "
        "steered; give the target to the SAE, or take mode 'step' or 'tanh'.",
    )
    return penalty


def check_resampling(config: TrainConfig, sae: SAE) -> None:
    """Raise where dead latents are to start again and some of their weights cannot be set."""
    entry = registered(sae)
    if config.resample_every is None or entry is None:
        return
    fixed = [n for n in entry.frozen(sae.options) if LATENT_AXES.get(n) is not None]
    require(
        not fixed,
        f"TrainConfig.resample_every sets decoder rows, encoders and their biases; SAE "
        f"{sae.name!r} keeps {', '.join(fixed)} fixed.",
    )


def _ramps(config: TrainConfig, sae: SAE, shape: tuple[int, ...]) -> dict[str, Ramp]:
    entry = registered(sae)
    initial = entry.initial if entry else ()
    allowed = [n for n, v in vars(sae.hyper).items() if v is not None and n not in initial]
    for ramp in config.anneal:
        if ramp.name not in allowed:
            raise unknown_name(f"number of SAE {sae.name!r} to anneal", ramp.name, allowed)
    return {
        a.name: Ramp(
            start=_spread(a.start, shape, np.float32),
            steps=_spread(a.steps or config.n_steps, shape, np.int32),
        )
        for a in config.anneal
    }


def numbers_of_runs(
    config: TrainConfig, sae: SAE, init_seeds: np.ndarray, per_run: PerRun = _ALIKE
) -> Numbers:
    """The traced numbers of all runs [I, R]; None takes `hyper` from the SAE, else from config."""
    shape, hyper = init_seeds.shape, per_run.hyper
    defaults, record = jax.tree.flatten(sae.hyper)
    try:
        values = defaults if hyper is None else record.flatten_up_to(hyper)
    except ValueError:
        raise ConfigError(
            f"hyper must be the record of SAE {sae.name!r} with other numbers, "
            f"{type(sae.hyper).__name__}({', '.join(vars(sae.hyper))}); got "
            f"{' '.join(repr(hyper).split()):.200}."
        ) from None
    # in the types that `build` gives them, so that a list of whole numbers does not compile again
    leaves = [_spread(value, shape, like.dtype) for value, like in zip(values, defaults)]
    hyper = record.unflatten(leaves)
    ramps = _ramps(config, sae, shape)
    entry = registered(sae)
    if entry is not None:  # a wrapped SAE has no numbers
        for run in np.ndindex(shape):
            of_run = jax.tree.map(lambda leaf, run=run: leaf[run], hyper)
            starts = {ramp.name: ramp.start for ramp in config.anneal}
            entry.check(sae.options, of_run)
            entry.check(sae.options, of_run.replace(**starts))
    lr = _spread(config.lr if per_run.lr is None else per_run.lr, shape, np.float32)
    require(bool(np.all(lr > 0)), f"lr must be > 0 for every run, got {lr.min()}.")
    target = config.target_l0 if per_run.target_l0 is None else per_run.target_l0
    target = _spread(1.0 if target is None else target, shape, np.float32)
    require(
        bool(np.all((target > 0) & (target <= sae.d_sae))),
        f"target_l0 must lie in 0..d_sae={sae.d_sae} for every run, got {target.min()} to "
        f"{target.max()}.",
    )
    clip = np.inf if config.grad_clip is None else config.grad_clip
    schedule = Schedule(
        lr=lr,
        end=_spread(config.lr_end, shape, np.float32),
        warm_up=_spread(config.lr_warm_up_steps, shape, np.int32),
        decay=_spread(config.lr_decay_steps, shape, np.int32),
        n_steps=_spread(config.n_steps, shape, np.int32),
    )
    numbers = Numbers(
        schedule=schedule,
        dead_window=_spread(config.dead_window, shape, np.int32),
        grad_clip=_spread(clip, shape, np.float32),
        init_seed=init_seeds,
        hyper=hyper,
        ramps=ramps,
        target_l0=target,
        frozen=_frozen(config, sae, shape, per_run.frozen or {}),
    )
    return jax.tree.map(jnp.asarray, numbers)


def _frozen(
    config: TrainConfig, sae: SAE, shape: tuple[int, ...], frozen: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """Which runs leave a weight as it is, bool [I, R] by name."""
    weights = vars(jax.eval_shape(sae.init, jax.random.key(0)))
    allowed = [name for name, leaf in weights.items() if hasattr(leaf, "shape")]
    for name in frozen:
        if name not in allowed:
            raise unknown_name(f"weight of SAE {sae.name!r} to freeze", name, allowed)
    require(
        not frozen or config.resample_every is None,
        "TrainConfig.resample_every sets decoder rows, encoders and their biases; with frozen "
        "weights leave it out.",
    )
    return {name: _spread(stays, shape, np.bool_) for name, stays in frozen.items()}


def _spread(value: Any, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    raw = np.asarray(value)
    try:
        values = np.broadcast_to(raw.astype(dtype), shape)
    except (TypeError, ValueError):
        raise ConfigError(
            f"hyper, lr and frozen take one value or an array of shape [R] or [I, R] = "
            f"{list(shape)}, got {list(raw.shape)}."
        ) from None
    if values.dtype.kind == "i":
        cut = np.broadcast_to(raw, shape)[values != raw].tolist()
        require(
            not cut, f"a whole number is needed for each run, got {', '.join(map(str, cut[:1]))}."
        )
    return values
