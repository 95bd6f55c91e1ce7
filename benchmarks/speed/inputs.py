"""What the benchmarks run on: a preset's world, an instance, SAEs, and codes of a pair of SAEs."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax

from synthsae_jax import keys, saes, worlds
from synthsae_jax.saes import SAE
from synthsae_jax.worlds import Instance, Preset, World

SEED = 0


class Model(NamedTuple):
    """A world and an instance of it, on the device."""

    preset: Preset
    world: World
    instance: Instance


def load(name: str) -> Model:
    """The preset's model. Directions are random: making them orthogonal changes no time here."""
    preset = worlds.preset(name)
    world = worlds.init_world(keys.world_key(SEED), preset.world, seed=SEED)
    plain = dataclasses.replace(preset.instance, orthogonalize_steps=0)
    instance = worlds.init_instance(keys.instance_key(SEED), world, plain)
    return Model(preset, *jax.block_until_ready((world, instance)))


def sae_options(name: str, preset: Preset) -> dict[str, Any]:
    """Shapes, and options at the preset's usual k where there is one; the peer takes the same."""
    return {"d_in": preset.instance.hidden_dim, "d_sae": preset.d_sae} | _choices(name, preset)


def _choices(name: str, preset: Preset) -> dict[str, Any]:
    if name == "matching_pursuit":
        # k iterations each, as SynthSAEBench trains it; SAELens' names
        k = int(preset.k)
        never = {"residual_threshold": 0.0, "stop_on_duplicate_support": False}
        return {"max_iterations": k, **never}
    if name == "matryoshka":
        return {"k": preset.k, "matryoshka_widths": [preset.d_sae // 16, preset.d_sae]}
    takes_k = name in ("topk", "batchtopk")
    return {"k": int(preset.k) if name == "topk" else preset.k} if takes_k else {}


def build_sae(name: str, model: Model) -> SAE:
    """An SAE of the preset's usual width."""
    return saes.build(name, **sae_options(name, model.preset))
