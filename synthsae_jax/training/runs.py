"""What each run of a program gets: seeds and numbers, checked and spread over the axes [I, R]."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from synthsae_jax.errors import ConfigError, require
from synthsae_jax.saes import SAE, architectures
from synthsae_jax.training.config import TrainConfig
from synthsae_jax.training.step import Numbers
from synthsae_jax.worlds.inputs import whole_seeds


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


def numbers_of_runs(
    config: TrainConfig, sae: SAE, hyper: Any, lr: Any, init_seeds: np.ndarray
) -> Numbers:
    """The traced numbers of all runs [I, R]; None takes `hyper` from the SAE, `lr` from config."""
    shape = init_seeds.shape
    own, record = jax.tree.flatten(sae.hyper)
    try:
        given = own if hyper is None else record.flatten_up_to(hyper)
    except ValueError:
        raise ConfigError(
            f"hyper must be the record of SAE {sae.name!r} with other numbers, {sae.hyper}; got "
            f"{hyper}."
        ) from None
    # in the types that `build` gives them, so that a list of whole numbers does not compile again
    leaves = [_spread(value, shape, like.dtype) for value, like in zip(given, own)]
    hyper = record.unflatten(leaves)
    if sae.name in architectures:  # a wrapped SAE is in none, and has no numbers
        for run in np.ndindex(shape):
            of_run = jax.tree.map(lambda leaf, run=run: leaf[run], hyper)
            architectures[sae.name].check(sae.options, of_run)
    lr = _spread(config.lr if lr is None else lr, shape, np.float32)
    require(bool(np.all(lr > 0)), f"lr must be > 0 for every run, got {lr.min()}.")
    clip = np.inf if config.grad_clip is None else config.grad_clip
    numbers = Numbers(
        lr=lr,
        warm_up=_spread(config.lr_warm_up_steps, shape, np.int32),
        decay=_spread(config.lr_decay_steps, shape, np.int32),
        n_steps=_spread(config.n_steps, shape, np.int32),
        dead_window=_spread(config.dead_window, shape, np.int32),
        grad_clip=_spread(clip, shape, np.float32),
        init_seed=init_seeds,
        hyper=hyper,
    )
    return jax.tree.map(jnp.asarray, numbers)


def _spread(value: Any, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    given = np.asarray(value)
    try:
        values = np.broadcast_to(given.astype(dtype), shape)
    except (TypeError, ValueError):
        raise ConfigError(
            f"hyper and lr take numbers or arrays of shape [R] or [I, R] = {list(shape)}, got "
            f"{list(given.shape)}."
        ) from None
    require(
        values.dtype.kind != "i" or bool(np.all(values == given)),
        f"a whole number is needed for each run, got {value}.",
    )
    return values
