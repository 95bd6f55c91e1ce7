"""Worlds, instances and codes: synthetic data whose features are known."""

from synthsae_jax.worlds.build import WorldConfig, init_world, make_world
from synthsae_jax.worlds.capacity import raise_on_overflow
from synthsae_jax.worlds.codes import densify, embed, observe
from synthsae_jax.worlds.correlation import DenseCopula, LowRank
from synthsae_jax.worlds.departures import (
    depart,
    departure_names,
    linear_share,
    with_strength,
)
from synthsae_jax.worlds.dictionary import gram_correlation
from synthsae_jax.worlds.firing import Constant, Linear, Random, ScaledZipf, Zipfian
from synthsae_jax.worlds.forest import HierarchyConfig
from synthsae_jax.worlds.instance import init_instance, make_instance
from synthsae_jax.worlds.instance_config import (
    GEOMETRIES,
    InstanceConfig,
    InstanceKeys,
    instance_keys,
)
from synthsae_jax.worlds.join import join
from synthsae_jax.worlds.learned import (
    Learned,
    LearnedConfig,
    learn,
    learn_dictionaries,
    log_spaced,
)
from synthsae_jax.worlds.learned_instances import learned_instances
from synthsae_jax.worlds.magnitude import (
    ConstantMagnitude,
    ExponentialMagnitude,
    FoldedNormal,
    LinearMagnitude,
)
from synthsae_jax.worlds.nodes import from_parents, node
from synthsae_jax.worlds.overlap import dim_for_overlap, features_for_overlap, overlap_of
from synthsae_jax.worlds.presence import shared_features
from synthsae_jax.worlds.presets import Preset, preset, preset_names, presets
from synthsae_jax.worlds.rates import expected_l0, expected_rates
from synthsae_jax.worlds.records import Codes, Departure, Forest, Instance, World
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
from synthsae_jax.worlds.variant import RateMatch, rate_match, variant
from synthsae_jax.worlds.variant_pair import CodeCeiling, code_ceiling, sample_pair

__all__ = [
    "COUPLINGS",
    "GEOMETRIES",
    "CodeCeiling",
    "Codes",
    "Constant",
    "ConstantMagnitude",
    "CorrelationStatistics",
    "DenseCopula",
    "Departure",
    "ExponentialMagnitude",
    "FoldedNormal",
    "Forest",
    "HierarchyConfig",
    "Instance",
    "InstanceConfig",
    "InstanceKeys",
    "Learned",
    "LearnedConfig",
    "Linear",
    "LinearMagnitude",
    "LowRank",
    "Preset",
    "Random",
    "RateMatch",
    "ScaledZipf",
    "SuperpositionStatistics",
    "World",
    "WorldConfig",
    "Zipfian",
    "code_ceiling",
    "correlation_statistics",
    "densify",
    "depart",
    "departure_names",
    "dim_for_overlap",
    "draw",
    "embed",
    "expected_l0",
    "expected_rates",
    "features_for_overlap",
    "from_parents",
    "gram_correlation",
    "init_instance",
    "init_world",
    "instance_keys",
    "join",
    "learn",
    "learn_dictionaries",
    "learned_instances",
    "linear_share",
    "log_spaced",
    "make_instance",
    "make_world",
    "measured_l0",
    "node",
    "observe",
    "overlap_of",
    "preset",
    "preset_names",
    "presets",
    "raise_on_overflow",
    "rate_match",
    "sample_codes",
    "sample_pair",
    "see",
    "shared_features",
    "stack",
    "superposition_statistics",
    "twin",
    "variant",
    "with_strength",
]
