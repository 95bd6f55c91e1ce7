"""Families: a reference model A, and models B that share a known part of its features with it."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from synthsae_jax import keys
from synthsae_jax.worlds import departures
from synthsae_jax.worlds.dictionary import gram_correlation
from synthsae_jax.worlds.instance import init_instance
from synthsae_jax.worlds.instance_config import InstanceConfig
from synthsae_jax.worlds.records import Instance, World
from synthsae_jax.worlds.stack import stack
from synthsae_jax.worlds.twin import twin

Array = jax.Array


@dataclasses.dataclass(frozen=True)
class Condition:
    """How B relates to A. `coupling` says how the twins of features fire (`worlds.twin`)."""

    name: str
    shared: float  # share of features in common
    sharing: float = 0.0  # t: geometry in common, after a rotation
    rotate: bool = True
    coupling: str = "factors"

    @property
    def same_space(self) -> bool:
        """Directions of A and B mean the same without alignment."""
        return self.sharing == 1 and not self.rotate

    @property
    def alignable(self) -> bool:
        """A rotation maps A's directions of the shared features onto B's."""
        return self.sharing == 1


IDENTICAL = Condition("identical", shared=1.0, sharing=1.0, rotate=False)
ROTATED = Condition("rotated", shared=1.0, sharing=1.0)
INDEPENDENT = Condition("independent", shared=1.0)
HALF_ROTATED = Condition("half_rotated", shared=0.5, sharing=1.0)
HALF = Condition("half", shared=0.5)
DISJOINT_INDEPENDENT = Condition("disjoint_independent", shared=0.0, coupling="independent")
DISJOINT_COUPLED = Condition("disjoint_coupled", shared=0.0, coupling="counts")
ZEROS = (DISJOINT_INDEPENDENT, DISJOINT_COUPLED)  # nothing in common, and both ways to fire


def shares(level: float, t: float) -> Condition:
    """B has this share of A's features, their directions rotated (t = 1) or its own (t = 0)."""
    return Condition(f"shared {level:g}, t {t:g}", shared=level, sharing=t)


@dataclasses.dataclass(frozen=True)
class Family:
    """Instance 0 is A, instance i the B of condition i - 1; all see twins of one world."""

    base: World
    conditions: tuple[Condition, ...]
    instances: tuple[Instance, ...]  # over the twin registry, F = 2 F_base

    @property
    def reference(self) -> Instance:
        """A."""
        return self.instances[0]

    def partner(self, i: int) -> Instance:
        """The B of condition i."""
        return self.instances[i + 1]

    def registry(self, coupling: str) -> World:
        """The twin world in which A and B are observed together."""
        return twin(self.base, coupling)

    def training_views(self) -> Instance:
        """All instances as instances of the plain world, stacked.

        An instance has exactly one of each feature and its twin, and twins have equal statistics,
        so its own codes follow the plain world's law with the rows relabelled. Training on that
        view draws half as much.
        """
        return stack([plain_view(instance) for instance in self.instances])

    def gram_correlation(self, i: int) -> float:
        """How alike the relations among A's directions and among B's are (same ids)."""
        a, b = (plain_view(x).dictionary for x in (self.reference, self.partner(i)))
        return float(gram_correlation(a, b))


def init_family(
    world: World, config: InstanceConfig, conditions: tuple[Condition, ...], seed: int = 0
) -> Family:
    """The family of a plain world; each member has an instance key of its own."""
    registry = twin(world)
    a = dataclasses.replace(config, sharing=1.0, rotate=False, shared=1.0)
    # Room for 999 conditions before the members of two seeds would have a key in common.
    members = [init_instance(keys.instance_key(1000 * seed), registry, a)]
    for i, condition in enumerate(conditions, start=1):
        b = dataclasses.replace(
            config,
            sharing=condition.sharing,
            rotate=condition.rotate,
            shared=condition.shared,
        )
        members.append(init_instance(keys.instance_key(1000 * seed + i), registry, b))
    return Family(world, conditions, tuple(members))


def plain_view(instance: Instance) -> Instance:
    """An instance of a twin registry as one of the plain world: the rows that it has."""
    n = instance.present.shape[0] // 2
    first = instance.present[:n]

    def pick(values: Array) -> Array:
        mask = first.reshape(n, *[1] * (values.ndim - 1))
        return jnp.where(mask, values[:n], values[n:])

    return instance.replace(
        dictionary=pick(instance.dictionary),
        # a model with learned geometry may lack both
        present=first | instance.present[n:],
        keep=pick(instance.keep),
        gain=pick(instance.gain),
        departure=departures.pick(instance.departure, first),
    )
