"""linearity@1: what of recovery, truth and scores rests on features being linear?"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from synthsae_jax import worlds
from synthsae_jax.experiments.drivers.outcome import explained
from synthsae_jax.experiments.linearity.claims import CLAIMS, DEPARTURES, STRENGTHS
from synthsae_jax.experiments.recovery import train_config
from synthsae_jax.io.rows import Row
from synthsae_jax.registry import Explanation
from synthsae_jax.suite.base import Benchmark, Cell, Tick, benchmarks
from synthsae_jax.suite.seeds import run_seed
from synthsae_jax.suite.study import (
    ALL_RULES,
    RELATIONAL,
    FamilyPair,
    Number,
    Study,
    Trained,
    cells_by_arm,
    family_of,
    family_pairs,
    measure_numbers,
    protocol_numbers,
    rows_of_pair,
    rule_numbers,
    truth_numbers,
)
from synthsae_jax.suite.study.readings import METHODS
from synthsae_jax.worlds import World, family
from synthsae_jax.worlds.family import Family

ID = "linearity@1"
# rotated, so that scores of aligned directions have something to find; and the zero
CONDITIONS = (family.ROTATED, family.DISJOINT_INDEPENDENT)
_MEMBERS = 1 + len(CONDITIONS)

_SMALL = {
    "preset": "micro",
    "n_features": 128,
    "hidden_dim": 64,
    "width": 64,
    "roots": 8,
    "mean_l0": 4.0,
    "target_l0": 3.0,
    "slots": (16, 40, 40),
    "measures": ("svcca", "rsa", "cka_debiased"),
    "protocols": ("paulo2025", "song2025", "mppc2024", "stability"),
    "n_train": 128_000,
    "n_match": 16_384,
    "batch_size": 256,
    "lr": 1e-2,
    "dead_window": 100,
}
_LARGE = {
    "preset": "1k",
    "n_features": 1024,
    "hidden_dim": 128,
    "width": 256,
    "roots": 64,
    "mean_l0": 8.0,
    "target_l0": 6.0,
    "slots": (32, 96, 72),
    "measures": RELATIONAL,
    "protocols": ("lan2024", "paulo2025", "song2025", "mppc2024", "stability", "ours@1"),
    "n_train": 4_096_000,
    "n_match": 294_912,
    "batch_size": 1024,
    "lr": 1e-3,
    "dead_window": 500,
}
SIZES: Mapping[str, Mapping[str, Any]] = {
    "smoke": {
        **_SMALL,
        "worlds": 1,
        "departures": ("turning",),
        "strengths": (0.0, 1.0),
        "measures": (),
        "protocols": ("mppc2024",),
        "n_train": 25_600,
        "n_match": 8_192,
    },
    "small": {**_SMALL, "worlds": 5, "departures": DEPARTURES, "strengths": STRENGTHS},
    "standard": {**_LARGE, "worlds": 10, "departures": DEPARTURES, "strengths": STRENGTHS},
    "full": {
        **_LARGE,
        "worlds": 20,
        "departures": DEPARTURES,
        "strengths": STRENGTHS,
        "n_features": 4096,
        "hidden_dim": 256,
        "width": 1024,
        "roots": 256,
        "mean_l0": 12.0,
        "target_l0": 9.0,
        "slots": (64, 160, 120),
        "n_train": 20_480_000,
        "lr": 5e-4,
    },
}


def cells(scale: str, salt: str) -> Sequence[Cell]:
    """One cell per world and departure, all strengths in it; worlds take turns."""
    size = SIZES[scale]
    cell = functools.partial(_cell, size)
    return cells_by_arm(ID, salt, size["worlds"], size["departures"], cell)


def _cell(size: Mapping[str, Any], seed: int, world: int, number: int, name: str) -> Cell:
    study = Study(
        ID, size["preset"], seed, number, train_config(size), size["target_l0"], size["n_match"]
    )
    n_runs = _MEMBERS * len(size["strengths"])
    weights = 2 * size["width"] * size["hidden_dim"]
    given = {key: value for key, value in size.items() if key != "departures"}
    return Cell(
        name=f"world{world}/{name}",
        spec={**given, "departure": name, "world_seed": seed, "seeds": {"world": seed}},
        compute=functools.partial(_compute, study, size, name),
        runs=n_runs,
        samples=size["n_train"],
        flops=6.0 * weights * size["n_train"] * n_runs,
        memory=4.0 * (4 * weights + 6 * size["batch_size"] * size["width"]) * n_runs,
        programs=(f"{name}: training", f"{name}: reading", "sampling", "measures"),
        pairs=len(CONDITIONS) * len(size["strengths"]),
    )


def departed_world(study: Study, size: Mapping[str, Any], name: str) -> World:
    """The world of a departure: with trees at equal rates where it is about parents.

    Three children below each of the most frequent features.
    """
    n, (root, top, code) = size["n_features"], size["slots"]
    law = worlds.ScaledZipf(exponent=0.7, mean_l0=size["mean_l0"])
    plain = study.world(n_features=n, firing=law, slots=(root, top, code))
    if name != "family":
        return plain
    trees = worlds.HierarchyConfig(total_root_nodes=size["roots"], branching_factor=3, max_depth=1)
    return worlds.variant(
        plain, hierarchy=trees, seed=study.world_seed, slots=(root, top, code, code)
    )


def _compute(study: Study, size: Mapping[str, Any], name: str, tick: Tick) -> list[Row]:
    tick(0.0, "building the families")
    world = departed_world(study, size, name)
    families = [_family(study, size, world, name, s) for s in size["strengths"]]
    members = [instance for f in families for instance in f.instances]
    # the same models, runs and tokens at every strength: nothing else differs
    numbers = [study.number(i) for i in range(_MEMBERS)] * len(families)
    seeds = np.array([[run_seed(i, 0)] for i in numbers])
    trained = study.train(
        "topk",
        world,
        [family.plain_view(instance) for instance in members],
        seen_as=members,
        width=size["width"],
        init_seeds=seeds,
        data_seeds=seeds,
        tick=lambda done, what: tick(0.5 * done, what),
    )
    rows: list[Row] = []
    for j, (strength, found) in enumerate(zip(size["strengths"], families, strict=True)):
        tick(0.5 + 0.5 * j / len(families), f"strength {strength:g}")
        part = _part(trained, j * _MEMBERS)
        for pair in family_pairs(study, found, part):
            rows += _rows(study, size, name, strength, found, pair)
    return rows


def _family(
    study: Study, size: Mapping[str, Any], world: World, name: str, strength: float
) -> Family:
    config = worlds.InstanceConfig(
        hidden_dim=size["hidden_dim"],
        bias_norm=0.5,
        orthogonalize_steps=0,
        departure=name,
        strength=strength,
    )
    return family_of(study, world, CONDITIONS, config)


def _part(trained: Trained, first: int) -> Trained:
    """The members of one family."""
    here = slice(first, first + _MEMBERS)
    result = dataclasses.replace(trained.result, status=trained.result.status[here])
    return Trained(trained.subjects[here], result, trained.columns[here])


def _rows(
    study: Study,
    size: Mapping[str, Any],
    name: str,
    strength: float,
    found: Family,
    pair: FamilyPair,
) -> list[Row]:
    sides = pair.pair.a, pair.pair.b
    tracked = [
        Number(
            method,
            "tracked",
            float(np.mean([(s.truth.of(method, 0.7)[s.alive] >= 0).mean() for s in sides])),
            "all latents of a side are dead",
        )
        for method in METHODS
    ]
    subject, world = pair.pair.a.subject, found.registry("factors")
    share = np.asarray(worlds.linear_share(subject.instance))[np.asarray(subject.instance.present)]
    numbers = [
        *truth_numbers(pair.pair),
        *tracked,
        *rule_numbers(pair.pair, ALL_RULES),
        *(measure_numbers(pair.pair, size["measures"]) if size["measures"] else ()),
        *protocol_numbers(
            pair.pair, size["protocols"], key=jax.random.key(study.number(0)), draws=0
        ),
        Number(
            "held",
            "explained_variance",
            explained(subject, world, subject.run[0], study.number(0))[0],
        ),
        Number(
            "held",
            "linear_share",
            float(share.mean()) if share.size else math.nan,
            "the nonlinearity acts on the sum of features",
        ),
    ]
    return rows_of_pair(
        study.shared,
        numbers,
        *pair.columns,
        study.n_match,
        condition=pair.condition.name,
        factor_departure=name,
        factor_strength=strength,
        factor_shared=pair.condition.shared,
        **pair.flags,
    )


benchmarks.register(
    ID,
    Explanation(
        what="Features that turn with magnitude, lie on circles or in planes, mix with their "
        "parents or pass a nonlinearity, at four strengths, all else equal: what SAEs recover, "
        "what two of them share, and what every rule and protocol says of it.",
        formula="primary number: share of living latents that track a feature (agree)",
        range="[0, 1]",
        chance="strength 0, where each departure equals linear features",
        source="linear representations and their limits: arXiv 2405.14860",
    ),
)(
    Benchmark(
        id=ID,
        title="What rests on features being linear",
        question="What of recovery, truth and scores rests on features being linear?",
        primary="tracked",
        primary_variant="agree",
        sizes=SIZES,
        cells=cells,
        by=("factor_departure", "factor_strength", "condition"),
        metrics=("tracked", "true_universality", "declared", "score"),
        claims=CLAIMS,
    )
)
