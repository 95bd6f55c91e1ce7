"""The quantities of realism@1: published numbers at settings, how many agree, orders of SAEs."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Hashable, Mapping, Sequence

from synthsae_jax.experiments.realism import choice
from synthsae_jax.experiments.realism.choice import At, Simulated, Worlds
from synthsae_jax.experiments.realism.setting import (
    ARCHITECTURES,
    MATRYOSHKA,
    PURSUIT,
    SPARSE,
    SPARSE_PROBES,
    SUPERVISED,
)
from synthsae_jax.experiments.realism.targets import FIT, JUDGE, TARGETS, Target
from synthsae_jax.suite.needs import Need, Values
from synthsae_jax.suite.quantity import Quantity, combined, number

SHARE = "share of published numbers"
_NEEDS = tuple(Need(target.metric, target.variant) for target in TARGETS)


@functools.cache
def value_at(target: Target, at: At) -> Quantity:
    """A published number as a setting has it."""
    arm, model = at
    of = number(target.metric, target.variant, title=target.name).at(setting=arm)
    return of.at(condition=model) if target.across else of


@functools.cache
def agreement(half: str, at: At) -> Quantity:
    """Share of a half that agrees at a setting."""
    targets = choice.of_half(half)

    def of_world(*values: Values) -> float:
        return sum(t.agrees(of.mean()) for t, of in zip(targets, values, strict=True)) / len(values)

    heads = {FIT: "agree, fitted half", JUDGE: "agree, judged half"}
    return Quantity(f"agreement, {half}, {at}", heads[half], SHARE, _needs(half, at), of_world)


@functools.cache
def mismatch(at: At) -> Quantity:
    """How far the means over worlds are from the fitted half."""

    def of_worlds(*values: Values) -> float:
        return choice.distance([of.mean() for of in values])

    title = "mismatch, fitted half"
    return Quantity(f"mismatch, {at}", title, "tolerances", _needs(FIT, at), of_worlds, units=())


def _needs(half: str, at: At) -> tuple[Need, ...]:
    return tuple(need for target in choice.of_half(half) for need in value_at(target, at).needs)


def _of_worlds(name: str, title: str, of: Callable[[Worlds], Mapping[Hashable, float]]) -> Quantity:
    """Of all settings of all worlds together."""

    def of_units(values: Mapping[Hashable, Sequence[Values]]) -> Mapping[Hashable, float]:
        return of({world: choice.simulated(each) for world, each in values.items()})

    return Quantity(name, title, SHARE, _NEEDS, of_units=of_units)


def _of_world(
    name: str, title: str, of: Callable[[Simulated], float], unit: str = SHARE, why: str = ""
) -> Quantity:
    """Of all settings of a world."""
    of_world = lambda *values: of(choice.simulated(values))
    return Quantity(name, title, unit, _NEEDS, of_world, undefined=why)


CARRIED = _of_worlds(
    "carried",
    "share of the judged half that agrees, at the setting fitted on the other worlds",
    choice.carried,
)
UNFITTED = _of_worlds("unfitted", "that share, its mean over all settings", choice.unfitted)
GAINED = _of_worlds("gained", "that share less its mean over all settings", choice.gained)
NEAREST = _of_world("nearest", "the largest share that a setting reaches", choice.nearest)
BEYOND = _of_world(
    "beyond",
    "share of all published numbers with which no setting of the world agrees",
    choice.beyond,
)
BOTH_ORDERS = _of_world(
    "both orders",
    "the smaller of the two differences, at the setting of the world where it is largest",
    choice.both_orders,
    unit="",
    why="no setting has all four numbers",
)


def l0(sae: str) -> Quantity:
    """Active latents per sample of an architecture's SAE."""
    return number("l0", sae, title=sae)


def _apart(
    name: str, title: str, of: Callable[[float, Sequence[float]], float], *parts: Quantity
) -> Quantity:
    """Of a number and of those of the others that have one."""

    def of_known(first: float, *others: float) -> float:
        defined = [v for v in others if not math.isnan(v)]
        return of(first, defined) if defined else math.nan

    return combined(of_known, *parts, name=name, title=title)


def _among(sae: str, metric: str, among: Sequence[str]) -> list[Quantity]:
    return [number(metric, name) for name in (sae, *(other for other in among if other != sae))]


def lead(sae: str, metric: str, among: Sequence[str], title: str) -> Quantity:
    """How far an architecture is ahead of the best other one in a metric."""
    ahead = lambda first, others: first - max(others)
    return _apart(f"lead of {sae} in {metric}", title, ahead, *_among(sae, metric, among))


def lag(sae: str, metric: str, among: Sequence[str], title: str) -> Quantity:
    """How far it is behind the worst other one."""
    behind = lambda first, others: min(others) - first
    return _apart(f"lag of {sae} in {metric}", title, behind, *_among(sae, metric, among))


def _weaker(name: str, title: str, *parts: Quantity) -> Quantity:
    """The smaller part: positive where both hold."""
    smaller = lambda *values: math.nan if any(map(math.isnan, values)) else min(values)
    return combined(smaller, *parts, name=name, title=title)


EV = "explained_variance"
MATRYOSHKA_LEADS = lead(MATRYOSHKA, "f1", ARCHITECTURES, "Matryoshka: lead in F1")
MATRYOSHKA_LAGS = lag(MATRYOSHKA, EV, SPARSE, "its lag in EV")
PURSUIT_LEADS = lead(PURSUIT, EV, ARCHITECTURES, "pursuit: lead in EV")
PURSUIT_LAGS = lag(PURSUIT, "f1", ARCHITECTURES, "its lag in F1")
MATRYOSHKA_ORDER = _weaker(
    "order of Matryoshka",
    "the smaller of its lead in F1 and its lag in EV, children scaled, whole training",
    MATRYOSHKA_LEADS,
    MATRYOSHKA_LAGS,
)
PURSUIT_ORDER = _weaker(
    "order of matching pursuit",
    "the smaller of its lead in EV and its lag in F1, children scaled, whole training",
    PURSUIT_LEADS,
    PURSUIT_LAGS,
)
PROBES_BELOW = _apart(
    "probes below supervised",
    "F1 of a supervised probe less the best on 1 or 5 latents, children scaled",
    lambda supervised, sparse: supervised - max(sparse),
    number("probe", SUPERVISED),
    *(number(f"probe_k{k}", name) for name in ARCHITECTURES for k in SPARSE_PROBES),
)
