"""How each architecture is trained in the benchmarks: its options at a target L0, for any width.

Everything here was chosen on dev worlds or follows the source named beside it; a change moves the
version of every benchmark that reads it.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from synthsae_jax import saes
from synthsae_jax.training import Anneal, TrainConfig


@dataclasses.dataclass(frozen=True)
class Recipe:
    """An SAE and how it is trained."""

    sae: saes.SAE
    config: TrainConfig


def matryoshka_widths(d_sae: int) -> tuple[int, ...]:
    """Prefixes as in SynthSAEBench (128, 512, 2048 of 4,096), at any width."""
    return tuple(width for width in (d_sae // 32, d_sae // 8, d_sae // 2) if width >= 1)


def recipe(name: str, d_in: int, d_sae: int, target_l0: float, config: TrainConfig) -> Recipe:
    """The architecture `name` at `target_l0` active latents per sample.

    Those with a k take it from the target (rounded where it has to be whole), those with a penalty
    have its coefficient steered while they train (`TrainConfig.target_l0`). Any registered
    architecture has a recipe by what bounds its latents; some have a published one.
    """
    entry = saes.architectures[name]
    if name in _OPTIONS:
        options = _OPTIONS[name](d_sae, target_l0, config.n_steps)
    else:
        usual = _BY_SPARSITY[entry.sparsity](d_sae, target_l0, config.n_steps)
        options = {n: v for n, v in usual.items() if n in saes.option_defaults(name)}
    if name == "lista_matryoshka":
        # from 60 to 25 over the whole run in the published recipe; ended a tenth earlier here, so
        # that the running threshold of a short run has seen the target
        steps = max(1, config.n_steps * 9 // 10)
        ramp = Anneal("k", min(2.4 * target_l0, d_sae), steps)
        config = dataclasses.replace(config, anneal=(*config.anneal, ramp))
    if entry.penalty is not None:
        config = dataclasses.replace(config, target_l0=target_l0)
    return Recipe(saes.build(name, d_in=d_in, d_sae=d_sae, **options), config)


def recipe_names() -> tuple[str, ...]:
    """The architectures that benchmarks compare, each by a recipe of its own."""
    return tuple(_OPTIONS)


def _whole(target_l0: float) -> int:
    return max(1, round(target_l0))


def _warmed_up(d_sae: int, target_l0: float, n_steps: int) -> dict[str, Any]:
    # a penalty at full strength from the start silences latents for good
    return {"l1_warm_up_steps": n_steps // 5}


def _k(d_sae: int, target_l0: float, n_steps: int) -> dict[str, Any]:
    return {"k": target_l0}


def _whole_k(d_sae: int, target_l0: float, n_steps: int) -> dict[str, Any]:
    return {"k": _whole(target_l0)}


def _nested(d_sae: int, target_l0: float, n_steps: int) -> dict[str, Any]:
    return {"k": target_l0, "matryoshka_widths": matryoshka_widths(d_sae)}


def _nested_by_level(d_sae: int, target_l0: float, n_steps: int) -> dict[str, Any]:
    return {**_nested(d_sae, target_l0, n_steps), "use_matryoshka_aux_loss": True}


def _pursuit(d_sae: int, target_l0: float, n_steps: int) -> dict[str, Any]:
    return {
        "max_iterations": _whole(target_l0),
        "residual_threshold": 0.0,
        "stop_on_duplicate_support": False,
    }


def _step_jumprelu(d_sae: int, target_l0: float, n_steps: int) -> dict[str, Any]:
    # SynthSAEBench trains on inputs of norm sqrt(D) with twice these; ours keep their scale
    return {
        "jumprelu_bandwidth": 0.5,
        "jumprelu_init_threshold": 0.5,
        "l0_warm_up_steps": n_steps // 5,
    }


# what an architecture without a recipe of its own takes, where it has these options, by
# `Architecture.sparsity`
_BY_SPARSITY = {
    "k per sample": _whole_k,
    "k per batch": _k,
    "penalty": _warmed_up,
    "iterations": _pursuit,
}
_OPTIONS = {
    "topk": _whole_k,
    "batchtopk": _k,
    "matryoshka": _nested_by_level,
    "lista_matryoshka": _nested,
    "matching_pursuit": _pursuit,
    "standard": _warmed_up,
    "gated": _warmed_up,
    "jumprelu": _step_jumprelu,
}
