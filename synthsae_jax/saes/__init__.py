"""SAEs: `build` one by name, or `wrap` functions of your own.

Every other module here that registers an architecture is found and imported by itself.
"""

import importlib
import pkgutil

from synthsae_jax.saes.archetypal import with_anchors
from synthsae_jax.saes.base import SAE, architecture, architectures
from synthsae_jax.saes.builder import build, names, option_defaults
from synthsae_jax.saes.coupled import decoder_block, member, relative_norms
from synthsae_jax.saes.foreign import wrap
from synthsae_jax.saes.records import Options, Rules, SAEParams
from synthsae_jax.saes.refinements import leave_one_out, orthogonal_matching_pursuit

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = [
    "SAE",
    "Options",
    "Rules",
    "SAEParams",
    "architecture",
    "architectures",
    "build",
    "decoder_block",
    "leave_one_out",
    "member",
    "names",
    "option_defaults",
    "orthogonal_matching_pursuit",
    "relative_norms",
    "with_anchors",
    "wrap",
]
