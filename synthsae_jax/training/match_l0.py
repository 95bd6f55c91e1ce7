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

# Per step the log of the coefficient moves by _GAIN / n_steps times where log(L0 / target) is
# heading: its value plus its slope over the next _AHEAD * n_steps steps. Without looking ahead a
# coefficient that has to pull L0 down from half of all latents overshoots, and kills latents.
_GAIN = 40.0
_AHEAD = 0.12
_RISE = 0.1  # share of the steps over which the gain rises from 0: at first L0 falls by itself
_LARGEST_ERROR = 0.5  # farther off counts as this far
_RANGE = 12.0  # of the log: e^12 either way
_IDLE = 0.1  # share of the gain while hardly anything fires, which an SAE may outgrow by itself
_SMOOTHING = 0.95  # of the running log L0 and its slope: some 20 batches


@struct.dataclass
class Control:
    """The controller of one run."""

    log_factor: Array  # float32 []: log of the penalty over the SAE's own
    log_l0: Array  # float32 []: running mean
    slope: Array  # float32 []: running mean of its change per step
    steps: Array  # int32 []: batches seen


def init_control() -> Control:
    """Before the first batch the penalty is the SAE's own."""
    zero = jnp.zeros((), jnp.float32)
    return Control(log_factor=zero, log_l0=zero, slope=zero, steps=jnp.zeros((), jnp.int32))


def steered(hyper: Any, penalty: str, control: Control) -> Any:
    """The SAE's numbers with the penalty where the controller has it."""
    return hyper.replace(**{penalty: getattr(hyper, penalty) * jnp.exp(control.log_factor)})


def updated_control(control: Control, l0: Array, target: Array, n_steps: Array) -> Control:
    """The controller after a batch with this L0."""
    # an SAE that fires nothing has L0 0: far too sparse, not infinitely so
    least = 0.01 * target
    now = jnp.log(jnp.maximum(l0, least))
    first = control.steps == 0
    change = jnp.where(first, 0.0, (1 - _SMOOTHING) * (now - control.log_l0))
    log_l0 = jnp.where(first, now, control.log_l0 + change)
    slope = _SMOOTHING * control.slope + (1 - _SMOOTHING) * change
    heading = log_l0 - jnp.log(target) + _AHEAD * n_steps * slope
    error = jnp.clip(heading, -_LARGEST_ERROR, _LARGEST_ERROR)
    gain = jnp.where(l0 <= least, _IDLE * _GAIN, _GAIN) / n_steps
    gain = gain * jnp.minimum(control.steps / (_RISE * n_steps), 1.0)
    factor = jnp.clip(control.log_factor + gain * error, -_RANGE, _RANGE)
    return Control(log_factor=factor, log_l0=log_l0, slope=slope, steps=control.steps + 1)
