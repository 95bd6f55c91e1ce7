"""What transfer@1 trains: starts by modes on targets, in lines of one program."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from synthsae_jax.experiments.transfer.models import Models, Target, plain
from synthsae_jax.experiments.transfer.starts import (
    AGAIN,
    DISJOINT,
    KNOWN,
    NONE,
    PERMUTED,
    PROCRUSTES,
    RANDOM,
    RIDGE,
    SCRATCH,
    WRONG,
)
from synthsae_jax.saes import SAE
from synthsae_jax.suite.study import Study, Trained
from synthsae_jax.worlds import Instance

FULL, DECODER, ENCODER = "full", "decoder only", "encoder only"
# what a mode leaves as it begins; the bias that is added last belongs to the decoder
FROZEN = {FULL: (), DECODER: ("W_enc", "b_enc"), ENCODER: ("W_dec", "b_dec")}
# learning rates over that from scratch: what has little to learn may take the slower one
FAST, SLOW = 1.0, 0.3
Job = tuple[str, str, float]  # start, mode, rate
JOBS: tuple[Job, ...] = (
    *((start, FULL, FAST) for start in (SCRATCH, AGAIN, NONE, RANDOM)),
    *((start, FULL, rate) for rate in (FAST, SLOW) for start in (PROCRUSTES, RIDGE, KNOWN)),
    *((DISJOINT, FULL, rate) for rate in (FAST, SLOW)),
)
_ALIGNED = (PROCRUSTES, RIDGE)
# on some targets: parts of the SAE, and two more controls
MORE_JOBS: tuple[Job, ...] = (
    *((NONE, mode, FAST) for mode in (DECODER, ENCODER)),
    *((s, mode, rate) for rate in (FAST, SLOW) for mode in (DECODER, ENCODER) for s in _ALIGNED),
    (WRONG, FULL, FAST),
    (PERMUTED, FULL, FAST),
)


@dataclasses.dataclass(frozen=True)
class Line:
    """One axis of the program: a target, and the SAEs trained on it side by side."""

    number: int  # of the target
    target: Target
    jobs: tuple[Job, ...]


def lines(size: Mapping[str, Any], models: Models) -> list[Line]:
    """Each target with the starts that all have, then some again with further ones."""
    whole = [Line(i, target, JOBS) for i, target in enumerate(models.targets)]
    parts = [line for line in whole if line.target.name in size["in_parts"]]
    return [*whole, *(dataclasses.replace(line, jobs=MORE_JOBS) for line in parts)]


@dataclasses.dataclass(frozen=True)
class Setup:
    """One world's models and where everything starts on them."""

    study: Study
    size: Mapping[str, Any]
    models: Models
    sources: Trained
    lines: list[Line]
    sae: SAE
    seeds: np.ndarray  # [I, R]

    @property
    def views(self) -> list[Instance]:
        """The Bs of the lines, in the plain world."""
        return [plain(self.models.target(line.number)) for line in self.lines]
