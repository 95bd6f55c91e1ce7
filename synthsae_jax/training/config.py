"""How an SAE is trained: sizes and numbers, checked once."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from synthsae_jax.errors import check_choice, require


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Choices of a training run, defaults as in SynthSAEBench (arXiv 2602.14687).

    Only `batch_size`, `dtype`, Adam's constants and whether a run is long enough for a latent to
    die are compiled in; the other numbers are traced, so runs that differ in them share a program.
    """

    n_samples: int = 4_000_000
    batch_size: int = 1024
    lr: float = 3e-4
    lr_warm_up_steps: int = 0  # linear from lr / steps to lr
    lr_decay_steps: int = 0  # linear to 0 over the last steps
    dead_window: int = 1000  # a latent is dead after more than this many steps without firing
    grad_clip: float | None = 1.0  # global norm per run; None: no clipping
    dtype: str = "float32"  # of matrix products; weights, optimiser and losses stay float32
    history_points: int = 50  # at most; each row a mean over the steps since the one before
    adam_b1: float = 0.9
    adam_b2: float = 0.999
    adam_eps: float = 1e-8

    def __post_init__(self) -> None:
        where = "TrainConfig"
        positive = ("n_samples", "batch_size", "history_points")
        for name in (*positive, "lr_warm_up_steps", "lr_decay_steps", "dead_window"):
            value, least = getattr(self, name), int(name in positive)
            require(
                isinstance(value, int | np.integer) and value >= least,
                f"{where}.{name} must be a whole number >= {least}, got {value!r}.",
            )
        for name in ("lr", "adam_eps"):
            value = getattr(self, name)
            require(
                0 < value < math.inf, f"{where}.{name} must be positive and finite, got {value}."
            )
        for name in ("adam_b1", "adam_b2"):
            value = getattr(self, name)
            require(0 <= value < 1, f"{where}.{name} must lie in [0, 1), got {value}.")
        require(
            self.grad_clip is None or self.grad_clip > 0,
            f"{where}.grad_clip must be > 0 or None, got {self.grad_clip}.",
        )
        check_choice(f"{where}.dtype", self.dtype, ("float32", "bfloat16"))
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
