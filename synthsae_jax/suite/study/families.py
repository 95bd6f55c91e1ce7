"""Pairs of SAEs in a family: A beside every B, read on paired tokens under B's own coupling."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from synthsae_jax.matching import TruthSweep
from synthsae_jax.suite import pairs
from synthsae_jax.suite.base import Tick
from synthsae_jax.suite.context import flags
from synthsae_jax.suite.pair import Pair
from synthsae_jax.suite.reading import Reading, read, read_truth
from synthsae_jax.suite.study.setting import Study, Trained
from synthsae_jax.worlds import InstanceConfig, World
from synthsae_jax.worlds.family import Condition, Family, init_family, plain_view


@dataclasses.dataclass(frozen=True)
class FamilyPair:
    """One scored pair, and all that its rows have to say about it."""

    condition: Condition
    run: int
    pair: Pair
    columns: tuple[dict[str, Any], dict[str, Any]]
    flags: dict[str, bool]


def family_of(
    study: Study, world: World, conditions: tuple[Condition, ...], config: InstanceConfig | None
) -> Family:
    """The models of a cell: A, and a B for each condition. None: the preset's instance."""
    return init_family(world, config or study.instance_config, conditions, study.number(0))


def train_family(study: Study, family: Family, name: str, **options: Any) -> Trained:
    """SAEs of one architecture on all models of a family; options are those of `Study.train`."""
    views = [plain_view(instance) for instance in family.instances]
    return study.train(name, family.base, views, seen_as=family.instances, **options)


def family_pairs(
    study: Study, family: Family, a: Trained, b: Trained | None = None, tick: Tick | None = None
) -> Iterator[FamilyPair]:
    """A's run r with each B's run r; diverged runs are left out.

    `b` holds the SAEs on the Bs where they are others than on A, such as of another width, and
    has all members too. Truth comes from a stream of its own, read once per SAE.
    """
    b = a if b is None else b
    seed, n = study.number(0), study.n_match
    plain = family.registry("factors")
    known: dict[int, TruthSweep] = {}

    def truth(subject):
        if id(subject) not in known:
            known[id(subject)] = read_truth(subject, plain, n, seed)
        return known[id(subject)]

    # B's codes are its own; A is read again only under another coupling
    seen: dict[tuple[int, str], Reading] = {}

    def reading_of_a(r, coupling, world):
        if (r, coupling) not in seen:
            subject = a.subjects[0][r]
            seen[r, coupling] = read(subject, world, n, seed, truth=truth(subject))
        return seen[r, coupling]

    turns: dict[int, np.ndarray] = {}
    for i, condition in enumerate(family.conditions, start=1):
        if tick is not None:
            tick((i - 1) / len(family.conditions), condition.name)
        world = family.registry(condition.coupling)
        for r in range(len(a.subjects[0])):
            if not (a.ok(0, r) and b.ok(i, r)):
                continue
            of_a = reading_of_a(r, condition.coupling, world)
            other = b.subjects[i][r]
            of_b = read(other, world, n, seed, truth=truth(other))
            if i not in turns:
                members = family.reference, family.partner(i - 1)
                turns[i] = np.asarray(pairs.rotation(world, *members, n, seed))
            columns = a.columns[0][r], b.columns[i][r]
            # members of a family differ in their dictionaries unless the condition says otherwise
            same = flags(*columns, same_dictionary=condition.name == "identical")
            yield FamilyPair(condition, r, Pair(of_a, of_b, family.base, turns[i]), columns, same)
