"""recovery@1: how well do SAE architectures find the true features, at matched L0?"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from synthsae_jax import keys, metrics, worlds
from synthsae_jax.io.rows import Row
from synthsae_jax.registry import Explanation
from synthsae_jax.suite import bounds_cell, table
from synthsae_jax.suite.base import Benchmark, Cell, Tick, benchmarks
from synthsae_jax.suite.recipes import recipe, recipe_names
from synthsae_jax.suite.seeds import run_seed, world_seed
from synthsae_jax.training import TrainConfig, train

ID = "recovery@1"

# target_l0: the L0 of the preset's d_sae most frequent features, on dev worlds
SIZES: Mapping[str, Mapping[str, Any]] = {
    "smoke": {
        "saes": ("topk", "batchtopk", "standard"),
        "preset": "micro",
        "target_l0": 4.7,
        "worlds": 1,
        "instances": 2,
        "seeds": 2,
        "n_train": 102_400,
        "n_eval": 20_480,
        "batch_size": 512,
        "lr": 1e-2,
        "dead_window": 50,
    },
    "small": {
        "saes": recipe_names(),
        "bounds": {"n_fit": 30_000, "n_probes": 32},
        "preset": "1k",
        "target_l0": 5.6,
        "worlds": 1,
        "instances": 5,
        "seeds": 2,
        "n_train": 1_024_000,
        "n_eval": 102_400,
        "batch_size": 512,
        "lr": 3e-3,
        "dead_window": 100,
    },
    "standard": {
        "saes": recipe_names(),
        "bounds": {"n_fit": 100_000, "n_probes": 64},
        "preset": "4k",
        "target_l0": 12.4,
        "worlds": 5,
        "instances": 2,
        "seeds": 2,
        "n_train": 20_480_000,
        "n_eval": 512_000,
        "batch_size": 1024,
        "lr": 5e-4,
        "dead_window": 1000,
    },
    "full": {
        "saes": recipe_names(),
        "bounds": {"n_fit": 400_000, "n_probes": 64},
        "preset": "synthsaebench-16k",
        "target_l0": 25.0,
        "worlds": 5,
        "instances": 1,
        "seeds": 3,
        "n_train": 200_000_000,
        "n_eval": 1_000_000,
        "batch_size": 1024,
        "lr": 3e-4,
        "dead_window": 1000,
    },
}
SHOWN = ("f1", "mcc", "uniqueness", "precision", "recall", "explained_variance", "l0")


def cells(scale: str, salt: str) -> Sequence[Cell]:
    """One cell per world and architecture, worlds outermost, so that a prefix is balanced.

    Above `smoke` each world has a cell of further floors and ceilings, on its first instance.
    """
    size = SIZES[scale]
    found = []
    for world in range(size["worlds"]):
        found += [_cell(salt, size, world, name) for name in size["saes"]]
        if "bounds" in size:
            found.append(_bounds_cell(salt, size, world))
    return found


def _bounds_cell(salt: str, size: Mapping[str, Any], index: int) -> Cell:
    seed = world_seed(ID, salt, index)
    number = size["instances"] * index
    shared = _shared(size, seed)
    return Cell(
        name=f"world{index}/bounds",
        spec={**_settings(size), "world_seed": seed, "seeds": {"world": seed}},
        compute=lambda tick: bounds_cell.compute(shared, size, number, run_seed(number, 0), tick),
        runs=0,
        samples=size["bounds"]["n_fit"],
        flops=0.0,  # of training, and no SAE is trained
        memory=4.0 * size["bounds"]["n_fit"] * worlds.preset(size["preset"]).instance.hidden_dim,
        programs=("best-k: evaluation", "baselines: evaluation", "sampling"),
    )


def _settings(size: Mapping[str, Any]) -> dict[str, Any]:
    """What of a scale's sizes a cell depends on."""
    return {key: value for key, value in size.items() if key != "saes"}


def _shared(size: Mapping[str, Any], seed: int) -> table.Shared:
    return table.Shared(
        benchmark=ID,
        world=size["preset"],
        world_seed=seed,
        config=train_config(size),
        target_l0=float(size["target_l0"]),
    )


def _cell(salt: str, size: Mapping[str, Any], index: int, name: str) -> Cell:
    preset = worlds.preset(size["preset"])
    seed = world_seed(ID, salt, index)
    n_runs = size["instances"] * size["seeds"]
    d_sae, dim = preset.d_sae, preset.instance.hidden_dim
    weights = 2 * d_sae * dim
    return Cell(
        name=f"world{index}/{name}",
        spec={
            **_settings(size),
            "sae": name,
            "world_seed": seed,
            "seeds": {"world": seed},
        },
        compute=functools.partial(_compute, size, index, seed, name),
        runs=n_runs,
        samples=size["n_train"],
        flops=6.0 * weights * size["n_train"] * n_runs,
        memory=4.0 * (4 * weights + 6 * size["batch_size"] * d_sae) * n_runs,
        programs=(f"{name}: training", f"{name}: evaluation", f"{name}: chance", "sampling"),
    )


def _compute(size: Mapping[str, Any], index: int, seed: int, name: str, tick: Tick) -> list[Row]:
    preset = worlds.preset(size["preset"])
    tick(0.0, "building the world")
    world = worlds.init_world(keys.world_key(seed), preset.world, seed=seed)
    # numbered through all worlds, so that no two runs share an init or data seed
    numbers = [size["instances"] * index + i for i in range(size["instances"])]
    members = [
        worlds.init_instance(keys.instance_key(seed + i), world, preset.instance) for i in numbers
    ]
    instances = worlds.stack(members)
    seeds = np.array([[run_seed(i, s) for s in range(size["seeds"])] for i in numbers])
    made = recipe(
        name, preset.instance.hidden_dim, preset.d_sae, size["target_l0"], train_config(size)
    )
    sae, config = made.sae, made.config
    tick(0.05, "training")
    result = train(
        world,
        instances,
        sae,
        config,
        init_seeds=seeds,
        # the runs of an instance read one stream: cheaper, and no number here is about pairs
        data_seed=seeds[:, 0],
        progress=lambda done, total, _: tick(0.05 + 0.85 * done / total, "training"),
    )
    tick(0.9, "evaluation")
    shared = _shared(size, seed)
    runs = (result.params, result.hyper, result.state.carried)
    raw = (result.state.params, result.hyper, result.state.carried)
    evaluate = functools.partial(
        metrics.evaluate_runs, world, instances, sae, n_samples=size["n_eval"], seed=seeds[:, 0]
    )
    rows = table.run_rows(shared, result, numbers, evaluate(runs=runs), "")
    rows += table.run_rows(shared, result, numbers, evaluate(runs=raw, rule="train"), "train")
    first = members[0]
    top = metrics.most_frequent(worlds.expected_rates(world), first, preset.d_sae)
    ceiling = metrics.oracle_levels(world, first, top, size["n_eval"], int(seeds[0, 0]))
    floor = metrics.chance_levels(world, first, sae, hyper=sae.hyper, seed=index)
    rows += table.level_rows(shared, name, numbers[0], floor, "chance")
    return rows + table.level_rows(shared, name, numbers[0], ceiling, "ceiling")


def train_config(size: Mapping[str, Any]) -> TrainConfig:
    """Training as all benchmarks do it: constant rate, linear decay over the last third."""
    n_steps = -(-size["n_train"] // size["batch_size"])
    return TrainConfig(
        n_samples=size["n_train"],
        batch_size=size["batch_size"],
        lr=size["lr"],
        lr_decay_steps=n_steps // 3,
        dead_window=size["dead_window"],
    )


recovery = Benchmark(
    id=ID,
    title="Recovery of true features at matched L0",
    question="How well does each SAE architecture find the true features?",
    primary="f1",
    primary_variant="",
    sizes=SIZES,
    cells=cells,
    by=("sae",),
    metrics=SHOWN,
)
benchmarks.register(
    ID,
    Explanation(
        what="SAEs of each architecture, several instances and seeds, at the L0 of the world's "
        "most frequent features; scored under the inference rule on a held-out stream.",
        formula="primary number: F1 at matched L0, mean over report worlds or instances",
        range="[0, 1]",
        chance="the same SAE untrained, printed beside each score; of the same sparsity where it "
        "has a k, far denser where it has a penalty",
        source="SynthSAEBench, arXiv 2602.14687; PROTOCOL of this suite for seeds and intervals",
    ),
)(recovery)
