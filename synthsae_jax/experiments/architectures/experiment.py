"""architectures@1: do different architectures find the same features, and does their order hold?"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

from synthsae_jax import worlds
from synthsae_jax.experiments.architectures import matrix as architectures_matrix
from synthsae_jax.experiments.architectures import ranking as architectures_ranking
from synthsae_jax.experiments.architectures.claims import CLAIMS
from synthsae_jax.experiments.architectures.ranking import SETTINGS
from synthsae_jax.experiments.recovery import train_config
from synthsae_jax.registry import Explanation
from synthsae_jax.suite.base import Benchmark, Cell, benchmarks
from synthsae_jax.suite.recipes import recipe_names
from synthsae_jax.suite.seeds import world_seed
from synthsae_jax.suite.study import Study, balanced

ID = "architectures@1"
_FEW = ("batchtopk", "matryoshka", "matching_pursuit", "standard")

# of the matrix, whose SAEs share no seed; "ranking": of the order of architectures over settings
SIZES: Mapping[str, Mapping[str, Any]] = {
    "smoke": {
        "preset": "micro",
        "target_l0": 4.7,
        "worlds": 1,
        "saes": ("topk", "matching_pursuit"),
        "n_probes": 4,
        "probe_samples": 0,
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
        "saes": ("topk", *_FEW),
        "n_probes": 16,
        "probe_samples": 16_384,
        "n_train": 128_000,
        "n_match": 32_768,
        "n_eval": 16_384,
        "batch_size": 256,
        "lr": 1e-2,
        "dead_window": 100,
        # children, exclusion and their like take trees
        "ranking": {"preset": "mini", "target_l0": 4.0, "saes": _FEW},
    },
    "standard": {
        "preset": "1k",
        "target_l0": 5.6,
        "worlds": 10,
        "saes": recipe_names(),
        "n_probes": 32,
        "probe_samples": 30_000,
        "n_train": 4_096_000,
        "n_match": 294_912,
        "n_eval": 102_400,
        "batch_size": 1024,
        "lr": 1e-3,
        "dead_window": 500,
        "ranking": {},
    },
    "full": {
        "preset": "4k",
        "target_l0": 12.4,
        "worlds": 20,
        "saes": recipe_names(),
        "n_probes": 64,
        "probe_samples": 100_000,
        "n_train": 20_480_000,
        "n_match": 999_424,
        "n_eval": 512_000,
        "batch_size": 1024,
        "lr": 5e-4,
        "dead_window": 1000,
        "ranking": {"preset": "1k", "target_l0": 5.6, "n_train": 10_240_000, "lr": 1e-3},
    },
}


def cells(scale: str, salt: str) -> Sequence[Cell]:
    """Per world a cell for the matrix and one per setting of the ranking; worlds take turns."""
    size = SIZES[scale]
    matrix = {key: value for key, value in size.items() if key != "ranking"}
    settings = tuple(SETTINGS) if "ranking" in size else ()
    ranking = {**matrix, **size.get("ranking", {})}
    per_world = 1 + len(settings)
    return balanced(
        [
            [
                _matrix_cell(matrix, world_seed(ID, salt, w), w, w * per_world),
                *(
                    _ranking_cell(ranking, world_seed(ID, salt, w), w, w * per_world + i, setting)
                    for i, setting in enumerate(settings, start=1)
                ),
            ]
            for w in range(size["worlds"])
        ]
    )


def _study(size: Mapping[str, Any], seed: int, number: int) -> Study:
    return Study(
        ID, size["preset"], seed, number, train_config(size), size["target_l0"], size["n_match"]
    )


def _matrix_cell(size: Mapping[str, Any], seed: int, world: int, number: int) -> Cell:
    n = len(size["saes"])
    return Cell(
        name=f"world{world}/matrix",
        spec={**size, "world_seed": seed, "seeds": {"world": seed}},
        compute=functools.partial(architectures_matrix.compute, _study(size, seed, number), size),
        programs=(
            *(f"{name}: {what}" for name in size["saes"] for what in ("training", "evaluation")),
            "frozen: training",
            "sampling",
        ),
        pairs=n * (n + 1) + 2 * n,
        # each architecture twice on one model and once on another, and every dictionary once more
        # under a trained encoder
        **_costs(size, 4 * n),
    )


def _ranking_cell(size: Mapping[str, Any], seed: int, world: int, number: int, name: str) -> Cell:
    shape = SETTINGS[name].shape
    study = _study(size, seed, number)
    return Cell(
        name=f"world{world}/{name}",
        spec={
            **size,
            "setting": name,
            "changed": dataclasses.asdict(SETTINGS[name]),
            "world_seed": seed,
            "seeds": {"world": seed},
        },
        compute=functools.partial(architectures_ranking.compute, study, size, name),
        programs=tuple(
            f"{sae} {shape}: {what}" for sae in size["saes"] for what in ("training", "evaluation")
        ),
        pairs=len(size["saes"]),
        **_costs(size, 2 * len(size["saes"])),
    )


def _costs(size: Mapping[str, Any], runs: int) -> dict[str, Any]:
    preset = worlds.preset(size["preset"])
    weights = 2 * preset.d_sae * preset.instance.hidden_dim
    return {
        "runs": runs,
        "samples": size["n_train"],
        "flops": 6.0 * weights * size["n_train"] * runs,
        "memory": 4.0 * (4 * weights + 6 * size["batch_size"] * preset.d_sae) * runs,
    }


benchmarks.register(
    ID,
    Explanation(
        what="SAEs of every architecture at equal width and L0, on one model and on two with "
        "independent dictionaries, never sharing a seed; which true features each pair finds, "
        "what encoders change on a dictionary that stays, and whether the order of architectures "
        "holds over small worlds.",
        formula="primary number: co_recovery of pairs of different architectures on one model, "
        "(n - n_a n_b / P) / (min(n_a, n_b) - n_a n_b / P)",
        range="at most 1; 0 is what independent finds share",
        chance="0",
        source="Feature Universality, arXiv 2410.06981; SynthSAEBench, arXiv 2602.14687",
    ),
)(
    Benchmark(
        id=ID,
        title="Do architectures find the same features?",
        question="Do SAEs of different architectures find the same features?",
        primary="co_recovery",
        primary_variant="truth",
        sizes=SIZES,
        cells=cells,
        by=("sae", "sae_b", "condition"),
        metrics=("co_recovery", "true_universality", "declared", "precision"),
        claims=CLAIMS,
    )
)
