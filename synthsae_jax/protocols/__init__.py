"""Published protocols for "do these two SAEs have the same features?", as versioned recipes.

`run_protocol(name, a, b, key=..., draws=...)` takes arrays, so it serves real SAEs as well as
synthetic ones. A protocol is an entry of one file here: score, solver, filters, what is read off
the matching, and nulls; every other module in this folder is found and imported by itself.
"""

from __future__ import annotations

import importlib
import pkgutil

from synthsae_jax.protocols.base import (
    Context,
    NullNumbers,
    NullStep,
    Protocol,
    ProtocolResult,
    View,
    protocols,
    register_protocol,
)
from synthsae_jax.protocols.run import run_protocol

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")


def protocol_names() -> tuple[str, ...]:
    """Names that `run_protocol` knows."""
    return protocols.names()


__all__ = [
    "Context",
    "NullNumbers",
    "NullStep",
    "Protocol",
    "ProtocolResult",
    "View",
    "protocol_names",
    "protocols",
    "register_protocol",
    "run_protocol",
]
