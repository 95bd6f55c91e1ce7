"""The setting of overfitting@1: its two architectures, two dictionaries, multiples of the L0."""

from __future__ import annotations

import dataclasses
from typing import Any

from synthsae_jax.suite.design import Arm
from synthsae_jax.suite.scale import Scale, scales_of

PURSUIT, BATCHTOPK = "matching_pursuit", "batchtopk"
SAES = {PURSUIT: "matching pursuit", BATCHTOPK: "BatchTopK"}
SAME, FRESH = CONDITIONS = ("same dictionary", "fresh dictionary")
ONCE, TWICE, FOUR_TIMES = MULTIPLES = (1.0, 2.0, 4.0)
CORRELATION = "best_correlation_0.1"  # the rule whose precision is looked at
_FINE = (0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class OverfittingScale(Scale):
    """With the multiples of the target L0, and the samples of an evaluation."""

    n_eval: int
    pursuit: tuple[float, ...] = MULTIPLES
    grid: tuple[float, ...] = _FINE  # of BatchTopK, from which equal explained variance is chosen


SCALES = scales_of(
    OverfittingScale,
    smoke={"pursuit": (ONCE, TWICE), "grid": (ONCE, TWICE), "n_eval": 8_192},
    small={"grid": (1.0, 2.0, 3.0, 4.0), "n_match": 32_768, "n_eval": 16_384},
    standard={"n_eval": 102_400},
    full={"n_eval": 512_000},
)


class _All(Arm):
    """Both architectures in one cell, since one is chosen beside the other."""

    def columns(self) -> dict[str, Any]:
        """None: rows are told apart by architecture, multiple and dictionary."""
        return {}


ALL = _All("all")
