"""Numbers that move while training: the learning rate, and annealed numbers of the SAE."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from synthsae_jax.errors import require

Array = jax.Array

DECAYS = ("linear", "cosine")


@dataclasses.dataclass(frozen=True)
class Anneal:
    """A number of the SAE that starts elsewhere: `Anneal("k", 60)` goes from 60 to the SAE's k.

    It moves linearly over the first `steps` optimiser steps (None: over all of them) and then
    stays. A whole number is rounded to the nearest.
    """

    name: str
    start: float
    steps: int | None = None

    def __post_init__(self) -> None:
        require(math.isfinite(self.start), f"Anneal.start must be finite, got {self.start}.")
        require(
            self.steps is None or self.steps >= 1,
            f"Anneal.steps must be at least 1 or None, got steps={self.steps}.",
        )


@struct.dataclass
class Ramp:
    """An `Anneal` as numbers in a trace."""

    start: Array  # float32 []
    steps: Array  # int32 []


def annealed(hyper: Any, ramps: dict[str, Ramp], step: Array) -> Any:
    """The SAE's numbers at `step`."""

    def at(name: str, ramp: Ramp) -> Array:
        end = jnp.asarray(getattr(hyper, name))
        share = jnp.minimum(step / ramp.steps, 1.0)
        value = ramp.start + (end - ramp.start) * share
        whole = jnp.issubdtype(end.dtype, jnp.integer)
        return (jnp.round(value) if whole else value).astype(end.dtype)

    return hyper.replace(**{name: at(name, ramp) for name, ramp in ramps.items()})


@struct.dataclass
class Schedule:
    """A learning rate over a training, as numbers in a trace."""

    lr: Array  # float32 []
    end: Array  # float32 []: what the decay would reach one step after the last
    warm_up: Array  # int32 []: first steps
    decay: Array  # int32 []: last steps
    n_steps: Array  # int32 []


def learning_rate(schedule: Schedule, step: Array, shape: str = "linear") -> Array:
    """The learning rate of a step: linear warm-up from lr / warm_up, constant, decay; float32 [].

    The decay takes the last `decay` steps and would reach `end` one step after the last: linearly,
    or along half a cosine.
    """
    lr, end, warm_up, decay = schedule.lr, schedule.end, schedule.warm_up, schedule.decay
    warm = jnp.where(warm_up > 0, (step + 1) / jnp.maximum(warm_up, 1), 1.0)
    left = jnp.where(decay > 0, (schedule.n_steps - step) / jnp.maximum(decay, 1), 1.0)
    left = jnp.clip(left, 0.0, 1.0)
    if shape == "cosine":
        left = 0.5 * (1 - jnp.cos(jnp.pi * left))
    return jnp.minimum(lr * jnp.minimum(warm, 1.0), end + (lr - end) * left)
