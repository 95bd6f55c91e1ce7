"""drivers@1: what makes features universal, by intervention."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from synthsae_jax import keys, worlds
from synthsae_jax.experiments.drivers.claims import CLAIMS
from synthsae_jax.experiments.drivers.outcome import (
    RULE,
    explained,
    kin_numbers,
    oracle_numbers,
    oracle_pair,
    outcome_numbers,
)
from synthsae_jax.experiments.drivers.worlds import (
    Arm,
    arm_world,
    arms,
    instance_config,
    shape,
)
from synthsae_jax.experiments.recovery import train_config
from synthsae_jax.io.rows import Row
from synthsae_jax.registry import Explanation
from synthsae_jax.suite.base import Benchmark, Cell, Tick, benchmarks
from synthsae_jax.suite.seeds import run_seed
from synthsae_jax.suite.study import (
    Number,
    Pair,
    Reading,
    Study,
    Trained,
    cells_by_arm,
    flags,
    read,
    rows_of_pair,
    rule_numbers,
    truth_numbers,
)
from synthsae_jax.worlds import World

ID = "drivers@1"
CONVERGED = 0.002  # explained variance that the last tenth of training may still add

_SMALL = {
    "preset": "micro",
    "n_features": 256,
    "width": 128,
    "mean_l0": 5.0,
    "target_l0": 4.0,
    "slots": (24, 64, 48),
    "n_train": 128_000,
    "n_match": 16_384,
    "batch_size": 256,
    "lr": 1e-2,
    "dead_window": 100,
}
_LARGE = {
    "preset": "1k",
    "n_features": 1024,
    "width": 256,
    "mean_l0": 8.0,
    "target_l0": 6.0,
    "slots": (32, 96, 72),
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
        "arms": ("base", "coherence .30"),
        "n_train": 25_600,
        "n_match": 8_192,
    },
    "small": {
        **_SMALL,
        "worlds": 5,
        # the fraction, and the single factors that a claim or a check is about
        "arms": tuple(
            name
            for name, arm in arms().items()
            if arm.block
            or name
            in (
                "dim .15",
                "dim .30",
                "coherence .30",
                "orthogonal",
                "twice the features",
                "depth 3",
                "exclusive",
                "correlation .2",
                "exponent 1",
                "matryoshka",
                "matryoshka, depth 3",
            )
        ),
    },
    "standard": {**_LARGE, "worlds": 10, "arms": tuple(arms())},
    "full": {
        **_LARGE,
        "worlds": 20,
        "arms": tuple(arms()),
        "n_features": 4096,
        "width": 1024,
        "mean_l0": 12.0,
        "target_l0": 9.0,
        "slots": (64, 160, 120),
        "n_train": 20_480_000,
        "lr": 5e-4,
    },
}


def cells(scale: str, salt: str) -> Sequence[Cell]:
    """One cell per world and arm; worlds take turns, so that a prefix is balanced."""
    size = SIZES[scale]
    cell = functools.partial(_cell, size)
    return cells_by_arm(ID, salt, size["worlds"], size["arms"], cell)


def _cell(size: Mapping[str, Any], seed: int, world: int, number: int, name: str) -> Cell:
    arm = arms()[name]
    n, dim, width = shape(size, arm)
    # what is left of the training program's last tenth says whether it has converged
    config = train_config(size)
    config = dataclasses.replace(config, snapshots=(config.n_steps * 9 // 10,))
    study = Study(ID, size["preset"], seed, number, config, size["target_l0"], size["n_match"])
    n_runs = 4 if arm.between else 2
    weights = 2 * width * dim
    given = {key: value for key, value in size.items() if key != "arms"}
    return Cell(
        name=f"world{world}/{name}",
        spec={
            **given,
            "arm": name,
            **arm.settings,
            "shape": (n, dim, width),
            "world_seed": seed,
            "seeds": {"world": seed},
        },
        compute=functools.partial(_compute, study, size, arm, world),
        runs=n_runs,
        samples=size["n_train"],
        flops=6.0 * weights * size["n_train"] * n_runs,
        memory=4.0 * (4 * weights + 6 * size["batch_size"] * width) * n_runs,
        programs=(
            f"{arm.sae} {n} x {dim}, depth {arm.depth}: training",
            "reading",
            "sampling",
        ),
        pairs=n_runs // 2,
    )


def _compute(study: Study, size: Mapping[str, Any], arm: Arm, index: int, tick: Tick) -> list[Row]:
    tick(0.0, "building the world")
    world, match = arm_world(study, size, arm)
    trained, read_ = _pair_on(study, size, arm, index, world, 0, tick)
    base = dataclasses.replace(arm, depth=0, correlation=0.0)
    rows: list[Row] = []
    if trained.ok(0, 0) and trained.ok(1, 0):
        rows += _rows(study, size, arm, index, world, trained, read_, match)
    if arm.between:
        tick(0.7, "the base world beside it")
        plain, _ = arm_world(study, size, base)
        other, read_base = _pair_on(study, size, base, index, plain, 2, tick)
        if trained.ok(0, 0) and other.ok(1, 0):
            rates = _rates(size, arm)
            numbers = outcome_numbers(read_[0], read_base[1], rates)
            columns = trained.columns[0][0], other.columns[1][0]
            rows += _between_rows(study, arm, numbers, columns)
    return rows


def _pair_on(
    study: Study,
    size: Mapping[str, Any],
    arm: Arm,
    index: int,
    world: World,
    first: int,
    tick: Tick,
) -> tuple[Trained, list[Reading]]:
    """Two models with every feature in common, each with directions and an SAE of its own.

    Keys and seeds are those of the world's number: arms of one world differ in what they set.
    """
    _, _, width = shape(size, arm)
    config = instance_config(size, arm)
    numbers = [1000 * (index + 1) + i for i in range(2)]
    models = [worlds.init_instance(keys.instance_key(i), world, config) for i in numbers]
    seeds = np.array([[run_seed(i, 0)] for i in numbers])
    trained = study.train(
        arm.sae,
        world,
        models,
        first=first,
        width=width,
        init_seeds=seeds,
        data_seeds=seeds,
        tick=lambda done, what: tick(0.6 * done, what),
    )
    return trained, [read(s[0], world, study.n_match, index) for s in trained.subjects]


def _rows(
    study: Study,
    size: Mapping[str, Any],
    arm: Arm,
    index: int,
    world: World,
    trained: Trained,
    readings: list[Reading],
    match: worlds.RateMatch,
) -> list[Row]:
    n, dim, width = shape(size, arm)
    rates = _rates(size, arm)
    a, b = readings
    pair = Pair(a, b, world)
    ev = []
    for i, row in enumerate(trained.subjects):
        before = jax.tree.map(lambda leaf, i=i: np.asarray(leaf)[i, 0], trained.result.snapshots[0])
        ev.append(explained(row[0], world, before, index))
    gain = max(now - then for now, then in ev)
    overlap = [worlds.superposition_statistics(m.dictionary).mean_max for m in pair.instances]
    numbers = [
        *truth_numbers(pair),
        *outcome_numbers(a, b, rates),
        *rule_numbers(pair, (RULE,)),
        *kin_numbers(pair),
        *oracle_numbers(oracle_pair(pair, world, rates, width, study.n_match, index)),
        Number("held", "mean_l0", match.mean_l0),
        Number("held", "rates_missed", float(match.missed)),
        Number("held", "rate_error", match.largest),
        Number("held", "overlap", float(np.mean(overlap))),
        Number("held", "explained_variance", float(np.mean([now for now, _ in ev]))),
        Number("held", "last_tenth", gain),
        Number("held", "converged", float(gain < CONVERGED)),
    ]
    columns = trained.columns[0][0], trained.columns[1][0]
    return rows_of_pair(
        study.shared,
        numbers,
        *columns,
        pair.a.latents.shape[0],
        condition=arm.name,
        **_factors(arm),
        factor_n_features=n,
        factor_dim=dim,
        factor_width=width,
        **flags(*columns, same_dictionary=False),
    )


def _between_rows(
    study: Study, arm: Arm, numbers: list[Number], columns: tuple[dict[str, Any], dict[str, Any]]
) -> list[Row]:
    return rows_of_pair(
        study.shared,
        numbers,
        *columns,
        study.n_match,
        condition=f"{arm.name} / base",
        **_factors(arm),
        **flags(*columns, same_dictionary=False),
    )


def _rates(size: Mapping[str, Any], arm: Arm) -> np.ndarray:
    """Rates of the arm's features, [F]: those of its law."""
    law = worlds.ScaledZipf(exponent=arm.exponent, mean_l0=size["mean_l0"])
    return law.values(shape(size, arm)[0], None)


def _factors(arm: Arm) -> dict[str, Any]:
    return {f"factor_{name}": value for name, value in arm.settings.items()}


benchmarks.register(
    ID,
    Explanation(
        what="Interventions on superposition, correlation, hierarchy, frequency law and noise, "
        "each with what it must not move held; two models with all features in common, and what "
        "both of their SAEs recover beside what each one's recovery predicts.",
        formula="primary number: log odds ratio of co-recovery, stratified by frequency",
        range="(-inf, inf)",
        chance="0: the two sides recover independently given frequency",
        source="Feature Universality, arXiv 2410.06981; worlds after SynthSAEBench, arXiv "
        "2602.14687",
    ),
)(
    Benchmark(
        id=ID,
        title="Drivers of universality",
        question="What makes features universal?",
        primary="excess",
        primary_variant="agree",
        sizes=SIZES,
        cells=cells,
        by=("condition",),
        metrics=("recovery", "co_recovery", "expected", "excess"),
        claims=CLAIMS,
    )
)
