"""Fingerprints of fixed tiny computations: they move when a stream or a formula moves."""

from __future__ import annotations

import functools

import jax
import numpy as np

from synthsae_jax import keys, saes, worlds

_SEED = 7


@functools.cache
def canaries() -> dict[str, list[float]]:
    """Numbers of a world, its codes, an instance and an SAE's loss, at preset `micro`."""
    preset = worlds.preset("micro")
    world = worlds.init_world(keys.world_key(_SEED), preset.world, seed=_SEED)
    instance = worlds.init_instance(keys.instance_key(_SEED), world, preset.instance)
    codes, x = jax.jit(worlds.draw, static_argnums=3)(
        keys.data_key(_SEED, "pilot"), world, instance, 64
    )
    sae = saes.build("topk", d_in=preset.instance.hidden_dim, d_sae=32, k=4)
    params = sae.init(keys.init_key(_SEED))
    loss = jax.jit(lambda params, x: sae.loss(params, x)[0])(params, x)
    listed = lambda array: np.asarray(array, np.float64).ravel()[:4].tolist()
    return {
        "world": listed(world.threshold),
        "codes": [float(codes.values.sum()), float(codes.indices.sum())],
        "dictionary": listed(instance.dictionary),
        "activations": listed(x),
        "loss": listed(loss),
    }
