"""Inputs scaled to mean norm sqrt(D) while training, and the scale folded back afterwards.

Every encoder and decoder here is homogeneous: f(x) with all that is measured in the inputs' units
(biases, thresholds, and the length at which a pursuit stops) divided by s equals f'(s x) / s,
whatever selects its latents. So folding needs nothing else.
"""

from __future__ import annotations

from typing import Any

import jax

from synthsae_jax.saes import SAEParams
from synthsae_jax.saes.records import scales_with_inputs

Array = jax.Array

NORMALIZATIONS = ("none", "expected_average_only_in")


def folded(params: SAEParams, scale: Array) -> SAEParams:
    """Weights for inputs as they are, from weights for inputs times `scale`.

    Latents come out divided by `scale`; decoder rows stay as they are. Among an architecture's own
    weights (`extra`) those named as offsets are ("b_..." and "...threshold") count as such.
    """

    divided = {n: getattr(params, n) for n in scales_with_inputs(params)}
    divided = {n: v / scale for n, v in divided.items() if v is not None}
    offset = lambda name: name.startswith("b_") or name.endswith("threshold")
    extra = params.extra and {n: v / scale if offset(n) else v for n, v in params.extra.items()}
    return params.replace(**divided, extra=extra)


def folded_records(record: Any, scale: Array) -> Any:
    """Numbers, or what is carried besides weights, for inputs as they are.

    Axes are [I, R, ...], those of the scale [I] or [I, R], or none of either. Divided is what the
    record's class declares by `in_input_units`: running thresholds, say.
    """

    def fold(value: Array) -> Array:
        return value / scale.reshape(*scale.shape, *(1,) * (value.ndim - scale.ndim))

    names = scales_with_inputs(record)
    return record.replace(**{n: fold(getattr(record, n)) for n in names}) if names else record
