"""engineering@1: can SAEs be made to find the same features, and is it worth what it costs?

Left out: weight decay with a tied start (trainings have no weight decay, and every encoder starts
as the decoder's transpose), a crosscoder between groups (its latents need both of its models),
pairs of models in rotated or partly shared directions, and anchors fitted to data.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

from synthsae_jax import worlds
from synthsae_jax.experiments.engineering.claims import CLAIMS
from synthsae_jax.experiments.engineering.methods import METHODS, POOL, Method
from synthsae_jax.experiments.engineering.rows import rows_of
from synthsae_jax.experiments.engineering.training import (
    MODELS,
    Workshop,
    models_of,
    train_method,
)
from synthsae_jax.experiments.recovery import train_config
from synthsae_jax.io.rows import Row
from synthsae_jax.registry import Explanation
from synthsae_jax.suite.base import Benchmark, Cell, Tick, benchmarks
from synthsae_jax.suite.study import Study, cells_by_arm
from synthsae_jax.suite.study.setting import PER_CELL

ID = "engineering@1"
ZEROS = ("independent", "counts")  # couplings under which disjoint models are read

SIZES: Mapping[str, Mapping[str, Any]] = {
    "smoke": {
        "preset": "micro",
        "target_l0": 4.7,
        "worlds": 1,
        "methods": ("batchtopk", "consistency"),
        "zeros": ("independent",),
        "n_train": 25_600,
        "n_match": 8_192,
        "n_eval": 8_192,
        "batch_size": 128,
        "lr": 1e-2,
        "dead_window": 50,
    },
    "small": {
        "preset": "micro",
        "target_l0": 4.7,
        "worlds": 5,
        "methods": tuple(METHODS),
        "zeros": ZEROS,
        "n_train": 96_000,
        "n_match": 8_192,
        "n_eval": 8_192,
        "batch_size": 160,
        "lr": 1e-2,
        "dead_window": 60,
    },
    "standard": {
        "preset": "1k",
        "target_l0": 5.6,
        "worlds": 10,
        "methods": tuple(METHODS),
        "zeros": ZEROS,
        "n_train": 4_096_000,
        "n_match": 294_912,
        "n_eval": 102_400,
        "batch_size": 1024,
        "lr": 1e-3,
        "dead_window": 250,
    },
    "full": {
        "preset": "4k",
        "target_l0": 12.4,
        "worlds": 20,
        "methods": tuple(METHODS),
        "zeros": ZEROS,
        "n_train": 20_480_000,
        "n_match": 999_424,
        "n_eval": 512_000,
        "batch_size": 1024,
        "lr": 5e-4,
        "dead_window": 1000,
    },
}


def cells(scale: str, salt: str) -> Sequence[Cell]:
    """One cell per world and method; worlds take turns, so that a prefix is balanced."""
    size = SIZES[scale]
    cell = functools.partial(_cell, size)
    return cells_by_arm(ID, salt, size["worlds"], [METHODS[name] for name in size["methods"]], cell)


def _cell(size: Mapping[str, Any], seed: int, world: int, number: int, method: Method) -> Cell:
    preset = worlds.preset(size["preset"])
    weights = 2 * preset.d_sae * preset.instance.hidden_dim
    joint = method.how == "joint"
    trained = {"joint": 4, "pooled": len(MODELS) * (POOL + 2)}
    runs = trained.get(method.how, len(MODELS))
    wide = 4 if joint else 1
    study = Study(
        ID, size["preset"], seed, number, train_config(size), size["target_l0"], size["n_match"]
    )
    # the number of the world's first cell: its models are the same in all of its cells
    first = PER_CELL * world * len(size["methods"])
    # pooling spreads its samples over runs
    longer = method.samples if method.how == "alone" else 1
    return Cell(
        name=f"world{world}/{method.name}",
        spec={
            **{key: value for key, value in size.items() if key != "methods"},
            **dataclasses.asdict(method),
            "world_seed": seed,
            "seeds": {"world": seed},
        },
        compute=functools.partial(_compute, study, size, method, first),
        runs=runs,
        samples=longer * size["n_train"],
        flops=6.0 * wide * weights * longer * size["n_train"] * runs,
        memory=4.0 * wide * (4 * weights + 6 * size["batch_size"] * preset.d_sae) * runs,
        programs=(
            *(f"{method.sae}: {what}" for what in ("training", "reading")),
            *(("frozen: training",) if method.how == "pooled" else ()),
        ),
        # those of a joint training are scored within their group too
        pairs=0 if method.sae == "crosscoder" else (1 + joint) * (1 + len(size["zeros"])),
    )


def _compute(
    study: Study, size: Mapping[str, Any], method: Method, first: int, tick: Tick
) -> list[Row]:
    tick(0.0, "building the models")
    # keys of instances have room for about a million worlds
    seed = study.world_seed % 2**20
    shop = Workshop(study, models_of(study, study.world(), seed), size, first, tick)
    rows: list[Row] = []
    for groups in train_method(shop, method):
        tick(0.75, f"reading {groups.name}")
        rows += rows_of(shop, groups, seed)
    return rows


benchmarks.register(
    ID,
    Explanation(
        what="Ways to make SAEs agree: constraints, orders, joint trainings, pooling over seeds. "
        "Each is scored between trainings that share nothing, on models with all features in "
        "common and with none, beside a baseline that saw as many samples.",
        formula="primary number: true universality of two SAEs from different groups, on models "
        "with all features in common",
        range="[0, 1]",
        chance="0 on models without a common feature, whatever the method",
        source="Song et al. 2025, arXiv 2505.20254 on PW-MCC; Marks et al. 2024, arXiv "
        "2411.01220; Fel et al. 2025, arXiv 2502.12892; Thasarathan et al. 2025, arXiv 2502.03714",
    ),
)(
    Benchmark(
        id=ID,
        title="Engineering universality",
        question="Can SAEs be made to find the same features, and at what price?",
        primary="true_universality",
        primary_variant="truth",
        sizes=SIZES,
        cells=cells,
        by=("factor_method", "factor_group", "condition"),
        metrics=("true_universality", "score", "f1", "mcc", "explained_variance"),
        claims=CLAIMS,
    )
)
