"""recovery@1: how well do SAE architectures find the true features, at matched L0?"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from synthsae_jax import keys, metrics, saes, worlds
from synthsae_jax.io.rows import Row
from synthsae_jax.registry import Explanation
from synthsae_jax.suite import table
from synthsae_jax.suite.base import Benchmark, Cell, Tick, benchmarks
from synthsae_jax.suite.match_l0 import coefficient_for
from synthsae_jax.suite.seeds import run_seed, world_seed
from synthsae_jax.training import TrainConfig, train

ID = "recovery@1"
ARCHITECTURES = ("topk", "batchtopk", "standard")
PENALTY = {"standard": "l1_coefficient"}  # sparsity by a coefficient, set on a dev world

# target_l0: the L0 of the preset's d_sae most frequent features, on dev worlds
SIZES: Mapping[str, Mapping[str, Any]] = {
    "smoke": {
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
        "preset": "1k",
        "target_l0": 5.6,
        "worlds": 1,
        "instances": 5,
        "seeds": 2,
        "n_train": 1_024_000,
        "n_eval": 102_400,
        "batch_size": 1024,
        "lr": 1e-3,
        "dead_window": 200,
    },
    "standard": {
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
    """One cell per world and architecture, worlds outermost, so that a prefix is balanced."""
    size = SIZES[scale]
    return [
        _cell(scale, salt, size, world, name)
        for world in range(size["worlds"])
        for name in ARCHITECTURES
    ]


def _cell(scale: str, salt: str, size: Mapping[str, Any], index: int, name: str) -> Cell:
    preset = worlds.preset(size["preset"])
    seed = world_seed(ID, salt, index)
    n_runs = size["instances"] * size["seeds"]
    d_sae, dim = preset.d_sae, preset.instance.hidden_dim
    weights = 2 * d_sae * dim
    return Cell(
        name=f"world{index}/{name}",
        spec={**size, "sae": name, "world_seed": seed, "seeds": {"world": seed}},
        compute=functools.partial(_compute, scale, size, index, seed, name),
        runs=n_runs,
        samples=size["n_train"],
        flops=6.0 * weights * size["n_train"] * n_runs * (1.8 if name in PENALTY else 1.0),
        memory=4.0 * (4 * weights + 6 * size["batch_size"] * d_sae) * n_runs,
        programs=(f"{name}: training", f"{name}: evaluation", f"{name}: chance", "sampling"),
    )


def _compute(
    scale: str, size: Mapping[str, Any], index: int, seed: int, name: str, tick: Tick
) -> list[Row]:
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
    config = train_config(size)
    options, share = _options(scale, size, name, tick)
    sae = saes.build(name, d_in=preset.instance.hidden_dim, d_sae=preset.d_sae, **options)
    tick(share, "training")
    result = train(
        world,
        instances,
        sae,
        config,
        init_seeds=seeds,
        # the runs of an instance read one stream: cheaper, and no number here is about pairs
        data_seed=seeds[:, 0],
        progress=lambda done, total, _: tick(share + (0.9 - share) * done / total, "training"),
    )
    tick(0.9, "evaluation")
    shared = table.Shared(
        benchmark=ID,
        world=preset.name,
        world_seed=seed,
        config=config,
        target_l0=float(size["target_l0"]),
    )
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


def _options(
    scale: str, size: Mapping[str, Any], name: str, tick: Tick
) -> tuple[dict[str, Any], float]:
    """Options that bring the architecture to the target L0, and the share of work that took."""
    target = size["target_l0"]
    if name == "topk":
        return {"k": round(target)}, 0.05
    if name not in PENALTY:
        return {"k": target}, 0.05
    tick(0.05, "setting the coefficient on a dev world")
    preset = worlds.preset(size["preset"])
    found = coefficient_for(
        name, PENALTY[name], target, preset, train_config(size), world_seed(ID, "dev")
    )
    return {PENALTY[name]: found}, 0.45


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
        chance="an untrained SAE of the same sparsity, printed beside each score",
        source="SynthSAEBench, arXiv 2602.14687; PROTOCOL of this suite for seeds and intervals",
    ),
)(recovery)
