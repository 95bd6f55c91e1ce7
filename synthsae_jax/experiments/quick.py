"""The main job, in minutes: recovery on the reference artefact, and sharing in a family."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from synthsae_jax import io, metrics, saes, worlds
from synthsae_jax.experiments.recovery import train_config
from synthsae_jax.io.artefacts import reference_artefact
from synthsae_jax.io.rows import Row
from synthsae_jax.suite import family_cell, table
from synthsae_jax.suite.base import Benchmark, Cell, Tick
from synthsae_jax.suite.result import Result
from synthsae_jax.suite.runner import execute
from synthsae_jax.suite.seeds import run_seed, world_seed
from synthsae_jax.training import train
from synthsae_jax.worlds import family

ID = "quick@1"
ARTEFACT = "saelens-1k"
# architecture -> label -> k; badly tuned on purpose means four times the latents it needs
ON_ARTEFACT = {
    "topk": {"topk k=10": 10, "topk k=40 (badly tuned)": 40},
    "batchtopk": {"batchtopk k=10": 10},
}
CONDITIONS = (
    family.IDENTICAL,
    family.ROTATED,
    family.INDEPENDENT,
    family.HALF_ROTATED,
    family.DISJOINT_INDEPENDENT,
    family.DISJOINT_COUPLED,
)
ARTEFACT_SIZE: Mapping[str, Any] = {
    "n_train": 256_000,
    "n_eval": 40_960,
    "batch_size": 512,
    "lr": 3e-3,
    "dead_window": 100,
    "seeds": 3,
}
FAMILY_SIZE: Mapping[str, Any] = {
    "preset": "mini",
    "target_l0": 3.6,
    "worlds": 1,
    "instances": 1,
    "seeds": 3,
    "n_train": 102_400,
    "n_match": 32_768,
    "batch_size": 256,
    "lr": 1e-2,
    "dead_window": 1000,
}
# (architecture, label, k)
ON_FAMILY = (("topk", "topk k=4", 4), ("batchtopk", "batchtopk k=16 (badly tuned)", 16))


def cells(scale: str, salt: str) -> Sequence[Cell]:
    """Recovery of each architecture on the artefact, then the family and its oracles."""
    del scale
    return [*_artefact_cells(), *_family_cells(world_seed(ID, salt))]


def _artefact_cells() -> list[Cell]:
    size = ARTEFACT_SIZE
    found = []
    for name, settings in ON_ARTEFACT.items():
        runs = len(settings) * size["seeds"]
        found.append(
            Cell(
                name=f"artefact/{name}",
                spec={**size, "sae": name, "settings": settings, "world": ARTEFACT},
                compute=functools.partial(_recover, name, settings),
                runs=runs,
                samples=size["n_train"],
                flops=12.0 * 256 * 128 * size["n_train"] * runs,
                memory=4.0 * runs * (8 * 256 * 128 + 6 * size["batch_size"] * 256),
                programs=(f"{name} on the artefact: training", f"{name}: evaluation"),
            )
        )
    return found


def _family_cells(seed: int) -> list[Cell]:
    size = FAMILY_SIZE
    preset = worlds.preset(size["preset"])
    plan = family_cell.FamilyPlan(
        benchmark=ID,
        preset=size["preset"],
        world_seed=seed,
        number=1,
        conditions=CONDITIONS,
        seeds=size["seeds"],
        config=train_config(size),
        n_match=size["n_match"],
        target_l0=float(size["target_l0"]),
        own_streams=False,
    )
    runs = plan.members * plan.seeds
    weights = 2 * preset.d_sae * preset.instance.hidden_dim
    spec = {**size, "world_seed": seed, "conditions": [c.name for c in CONDITIONS]}
    found = [
        Cell(
            name=f"family/{name}",
            spec={**spec, "sae": name, "k": k},
            compute=functools.partial(family_cell.compute, plan, name, label, {"k": k}),
            runs=runs,
            samples=size["n_train"],
            flops=6.0 * weights * size["n_train"] * runs,
            memory=4.0 * runs * (4 * weights + 6 * size["batch_size"] * preset.d_sae),
            programs=(f"{name} on the family: training", f"{name}: truth", f"{name}: pairs"),
        )
        for name, label, k in ON_FAMILY
    ]
    oracle = Cell(
        name="family/oracle",
        spec={**spec, "sae": "oracle"},
        compute=functools.partial(family_cell.compute_oracle, plan),
        runs=0,
        samples=0,
        flops=6.0 * weights * size["n_match"] * plan.members,
        memory=1e8,
        programs=("oracle: pairs", "sampling"),
    )
    return [*found, oracle]


def _recover(name: str, settings: Mapping[str, int], tick: Tick) -> list[Row]:
    """Recovery of one architecture, every setting and seed in one program."""
    size = ARTEFACT_SIZE
    world, instance = io.load_saelens_model(reference_artefact())
    instances = worlds.stack([instance])
    labels = [label for label in settings for _ in range(size["seeds"])]
    ks = np.array([settings[label] for label in labels])
    d_sae = 256
    sae = saes.build(name, d_in=instance.hidden_dim, d_sae=d_sae, k=int(ks[0]))
    kind = np.asarray(sae.hyper.k).dtype
    seeds = np.array([[run_seed(0, s % size["seeds"]) for s in range(len(labels))]])
    result = train(
        world,
        instances,
        sae,
        train_config(size),
        init_seeds=seeds,
        data_seed=[0],
        hyper=sae.hyper.replace(k=ks.astype(kind)),
        progress=lambda done, total, _: tick(0.75 * done / total, "training"),
    )
    tick(0.75, "evaluation")
    shared = table.Shared(ID, ARTEFACT, 42, result.config)
    runs = (result.params, result.hyper, result.state.carried)
    found = metrics.evaluate_runs(world, instances, sae, runs, size["n_eval"], 0)
    rows = table.run_rows(shared, result, [0], found, "", labels)
    if name != next(iter(ON_ARTEFACT)):
        return rows
    # one set of levels, those of topk, serves every setting: the page says so
    tick(0.9, "chance and ceiling")
    top = metrics.most_frequent(worlds.expected_rates(world), instance, d_sae)
    ceiling = metrics.oracle_levels(world, instance, top, size["n_eval"])
    floor = metrics.chance_levels(world, instance, sae)
    rows += table.level_rows(shared, None, 0, floor, "chance")
    return rows + table.level_rows(shared, None, 0, ceiling, "ceiling")


QUICK = Benchmark(
    id=ID,
    title="The main job",
    question="How well do SAEs find known features, and can one tell when two models share them?",
    primary="sharing_error",
    primary_variant="each rule",
    sizes={"smoke": FAMILY_SIZE},
    cells=cells,
    by=("sae",),
    metrics=("f1", "mcc", "uniqueness", "explained_variance", "l0", "dead_latents"),
)


def run(out: str | os.PathLike[str] = "runs/quick", quiet: bool = False) -> Result:
    """The main job: recovery on the reference artefact, sharing in a family, in minutes."""
    return execute(QUICK, "smoke", out, quiet=quiet)
