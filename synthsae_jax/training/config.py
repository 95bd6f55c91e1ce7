"""How an SAE is trained: sizes and numbers, checked once."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from synthsae_jax.errors import require
from synthsae_jax.training.ranges import check_fields
from synthsae_jax.training.schedules import Anneal


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Choices of a training run, defaults as in SynthSAEBench (arXiv 2602.14687).

    Only `batch_size`, `dtype`, Adam's constants, which features are used at all and whether a run
    is long enough for a latent to die are compiled in, and where products are sparse the power of
    two that k has room in; the other numbers are traced, so runs that differ in them share a
    program.
    """

    n_samples: int = 4_000_000
    batch_size: int = 1024
    lr: float = 3e-4
    lr_warm_up_steps: int = 0  # linear from lr / steps to lr
    lr_decay_steps: int = 0  # over the last steps the rate falls to lr_end
    lr_decay: str = "linear"  # or "cosine": half a cosine
    lr_end: float = 0.0
    anneal: tuple[Anneal, ...] = ()  # numbers of the SAE that start elsewhere
    target_l0: float | None = None  # a penalty's coefficient is steered until L0 is this
    dead_window: int = 1000  # a latent is dead after more than this many steps without firing
    resample_every: int | None = None  # steps after which dead latents start again; None: never
    resample_until: int | None = None  # the last step at which they may; None: lr decay's start
    grad_clip: float | None = 1.0  # global norm per run; None: no clipping
    dtype: str = "float32"  # of matrix products; weights, optimiser and losses stay float32
    normalize_activations: str = "none"  # "expected_average_only_in": mean norm sqrt(D), folded
    n_batches_for_norm_estimate: int = 100
    snapshots: tuple[int, ...] = ()  # steps after which weights are kept
    history_points: int = 50  # at most; each row a mean over the steps since the one before
    adam_b1: float = 0.9
    adam_b2: float = 0.999
    adam_eps: float = 1e-8

    def __post_init__(self) -> None:
        where = "TrainConfig"
        check_fields(where, self)
        require(
            self.resample_until is None or self.resample_every is not None,
            f"{where}.resample_until says nothing without resample_every, got "
            f"{self.resample_until}.",
        )
        require(
            self.lr_end <= self.lr,
            f"{where}.lr_end must lie in 0..lr = {self.lr}, got {self.lr_end}.",
        )
        names = [a.name for a in self.anneal]
        require(
            len(set(names)) == len(names), f"{where}.anneal names a number twice: {sorted(names)}."
        )
        steps = list(self.snapshots)
        whole = all(isinstance(s, int | np.integer) for s in steps)
        require(
            whole and steps == sorted(set(steps)) and all(0 <= s <= self.n_steps for s in steps),
            f"{where}.snapshots must be increasing whole steps in 0..{self.n_steps}, got {steps}.",
        )
        scheduled = self.lr_warm_up_steps + self.lr_decay_steps
        require(
            scheduled <= self.n_steps,
            f"{where}: warm-up and decay take {scheduled} steps, but there are {self.n_steps} "
            f"(n_samples / batch_size).",
        )

    @property
    def n_steps(self) -> int:
        """Optimiser steps: enough batches to reach `n_samples`."""
        return math.ceil(self.n_samples / self.batch_size)

    def resample_steps(self) -> tuple[int, ...]:
        """The steps after which dead latents start again."""
        if self.resample_every is None:
            return ()
        end = self.resample_until or self.n_steps - self.lr_decay_steps
        return tuple(
            range(self.resample_every, min(end, self.n_steps - 1) + 1, self.resample_every)
        )


def log_spaced(n_steps: int, count: int) -> tuple[int, ...]:
    """Up to `count` steps from 1 to `n_steps`, evenly spaced in their logarithm: for snapshots."""
    require(n_steps >= 1 and count >= 1, "log_spaced needs n_steps >= 1 and count >= 1.")
    return tuple(sorted({int(s) for s in np.rint(np.geomspace(1, n_steps, count))}))
