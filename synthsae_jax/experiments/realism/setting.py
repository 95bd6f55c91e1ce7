"""The settings of realism@1: what each changes of a scale's worlds and of its training."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from synthsae_jax import worlds
from synthsae_jax.experiments.realism.targets import TARGETS
from synthsae_jax.suite.context import Context
from synthsae_jax.suite.design import Arm
from synthsae_jax.suite.scale import Scale, scales_of
from synthsae_jax.worlds import World
from synthsae_jax.worlds.family import Condition

TOPK, MATRYOSHKA, PURSUIT = "topk", "matryoshka", "matching_pursuit"
SPARSE = (TOPK, "batchtopk", MATRYOSHKA, PURSUIT)  # with a k
ARCHITECTURES = (*SPARSE, "standard")
# those of which a number was published: they have rows at every setting
ASKED = tuple(name for name in ARCHITECTURES if any(t.variant == name for t in TARGETS))
SUPERVISED = "supervised"
SPARSE_PROBES = (1, 5)  # latents of a probe
FIT_OF_SAE = ("f1", "explained_variance", "l0")
ROTATED = "same geometry"
# what the second model shares: part of every setting, since nobody knows it of language models
MODELS = (
    Condition(ROTATED, shared=1.0, sharing=1.0),
    Condition("own geometry", shared=1.0),
    Condition("half of the features, own geometry", shared=0.5),
)


@dataclasses.dataclass(frozen=True)
class Setting(Arm):
    """What a setting changes; lengths and sizes are relative to the scale's."""

    scaled: bool = False  # children scaled by the parent, as on SynthSAEBench-16k
    trees: bool = True
    exponent: float | None = None  # of the firing law
    dimensions: float = 1.0
    k: float = 1.0
    length: float = 1.0  # of the training
    width: float = 1.0
    verdicts: bool = False  # are there probes and all architectures, for the verdicts by name?

    def columns(self) -> dict[str, Any]:
        """Its name."""
        return {"setting": self.name}

    def spec(self) -> dict[str, Any]:
        """With what decides a verdict, so that it can't be moved once data are seen."""
        return {
            **super().spec(),
            "models": [dataclasses.asdict(model) for model in MODELS],
            "targets": [target.spec() for target in TARGETS],
        }

    def world(self, context: Context) -> World:
        """The cell's world as the setting has it."""
        preset = worlds.preset(context.scale.preset).world
        changes: dict[str, Any] = {} if self.trees else {"hierarchy": None, "slots": None}
        if self.scaled and preset.hierarchy is not None:
            tree = dataclasses.replace(preset.hierarchy, scale_children_by_parent=True)
            changes["hierarchy"] = tree
        if self.exponent is not None:
            law: Any = preset.firing
            changes["firing"] = dataclasses.replace(law, exponent=self.exponent)
        return context.world(**changes)


AS_PUBLISHED = "as published"
_THIRD = 1 / 3
ARMS = (
    Setting(AS_PUBLISHED, scaled=True, verdicts=True),
    Setting("a third of the training", length=_THIRD),
    Setting("a third, steeper law", length=_THIRD, exponent=1.0),
    Setting("a third, twice k", length=_THIRD, k=2.0),
    Setting("a third, fewer dimensions", length=_THIRD, dimensions=2 / 3),
    Setting("fewer dimensions", dimensions=2 / 3, verdicts=True),
    Setting("steeper law", exponent=1.0, verdicts=True),
    Setting("half of the width", width=0.5, verdicts=True),
    Setting("no trees", trees=False, verdicts=True),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RealismScale(Scale):
    """With how many seeds, probes and architectures there are."""

    n_seeds: int = 9  # TopK SAEs on one model
    n_probes: int
    saes: tuple[str, ...] = ("batchtopk", "standard")  # besides TopK
    verdict_saes: tuple[str, ...] = (MATRYOSHKA, PURSUIT)  # and for the verdicts by name

    def saes_of(self, arm: Setting) -> tuple[str, ...]:
        """Architectures that a setting trains besides TopK."""
        return (*self.saes, *(self.verdict_saes if arm.verdicts else ()))


SCALES = scales_of(
    RealismScale,
    smoke={
        "arms": ("a third of the training",),
        "n_seeds": 3,
        "saes": (),
        "verdict_saes": (),
        "n_probes": 4,
        "n_train": 51_200,
    },
    small={
        "preset": "mini",
        "target_l0": 4.0,
        "arms": tuple(arm.name for arm in ARMS[:4]),
        "n_probes": 8,
        "n_train": 96_000,
        "n_match": 8_192,
    },
    standard={"n_probes": 32},
    full={"n_probes": 64},
)


def sizes(scale: RealismScale, arm: Setting) -> RealismScale:
    """The sizes of a setting."""
    return dataclasses.replace(
        scale,
        hidden_dim=round(arm.dimensions * scale.d_in),
        width=round(arm.width * scale.d_sae),
        target_l0=arm.k * scale.target_l0,
    )


def config(scale: RealismScale, arm: Setting) -> Mapping[str, Any]:
    """The training of a setting."""
    return {"n_samples": round(arm.length * scale.n_train)}


def levels(scale: RealismScale) -> Mapping[str, Sequence[Any]]:
    """Values of the columns that vary within a setting."""
    return {"condition": tuple(model.name for model in MODELS)}
