"""matching@1: which scores and solvers find the right partner, and what stands in their way?"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from synthsae_jax import worlds
from synthsae_jax.experiments.matching.claims import CLAIMS
from synthsae_jax.experiments.matching.grid import (
    POOLED,
    REFERENCE,
    RungPair,
    Setting,
    calibration,
    grid,
)
from synthsae_jax.experiments.matching.rungs import RUNGS, quartile, read_ladder
from synthsae_jax.experiments.recovery import train_config
from synthsae_jax.io.rows import Row, make_row
from synthsae_jax.matching import load_credence
from synthsae_jax.registry import Explanation
from synthsae_jax.suite import pairs, table
from synthsae_jax.suite.base import Benchmark, Cell, Tick, benchmarks
from synthsae_jax.suite.study import Study, cells_by_arm, family_of, train_family
from synthsae_jax.worlds.family import Condition

ID = "matching@1"
SHARED = 0.75  # of the features: the rest must stay single


@dataclasses.dataclass(frozen=True)
class Arm:
    """What an arm changes: its preset, or its instances."""

    name: str
    trees: bool = False  # the preset with trees
    crowding: int = 1  # hidden dimensions divided by this
    drop: float = 0.0  # share of firings that do not reach a model, each its own


ARMS = (
    Arm("plain"),
    Arm("trees", trees=True),
    Arm("crowded", crowding=2),
    Arm("dropped", drop=0.3),
)

SIZES: Mapping[str, Mapping[str, Any]] = {
    "smoke": {
        "preset": "micro",
        "trees_preset": "mini",
        "target_l0": 4.7,
        "trees_l0": 4.0,
        "worlds": 1,
        "arms": ("plain",),
        "geometry": (1.0, 0.0),
        "tokens": (1_000, 8_192),
        "n_train": 51_200,
        "n_match": 8_192,
        "batch_size": 128,
        "lr": 1e-2,
        "dead_window": 50,
    },
    "small": {
        "preset": "micro",
        "trees_preset": "mini",
        "target_l0": 4.7,
        "trees_l0": 4.0,
        "worlds": 5,
        "arms": tuple(arm.name for arm in ARMS),
        "geometry": (1.0, 0.5, 0.0),
        "tokens": (1_000, 10_000, 65_536),
        "n_train": 256_000,
        "n_match": 32_768,
        "batch_size": 256,
        "lr": 1e-2,
        "dead_window": 100,
    },
    "standard": {
        "preset": "1k",
        "trees_preset": "1k",
        "target_l0": 5.6,
        "trees_l0": 5.6,
        "worlds": 10,
        "arms": tuple(arm.name for arm in ARMS),
        "geometry": (1.0, 0.75, 0.5, 0.25, 0.0),
        "tokens": (1_000, 10_000, 98_304, 999_424),
        "n_train": 4_096_000,
        "n_match": 294_912,
        "batch_size": 1024,
        "lr": 1e-3,
        "dead_window": 500,
    },
    "full": {
        "preset": "4k",
        "trees_preset": "4k",
        "target_l0": 12.4,
        "trees_l0": 12.4,
        "worlds": 20,
        "arms": tuple(arm.name for arm in ARMS),
        "geometry": (1.0, 0.75, 0.5, 0.25, 0.0),
        "tokens": (1_000, 10_000, 98_304, 999_424),
        "n_train": 20_480_000,
        "n_match": 999_424,
        "batch_size": 1024,
        "lr": 5e-4,
        "dead_window": 1000,
    },
}


def cells(scale: str, salt: str) -> Sequence[Cell]:
    """One cell per world and arm; worlds take turns, so that a prefix is balanced."""
    size = SIZES[scale]
    arms = [arm for arm in ARMS if arm.name in size["arms"]]
    cell = functools.partial(_cell, size)
    return cells_by_arm(ID, salt, size["worlds"], arms, cell)


def _cell(size: Mapping[str, Any], seed: int, world: int, number: int, arm: Arm) -> Cell:
    name = size["trees_preset" if arm.trees else "preset"]
    target_l0 = size["trees_l0" if arm.trees else "target_l0"]
    preset = worlds.preset(name)
    n_runs = 1 + len(size["geometry"])
    weights = 2 * preset.d_sae * preset.instance.hidden_dim
    study = Study(ID, name, seed, number, train_config(size), target_l0, size["n_match"])
    given = {k: v for k, v in size.items() if k != "arms"} | {"arm": arm.name, "shared": SHARED}
    return Cell(
        name=f"world{world}/{arm.name}",
        spec={**given, "preset": name, "world_seed": seed, "seeds": {"world": seed}},
        compute=functools.partial(_compute, study, size, arm),
        runs=n_runs,
        samples=size["n_train"],
        flops=6.0 * weights * size["n_train"] * n_runs,
        memory=4.0 * (4 * weights + 6 * size["batch_size"] * preset.d_sae) * n_runs,
        programs=(f"{arm.name}: training", f"{arm.name}: reading", "sampling", "solvers"),
        pairs=len(RUNGS) * len(size["geometry"]),
    )


def _compute(study: Study, size: Mapping[str, Any], arm: Arm, tick: Tick) -> list[Row]:
    tick(0.0, "building the family")
    # the plain arms have no trees, whatever the preset
    changes = {} if arm.trees else {"hierarchy": None}
    world = study.world(**changes)
    dim = study.instance_config.hidden_dim // arm.crowding
    config = dataclasses.replace(study.instance_config, hidden_dim=dim, drop=arm.drop)
    conditions = tuple(Condition(f"t {t:g}", SHARED, t) for t in size["geometry"])
    family = family_of(study, world, conditions, config)
    trained = train_family(study, family, "topk", tick=lambda d, what: tick(0.4 * d, what))
    if not all(trained.ok(i, 0) for i in range(len(family.instances))):
        return [_row(study, arm, "trained", "", "precision", float("nan"), 0, "diverged")]
    registry, seed = family.registry("factors"), study.number(0)
    turns = [
        np.asarray(
            pairs.rotation(registry, family.reference, family.partner(i), study.n_match, seed)
        )
        for i in range(len(conditions))
    ]
    parent = np.asarray(world.forest.parent)
    tokens, model = size["tokens"], load_credence()
    rows: list[Row] = []
    tick(0.4, "reading")
    pre_tokens = min(pairs.BLOCK_TOKENS, study.n_match)
    ladder = read_ladder(study, family, trained, tokens[-1], pre_tokens)
    for step, (rung, (a, *others)) in enumerate(ladder.items()):
        tick(0.7 + 0.1 * step, rung)
        strata = quartile(a)
        found = [
            RungPair(a, b, f"{c.sharing:g}", turn, seed + i, strata)
            for i, (b, c, turn) in enumerate(zip(others, conditions, turns, strict=True))
        ]
        for setting, counts in grid(found, tokens, parent).items():
            rows += _rows(study, arm, rung, setting, counts.numbers)
        for n, numbers in calibration(found, tokens, model).items():
            rows += [
                _row(study, arm, rung, f"credence/n={n}", metric, value, n, factor_tokens=n)
                for metric, value in numbers.items()
            ]
    return rows


def _rows(
    study: Study, arm: Arm, rung: str, setting: Setting, numbers: Mapping[str, float]
) -> list[Row]:
    if setting.stratum != POOLED and rung == "encoder":
        return []
    metrics = ["precision", "recall"]
    if setting.stratum == POOLED and setting.truth == "agree" and setting.solver == REFERENCE:
        metrics += ["f1", "accuracy_given_recovery"]
    if arm.trees and setting.score == "activation_pearson" and setting.stratum == POOLED:
        metrics.append("kin_share_of_wrong")
    factors = {
        "factor_score": setting.score,
        "factor_solver": setting.solver,
        "factor_tokens": setting.tokens,
        "factor_t": setting.t,
        "factor_stratum": setting.stratum,
        "factor_threshold": setting.threshold,
        "factor_truth": setting.truth,
    }
    return [
        _row(study, arm, rung, setting.variant, metric, numbers[metric], setting.tokens, **factors)
        for metric in metrics
    ]


def _row(
    study: Study,
    arm: Arm,
    rung: str,
    variant: str,
    metric: str,
    value: float,
    n_eval: int,
    status: str = "ok",
    **factors: Any,
) -> Row:
    return make_row(
        **study.shared.columns(),
        run_id=f"{rung}-{arm.name}-{study.world_seed}",
        sae="topk" if rung == "trained" else rung,
        instance=study.number(0),
        condition=rung,
        metric=metric,
        variant=variant,
        n_eval=n_eval,
        factor_arm=arm.name,
        **factors,
        **table.valued(value, status, reason="nothing is matched, or nothing is there to match"),
    )


benchmarks.register(
    ID,
    Explanation(
        what="The oracle ladder: true directions with true codes, true directions behind a TopK "
        "encoder that nobody trained, and trained SAEs; on each rung every score and solver, by "
        "firing rate and number of tokens, on models that share three quarters of their features.",
        formula="primary number: share of the features tracked by both that a pair rightly names, "
        "and share of pairs that are right",
        range="[0, 1]",
        chance="about 1/F for random pairs",
        source="Feature Universality, arXiv 2410.06981; thresholds of arXiv 2501.16615",
    ),
)(
    Benchmark(
        id=ID,
        title="Matching put to the test",
        question="Which scores and solvers find the right partner?",
        primary="f1",
        primary_variant=f"activation_pearson/{REFERENCE}",
        sizes=SIZES,
        cells=cells,
        by=("condition", "factor_arm"),
        metrics=("precision", "recall", "f1"),
        claims=CLAIMS,
    )
)
