"""Streamed evaluation: every metric of SynthSAEBench for one run, or for all runs of a program.

Evaluation samples come from a stream that training never sees. Runs of one instance are scored on
the same samples; each gets the numbers that it would get alone.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from synthsae_jax import keys
from synthsae_jax.errors import ConfigError, check_choice, require
from synthsae_jax.metrics.reconstruction import ActivitySums, ReconstructionSums
from synthsae_jax.metrics.recovery import ClassificationCounts, latent_targets, mcc, uniqueness
from synthsae_jax.worlds.codes import densify
from synthsae_jax.worlds.records import Codes, Instance, World
from synthsae_jax.worlds.stream import draw

Array = jax.Array

RULES = ("inference", "train")
METRICS = (
    "mcc",
    "uniqueness",
    "precision",
    "recall",
    "f1",
    "accuracy",
    "explained_variance",
    "shrinkage",
    "dead_latents",
    "l0",
    "true_l0",
)


@struct.dataclass
class Sums:
    """What one pass over the samples leaves of a run."""

    reconstruction: ReconstructionSums
    activity: ActivitySums
    detection: ClassificationCounts
    truth: ActivitySums

    def merge(self, other: Sums) -> Sums:
        """The sums of both sets of samples."""
        return Sums(
            reconstruction=self.reconstruction.merge(other.reconstruction),
            activity=self.activity.merge(other.activity),
            detection=self.detection.merge(other.detection),
            truth=self.truth.merge(other.truth),
        )


@dataclasses.dataclass(frozen=True)
class Reconstructor:
    """Which code turns a batch into latents and a reconstruction: part of the compiled program."""

    sae: Any
    rule: str

    def __call__(self, run: Any, codes: Codes, x: Array) -> tuple[Array, Array]:
        params, hyper, state = run
        if self.rule == "train":
            latents = self.sae.train_encode(params, x, hyper=hyper, state=state)
        else:
            latents = self.sae.encode(params, x, hyper=hyper)
        return latents, self.sae.decode(params, latents)


def evaluate(
    world: World,
    instance: Instance,
    sae: Any,
    params: Any,
    n_samples: int = 100_000,
    seed: int = 0,
    *,
    hyper: Any = None,
    state: Any = None,
    rule: str = "inference",
    batch_size: int = 1024,
) -> dict[str, float]:
    """All of SynthSAEBench's metrics of one SAE on one instance, as floats (see `METRICS`).

    `rule="inference"` takes finalized params; `rule="train"` takes raw ones and ranks over each
    evaluation batch where the architecture does, as SAELens evaluates BatchTopK. Whole batches are
    drawn, so `n_eval` may exceed `n_samples` by less than one batch. Recovery is measured against
    the features the instance has. A metric is NaN where it is undefined.
    """
    one = lambda leaf: jnp.asarray(leaf)[None]
    runs = jax.tree.map(one, (params, sae.hyper if hyper is None else hyper, state))
    found = evaluate_runs(
        world, instance, sae, runs, n_samples, seed, rule=rule, batch_size=batch_size
    )
    return {name: float(values[0]) for name, values in found.items()}


def evaluate_runs(
    world: World,
    instance: Instance,
    sae: Any,
    runs: tuple[Any, Any, Any],
    n_samples: int,
    seed: int | np.ndarray,
    *,
    rule: str = "inference",
    batch_size: int = 1024,
) -> dict[str, np.ndarray]:
    """As `evaluate` for many runs, `runs = (params, hyper, state)` with axes [R] or [I, R].

    Axes [I, R] go with stacked instances (and one world or as many); `seed` may be one number or
    one per instance. Returns arrays of the same axes.
    """
    check_choice("rule", rule, RULES)
    w_dec = np.asarray(runs[0].W_dec)
    sums = stream_sums(
        Reconstructor(getattr(sae, "static", sae), rule),
        world,
        instance,
        runs,
        runs[0].W_dec,
        n_samples,
        seed,
        batch_size,
    )
    return {**finish(sums), **directions(w_dec, instance)}


def stream_sums(
    reconstruct: Callable,
    world: World,
    instance: Instance,
    runs: Any,
    w_dec: Array,
    n_samples: int,
    seed: int | np.ndarray,
    batch_size: int,
) -> Sums:
    """One pass over the evaluation stream. Axes [R] or [I, R] as in `evaluate_runs`."""
    require(n_samples >= 1, f"n_samples must be >= 1, got {n_samples}.")
    stacked = instance.dictionary.ndim == 3
    if not stacked:
        add = lambda leaf: jnp.asarray(leaf)[None]
        instance, runs, w_dec = jax.tree.map(add, (instance, runs, w_dec))
    n_instances = instance.dictionary.shape[0]
    batch_size = min(batch_size, n_samples)
    n_batches = math.ceil(n_samples / batch_size)
    seeds = np.asarray(seed)
    if world.probabilities.ndim == 2 and seeds.ndim == 0:
        seeds = np.full(n_instances, seeds)
    targets = jax.vmap(jax.vmap(_targets, in_axes=(0, None)))(w_dec, instance)
    sums, overflow = _pass(
        reconstruct,
        batch_size,
        world.probabilities.ndim == 2,
        world,
        instance,
        runs,
        targets,
        jnp.asarray(seeds),
        jnp.int32(n_batches),
    )
    if int(overflow):
        raise ConfigError(
            f"{int(overflow)} evaluation samples had more active features than the world's slots "
            f"{world.slots} hold; build the world with slots about half as large again."
        )
    return sums if stacked else jax.tree.map(lambda leaf: leaf[0], sums)


def finish(sums: Sums) -> dict[str, np.ndarray]:
    """Metrics from sums, in float64 on the host; leading axes stay."""
    truth = sums.truth.finish()["l0"]
    return {
        **sums.detection.finish(),
        **sums.reconstruction.finish(),
        **sums.activity.finish(),
        "true_l0": np.asarray(truth),
        "n_eval": np.asarray(sums.truth.n, np.float64),
    }


def directions(w_dec: np.ndarray, instance: Instance) -> dict[str, np.ndarray]:
    """mcc and uniqueness of decoders [..., L, D] against the features each instance has."""
    shape = w_dec.shape[:-2]
    stacked = instance.dictionary.ndim == 3
    found = {"mcc": np.empty(shape), "uniqueness": np.empty(shape)}
    for index in np.ndindex(*shape):
        dictionary, present = instance.dictionary, instance.present
        if stacked:
            dictionary, present = dictionary[index[0]], present[index[0]]
        features = np.asarray(dictionary)[np.asarray(present)]
        found["mcc"][index] = mcc(w_dec[index], features)
        found["uniqueness"][index] = uniqueness(w_dec[index], features)
    return found


def _targets(w_dec: Array, instance: Instance) -> Array:
    # an absent feature is zeroed, and a zero row has cosine 0 with everything
    return latent_targets(w_dec, instance.dictionary * instance.present[:, None])


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _pass(
    reconstruct: Callable,
    batch_size: int,
    world_stacked: bool,
    world: World,
    instance: Instance,
    runs: Any,
    targets: Array,
    seeds: Array,
    n_batches: Array,
) -> tuple[Sums, Array]:
    def batch(world, instance, seed, step):
        key = jax.random.fold_in(keys.data_key(seed, "evaluate"), step)
        return draw(key, world, instance, batch_size)

    def of_run(codes, acts, x, run, target):
        latents, x_hat = reconstruct(run, codes, x)
        return Sums(
            reconstruction=ReconstructionSums.of(x, x_hat),
            activity=ActivitySums.of(latents),
            detection=ClassificationCounts.init(target).update(latents, acts),
            truth=ActivitySums.of(codes.values),
        )

    def of_instance(codes, x, runs, targets):
        acts = densify(codes, instance.dictionary.shape[-2])
        return jax.vmap(of_run, in_axes=(None, None, None, 0, 0))(codes, acts, x, runs, targets)

    axes = (0 if world_stacked else None, 0, None if seeds.ndim == 0 else 0, None)
    batches = jax.vmap(batch, in_axes=axes)

    def step(i):
        codes, x = batches(world, instance, seeds, i)
        return jax.vmap(of_instance)(codes, x, runs, targets), jnp.sum(codes.overflow)

    merge = jax.vmap(jax.vmap(Sums.merge))

    def body(i, carry):
        sums, overflow = carry
        new, lost = step(i)
        return merge(sums, new), overflow + lost

    return jax.lax.fori_loop(1, n_batches, body, step(0))
