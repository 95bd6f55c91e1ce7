"""What trainings take: one estimate of work and memory for every benchmark and sweep.

Rough by nature (a cell's time also holds reading and scoring), but one formula, and its memory is
that by which `training.layout` decides how many runs go together.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from synthsae_jax.training.layout import program_bytes

# a multiply-add forward and two backward, on the encoder and the decoder
_FLOPS_PER_WEIGHT = 6.0


@dataclasses.dataclass(frozen=True)
class Training:
    """One compiled training: `models x runs` SAEs of one architecture."""

    sae: str
    models: int
    samples: int  # of each SAE
    batch_size: int
    d_in: int
    d_sae: int
    runs: int = 1  # SAEs on each model
    label: str = ""  # tells programs apart that differ in more than these sizes

    @property
    def n_saes(self) -> int:
        """SAEs that come out of it."""
        return self.models * self.runs

    @property
    def program(self) -> str:
        """A name: trainings of equal names compile once."""
        name = f"{self.sae} {self.d_in} x {self.d_sae}, {self.models} x {self.runs}"
        return f"{name}, {self.label}" if self.label else name


@dataclasses.dataclass(frozen=True)
class Cost:
    """The work of some trainings."""

    saes: int
    samples: int  # training samples of all SAEs together
    flops: float
    memory: float  # bytes, of the largest training
    programs: tuple[str, ...]


def cost_of(trainings: Sequence[Training]) -> Cost:
    """What these trainings take, one after the other."""
    return Cost(
        saes=sum(t.n_saes for t in trainings),
        samples=sum(t.n_saes * t.samples for t in trainings),
        flops=sum(_flops(t) for t in trainings),
        memory=max((_memory(t) for t in trainings), default=0.0),
        programs=tuple(dict.fromkeys(t.program for t in trainings)),
    )


def _flops(t: Training) -> float:
    return _FLOPS_PER_WEIGHT * 2 * t.d_in * t.d_sae * t.samples * t.n_saes


def _memory(t: Training) -> float:
    weights = 4.0 * (2 * t.d_in * t.d_sae + t.d_in + t.d_sae)
    return program_bytes(weights, t.batch_size, t.d_sae, t.models, t.runs)
