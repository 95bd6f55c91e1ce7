"""Worlds, instances and codes: synthetic data whose features are known."""

from synthsae_jax.worlds.build import WorldConfig, init_world, make_world
from synthsae_jax.worlds.capacity import raise_on_overflow
from synthsae_jax.worlds.codes import densify, embed, observe
from synthsae_jax.worlds.correlation import DenseCopula, LowRank
from synthsae_jax.worlds.dictionary import gram_correlation
from synthsae_jax.worlds.firing import Constant, Linear, Random, ScaledZipf, Zipfian
from synthsae_jax.worlds.forest import HierarchyConfig
from synthsae_jax.worlds.instance import (
    InstanceConfig,
    InstanceKeys,
    init_instance,
    instance_keys,
    make_instance,
)
from synthsae_jax.worlds.join import join
from synthsae_jax.worlds.magnitude import (
    ConstantMagnitude,
    ExponentialMagnitude,
    FoldedNormal,
    LinearMagnitude,
)
from synthsae_jax.worlds.nodes import from_parents, node
from synthsae_jax.worlds.presence import shared_features
from synthsae_jax.worlds.presets import Preset, preset, preset_names, presets
from synthsae_jax.worlds.rates import expected_l0, expected_rates
from synthsae_jax.worlds.records import Codes, Forest, Instance, World
from synthsae_jax.worlds.sample import sample_codes
from synthsae_jax.worlds.stack import stack
from synthsae_jax.worlds.statistics import (
    CorrelationStatistics,
    SuperpositionStatistics,
    correlation_statistics,
    measured_l0,
    superposition_statistics,
)
from synthsae_jax.worlds.stream import draw, see
from synthsae_jax.worlds.twin import COUPLINGS, twin

__all__ = [
    "COUPLINGS",
    "Codes",
    "Constant",
    "ConstantMagnitude",
    "CorrelationStatistics",
    "DenseCopula",
    "ExponentialMagnitude",
    "FoldedNormal",
    "Forest",
    "HierarchyConfig",
    "Instance",
    "InstanceConfig",
    "InstanceKeys",
    "Linear",
    "LinearMagnitude",
    "LowRank",
    "Preset",
    "Random",
    "ScaledZipf",
    "SuperpositionStatistics",
    "World",
    "WorldConfig",
    "Zipfian",
    "correlation_statistics",
    "densify",
    "draw",
    "embed",
    "expected_l0",
    "expected_rates",
    "from_parents",
    "gram_correlation",
    "init_instance",
    "init_world",
    "instance_keys",
    "join",
    "make_instance",
    "make_world",
    "measured_l0",
    "node",
    "observe",
    "preset",
    "preset_names",
    "presets",
    "raise_on_overflow",
    "sample_codes",
    "see",
    "shared_features",
    "stack",
    "superposition_statistics",
    "twin",
]
