"""Train one architecture on a family of models, score its pairs, make the rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from synthsae_jax import keys, saes, worlds
from synthsae_jax.io.rows import Row
from synthsae_jax.suite import family_rows, sharing, table
from synthsae_jax.suite.base import Tick
from synthsae_jax.suite.family_protocols import ProtocolPlan, score_protocols
from synthsae_jax.suite.family_truth import every_truth
from synthsae_jax.suite.seeds import run_seed
from synthsae_jax.suite.study import Subject, subjects
from synthsae_jax.training import TrainConfig, TrainResult, train
from synthsae_jax.worlds.family import Condition, Family, init_family


@dataclasses.dataclass(frozen=True)
class FamilyPlan:
    """A family to build, and how to train on it."""

    benchmark: str
    preset: str
    world_seed: int
    number: int  # of the family within its world: no two share an instance key or a seed
    conditions: tuple[Condition, ...]
    seeds: int
    config: TrainConfig
    n_match: int
    target_l0: float
    own_streams: bool = True  # False: the runs of an instance read one stream; pairs never do
    every_truth: bool = False  # bands over all truths, not only those of firing counts
    protocols: ProtocolPlan | None = None  # None: rules alone

    @property
    def members(self) -> int:
        """A and the Bs."""
        return 1 + len(self.conditions)

    def run_seeds(self) -> np.ndarray:
        """Init and data seeds [I, R], each used once in the whole benchmark."""
        first = self.number * self.members
        return np.array(
            [[run_seed(first + i, s) for s in range(self.seeds)] for i in range(self.members)]
        )


def build_family(plan: FamilyPlan) -> Family:
    """The world and the models."""
    preset = worlds.preset(plan.preset)
    world = worlds.init_world(keys.world_key(plan.world_seed), preset.world, seed=plan.world_seed)
    return init_family(
        world, preset.instance, plan.conditions, plan.world_seed % 2**20 + plan.number
    )


def compute(
    plan: FamilyPlan, sae: str, label: str, options: Mapping[str, Any], tick: Tick
) -> list[Row]:
    """Rows of all pairs of one architecture, trained."""
    preset = worlds.preset(plan.preset)
    tick(0.0, "building the family")
    family = build_family(plan)
    built = saes.build(sae, d_in=preset.instance.hidden_dim, d_sae=preset.d_sae, **options)
    seeds = plan.run_seeds()
    result = train(
        family.base,
        family.training_views(),
        built,
        plan.config,
        init_seeds=seeds,
        data_seed=seeds if plan.own_streams else seeds[:, 0],
        progress=lambda done, total, _: tick(0.05 + 0.6 * done / total, "training"),
    )
    runs = sharing.Runs.trained(label, result)
    members = subjects(label, result, family.instances)
    if plan.every_truth:
        tick(0.65, f"{label}, truth")
        truth = every_truth(members, family.registry("factors"), plan.n_match, plan.number)
        runs = dataclasses.replace(runs, truth=truth)
    diverged = result.status != "ok"
    columns = lambda i, r: _columns(plan, result, label, i, r)
    return _scored(plan, family, runs, members, diverged, columns, tick, begin=0.7)


def compute_oracle(plan: FamilyPlan, tick: Tick) -> list[Row]:
    """Rows of all pairs of oracle SAEs: what a rule says when nothing was left to training."""
    preset = worlds.preset(plan.preset)
    tick(0.0, "building the family")
    family = build_family(plan)
    runs = sharing.oracle(family, preset.d_sae)
    members = sharing.oracle_subjects(family, runs)
    first = plan.number * plan.members

    def columns(i: int, r: int) -> dict[str, Any]:
        name = f"oracle-{plan.world_seed}-{first + i}"
        return {"sae": sharing.ORACLE, "instance": first + i, "run_id": name}

    whole = np.zeros((plan.members, 1), bool)
    return _scored(plan, family, runs, members, whole, columns, tick, begin=0.0)


def _scored(
    plan: FamilyPlan,
    family: Family,
    runs: sharing.Runs,
    members: Sequence[Sequence[Subject]],
    lost: np.ndarray,
    columns: Callable[[int, int], Mapping[str, Any]],
    tick: Tick,
    begin: float,
) -> list[Row]:
    """Rows of rules, then of protocols; pairs with a lost run (bool [I, R]) are left out."""
    if runs.truth is None:
        truth = sharing.truth_maps(family, runs, plan.n_match, plan.number)
        runs = dataclasses.replace(runs, truth=truth)
    middle = (1 + begin) / 2 if plan.protocols else 1.0
    told = lambda lo, hi: lambda done, what: tick(lo + (hi - lo) * done, what)
    scores = sharing.score_family(family, runs, plan.n_match, plan.number, told(begin, middle))
    shared = table.Shared(plan.benchmark, plan.preset, plan.world_seed, plan.config, plan.target_l0)
    place = {c.name: i + 1 for i, c in enumerate(plan.conditions)}
    sides = lambda s: (columns(0, s.run), columns(place[s.condition], s.run))
    kept = [s for s in scores if not (lost[0, s.run] or lost[place[s.condition], s.run])]
    rows = family_rows.pair_rows(shared, kept, runs.name, sides)
    if plan.protocols is not None:
        assert runs.truth is not None
        told_here = told(middle, 1.0)
        number = plan.number
        found = score_protocols(
            family, members, runs.truth[0], plan.protocols, number, told_here, lost
        )
        rows += family_rows.protocol_rows(shared, found, sides)
    return rows


def _columns(plan: FamilyPlan, result: TrainResult, label: str, i: int, r: int) -> dict[str, Any]:
    shared = table.Shared(plan.benchmark, plan.preset, plan.world_seed, plan.config)
    first = plan.number * plan.members
    return {**table.run_columns(shared, result, first + i, i, r), "sae": label}
