"""Floor and ceiling beside every score: an untrained SAE, and one that knows the answer."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from synthsae_jax import keys
from synthsae_jax.errors import require
from synthsae_jax.metrics.evaluate import all_metrics, evaluate_runs, hyper_of, stream_sums
from synthsae_jax.modes import fixed
from synthsae_jax.numerics import unit_rows
from synthsae_jax.worlds.codes import densify
from synthsae_jax.worlds.records import Codes, Instance, World

Array = jax.Array
_DRAWS = 3


def most_frequent(rates: np.ndarray, instance: Instance, n_latents: int) -> np.ndarray:
    """Ids of the features that fire most often in this instance, most frequent first, [<= L].

    `rates` [F] are the features' rates in the world (`worlds.expected_rates`); twins follow their
    originals where the registry is twice as long.
    """
    rates = np.tile(rates, instance.present.shape[0] // rates.shape[0])
    present = np.asarray(instance.present)
    # below any rate, so that an absent feature does not come before one that never fires
    instance_rates = np.where(present, rates * np.asarray(instance.keep), -1.0)
    order = np.argsort(-instance_rates, kind="stable")
    return order[: min(n_latents, int(present.sum()))]


@dataclasses.dataclass(frozen=True)
class OracleCodes:
    """Latents are the true codes of chosen features; nothing is learned."""

    n_features: int

    def __call__(self, run: Any, codes: Codes, x: Array) -> tuple[Array, Array]:
        ids, w_dec, bias = run
        latents = densify(codes, self.n_features)[:, ids]
        x_hat = jnp.matmul(latents, w_dec, precision=jax.lax.Precision.HIGHEST)
        return latents, x_hat + bias[None]


@fixed
def oracle_levels(
    world: World,
    instance: Instance,
    ids: np.ndarray,
    n_samples: int = 100_000,
    seed: int = 0,
    batch_size: int = 1024,
) -> dict[str, float]:
    """The ceiling: true directions and true codes of the features `ids`, scored like an SAE.

    `ids` int `[L]`. With the L most frequent features (`most_frequent`) its explained variance is
    what perfect latents of that width reach; an SAE above it fits interference (SynthSAEBench,
    arXiv 2602.14687). MCC and uniqueness are 1 by definition, F1 is as far as the features fire in
    the samples drawn.
    """
    require(len(ids) >= 1, "oracle_levels needs at least one feature id.")
    run = (jnp.asarray(ids), instance.dictionary[jnp.asarray(ids)], instance.bias)
    runs = jax.tree.map(lambda leaf: leaf[None], run)
    sums = stream_sums(
        OracleCodes(int(instance.dictionary.shape[0])),
        world,
        instance,
        runs,
        runs[1],
        n_samples,
        seed,
        batch_size,
    )
    numbers = all_metrics(sums, np.asarray(runs[1]), instance)
    return {name: float(values[0]) for name, values in numbers.items()}


@fixed
def chance_levels(
    world: World,
    instance: Instance,
    sae: Any,
    n_samples: int = 20_000,
    seed: int = 0,
    *,
    hyper: Any = None,
    draws: int = _DRAWS,
) -> dict[str, float]:
    """The floor: the same architecture with random unit decoder rows and tied encoder, untrained.

    The mean over `draws` initialisations, under the training rule, which fixes the sparsity where
    the architecture has a k. What a metric gives here it gives for nothing.
    """
    # Room for 1,000 draws before those of two seeds would have a key in common.
    init_keys = jnp.stack([keys.null_key(1000 * seed + i) for i in range(draws)])
    params = jax.vmap(sae.init)(init_keys)
    rows = jax.vmap(unit_rows)(params.W_dec)
    params = params.replace(W_dec=rows, W_enc=jnp.swapaxes(rows, -1, -2))
    # The true bias: without it the floor would measure how far the inputs lie from 0.
    params = params.replace(b_dec=jnp.broadcast_to(instance.bias, params.b_dec.shape))
    spread = lambda leaf: jnp.broadcast_to(jnp.asarray(leaf), (draws, *jnp.shape(leaf)))
    numbers, state = jax.tree.map(spread, (hyper_of(sae, hyper), sae.init_state()))
    runs = (params, numbers, state)
    levels = evaluate_runs(world, instance, sae, runs, n_samples, seed, rule="train")
    return {name: float(np.mean(values)) for name, values in levels.items()}
