"""The coefficient that brings a penalty architecture to a target L0, found on a dev world."""

from __future__ import annotations

import jax
import numpy as np

from synthsae_jax import keys, metrics, saes, worlds
from synthsae_jax.errors import ConfigError
from synthsae_jax.training import TrainConfig, train

_GRID = np.geomspace(0.3, 60.0, 8)


def coefficient_for(
    name: str,
    option: str,
    target: float,
    preset: worlds.Preset,
    config: TrainConfig,
    seed: int,
) -> float:
    """The value of `option` at which L0 under the inference rule is `target`.

    Trains one SAE per grid value, all in one program, on one instance of the world of this seed,
    and interpolates log L0 in the log of the coefficient. What comes out on other worlds is
    reported beside the score. `ConfigError` where the grid does not reach the target.
    """
    world = worlds.init_world(keys.world_key(seed), preset.world, seed=seed)
    instance = worlds.init_instance(keys.instance_key(seed), world, preset.instance)
    sae = saes.build(name, d_in=preset.instance.hidden_dim, d_sae=preset.d_sae)
    hyper = jax.tree.map(lambda leaf: np.broadcast_to(leaf, _GRID.shape), sae.hyper)
    hyper = hyper.replace(**{option: _GRID.astype(np.float32)})
    result = train(
        world, instance, sae, config, init_seeds=[seed] * _GRID.size, data_seed=seed, hyper=hyper
    )
    runs = (result.params, result.hyper, result.state.carried)
    l0 = metrics.evaluate_runs(world, instance, sae, runs, 20_480, seed)["l0"]
    usable = (result.status == "ok") & (l0 > 0)
    coefficients, l0 = _GRID[usable], l0[usable]
    if l0.size == 0 or not l0.min() <= target <= l0.max():
        reached = f"{l0.min():.2g} to {l0.max():.2g}" if l0.size else "nothing"
        raise ConfigError(
            f"{name}: no {option} in {_GRID[0]:g}..{_GRID[-1]:g} brings L0 to {target:g} on the "
            f"dev world (reached {reached})."
        )
    order = np.argsort(l0)
    return float(np.exp(np.interp(np.log(target), np.log(l0[order]), np.log(coefficients[order]))))
