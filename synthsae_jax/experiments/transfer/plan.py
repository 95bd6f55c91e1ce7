"""What transfer@1 trains: starts by modes on targets, in lines of one program; its scales."""

from __future__ import annotations

import dataclasses

from synthsae_jax.experiments.transfer.models import (
    BOTH,
    DEALT,
    FEATURES,
    GEOMETRY,
    NEITHER,
    Models,
    Target,
)
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
from synthsae_jax.suite.scale import Scale, scales_of

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
FRESH = tuple(r for r, (start, *_) in enumerate(JOBS) if start in (SCRATCH, AGAIN))
_ALIGNED = (PROCRUSTES, RIDGE)
# on some targets: parts of the SAE, and two more controls
MORE_JOBS: tuple[Job, ...] = (
    *((NONE, mode, FAST) for mode in (DECODER, ENCODER)),
    *((s, mode, rate) for rate in (FAST, SLOW) for mode in (DECODER, ENCODER) for s in _ALIGNED),
    (WRONG, FULL, FAST),
    (PERMUTED, FULL, FAST),
)
EVERY = (BOTH, FEATURES, GEOMETRY, DEALT, NEITHER)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TransferScale(Scale):
    """With the targets, the shares of the samples that fine-tuning gets, and tokens."""

    targets: tuple[str, ...] = EVERY
    in_parts: tuple[str, ...] = EVERY  # targets that have `MORE_JOBS` too
    budgets: tuple[float, ...] = (0.01, 0.05, 0.2, 1.0)
    n_paired: int  # tokens that maps between models are fitted on
    n_eval: int  # tokens of explained variance, F1 and MCC

    @property
    def jobs(self) -> tuple[Job, ...]:
        """All that is trained on some target."""
        return (*JOBS, *MORE_JOBS) if self.in_parts else JOBS


SCALES = scales_of(
    TransferScale,
    smoke={
        "targets": (BOTH, NEITHER),
        "in_parts": (),
        "budgets": (0.05, 1.0),
        "n_paired": 1_024,
        "n_eval": 8_192,
        "dead_window": 1_000,
    },
    small={
        "in_parts": (BOTH, FEATURES),
        "n_train": 51_200,
        "n_paired": 1_024,
        "n_eval": 8_192,
        "n_match": 8_192,
        "batch_size": 128,
        "dead_window": 1_000,
    },
    standard={"n_paired": 16_384, "n_eval": 98_304, "n_match": 98_304, "dead_window": 4_000},
    full={"n_paired": 65_536, "n_eval": 196_608, "n_match": 196_608, "dead_window": 20_000},
)


@dataclasses.dataclass(frozen=True)
class Line:
    """One axis of the program: a target, and the SAEs trained on it side by side."""

    number: int  # of the target
    target: Target
    jobs: tuple[Job, ...]


def lines(scale: TransferScale, models: Models) -> list[Line]:
    """Each target with the starts that all have, then some again with further ones."""
    whole = [Line(i, target, JOBS) for i, target in enumerate(models.targets)]
    parts = [line for line in whole if line.target.name in scale.in_parts]
    return [*whole, *(dataclasses.replace(line, jobs=MORE_JOBS) for line in parts)]
