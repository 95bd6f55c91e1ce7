"""Worlds: from a config and a seed as SAELens makes them, or from your own numbers."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from synthsae_jax.errors import require
from synthsae_jax.modes import IMPL, fixed
from synthsae_jax.worlds import laws
from synthsae_jax.worlds.compensation import compensate
from synthsae_jax.worlds.copula import Copula, independent, threshold_of
from synthsae_jax.worlds.correlation import DenseCopula, LowRank, from_user
from synthsae_jax.worlds.forest import HierarchyConfig, feature_levels, grow, tables
from synthsae_jax.worlds.nodes import Nodes, empty, from_parents, parse
from synthsae_jax.worlds.records import Forest, World

_ZIPFIAN = laws.Zipfian()


@dataclasses.dataclass(frozen=True)
class WorldConfig:
    """Choices that make a world: how many features, how often, how strongly, and who with whom.

    `mean` and `std` are the magnitude of a firing, `relu(N(mean, std^2))`: a law over features, or
    one number for all.
    """

    n_features: int
    firing: laws.FiringLaw = _ZIPFIAN
    hierarchy: HierarchyConfig | None = None
    correlation: LowRank | DenseCopula | None = None
    mean: laws.MagnitudeLaw = 1.0
    std: laws.MagnitudeLaw = 0.0
    slots: tuple[int, ...] | None = None  # of `init_world`; fixed ones let worlds share programs

    def __post_init__(self):
        n = self.n_features
        require(
            isinstance(n, int) and not isinstance(n, bool) and n >= 1,
            f"WorldConfig: n_features must be a whole number >= 1; got {n!r}.",
        )
        laws.check_firing(self.firing, "WorldConfig: firing")
        laws.check_magnitude(self.mean, "WorldConfig: mean")
        laws.check_magnitude(self.std, "WorldConfig: std")
        for name, kinds in (
            ("hierarchy", HierarchyConfig),
            ("correlation", LowRank | DenseCopula),
        ):
            value = getattr(self, name)
            require(
                value is None or isinstance(value, kinds),
                f"WorldConfig: {name} must be None or a config of its kind; got {value!r}.",
            )
        roots = 0 if self.hierarchy is None else self.hierarchy.total_root_nodes
        require(
            roots <= n,
            f"WorldConfig: {roots} total_root_nodes cannot fit into {n} features; raise n_features "
            "or lower hierarchy.total_root_nodes.",
        )


@fixed
def init_world(
    key: jax.Array,
    config: WorldConfig,
    *,
    seed: int | None = None,
    slots: tuple[int, ...] | None = None,
) -> World:
    """The world of a config; the same key, the same world. Not inside a trace.

    All frozen numbers come from one integer seed as in SAELens on a CPU: probabilities s,
    standard deviations s + 1, means s + 2, hierarchy s + 3, copula factors s + 4. Without `seed`
    it is drawn from the key (31 bits); the key alone decides on the geometry that instances share.
    `slots`: capacity for (roots, tops, level 1, ..., codes); None takes the config's, or a pilot's.
    """
    require(
        not isinstance(key, jax.core.Tracer),
        "init_world makes its numbers on the host; call it outside jit and vmap, and worlds.stack "
        "the results.",
    )
    if seed is None:
        seed = int(jax.random.bits(jax.random.fold_in(key, 0)) >> 1)
    return build(config, seed, geometry_key=jax.random.fold_in(key, 1), slots=slots)


def build(
    config: WorldConfig,
    seed: int,
    *,
    geometry_key: jax.Array | None = None,
    slots: tuple[int, ...] | None = None,
) -> World:
    """The world of (config, seed), with the key of its instances' shared geometry."""
    n, tree = config.n_features, config.hierarchy
    copula = config.correlation.copula(n, seed + 4) if config.correlation else independent(n)
    forest = tables(empty() if tree is None else grow(tree, n, seed + 3), n)
    mean = laws.magnitudes(config.mean, n, seed + 2)
    std = laws.magnitudes(config.std, n, seed + 1)
    check_magnitudes(mean, std, forest, "WorldConfig")
    probability = compensate(
        forest,
        laws.probabilities(config.firing, n, seed),
        "none" if tree is None else tree.compensation,
        copula=copula,
        mean=mean,
        std=std,
    )
    slots = config.slots if slots is None else slots
    return assemble(
        probability, mean, std, copula, forest, geometry_key, slots, config=config, seed=seed
    )


@fixed
def make_world(
    probabilities: Any,
    hierarchy: Any = None,
    correlation: Any = None,
    mean: Any = 1.0,
    std: Any = 0.0,
    *,
    slots: tuple[int, ...] | None = None,
) -> World:
    """A world of your own numbers; `probabilities` [F] are used raw, without compensation.

    `hierarchy`: SAELens' hierarchy JSON (`{"roots": [...]}` or the list of roots; `worlds.node`
    writes one), `Nodes`, or each feature's parent as int [F] with -1 for none. `correlation`: a
    matrix [F, F] with unit diagonal, or a pair (factor [F, r], residual [F]) whose rows satisfy
    |factor|^2 + residual = 1. `mean`, `std`: one number or [F]. `slots` as in `init_world`.
    """
    probability = np.array(probabilities, np.float64)
    require(
        probability.ndim == 1 and probability.size > 0,
        f"make_world: probabilities must have shape [F]; got {list(probability.shape)}.",
    )
    n = len(probability)
    wrong = np.flatnonzero(~((probability >= 0) & (probability <= 1)))
    require(
        wrong.size == 0,
        f"make_world: probabilities must lie in [0, 1]; got {_first(probability, wrong)}.",
    )
    forest = tables(_nodes(hierarchy, n), n)
    mean, std = (_vector(value, n, name) for value, name in ((mean, "mean"), (std, "std")))
    check_magnitudes(mean, std, forest, "make_world")
    return assemble(probability, mean, std, from_user(correlation, n), forest, None, slots)


def assemble(
    probability: np.ndarray,
    mean: np.ndarray,
    std: np.ndarray,
    copula: Copula,
    forest: Forest,
    geometry_key: jax.Array | None = None,
    slots: tuple[int, ...] | None = None,
    *,
    config: object = None,
    seed: int | None = None,
) -> World:
    """The record of these float64 numbers, with thresholds and a pilot's slots."""
    n_slots = int(feature_levels(forest).max(initial=0)) + 3
    if geometry_key is None:
        geometry_key = jax.random.key(0, impl=IMPL)
    world = World(
        probabilities=_float32(probability),
        threshold=_float32(threshold_of(probability)),
        mean=_float32(mean),
        std=_float32(std),
        factor=_float32(copula.factor),
        residual=_float32(copula.residual),
        cholesky=_float32(copula.cholesky),
        forest=forest,
        # raw words: a typed key is neither a numpy array nor stored in a file
        geometry_key=jax.random.key_data(geometry_key),
        shared_factors=jnp.asarray(True),
        slots=(0,) * n_slots,
        config=config,
        seed=seed,
    )
    if slots is None:
        from synthsae_jax.worlds.capacity import pilot_slots

        slots = pilot_slots(world)
    slots = tuple(int(s) for s in slots)
    require(
        len(slots) == n_slots and min(slots) >= 1,
        f"slots: this world needs {n_slots} numbers >= 1, for (roots, tops, each of "
        f"{n_slots - 3} levels, codes); got {slots}.",
    )
    return world.replace(slots=slots)


def check_magnitudes(mean: np.ndarray, std: np.ndarray, forest: Forest, where: str) -> None:
    """Raise where a magnitude is no number, spread is negative, or scaling would divide by 0."""
    for name, values in (("mean", mean), ("std", std)):
        wrong = np.flatnonzero(~np.isfinite(values))
        require(wrong.size == 0, f"{where}: {name} must be finite; got {_first(values, wrong)}.")
    wrong = np.flatnonzero(std < 0)
    require(wrong.size == 0, f"{where}: std must be >= 0; got {_first(std, wrong)}.")
    scaled = np.asarray(forest.scaled)[:-1]
    heads = np.unique(np.asarray(forest.parent)[scaled])
    wrong = heads[mean[heads] <= 0]
    require(
        wrong.size == 0,
        f"{where}: children scaled by their parent need a parent with mean > 0; got "
        f"{_first(mean, wrong)}.",
    )


def _nodes(hierarchy: Any, n_features: int) -> Nodes:
    if hierarchy is None:
        return empty()
    if isinstance(hierarchy, Nodes):
        highest = int(hierarchy.feature.max(initial=-1))
        require(
            highest < n_features,
            f"make_world: hierarchy names feature {highest}, but there are {n_features}.",
        )
        return hierarchy
    if isinstance(hierarchy, dict) or (
        isinstance(hierarchy, list | tuple) and all(isinstance(item, dict) for item in hierarchy)
    ):
        return parse(hierarchy, n_features, "make_world: hierarchy")
    parents = np.asarray(hierarchy)
    require(
        parents.shape == (n_features,),
        f"make_world: hierarchy must be SAELens' hierarchy JSON, Nodes, or parents int "
        f"[{n_features}]; got {type(hierarchy).__name__} of shape {list(parents.shape)}.",
    )
    return from_parents(parents)


def _vector(value: Any, n_features: int, name: str) -> np.ndarray:
    array = np.array(value, np.float64)
    require(
        array.shape in ((), (n_features,)),
        f"make_world: {name} must be a number or have shape [{n_features}]; got "
        f"{list(array.shape)}.",
    )
    return np.broadcast_to(array, (n_features,))


def _first(values: np.ndarray, wrong: np.ndarray) -> str:
    more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
    return f"{values[wrong[0]]:g} at feature {wrong[0]}{more}" if len(wrong) else ""


def _float32(values: np.ndarray) -> jax.Array:
    return jnp.asarray(np.asarray(values, np.float32))
