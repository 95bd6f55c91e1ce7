"""overfitting@1: does matching pursuit learn the noise of a dictionary?

Superposition makes directions interfere, and that interference belongs to one dictionary. What an
SAE learns of it is shared by runs on that dictionary and not with a model that has the same
features in other directions.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from synthsae_jax import worlds
from synthsae_jax.experiments.architectures.matrix import (
    Side,
    models,
    number_rows,
    score_rows,
    swapped_rows,
    train_on,
)
from synthsae_jax.experiments.architectures.numbers import found_numbers, matched_numbers
from synthsae_jax.experiments.architectures.swap import linear, pursuit
from synthsae_jax.experiments.overfitting.claims import (
    CLAIMS,
    FRESH,
    LINEAR_SAE,
    PURSUIT,
    SAME,
)
from synthsae_jax.experiments.recovery import train_config
from synthsae_jax.io.rows import Row
from synthsae_jax.registry import Explanation
from synthsae_jax.suite.base import Benchmark, Cell, Tick, benchmarks
from synthsae_jax.suite.recipes import recipe
from synthsae_jax.suite.seeds import world_seed
from synthsae_jax.suite.study import (
    Number,
    Pair,
    Study,
    Trained,
    flags,
    read,
    rows_of_pair,
    rule_numbers,
    truth_numbers,
)
from synthsae_jax.worlds import Instance, World

ID = "overfitting@1"
RULES = ("best_correlation_0.1", "decoder_cosine_0.7_raw")
# the SAEs of a cell: two on one dictionary, one on a fresh one
_NUMBERS = (0, 0, 1)

# pursuit: multiples of the target L0; grid: those of BatchTopK, from which equal EV is chosen
SIZES: Mapping[str, Mapping[str, Any]] = {
    "smoke": {
        "preset": "micro",
        "target_l0": 4.7,
        "worlds": 1,
        "pursuit": (1.0, 2.0),
        "grid": (1.0, 2.0),
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
        "pursuit": (1.0, 2.0, 4.0),
        "grid": (1.0, 2.0, 3.0, 4.0),
        "n_train": 128_000,
        "n_match": 32_768,
        "n_eval": 16_384,
        "batch_size": 256,
        "lr": 1e-2,
        "dead_window": 100,
    },
    "standard": {
        "preset": "1k",
        "target_l0": 5.6,
        "worlds": 10,
        "pursuit": (1.0, 2.0, 4.0),
        "grid": (0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0),
        "n_train": 4_096_000,
        "n_match": 294_912,
        "n_eval": 102_400,
        "batch_size": 1024,
        "lr": 1e-3,
        "dead_window": 500,
    },
    "full": {
        "preset": "4k",
        "target_l0": 12.4,
        "worlds": 20,
        "pursuit": (1.0, 2.0, 4.0),
        "grid": (0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0),
        "n_train": 20_480_000,
        "n_match": 999_424,
        "n_eval": 512_000,
        "batch_size": 1024,
        "lr": 5e-4,
        "dead_window": 1000,
    },
}


def cells(scale: str, salt: str) -> Sequence[Cell]:
    """One cell per world."""
    return [_cell(SIZES[scale], world_seed(ID, salt, w), w) for w in range(SIZES[scale]["worlds"])]


def _cell(size: Mapping[str, Any], seed: int, number: int) -> Cell:
    preset = worlds.preset(size["preset"])
    weights = 2 * preset.d_sae * preset.instance.hidden_dim
    config = train_config(size)
    study = Study(ID, size["preset"], seed, number, config, size["target_l0"], size["n_match"])
    runs = 3 * (len(size["pursuit"]) + len(size["grid"])) + 2
    return Cell(
        name=f"world{number}",
        spec={**size, "world_seed": seed, "seeds": {"world": seed}},
        compute=functools.partial(compute, study, size),
        runs=runs,
        samples=size["n_train"],
        # a pursuit's cost grows with its latents
        flops=6.0 * weights * size["n_train"] * runs * 3,
        memory=4.0 * (4 * weights + 6 * size["batch_size"] * preset.d_sae) * runs,
        programs=(
            *(
                f"pursuit {m:g}: {what}"
                for m in size["pursuit"]
                for what in ("training", "reading")
            ),
            "batchtopk: training",
            "batchtopk: reading",
            "frozen: training",
            "sampling",
        ),
        pairs=4 * len(size["pursuit"]) + 4,
    )


def compute(study: Study, size: Mapping[str, Any], tick: Tick) -> list[Row]:
    """Rows of one world: scores, pairs on the same and on a fresh dictionary, other encoders."""
    tick(0.0, "building the world")
    world = study.world()
    a, b = models(study, world, 2)
    members, grid = [a, a, b], list(size["grid"])
    tick(0.02, "training batchtopk")
    broad = _grid(study, world, members, grid)
    rows = _with_multiple(
        score_rows(study, world, members, _NUMBERS, broad, size["n_eval"]), study.target_l0
    )
    explained = [_explained(rows, LINEAR_SAE, multiple) for multiple in grid]
    wanted: set[int] = set()
    first_sides: dict[str, Side] = {}
    for place, multiple in enumerate(size["pursuit"]):
        tick(0.3 + 0.4 * place / len(size["pursuit"]), f"training pursuit, k x {multiple:g}")
        trained = train_on(
            study,
            PURSUIT,
            world,
            members,
            _NUMBERS,
            first=3 * (place + 1),
            target_l0=multiple * study.target_l0,
        )
        made = score_rows(study, world, members, _NUMBERS, trained, size["n_eval"])
        rows += [{**row, "factor_k": multiple} for row in made]
        sides = _read(study, world, trained, 0)
        rows += _pairs(study, world, sides, multiple)
        own = _explained(rows, PURSUIT, multiple)
        nearest = int(np.nanargmin(np.abs(np.array(explained) - own)))
        wanted |= {nearest, *([grid.index(multiple)] if multiple in grid else [])}
        numbers = [
            Number("equal_ev", "multiple", grid[nearest]),
            Number("equal_ev", "gap", explained[nearest] - own),
        ]
        columns = trained.columns[0][0]
        rows += number_rows(study, numbers, columns, size["n_eval"], factor_k=multiple)
        if multiple == 1 and sides[0] is not None:
            first_sides[PURSUIT] = sides[0]
    tick(0.75, "pairs of batchtopk")
    for r in sorted(wanted):
        sides = _read(study, world, broad, r)
        rows += _pairs(study, world, sides, grid[r])
        if grid[r] == 1 and sides[0] is not None:
            first_sides[LINEAR_SAE] = sides[0]
    tick(0.9, "other encoders")
    return rows + _other_encoders(study, world, first_sides, size)


def _grid(
    study: Study, world: World, members: Sequence[Instance], grid: Sequence[float]
) -> Trained:
    """BatchTopK at every multiple of the L0, all in one program: run r has multiple r."""
    dim = study.instance_config.hidden_dim
    made = recipe(LINEAR_SAE, dim, study.d_sae, study.target_l0, study.config)
    k = np.asarray(grid, np.float32) * study.target_l0
    return train_on(
        study,
        LINEAR_SAE,
        world,
        members,
        _NUMBERS,
        first=0,
        runs=len(grid),
        sae=made.sae,
        config=made.config,
        hyper=made.sae.hyper.replace(k=k),
    )


def _with_multiple(rows: Sequence[Row], target_l0: float) -> list[Row]:
    return [{**row, "factor_k": round(row["sparsity_coef"] / target_l0, 3)} for row in rows]


def _explained(rows: Sequence[Row], sae: str, multiple: float) -> float:
    found = [
        row["value"]
        for row in rows
        if row["sae"] == sae
        and row["factor_k"] == multiple
        and row["metric"] == "explained_variance"
        and row["value"] is not None
    ]
    return float(np.mean(found)) if found else float("nan")


def _read(study: Study, world: World, trained: Trained, r: int) -> list[Side | None]:
    return [
        (read(trained.subjects[i][r], world, study.n_match, study.number(0)), trained.columns[i][r])
        if trained.ok(i, r)
        else None
        for i in range(len(_NUMBERS))
    ]


def _pairs(study: Study, world: World, sides: Sequence[Side | None], multiple: float) -> list[Row]:
    rows: list[Row] = []
    for condition, place in ((SAME, 1), (FRESH, 2)):
        left, right = sides[0], sides[place]
        if left is None or right is None:
            continue
        pair = Pair(left[0], right[0], world)
        same = condition == SAME
        rows += rows_of_pair(
            study.shared,
            [
                *truth_numbers(pair),
                *found_numbers(pair),
                *rule_numbers(pair, RULES),
                *matched_numbers(pair),
            ],
            left[1],
            right[1],
            pair.a.latents.shape[0],
            condition=condition,
            factor_k=multiple,
            **flags(left[1], right[1], same_instance=same, same_dictionary=same),
        )
    return rows


def _other_encoders(
    study: Study, world: World, known: Mapping[str, Side], size: Mapping[str, Any]
) -> list[Row]:
    sources = [side[0].subject for side in known.values()]
    if not sources:
        return []
    first = 3 * (len(size["pursuit"]) + 1)
    n, k = size["n_eval"], study.target_l0
    made = (
        linear(study, world, sources, n, k, first),
        pursuit(study, world, sources, n, k),
    )
    return [
        row for swapped in made for row in swapped_rows(study, world, known, swapped, factor_k=1.0)
    ]


benchmarks.register(
    ID,
    Explanation(
        what="Matching pursuit with one, two and four times the L0 beside BatchTopK at equal L0 "
        "and at equal explained variance; pairs of SAEs on one dictionary and on a fresh one of "
        "the same features; encoders swapped on a dictionary that stays.",
        formula="primary number: shared_artefacts on the same dictionary less on a fresh one; of "
        "the latents that track nothing, the share matched (r >= .5) with one that tracks nothing",
        range="[-1, 1]",
        chance="0: artefacts that belong to no dictionary are shared alike",
        source="Feature Universality, arXiv 2410.06981; MP-SAE, arXiv 2506.03093",
    ),
)(
    Benchmark(
        id=ID,
        title="Does matching pursuit learn a dictionary's noise?",
        question="Does matching pursuit learn the noise of a dictionary?",
        primary="shared_artefacts",
        primary_variant="correlation_0.5",
        sizes=SIZES,
        cells=cells,
        by=("sae", "factor_k", "condition"),
        metrics=("shared_artefacts", "unmatched_artefacts", "true_universality", "precision"),
        claims=CLAIMS,
    )
)
