"""What validity@1 varies: families of models, what is true in them, and what may confound."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from synthsae_jax import worlds
from synthsae_jax.suite.design import Arm
from synthsae_jax.suite.scale import Scale, scales_of
from synthsae_jax.worlds.family import DISJOINT_INDEPENDENT, ZEROS, Condition, shares

PROTOCOLS = (
    "lan2024",
    "lan2024_fixed",
    "paulo2025",
    "song2025",
    "mppc2024",
    "stability",
    "polymorphism2026",
    "ours@1",
)
ROTATED, INDEPENDENT = shares(1.0, 1.0), shares(1.0, 0.0)
# what is true varies, at both geometries
GRID = (
    *(shares(level, 1.0) for level in (0.25, 0.5, 0.75)),
    ROTATED,
    shares(0.5, 0.0),
    INDEPENDENT,
    *ZEROS,
)
# what a confound does to pairs that share everything, or nothing
CONFOUND = (INDEPENDENT, DISJOINT_INDEPENDENT)
# one pair seen otherwise, which should change no score: endings of its condition's name
TURNED, FEW = ", turned", ", few tokens"


@dataclasses.dataclass(frozen=True)
class FamilyArm(Arm):
    """One family of the design: what it changes of the preset, and its conditions."""

    conditions: tuple[Condition, ...] = CONFOUND
    world: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    instance: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    width: float = 1.0  # of B's SAEs, relative to A's
    sae: str = "topk"
    same_init: bool = False
    k: float = 1.0  # of the SAEs, relative to the target L0
    factors: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def columns(self) -> dict[str, Any]:
        """Its name, and the level of what it changes."""
        return {"arm": self.name, **self.factors}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ValidityScale(Scale):
    """With the draws of each protocol's null, and the conditions that run (None: the arm's)."""

    draws: int
    conditions: tuple[str, ...] | None = None

    def of(self, arm: FamilyArm) -> tuple[Condition, ...]:
        """The conditions of an arm at this scale."""
        chosen = self.conditions
        return tuple(c for c in arm.conditions if chosen is None or c.name in chosen)


def arms(scale: Scale) -> tuple[FamilyArm, ...]:
    """Every arm. The first is the reference of the others: it varies what is true."""
    preset = worlds.preset(scale.preset)
    dim = preset.instance.hidden_dim
    # at an exponent of 1 the most frequent of micro's features would fire on all but 2 % of tokens
    flatter, steeper = (
        dataclasses.replace(preset.world.firing, exponent=e)  # type: ignore[call-arg]
        for e in (0.5, 0.9)
    )
    structured = (ROTATED, INDEPENDENT, shares(0.5, 1.0), *ZEROS)
    return (
        FamilyArm("random", GRID),
        FamilyArm("structured", structured, instance={"geometry": "structured"}),
        FamilyArm("anisotropic", (ROTATED, *CONFOUND), instance={"geometry": "anisotropic"}),
        FamilyArm("narrow", width=0.5, factors={"width": 0.5}),
        FamilyArm("wide", width=2.0, factors={"width": 2.0}),
        FamilyArm("flat", world={"firing": flatter}, factors={"exponent": 0.5}),
        FamilyArm("steep", world={"firing": steeper}, factors={"exponent": 0.9}),
        FamilyArm("noisy", instance={"noise": 0.1}, factors={"noise": 0.1}),
        FamilyArm("crowded", instance={"hidden_dim": dim // 2}, factors={"dim": dim // 2}),
        FamilyArm("same_init", ZEROS, same_init=True, factors={"same_init": True}),
        FamilyArm("pursuit", sae="matching_pursuit", factors={"k": 1.0}),
        FamilyArm("pursuit_2k", sae="matching_pursuit", k=2.0, factors={"k": 2.0}),
    )


SCALES = scales_of(
    ValidityScale,
    every={"protocols": PROTOCOLS},
    smoke={
        "arms": ("random",),
        "conditions": (ROTATED.name, DISJOINT_INDEPENDENT.name),
        "protocols": ("paulo2025",),
        "draws": 0,
        "n_train": 51_200,
    },
    small={
        # one level beside the reference tells whether a confound moves a score
        "arms": (
            "random",
            "structured",
            "anisotropic",
            "wide",
            "steep",
            "crowded",
            "same_init",
            "pursuit",
            "pursuit_2k",
        ),
        # lan2024_fixed repeats lan2024's costly measures, polymorphism2026 needs activations
        "protocols": ("lan2024", "paulo2025", "song2025", "mppc2024", "stability", "ours@1"),
        "draws": 19,
        "n_match": 32_768,
    },
    standard={"draws": 99},
    full={"draws": 199},
)


def levels(scale: ValidityScale) -> dict[str, tuple[Any, ...]]:
    """Values of the columns that vary within an arm."""
    conditions = {c.name: c for arm in arms(scale) for c in scale.of(arm)}
    views = [ROTATED.name + suffix for suffix in (TURNED, FEW) if ROTATED.name in conditions]
    return {
        "condition": (*conditions, *views),
        "shared": tuple({c.shared: None for c in conditions.values()}),
        "t": tuple({c.sharing: None for c in conditions.values()}),
    }
