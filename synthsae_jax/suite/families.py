"""Pairs of SAEs on a family of models: A beside every B, on paired tokens."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from synthsae_jax.matching import TruthSweep
from synthsae_jax.suite import pairs
from synthsae_jax.suite.context import Context, Trained, flags
from synthsae_jax.suite.observation import Number, Observation, Side
from synthsae_jax.suite.pair import Pair
from synthsae_jax.suite.reading import Reading, Subject, read, read_truth
from synthsae_jax.worlds import InstanceConfig, World
from synthsae_jax.worlds.family import Condition, Family, init_family, plain_view

# (subject, world, tokens, seed) -> which features its latents track
Truth = Callable[[Subject, World, int, int], TruthSweep]


class Members(Protocol):
    """SAEs on the models of a family, such as `Trained` ones: run r on member i."""

    @property
    def subjects(self) -> Sequence[Sequence[Subject]]:
        """`subjects[i][r]`."""
        ...

    def side(self, i: int, r: int = 0) -> Side:
        """The same as one side of an observation."""
        ...


@dataclasses.dataclass(frozen=True)
class FamilyPair:
    """A's run beside a B's: who they are, and what they do once somebody asks."""

    condition: Condition
    run: int
    sides: tuple[Side, Side]
    tokens: int
    make: Callable[[], Pair]

    @functools.cached_property
    def pair(self) -> Pair:
        """Both read on the match stream, with their truth. Only for runs that have not diverged."""
        return self.make()

    def columns(self) -> dict[str, Any]:
        """The condition, and what the two runs share."""
        a, b = (side.columns for side in self.sides)
        # members of a family differ in their dictionaries unless the condition says otherwise
        same = flags(a, b, same_dictionary=self.condition.name == "identical")
        return {"condition": self.condition.name, **same}

    def observe(self, measure: Callable[[Pair], Iterable[Number]], **columns: Any) -> Observation:
        """An observation of the pair, measured only where neither side diverged."""
        columns = {**self.columns(), **columns}
        return Observation(self.sides, lambda: measure(self.pair), columns, self.tokens)


def family_of(
    context: Context,
    world: World,
    conditions: tuple[Condition, ...],
    config: InstanceConfig | None = None,
) -> Family:
    """The models of a cell: A, and a B for each condition. None: the preset's instance."""
    return init_family(world, config or context.instance_config, conditions, context.number(0))


def train_family(context: Context, family: Family, name: str, **options: Any) -> Trained:
    """SAEs of one architecture on all models of a family; options are those of `Context.train`."""
    views = [plain_view(instance) for instance in family.instances]
    return context.train(name, family.base, views, seen_as=family.instances, **options)


def family_pairs(
    context: Context,
    family: Family,
    a: Members,
    b: Members | None = None,
    first: int = 0,
    *,
    seed: int | None = None,
    truth_of: Truth = read_truth,
) -> Iterator[FamilyPair]:
    """A's run r with each B's run r.

    `b` holds the SAEs on the Bs where they are others than on A, such as of another width, and
    has all members too. `first` is the family's first member among those trained. Truth comes from
    a stream of its own, read once per SAE by `truth_of`. `seed` of the streams; None: the cell's.
    """
    b = a if b is None else b
    seed, n = context.number(0) if seed is None else seed, context.n_match
    plain = family.registry("factors")

    @functools.cache
    def truth(i: int, r: int, of_a: bool) -> TruthSweep:
        return truth_of(_subject(i, r, of_a), plain, n, seed)

    def _subject(i: int, r: int, of_a: bool) -> Subject:
        return (a if of_a else b).subjects[first + i][r]

    # B's codes are its own; A is read again only under another coupling
    @functools.cache
    def reading_of_a(r: int, coupling: str) -> Reading:
        world = family.registry(coupling)
        return read(_subject(0, r, True), world, n, seed, truth=truth(0, r, True))

    @functools.cache
    def turn(i: int) -> np.ndarray:
        condition = family.conditions[i - 1]
        members = family.reference, family.partner(i - 1)
        return np.asarray(pairs.rotation(family.registry(condition.coupling), *members, n, seed))

    def make(i: int, r: int, condition: Condition) -> Pair:
        same = b is a
        of_b = read(
            _subject(i, r, same),
            family.registry(condition.coupling),
            n,
            seed,
            truth=truth(i, r, same),
        )
        return Pair(reading_of_a(r, condition.coupling), of_b, family.base, turn(i))

    for i, condition in enumerate(family.conditions, start=1):
        context.tick((i - 1) / len(family.conditions), condition.name)
        for r in range(len(a.subjects[first])):
            sides = a.side(first, r), b.side(first + i, r)
            make_pair = functools.partial(make, i, r, condition)
            yield FamilyPair(condition, r, sides, pairs.tokens(n), make_pair)
