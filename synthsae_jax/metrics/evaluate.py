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
from synthsae_jax.errors import check_choice, require
from synthsae_jax.metrics.reconstruction import ActivitySums, ReconstructionSums
from synthsae_jax.metrics.recovery import WORD, ClassificationCounts, mcc_and_uniqueness
from synthsae_jax.modes import fixed
from synthsae_jax.numerics import at_least_float32, cosine_matrix, is_alive
from synthsae_jax.parallel import map_threads
from synthsae_jax.worlds.inputs import program_inputs, raise_on_lost, whole_seeds
from synthsae_jax.worlds.records import Codes, Instance, World
from synthsae_jax.worlds.stream import draw

Array = jax.Array

RULES = ("inference", "train")
PAIRING_BYTES = 4 * 10**9  # what pairings of several runs at a time may take
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
    detection: ClassificationCounts
    truth: ActivitySums

    def merge(self, other: Sums) -> Sums:
        """The sums of both sets of samples."""
        return Sums(
            reconstruction=self.reconstruction.merge(other.reconstruction),
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


@fixed
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
    the features the instance has. A metric is NaN where it is undefined; all of an SAE are whose
    reconstruction, or one of whose parameters, is not a number.
    """
    shape = np.shape(params.W_dec)
    require(
        len(shape) == 2,
        f"evaluate takes one SAE, W_dec [L, D], got {_shown(*shape)}; evaluate_runs takes many.",
    )
    one = lambda leaf: jnp.asarray(leaf)[None]
    runs = jax.tree.map(one, (params, hyper_of(sae, hyper), state))
    numbers = evaluate_runs(
        world, instance, sae, runs, n_samples, seed, rule=rule, batch_size=batch_size
    )
    return {name: float(values[0]) for name, values in numbers.items()}


@fixed
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
    # Half precision is a way to store: squares of float16 leave its range.
    runs = jax.tree.map(at_least_float32, runs)
    w_dec = runs[0].W_dec
    # Without its numbers, which are traced: as a static argument they would compile again with
    # every k.
    reconstruct = Reconstructor(getattr(sae, "static", sae), rule)
    sums = stream_sums(reconstruct, world, instance, runs, w_dec, n_samples, seed, batch_size)
    broken = ~whole(runs[0], w_dec.shape[:-2])
    return all_metrics(sums, np.asarray(w_dec), instance, broken)


def hyper_of(sae: Any, hyper: Any = None) -> Any:
    """An SAE's record of numbers, its own for None, in the types that `build` gives them.

    So that a Python number does not compile again.
    """
    if hyper is None:
        return sae.hyper
    return jax.tree.map(lambda default, value: np.asarray(value, default.dtype), sae.hyper, hyper)


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
    for name, size in (("n_samples", n_samples), ("batch_size", batch_size)):
        require(size >= 1, f"{name} must be >= 1, got {size}.")
    world, instances, stacked = program_inputs(world, instance)
    n_instances, _, dim = instances.dictionary.shape
    axes = (n_instances, "R", "L", dim) if stacked else ("R", "L", dim)
    fits = [isinstance(axis, str) or axis == size for axis, size in zip(axes, w_dec.shape)]
    require(
        w_dec.ndim == len(axes) and all(fits),
        f"W_dec of the runs must have shape {_shown(*axes)}, got {_shown(*w_dec.shape)}.",
    )
    seeds = whole_seeds("seed", seed)
    require(
        seeds.ndim == 0 or seeds.shape == (n_instances,),
        f"seed must be one number or one per instance [{n_instances}], got {_shown(*seeds.shape)}.",
    )
    # one seed for all instances stays one number, so that their codes are drawn once
    world_stacked = world.probabilities.ndim == 2
    if world_stacked or n_instances == 1:
        seeds = np.broadcast_to(seeds, (n_instances,))
    if not stacked:
        runs, w_dec = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], (runs, w_dec))
    batch_size = min(batch_size, n_samples)
    sums, lost = _pass(
        reconstruct,
        batch_size,
        world_stacked,
        world,
        instances,
        runs,
        w_dec,
        jnp.asarray(seeds),
        # traced: more samples are the same program
        jnp.int32(math.ceil(n_samples / batch_size)),
    )
    raise_on_lost(int(lost), world, "evaluation")
    return sums if stacked else jax.tree.map(lambda leaf: leaf[0], sums)


def whole(params: Any, axes: tuple[int, ...]) -> np.ndarray:
    """bool, of the runs' axes: has a run no NaN among its parameters, and no infinite weight?

    What chooses latents may hide one: a row of NaN among the pre-activations is a latent that TopK
    takes or leaves, and the reconstruction of a sample may not show it. An infinite threshold or
    bias is a latent that never fires.
    """

    def of_leaf(leaf: Any) -> np.ndarray:
        leaf = np.asarray(leaf)
        if not np.issubdtype(leaf.dtype, np.floating):
            return np.ones(axes, bool)
        bad = np.isnan(leaf) if leaf.ndim < len(axes) + 2 else ~np.isfinite(leaf)
        return ~bad.reshape(*axes, -1).any(-1)

    return np.logical_and.reduce([of_leaf(leaf) for leaf in jax.tree.leaves(params)])


def all_metrics(
    sums: Sums, w_dec: np.ndarray, instance: Instance, broken: np.ndarray | bool = False
) -> dict[str, np.ndarray]:
    """`METRICS` from the sums over a stream and the decoders `[..., L, D]`; leading axes stay.

    NaN where a run is broken, or its reconstruction is: all but what the world alone says.
    """
    broken = broken | np.isnan(np.asarray(sums.reconstruction.error))
    numbers = {**finish(sums), **directions(w_dec, instance)}
    of_world = ("true_l0", "n_eval")
    return {k: v if k in of_world else np.where(broken, np.nan, v) for k, v in numbers.items()}


def finish(sums: Sums) -> dict[str, np.ndarray]:
    """Metrics from sums, in float64 on the host; leading axes stay."""
    detection, truth = sums.detection, sums.truth
    fired = np.asarray(detection.tp, np.float64) + np.asarray(detection.fp)
    numbers = {
        **detection.finish(),
        **sums.reconstruction.finish(),
        "dead_latents": (~is_alive(fired)).sum(-1).astype(np.float64),
        "l0": fired.sum(-1) / np.asarray(detection.n),
    }
    n_eval = np.asarray(truth.n, np.float64)
    return {**numbers, "true_l0": np.asarray(truth.finish()["l0"]), "n_eval": n_eval}


def directions(w_dec: np.ndarray, instance: Instance) -> dict[str, np.ndarray]:
    """mcc and uniqueness of decoders [..., L, D] against the features each instance has."""
    shape = w_dec.shape[:-2]
    stacked = instance.dictionary.ndim == 3

    def of_run(index: tuple[int, ...]) -> tuple[float, float]:
        dictionary, present = instance.dictionary, instance.present
        if stacked:
            dictionary, present = dictionary[index[0]], present[index[0]]
        features = np.asarray(dictionary)[np.asarray(present)]
        return mcc_and_uniqueness(w_dec[index], features)

    # a pairing holds its cosines in float64, a copy and some more
    bytes_each = 24 * w_dec.shape[-2] * instance.dictionary.shape[-2]
    pairs_of_numbers = map_threads(
        of_run, np.ndindex(*shape), most=max(PAIRING_BYTES // bytes_each, 1)
    )
    pairs = np.array(pairs_of_numbers, np.float64).reshape(*shape, 2)
    return {"mcc": pairs[..., 0], "uniqueness": pairs[..., 1]}


def _targets(w_dec: Array, instance: Instance) -> Array:
    """Per latent the nearest feature that the instance has, int32 [L]."""
    cosines = jnp.abs(cosine_matrix(w_dec, instance.dictionary))
    cosines = jnp.where(instance.present[None], cosines, -1.0)
    return jnp.argmax(cosines, axis=1).astype(jnp.int32)


def _active_bits(codes: Codes, n_features: int) -> Array:
    """Which features are active on which sample, as `bits_of_samples`, without a dense row."""
    n = codes.values.shape[0]
    sample = jnp.arange(n, dtype=jnp.uint32)[:, None]
    # a feature has one slot of a sample, so that adding a bit sets it
    bit = jnp.broadcast_to(jnp.uint32(1) << sample % WORD, codes.values.shape)
    feature = jnp.where(codes.values > 0, codes.indices, n_features)
    words = jnp.zeros((-(-n // WORD), n_features), jnp.uint32)
    return words.at[sample // WORD, feature].add(bit, mode="drop")


def _shown(*shape: int | str) -> str:
    return f"[{', '.join(map(str, shape))}]"


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _pass(
    reconstruct: Callable,
    batch_size: int,
    world_stacked: bool,
    world: World,
    instance: Instance,
    runs: Any,
    w_dec: Array,
    seeds: Array,
    n_batches: Array,
) -> tuple[Sums, Array]:
    def batch(world, instance, seed, step):
        # by the batch's number alone, so that more samples begin with the same ones
        key = jax.random.fold_in(keys.data_key(seed, "evaluate"), step)
        return draw(key, world, instance, batch_size)

    def of_run(codes, active, x, run, target):
        latents, x_hat = reconstruct(run, codes, x)
        return Sums(
            reconstruction=ReconstructionSums.of(x, x_hat),
            detection=ClassificationCounts.init(target).update_packed(latents, active),
            truth=ActivitySums.of(codes.values),
        )

    def of_instance(codes, x, runs, targets):
        active = _active_bits(codes, instance.dictionary.shape[-2])
        return jax.vmap(of_run, in_axes=(None, None, None, 0, 0))(codes, active, x, runs, targets)

    # one after the other: all cosines [L, F] of many runs at once would not fit
    of_runs = lambda run: jax.lax.map(lambda w: _targets(w, run[1]), run[0])
    targets = jax.lax.map(of_runs, (w_dec, instance))
    axes = (0 if world_stacked else None, 0, None if seeds.ndim == 0 else 0, None)
    batches = jax.vmap(batch, in_axes=axes)

    def step(i):
        codes, x = batches(world, instance, seeds, i)
        return jax.vmap(of_instance)(codes, x, runs, targets), jnp.sum(codes.overflow)

    merge = jax.vmap(jax.vmap(Sums.merge))

    def body(i, carry):
        sums, lost = carry
        new, more = step(i)
        return merge(new, sums), lost + more  # of the two, `new` knows the targets

    nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(step, 0))
    return jax.lax.fori_loop(0, n_batches, body, nothing)
