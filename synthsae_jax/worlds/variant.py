"""Variants of a world: the same ids and the same rates under another law of who fires when.

What a variant changes is a cause by itself: another forest, copula or magnitude law alone, with
every feature as frequent as before (`compensation="exact"`). With another firing law the rates are
that law's. Tokens of a world and its variant are paired by `sample_pair`.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import jax
import numpy as np

from synthsae_jax.errors import check_choice, require
from synthsae_jax.modes import fixed
from synthsae_jax.worlds import laws
from synthsae_jax.worlds.build import assemble, check_magnitudes
from synthsae_jax.worlds.compensation import compensate
from synthsae_jax.worlds.copula import Copula, independent
from synthsae_jax.worlds.correlation import DenseCopula, LowRank, from_user
from synthsae_jax.worlds.forest import HierarchyConfig, grow, tables
from synthsae_jax.worlds.nodes import Nodes, empty
from synthsae_jax.worlds.rates import expected_rates
from synthsae_jax.worlds.records import Forest, World

KEEP = "keep"
_CLOSE = 0.02
ON_MISS = ("warn", "raise", "ignore")


class RateMatch(NamedTuple):
    """How far a variant's realised rates are from those it was to have."""

    missed: int  # features further off than 2 %
    largest: float  # largest relative difference
    mean_l0: float  # expected L0 of the variant
    wanted_l0: float


@fixed
def variant(
    world: World,
    *,
    hierarchy: HierarchyConfig | Nodes | str | None = KEEP,
    correlation: LowRank | DenseCopula | Any = KEEP,
    mean: Any = KEEP,
    std: Any = KEEP,
    firing: laws.FiringLaw | str = KEEP,
    seed: int = 0,
    slots: tuple[int, ...] | None = None,
    on_miss: str = "warn",
) -> World:
    """The world with another forest, copula, magnitude law or firing law; "keep" leaves a part.

    The realised rates are those of `world` (`expected_rates`) within 2 %; with `firing`, that
    law's. Where a forest makes that impossible (exclusive siblings that want more than their parent
    has), a warning says how many features miss it and by how much; `on_miss="raise"` refuses
    instead. A `HierarchyConfig` is grown over the features in order of their rate, so that parents
    are more frequent than children; its own `compensation` does not count. `correlation` and
    `mean`, `std` as in `WorldConfig` or as numbers [F]; None is no forest, no correlation. `seed`:
    of the new parts, used as `init_world` uses a world's. Geometry keys are kept, so instances of
    a variant share what instances of the world do. Plain worlds; not inside a trace.
    """
    check_choice("variant: on_miss", on_miss, ON_MISS)
    require(
        world.copies == 1 and world.probabilities.ndim == 1,
        "variant takes one plain world; make twins or a stack of the variants.",
    )
    n = world.n_base
    target = expected_rates(world) if _unchanged(firing) else laws.probabilities(firing, n, seed)
    forest = world.forest if _unchanged(hierarchy) else _forest(hierarchy, target, seed + 3)
    copula = _copula_of(world) if _unchanged(correlation) else _copula(correlation, n, seed + 4)
    mean = _values(world.mean if _unchanged(mean) else mean, n, seed + 2)
    std = _values(world.std if _unchanged(std) else std, n, seed + 1)
    check_magnitudes(mean, std, forest, "variant")
    geometry_key = jax.random.wrap_key_data(world.geometry_key)
    make = lambda p: assemble(p, mean, std, copula, forest, geometry_key, slots)
    changed, match = None, None
    if _unchanged(firing) and _unchanged(hierarchy) and _unchanged(correlation):
        # with other magnitudes alone the same features fire, if that leaves the rates
        changed = make(np.asarray(world.probabilities, np.float64))
        match = rate_match(changed, target)
    if changed is None or match.missed:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # said below, of the rates as they came out
            raw = compensate(forest, target, "exact", copula=copula, mean=mean, std=std)
        changed = make(raw)
        match = rate_match(changed, target)
    if match.missed and on_miss != "ignore":
        message = (
            f"variant: {match.missed} of {n} features miss their rate by more than 2 % (at most "
            f"{match.largest:.1%}; L0 {match.mean_l0:.4g}, wanted {match.wanted_l0:.4g}): "
            "exclusive siblings want more than their parent has, or children more than parents."
        )
        require(on_miss == "warn", message)
        warnings.warn(message, stacklevel=2)
    return changed


@fixed
def rate_match(world: World, wanted: World | np.ndarray) -> RateMatch:
    """How far `world` is from the realised rates of another world, or from rates [F]."""
    target = expected_rates(wanted) if isinstance(wanted, World) else np.asarray(wanted)
    rates = expected_rates(world)
    off = np.abs(rates - target) / np.where(target > 0, target, 1.0)
    return RateMatch(
        missed=int((off > _CLOSE).sum()),
        largest=float(off.max()),
        mean_l0=float(rates.sum()),
        wanted_l0=float(target.sum()),
    )


def _unchanged(value: Any) -> bool:
    return isinstance(value, str) and value == KEEP


def _forest(hierarchy: Any, rates: np.ndarray, seed: int) -> Forest:
    n = len(rates)
    if hierarchy is None:
        return tables(empty(), n)
    if isinstance(hierarchy, Nodes):
        return tables(hierarchy, n)
    require(
        isinstance(hierarchy, HierarchyConfig),
        f"variant: hierarchy must be a HierarchyConfig, Nodes, None or 'keep'; got {hierarchy!r}.",
    )
    nodes = grow(hierarchy, n, seed)
    order = np.argsort(-rates, kind="stable")  # grown over ranks, written in ids
    feature = np.where(nodes.feature >= 0, order[nodes.feature], -1)
    return tables(Nodes(feature, nodes.parent, nodes.exclusive, nodes.scaled, nodes.ids), n)


def _copula_of(world: World) -> Copula:
    parts = (world.factor, world.residual, world.cholesky)
    return Copula(*(np.asarray(x, np.float64) for x in parts))


def _copula(correlation: Any, n: int, seed: int) -> Copula:
    if correlation is None:
        return independent(n)
    if isinstance(correlation, LowRank | DenseCopula):
        return correlation.copula(n, seed)
    return from_user(correlation, n)


def _values(values: Any, n: int, seed: int) -> np.ndarray:
    """Magnitudes [F] of a law, of one number, or as given."""
    if isinstance(values, laws.Law) or np.ndim(values) == 0:
        return laws.magnitudes(values, n, seed)
    array = np.asarray(values, np.float64)
    require(
        array.shape == (n,),
        f"variant: mean and std must be a law, a number or have shape [{n}]; got "
        f"{list(array.shape)}.",
    )
    return array
