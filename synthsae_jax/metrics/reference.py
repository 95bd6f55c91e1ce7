"""Floor and ceiling beside every score: an untrained SAE, and one that knows the answer."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from synthsae_jax import keys
from synthsae_jax.errors import require
from synthsae_jax.metrics.evaluate import (
    directions,
    evaluate_runs,
    finish,
    stream_sums,
)
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
    own = rates * np.asarray(instance.keep) * np.asarray(instance.present)
    order = np.argsort(-own, kind="stable")
    return order[: min(n_latents, int(np.asarray(instance.present).sum()))]


@dataclasses.dataclass(frozen=True)
class _Oracle:
    """Latents are the true codes of chosen features; nothing is learned."""

    n_features: int

    def __call__(self, run: Any, codes: Codes, x: Array) -> tuple[Array, Array]:
        ids, w_dec, bias = run
        latents = densify(codes, self.n_features)[:, ids]
        return latents, latents @ w_dec + bias


def oracle_levels(
    world: World,
    instance: Instance,
    ids: np.ndarray,
    n_samples: int = 100_000,
    seed: int = 0,
    batch_size: int = 1024,
) -> dict[str, float]:
    """The ceiling: true directions and true codes of the features `ids`, scored like an SAE.

    With the L most frequent features (`most_frequent`) its explained variance is what perfect
    latents of that width reach; an SAE above it fits interference (SynthSAEBench, arXiv
    2602.14687). MCC, uniqueness and F1 are 1 by definition.
    """
    require(len(ids) >= 1, "oracle_levels needs at least one feature id.")
    ids = jnp.asarray(ids)
    w_dec = instance.dictionary[ids]
    runs = jax.tree.map(lambda leaf: leaf[None], (ids, w_dec, instance.bias))
    sums = stream_sums(
        _Oracle(int(instance.dictionary.shape[0])),
        world,
        instance,
        runs,
        runs[1],
        n_samples,
        seed,
        batch_size,
    )
    found = {**finish(sums), **directions(np.asarray(runs[1]), instance)}
    return {name: float(values[0]) for name, values in found.items()}


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
    init_keys = jnp.stack([keys.null_key(1000 * seed + i) for i in range(draws)])
    params = jax.vmap(sae.init)(init_keys)
    rows = jax.vmap(unit_rows)(params.W_dec)
    params = params.replace(W_dec=rows, W_enc=jnp.swapaxes(rows, -1, -2))
    params = params.replace(b_dec=jnp.broadcast_to(instance.bias, params.b_dec.shape))
    hyper = sae.hyper if hyper is None else hyper
    spread = lambda leaf: jnp.broadcast_to(jnp.asarray(leaf), (draws, *jnp.shape(leaf)))
    runs = (params, jax.tree.map(spread, hyper), jax.tree.map(spread, sae.init_state()))
    found = evaluate_runs(world, instance, sae, runs, n_samples, seed, rule="train")
    return {name: float(np.mean(values)) for name, values in found.items()}
