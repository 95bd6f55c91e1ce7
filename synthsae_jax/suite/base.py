"""What a benchmark is: a versioned id, scales, and cells of work that make rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from synthsae_jax.errors import check_choice
from synthsae_jax.io.rows import Row
from synthsae_jax.registry import Registry
from synthsae_jax.suite.claims import Claim

SCALES = ("smoke", "small", "standard", "full")
PILOTS = ("smoke", "small")  # may not be cited

Tick = Callable[[float, str], None]  # (share of the cell done, what is being done)


@dataclasses.dataclass(frozen=True)
class Cell:
    """One piece of work that is finished or not; an interrupted run goes on with the next one.

    `spec` is all that its rows depend on, as JSON-able values; `compute(tick)` makes the rows.
    """

    name: str
    spec: Mapping[str, Any]
    compute: Callable[[Tick], list[Row]]
    runs: int  # SAEs trained
    samples: int  # training samples of each
    flops: float  # rough, of training
    memory: float  # bytes, rough
    programs: tuple[str, ...]  # names of what gets compiled; equal names compile once
    pairs: int = 0  # pairs of SAEs scored


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """A registered experiment.

    `cells(scale, salt)` lists its work, ordered so that any prefix is balanced. `primary` says
    which number one quotes.
    """

    id: str  # "recovery@1": whatever could move its number moves the version
    title: str
    question: str
    primary: str
    sizes: Mapping[str, Mapping[str, Any]]  # scale -> worlds, instances, seeds, samples, ...
    cells: Callable[[str, str], Sequence[Cell]]
    claims: tuple[Claim, ...] = ()  # judged when a run is complete
    design: Any = None  # the `Design` that it was made from

    def spec(self, scale: str, salt: str) -> dict[str, Any]:
        """What is hashed into the manifest: everything that decides the numbers."""
        fields = {
            "benchmark": self.id,
            "scale": scale,
            "salt": salt,
            "cells": [{"name": c.name, **c.spec} for c in self.cells(scale, salt)],
        }
        if self.claims:
            fields["claims"] = [claim.spec() for claim in self.claims]
        return fields


benchmarks: Registry[Benchmark] = Registry("benchmark", package="synthsae_jax.experiments")


def check_scale(scale: str) -> None:
    """Raise for a scale that no benchmark has."""
    check_choice("scale", scale, SCALES)
