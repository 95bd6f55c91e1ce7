"""Departures from linear features, each with a strength; at strength 0 each equals `embed`.

What of the methods rests on features being directions (the linear representation hypothesis) is
found by raising the strength. An instance with a departure keeps in `dictionary` the *effective
directions*, the mean direction of a feature's contribution weighted by its size: what a linear
method can find at best, and what metrics take for the truth. `linear_share` says how much of a
feature lies along it. Every other module here that registers a departure is imported by itself.
"""

import importlib
import pkgutil

from synthsae_jax.worlds.departures.base import Kind, departure_names, departures
from synthsae_jax.worlds.departures.start import (
    depart,
    departed,
    linear_share,
    pick,
    start,
    with_strength,
)

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = [
    "Kind",
    "depart",
    "departed",
    "departure_names",
    "departures",
    "linear_share",
    "pick",
    "start",
    "with_strength",
]
