"""The models of transfer@1: A, every B by what it has in common with A, sources for controls."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np

from synthsae_jax.worlds import Instance, InstanceConfig, World, family
from synthsae_jax.worlds.family import Condition, Family, init_family

BOTH, FEATURES = "features and geometry", "features alone"
GEOMETRY, DEALT = "geometry alone", "geometry alone, dealt"
NEITHER, IDENTICAL = "neither", "identical"
COUPLED = "counts"  # of tokens that two models without a common feature are paired by


@dataclasses.dataclass(frozen=True)
class Target:
    """One B: its models' conditions, and which of A's directions each of its features has."""

    name: str
    condition: Condition
    features: bool  # has A's features
    geometry: bool  # has A's directions, up to a rotation
    dealt: bool = False  # which feature has which direction was drawn anew

    @property
    def coupling(self) -> str:
        """How the tokens on which A and B are paired are drawn."""
        return self.condition.coupling


def _condition(name: str, shared: float, sharing: float, rotate: bool = True) -> Condition:
    return Condition(name, shared, sharing, rotate, "factors" if shared else COUPLED)


TARGETS = {
    target.name: target
    for target in (
        Target(BOTH, _condition(BOTH, 1.0, 1.0), True, True),
        Target(FEATURES, _condition(FEATURES, 1.0, 0.0), True, False),
        Target(GEOMETRY, _condition(GEOMETRY, 0.0, 1.0), False, True),
        Target(DEALT, _condition(DEALT, 0.0, 1.0), False, True, dealt=True),
        Target(NEITHER, _condition(NEITHER, 0.0, 0.0), False, False),
        # of checks: the transfer that has nothing to do
        Target(IDENTICAL, _condition(IDENTICAL, 1.0, 1.0, rotate=False), True, True),
    )
}
# models whose SAEs are controls: without a common feature or direction with a B that has A's
# features, or with one that has none of them
CONTROLS = (
    _condition("control for A's features", 0.0, 0.0),
    _condition("control for other features", 1.0, 0.0),
)


@dataclasses.dataclass(frozen=True)
class Models:
    """Instance 0 of the family is A, then the targets in order, then the two controls."""

    family: Family
    targets: tuple[Target, ...]
    # int [F_base] for each target: the feature of A (or its twin's place) whose direction a
    # feature of B has; the identity where geometry is not shared
    places: tuple[np.ndarray, ...]

    def target(self, i: int) -> Instance:
        """The B of target i."""
        return self.family.instances[1 + i]

    def control(self, target: Target) -> int:
        """Which of the sources is the target's control: 1 or 2 (0 is A)."""
        return 1 if target.features else 2

    @property
    def sources(self) -> list[Instance]:
        """A and the controls."""
        n = len(self.targets)
        return [self.family.reference, *self.family.instances[1 + n :]]

    def registry(self, target: Target, control: bool = False) -> World:
        """The twin world in which a source and a B are observed together."""
        return self.family.registry(COUPLED if control else target.coupling)


def models_of(world: World, config: InstanceConfig, names: tuple[str, ...], seed: int) -> Models:
    """A, a B for each name of `TARGETS`, and the controls.

    A B with A's geometry and other features has the twins of A's features, each on the (rotated)
    direction of the feature whose twin it is, or, dealt, on that of another one. In place it is a
    model with the same law as a rotated A: only paired tokens tell them apart.
    """
    targets = tuple(TARGETS[name] for name in names)
    family = init_family(world, config, (*(t.condition for t in targets), *CONTROLS), seed)
    instances, places = list(family.instances), []
    n = world.n_base
    for i, target in enumerate(targets, start=1):
        order = np.arange(n)
        if target.dealt:
            order = np.random.default_rng(seed).permutation(n)
        places.append(order)
        if target.geometry and not target.features:
            # the reference draws a direction of its own for each twin
            rows = instances[i].dictionary[:n]
            dictionary = jnp.concatenate([rows, rows[order]])
            instances[i] = instances[i].replace(dictionary=dictionary)
        if target.condition.same_space:
            instances[i] = instances[i].replace(bias=instances[0].bias)
    whole = dataclasses.replace(family, instances=tuple(instances))
    return Models(whole, targets, tuple(places))


def plain(instance: Instance) -> Instance:
    """As an instance of the plain world."""
    return family.plain_view(instance)
