"""Similarity of two point sets over the same points: one number, with declared invariances.

A measure is a file here with a function under `@register_measure`; the tests follow from what it
declares.
"""

import importlib
import pkgutil

from synthsae_jax.similarity.base import (
    INVARIANCES,
    Measure,
    measure,
    measures,
    register_measure,
)

for _file in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_file.name}")


def names() -> tuple[str, ...]:
    """Names that `measure` knows."""
    return measures.names()


__all__ = ["INVARIANCES", "Measure", "measure", "measures", "names", "register_measure"]
