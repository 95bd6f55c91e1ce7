"""The setting of leakage@1: kinds of training, the 2 x 2 x 2 of conditions, scales."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from synthsae_jax.suite.design import Arm
from synthsae_jax.suite.scale import Scale, scales_of

STAGES = (0.0, 0.01, 0.1, 1.0)  # of the training
END = STAGES[-1]
# run r: its initialisation and its order of data, as numbers among the cell's two of each
RUNS = ((0, 0), (0, 1), (1, 0), (1, 1))
GROUPS = {
    "dead": "dead",
    "q1": "rarest quarter",
    "q2": "second quarter",
    "q3": "third quarter",
    "q4": "most frequent quarter",
}
RULES = {"best_correlation_0.1": "r > .1", "decoder_cosine_0.7_raw": "decoder cosine > .7"}


def condition_of(universe: str, init: bool, data: bool) -> str:
    """The name of a cell of the 2 x 2 x 2."""
    word = lambda same: "same" if same else "other"
    return f"{universe}, {word(init)} init, {word(data)} order"


FRESH, SAME_ORDER, SAME_INIT, BOTH = (
    condition_of("disjoint", init, data) for init in (False, True) for data in (False, True)
)
# a run on one model beside itself is no pair
ON_ONE = tuple(condition_of("shared", *at) for at in ((False, False), (False, True), (True, False)))
SHARED = ON_ONE[0]
NAMES = {
    FRESH: "nothing in common (chance)",
    SAME_ORDER: "same order",
    SAME_INIT: "same start",
    BOTH: "same start and order",
    SHARED: "shared model, nothing else",
}


@dataclasses.dataclass(frozen=True)
class Start(Arm):
    """SAEs of one architecture: how long they train, in how many dimensions, from what start."""

    sae: str = "topk"
    length: float = 1.0  # of the scale's training
    narrower: int = 1  # the preset's dimensions over the arm's
    unit: bool = False  # decoder rows start at norm 1
    rate: float = 1.0  # the learning rate over the scale's: weights move by so much in a step


ARMS = (
    Start("topk"),
    Start("standard", sae="standard"),
    Start("topk, short", length=0.125),
    Start("standard, short", sae="standard", length=0.125),
    Start("topk, short, unit start", length=0.125, unit=True),
    Start("topk, short, few dimensions", length=0.125, narrower=4),
    # at small scales about the rate of published trainings
    Start("topk, short, slow", length=0.125, rate=0.03),
    Start("standard, short, slow", sae="standard", length=0.125, rate=0.03),
    Start("topk, worst", length=0.125, narrower=4, unit=True),
)
SCALES = scales_of(
    Scale,
    smoke={"arms": ("topk, short",), "n_train": 204_800},
    small={"n_train": 256_000},
    standard={"dead_window": 250},
)


def config(scale: Scale, arm: Start) -> dict[str, Any]:
    """Length and rate of an arm's training, and the steps at which its SAEs are compared."""
    samples = round(arm.length * scale.n_train)
    n_steps = math.ceil(samples / scale.batch_size)
    steps = {step_at(n_steps, stage) for stage in STAGES}
    return {"n_samples": samples, "lr": arm.rate * scale.lr, "snapshots": tuple(sorted(steps))}


def step_at(n_steps: int, stage: float) -> int:
    """The step of a stage of a training."""
    # a short run's hundredth still is a step
    return math.ceil(n_steps * stage)
