"""Similarity of two point sets over the same points: one number, with declared invariances.

A measure is a file here with a function under `@register_measure`; the tests follow from what it
declares. `measure` gives its value, `measure_with_reason` says why there is none, `chance` and
`shuffled` what it is worth for unrelated points. `stitched_explained_variance` is for one SAE on
another model's activations, and the functions of `consistency` take a pairing of latents.
"""

import importlib
import pkgutil

from synthsae_jax.similarity.base import (
    INVARIANCES,
    Measure,
    evaluate,
    measure,
    measure_with_reason,
    measures,
    narrow_points,
    register_measure,
)
from synthsae_jax.similarity.chance_levels import chance, shuffled
from synthsae_jax.similarity.consistency import (
    co_firing,
    orderedness,
    shared_at,
    support_jaccard,
)
from synthsae_jax.similarity.stitching import carry, carry_back, stitched_explained_variance
from synthsae_jax.similarity.svcca import directions_kept

for _file in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_file.name}")


def names() -> tuple[str, ...]:
    """Names that `measure` knows."""
    return measures.names()


__all__ = [
    "INVARIANCES",
    "Measure",
    "carry",
    "carry_back",
    "chance",
    "co_firing",
    "directions_kept",
    "evaluate",
    "measure",
    "measure_with_reason",
    "measures",
    "names",
    "narrow_points",
    "orderedness",
    "register_measure",
    "shared_at",
    "shuffled",
    "stitched_explained_variance",
    "support_jaccard",
]
