"""Matched L0: steer a penalty so that an SAE ends at a target sparsity.

Comparisons of architectures mean little at unequal L0. Those with a k have it by construction;
for the others this turns the penalty's coefficient while they train, until the batch's L0 is the
target.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

Array = jax.Array

# The coefficient is base * exp(integral + _PROPORTIONAL * error), error = log(L0 / target). The
# integral gains _INTEGRAL / n_steps of the error per step: however long a run is, it settles in
# the same share of it.
_PROPORTIONAL = 1.0
_INTEGRAL = 60.0
_LARGEST_ERROR = 0.5  # farther off counts as this far: L0 starts at half of all latents
_RANGE = 12.0  # of the integral: e^12 either way
_SMOOTHING = 0.98  # of the running L0: some 50 batches


@struct.dataclass
class Control:
    """The controller of one run."""

    integral: Array  # float32 []
    l0: Array  # float32 []: running mean; negative before the first batch


def init_control() -> Control:
    """Before the first batch the penalty is the SAE's own."""
    return Control(integral=jnp.zeros((), jnp.float32), l0=jnp.full((), -1.0, jnp.float32))


def steered(hyper: Any, penalty: str, control: Control, target: Array) -> Any:
    """The SAE's numbers with the penalty where the controller has it."""
    factor = jnp.exp(control.integral + _PROPORTIONAL * _error(control.l0, target))
    return hyper.replace(**{penalty: getattr(hyper, penalty) * factor})


def updated_control(control: Control, l0: Array, target: Array, n_steps: Array) -> Control:
    """The controller after a batch with this L0."""
    running = jnp.where(control.l0 < 0, l0, _SMOOTHING * control.l0 + (1 - _SMOOTHING) * l0)
    moved = control.integral + _INTEGRAL / n_steps * _error(running, target)
    return Control(integral=jnp.clip(moved, -_RANGE, _RANGE), l0=running)


def _error(l0: Array, target: Array) -> Array:
    # an SAE that fires nothing has L0 0: far too sparse, not infinitely so
    error = jnp.log(jnp.maximum(l0, 1e-6) / target)
    return jnp.where(l0 < 0, 0.0, jnp.clip(error, -_LARGEST_ERROR, _LARGEST_ERROR))
