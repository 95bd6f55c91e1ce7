"""Inputs scaled to mean norm sqrt(D) while training, and the scale folded back afterwards.

Every encoder and decoder here is homogeneous: f(x) with all that is measured in the inputs' units
(biases, thresholds, and the length at which a pursuit stops) divided by s equals f'(s x) / s,
whatever selects its latents. So folding needs nothing else.
"""

from __future__ import annotations

from typing import Any

import jax

from synthsae_jax.saes import SAEParams

Array = jax.Array

NORMALIZATIONS = ("none", "expected_average_only_in")
_IN_UNITS = ("threshold", "thresholds", "residual_threshold")


def folded(params: SAEParams, scale: Array) -> SAEParams:
    """Weights for inputs as they are, from weights for inputs times `scale`.

    Latents come out divided by `scale`; decoder rows stay as they are. Among an architecture's own
    weights (`extra`) those named as offsets are ("b_..." and "...threshold") count as such.
    """

    def fold(name: str, value: Array) -> Array:
        offset = name.startswith("b_") or name.endswith("threshold")
        return value / scale if offset else value

    own = {n: fold(n, v) for n, v in vars(params).items() if v is not None and n != "extra"}
    extra = params.extra and {n: fold(n, v) for n, v in params.extra.items()}
    return params.replace(**own, extra=extra)


def folded_records(record: Any, scale: Array) -> Any:
    """Numbers, or what is carried besides weights, for inputs as they are.

    Axes are [I, R, ...], those of the scale [I] or [I, R]. In the inputs' units are running
    thresholds, and the residual at which a pursuit stops.
    """

    def fold(value: Array) -> Array:
        return value / scale.reshape(*scale.shape, *(1,) * (value.ndim - scale.ndim))

    found = {n: v for n, v in getattr(record, "__dict__", {}).items() if n in _IN_UNITS}
    return record.replace(**{n: fold(v) for n, v in found.items()}) if found else record
