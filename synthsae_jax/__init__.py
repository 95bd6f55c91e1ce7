"""Sparse autoencoders on synthetic data whose features are known.

`import synthsae_jax as ssj` loads nothing else; a folder such as `ssj.worlds` is imported when
it is first named, so `synthsae --help` does not wait for JAX.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from synthsae_jax import (
        experiments,
        io,
        match,
        matching,
        metrics,
        protocols,
        report,
        saes,
        similarity,
        suite,
        training,
        worlds,
    )

__version__ = "0.2.0"
__all__ = [
    "__version__",
    "experiments",
    "io",
    "match",
    "matching",
    "metrics",
    "protocols",
    "report",
    "saes",
    "similarity",
    "suite",
    "training",
    "worlds",
]


def __getattr__(name: str) -> ModuleType:
    # PEP 562: called only for names that the module does not have yet
    if name in __all__:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
