"""evolution@1: when do scores settle, and when does what they should measure?"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from synthsae_jax.experiments.evolution.claims import CLAIMS
from synthsae_jax.experiments.evolution.measure import (
    CONDITIONS,
    DISJOINT,
    MATURITY,
    SHARED,
    TRAINING,
    measure,
    train,
)
from synthsae_jax.experiments.evolution.page import page
from synthsae_jax.experiments.evolution.quantities import TRUTH, curve, step_of
from synthsae_jax.experiments.registration import register
from synthsae_jax.registry import Explanation
from synthsae_jax.suite.context import Context
from synthsae_jax.suite.design import Arm, Design
from synthsae_jax.suite.scale import Scale, scales_of
from synthsae_jax.training.config import log_spaced


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvolutionScale(Scale):
    """With how many snapshots a training has, and at which steps the toy models are looked at."""

    snapshots: int
    ages: tuple[int, ...] = ()


SCALES = scales_of(
    EvolutionScale,
    smoke={"arms": (TRAINING,), "snapshots": 3, "n_train": 51_200},
    small={
        "snapshots": 10,
        # on micro most features come up between these
        "ages": (14, 20, 32, 90, 500),
        "n_train": 256_000,
        "n_match": 32_768,
    },
    standard={"snapshots": 16, "ages": (16, 32, 64, 128, 256, 512, 1024)},
    full={"snapshots": 20, "ages": (16, 32, 64, 128, 256, 512, 1024, 2048)},
)


@dataclasses.dataclass(frozen=True)
class Course(Arm):
    """What time passes for: the SAEs or the models."""

    def levels(self, scale: EvolutionScale) -> dict[str, Sequence[Any]]:
        """Its conditions and steps."""
        if self.name == MATURITY:
            return {"condition": (SHARED,), "age": scale.ages}
        return {"condition": (SHARED, DISJOINT), "age": _snapshots(scale)}


def _snapshots(scale: EvolutionScale) -> tuple[int, ...]:
    return log_spaced(scale.train_config().n_steps, scale.snapshots)


def _config(scale: EvolutionScale, arm: Course) -> Mapping[str, Any]:
    return {"snapshots": _snapshots(scale)} if arm.name == TRAINING else {}


def _pairs(context: Context) -> int:
    if context.arm.name == MATURITY:
        return len(context.scale.ages)
    return len(context.config.snapshots) * len(CONDITIONS)


PAGE = page(age for scale in SCALES.values() for age in scale.ages)
DESIGN = register(
    Design(
        id="evolution@1",
        title="Evolution over training",
        question="When do scores settle, and when does what they should measure?",
        explanation=Explanation(
            what="SAEs at log-spaced steps of their training, and SAEs on toy models at steps of "
            "theirs: when scores of universality reach nine tenths of their end, and when what is "
            "truly shared does, by frequency.",
            formula="primary number: step at which a curve first comes to .9 of its last value",
            range="[1, last step]",
            chance="the same scores on models without a common feature",
            source="the evolution question of Feature Universality; arXiv 2501.16615 on training "
            "time",
        ),
        scales=SCALES,
        arms=lambda scale: [Course(TRAINING), Course(MATURITY)],
        train=train,
        measure=measure,
        quantities=(step_of(TRUTH, TRAINING), curve(TRUTH, TRAINING)),
        claims=CLAIMS,
        page=PAGE,
        config=_config,
        pairs=_pairs,
        measured_with=("reading", "sampling", "measures"),
    )
)
