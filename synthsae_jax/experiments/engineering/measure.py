"""A cell of engineering@1: a method's groups, each SAE by itself, and pairs of them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from synthsae_jax.experiments.engineering.methods import (
    BETWEEN,
    COUPLINGS,
    DISJOINT,
    SHARED,
    WITHIN,
    EngineeringScale,
    Method,
    read_as,
)
from synthsae_jax.experiments.engineering.numbers import (
    APPARENT,
    CHANCE,
    NORMS,
    QUALITY,
    apparent_numbers,
    implied_numbers,
    quality,
    truth_of_latents,
)
from synthsae_jax.experiments.engineering.training import (
    CONDITIONS,
    EQUAL,
    MODELS,
    OTHER,
    A,
    Groups,
    Member,
    Workshop,
    train_method,
)
from synthsae_jax.matching import TruthSweep
from synthsae_jax.suite import pairs
from synthsae_jax.suite.context import Context, flags
from synthsae_jax.suite.needs import Name
from synthsae_jax.suite.observation import Number, Observation
from synthsae_jax.suite.pair import TRUTH, Pair, truth_numbers
from synthsae_jax.suite.reading import Reading, read, read_latents, read_truth
from synthsae_jax.worlds.family import Family, init_family, plain_view

TRUE = ("true_universality", "true_universality_least", "true_universality_most")
TRACKED = ("tracked", "tracked_least", "tracked_most", "stable")
_OF_PAIRS = (*((metric, TRUTH) for metric in TRUE), *(("score", s) for s in (*APPARENT, CHANCE)))
_FACTORS = "factors"  # the coupling of models that have features in common


def measure(context: Context, arm: Method) -> Iterator[Observation]:
    """Train a method's groups, then read its SAEs on tokens that are the same for all methods."""
    context.tick(0.0, "building the models")
    # keys of instances have room for about a million worlds
    seed = context.world_seed % 2**20
    models = init_family(context.world(), context.instance_config, CONDITIONS, seed)
    for groups in train_method(Workshop(context, models), arm):
        context.tick(0.75, f"reading {groups.name}")
        reading = _reader(context, models, seed)
        yield from _Observer(context, models, groups, seed, reading).observations()


def _reader(context: Context, models: Family, seed: int) -> Callable[[Member, str], Reading]:
    """Reads an SAE on the tokens of a coupling, each once, and its truth once for all of them."""
    n, plain = context.n_match, models.registry(_FACTORS)

    @functools.cache
    def truth(member: Member) -> TruthSweep:
        return read_truth(member.subject, plain, n, seed)

    @functools.cache
    def reading(member: Member, coupling: str) -> Reading:
        world = models.registry(coupling)
        return read(member.subject, world, n, seed, truth=truth(member))

    return reading


@dataclasses.dataclass(frozen=True)
class _Observer:
    """Groups of one method in one world."""

    context: Context
    models: Family
    groups: Groups
    seed: int  # of the tokens
    read: Callable[[Member, str], Reading]

    @property
    def scale(self) -> EngineeringScale:
        """The cell's."""
        scale = self.context.scale
        assert isinstance(scale, EngineeringScale)
        return scale

    def observations(self) -> Iterator[Observation]:
        """Each SAE, pairs between groups, pairs within one, and SAEs of two models."""
        between = self.groups.between
        if between:
            yield from self._singles()
            yield from self._pair(SHARED, between[A], between[EQUAL], BETWEEN)
            yield from self._pair(DISJOINT, between[A], between[OTHER], BETWEEN)
        for relation, a, b in self.groups.within:
            yield from self._pair(relation, a, b, WITHIN)
        for relation, member in self.groups.joint:
            yield self._observe(
                (member,),
                functools.partial(self._implied, member),
                (("declared", NORMS),),
                group=WITHIN,
                condition=relation,
            )

    @functools.cached_property
    def quality(self) -> list[list[Number]]:
        """Of the three models' SAEs, by one program."""
        subjects = [member.subject for member in self.groups.between]
        views = [plain_view(self.models.instances[i]) for i in MODELS]
        return quality(self.models.base, subjects, views, self.scale.n_eval, self.seed)

    def _singles(self) -> Iterator[Observation]:
        for i, member in enumerate(self.groups.between):
            yield self._observe(
                (member,),
                lambda i=i: self.quality[i],
                tuple((metric, "") for metric in QUALITY),
                tokens=self.scale.n_eval,
                group=BETWEEN,
            )
            yield self._observe(
                (member,),
                functools.partial(self._tracked, i, member),
                tuple((metric, TRUTH) for metric in TRACKED),
                group=BETWEEN,
            )

    def _tracked(self, i: int, member: Member) -> Iterator[Number]:
        """How many living latents are true, and of a pooled dictionary how many are stable."""
        # the model without a common feature is read under its zeros, so no tokens are read for this
        coupling = COUPLINGS[self.scale.zeros[0]] if i == OTHER else _FACTORS
        yield from truth_of_latents(self.read(member, coupling))
        if self.groups.pooled_from:
            yield Number(TRUTH, "stable", float(np.mean(self.groups.pooled_from[i] > 1)))

    def _pair(self, relation: str, a: Member, b: Member, group: str) -> Iterator[Observation]:
        """Two SAEs, under each coupling in which models that relate so are read."""
        for condition in read_as(relation, self.scale.zeros):
            same = flags(a.side.columns, b.side.columns, same_dictionary=condition == SHARED)
            numbers = functools.partial(self._paired, a, b, COUPLINGS.get(condition, _FACTORS))
            yield self._observe(
                (a, b), numbers, _OF_PAIRS, group=group, condition=condition, **same
            )

    def _paired(self, a: Member, b: Member, coupling: str) -> list[Number]:
        pair = Pair(self.read(a, coupling), self.read(b, coupling), self.models.base)
        return [*truth_numbers(pair), *apparent_numbers(pair)]

    def _implied(self, member: Member) -> list[Number]:
        registry, n = self.models.registry(_FACTORS), self.context.n_match
        return implied_numbers(
            member.subject, read_latents(member.subject, registry, n, self.seed, "match")
        )

    def _observe(
        self,
        members: Sequence[Member],
        numbers: Callable[[], Iterable[Number]],
        names: tuple[Name, ...],
        tokens: int = 0,  # 0: those of a pair
        **columns: Any,
    ) -> Observation:
        return Observation(
            tuple(member.side for member in members),
            numbers,
            {"method": self.groups.name, **columns},
            tokens or pairs.tokens(self.context.n_match),
            names,
        )


def n_pairs(context: Context) -> int:
    """Pairs that a cell scores: between groups, and within one."""
    method: Method = context.arm
    scale = context.scale
    assert isinstance(scale, EngineeringScale)
    between = (SHARED, DISJOINT) if method.between else ()
    relations = (*between * len(method.results), *method.within)
    return sum(len(read_as(relation, scale.zeros)) for relation in relations)
