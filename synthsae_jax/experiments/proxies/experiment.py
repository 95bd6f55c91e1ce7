"""proxies@1: what that can be seen without the truth predicts it?"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from synthsae_jax import worlds
from synthsae_jax.experiments.proxies.claims import CLAIMS
from synthsae_jax.experiments.proxies.latents import (
    Seen,
    latent_proxies,
    sae_proxies,
)
from synthsae_jax.experiments.proxies.rows import (
    auroc_rows,
    histogram_rows,
    proxy_row,
    quadrant_rows,
)
from synthsae_jax.experiments.recovery import train_config
from synthsae_jax.io.rows import Row
from synthsae_jax.numerics import cosine_matrix
from synthsae_jax.registry import Explanation
from synthsae_jax.suite.base import Benchmark, Cell, Tick, benchmarks
from synthsae_jax.suite.study import (
    Study,
    Subject,
    cells_by_arm,
    family_of,
    read_codes,
    read_latents,
    read_truth,
)
from synthsae_jax.worlds import World
from synthsae_jax.worlds.family import Condition, plain_view

ID = "proxies@1"
RUNS = 3
# other settings of the first architecture: name -> (k, width, learning rate), as factors
SETTINGS = {
    "half k": (0.5, 1.0, 1.0),
    "double k": (2.0, 1.0, 1.0),
    "slow": (1.0, 1.0, 0.1),
    "narrow": (1.0, 0.5, 1.0),
}
OTHER_MODEL = Condition("independent", shared=1.0)

SIZES: Mapping[str, Mapping[str, Any]] = {
    "smoke": {
        "arms": ("plain",),
        "presets": {"plain": "micro"},
        "target_l0": {"plain": 4.7},
        "width": 160,
        "worlds": 1,
        "architectures": ("topk",),
        "settings": (),
        "n_train": 25_600,
        "n_match": 8_192,
        "batch_size": 128,
        "lr": 1e-2,
        "dead_window": 50,
    },
    "small": {
        "arms": ("plain", "trees"),
        "presets": {"plain": "micro", "trees": "mini"},
        "target_l0": {"plain": 4.7, "trees": 4.0},
        "width": 160,
        "worlds": 5,
        "architectures": ("topk", "matryoshka", "standard", "matching_pursuit"),
        "settings": tuple(SETTINGS),
        "n_train": 128_000,
        "n_match": 16_384,
        "batch_size": 256,
        "lr": 1e-2,
        "dead_window": 100,
    },
    "standard": {
        "arms": ("plain", "trees"),
        "presets": {"plain": "1k", "trees": "1k"},
        "target_l0": {"plain": 5.6, "trees": 5.6},
        "width": 256,
        "worlds": 10,
        "architectures": ("topk", "batchtopk", "matryoshka", "standard", "matching_pursuit"),
        "settings": tuple(SETTINGS),
        "n_train": 4_096_000,
        "n_match": 294_912,
        "batch_size": 1024,
        "lr": 1e-3,
        "dead_window": 500,
    },
    "full": {
        "arms": ("plain", "trees"),
        "presets": {"plain": "4k", "trees": "4k"},
        "target_l0": {"plain": 12.4, "trees": 12.4},
        "width": 1024,
        "worlds": 20,
        "architectures": ("topk", "batchtopk", "matryoshka", "standard", "matching_pursuit"),
        "settings": tuple(SETTINGS),
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
    cell = functools.partial(_cell, size)
    return cells_by_arm(ID, salt, size["worlds"], size["arms"], cell)


def _cell(size: Mapping[str, Any], seed: int, world: int, number: int, arm: str) -> Cell:
    name, target_l0 = size["presets"][arm], size["target_l0"][arm]
    preset = worlds.preset(name)
    n_runs = RUNS * (1 + len(size["architectures"]) + len(size["settings"]))
    weights = 2 * size["width"] * preset.instance.hidden_dim
    study = Study(ID, name, seed, number, train_config(size), target_l0, size["n_match"])
    return Cell(
        name=f"world{world}/{arm}",
        spec={**size, "arm": arm, "runs": RUNS, "world_seed": seed, "seeds": {"world": seed}},
        compute=functools.partial(_compute, study, size, arm),
        runs=n_runs,
        samples=size["n_train"],
        flops=6.0 * weights * size["n_train"] * n_runs,
        memory=4.0 * (4 * weights + 6 * size["batch_size"] * size["width"]) * n_runs,
        programs=tuple(f"{arm}: {name}" for name in (*size["architectures"], "reading")),
        pairs=n_runs * RUNS,
    )


def _compute(study: Study, size: Mapping[str, Any], arm: str, tick: Tick) -> list[Row]:
    tick(0.0, "building two models")
    world = study.world(**({} if arm == "trees" else {"hierarchy": None}))
    family = family_of(study, world, (OTHER_MODEL,), None)
    registry, seed = family.registry("factors"), study.number(0)
    true_codes = read_codes(family.reference, registry, study.n_match, seed, "match")
    first = size["architectures"][0]
    plans = {name: (name, (1.0, 1.0, 1.0), 0) for name in size["architectures"]}
    plans |= {name: (first, SETTINGS[name], 0) for name in size["settings"]}
    plans["model"] = (first, (1.0, 1.0, 1.0), 1)
    groups: dict[str, list[Seen]] = {}
    for j, (label, (name, (k, width, lr), member)) in enumerate(plans.items()):
        tick(0.8 * j / len(plans), f"training {label}")
        instance = family.instances[member]
        seeds = study.seeds(1, RUNS, first=2 + j)  # no two groups share a seed
        trained = study.train(
            name,
            world,
            [plain_view(instance)],
            seen_as=[instance],
            runs=RUNS,
            label=label,
            config=dataclasses.replace(study.config, lr=lr * study.config.lr),
            width=round(width * size["width"]),
            target_l0=k * study.target_l0,
            init_seeds=seeds,
            data_seeds=seeds,
        )
        groups[label] = [
            _see(subject, registry, study, true_codes, known=member == 0)
            for r, subject in enumerate(trained.subjects[0])
            if trained.ok(0, r)
        ]
    models = groups.pop("model")
    tick(0.8, "proxies")
    rows: list[Row] = []
    pooled: list[tuple[dict[str, np.ndarray], Seen]] = []
    for label, group in groups.items():
        if len(group) < RUNS:
            continue
        others = [groups[o][0] for o in size["architectures"] if o != label and groups[o]]
        is_architecture = label in size["architectures"]
        found = latent_proxies(
            group, others if is_architecture else [], models if is_architecture else []
        )
        row = functools.partial(proxy_row, study, arm, label)
        rows += [row("sae", p, v) for p, v in sae_proxies(group, found).items()]
        f1 = float(np.mean([seen.numbers["f1"] for seen in group]))
        rows.append(row("sae", "f1", f1))
        if is_architecture:
            pooled += list(zip(found, group, strict=True))
            rows += auroc_rows(row, found, group)
            rows += quadrant_rows(row, found, group)
    rows += histogram_rows(functools.partial(proxy_row, study, arm, "all"), pooled)
    return rows


def _see(subject: Subject, world: World, study: Study, true_codes: Any, known: bool) -> Seen:
    """Read an SAE; what is true of it only where that is wanted."""
    seed = study.number(0)
    latents = read_latents(subject, world, study.n_match, seed, "match")
    if not known:
        return Seen(subject, latents, {}, {})
    sweep = read_truth(subject, world, study.n_match, seed)
    true = {"agree": sweep.of("agree", 0.7) >= 0, "any": (sweep.maps >= 0).any(0)}
    return Seen(subject, latents, true, _numbers(subject, latents, true_codes))


def _numbers(subject: Subject, latents: Any, codes: Any) -> dict[str, float]:
    """F1 of detecting the feature of the nearest direction (mean over latents), EV and L0."""
    instance = subject.instance
    features = np.asarray(instance.dictionary)
    on_a, on_b = (latents != 0).astype(np.float64), (codes != 0).astype(np.float64)
    cosine = np.asarray(cosine_matrix(subject.decoder, features))
    target = np.where(np.asarray(instance.present)[None], cosine, -np.inf).argmax(1)
    fired, active = (np.asarray(v.sum(0)).ravel() for v in (on_a, on_b))
    joint = np.asarray((on_a.T @ on_b).todense())[np.arange(target.size), target]
    f1 = 2 * joint / np.maximum(fired + active[target], 1)
    x = codes @ features
    params = subject.run[0]
    x_hat = latents @ subject.decoder + np.asarray(params.b_dec) - np.asarray(instance.bias)
    lost = ((x - x_hat) ** 2).sum() / ((x - x.mean(0)) ** 2).sum()
    return {
        "f1": float(f1.mean()),
        "explained_variance": float(1 - lost),
        "l0": float(fired.sum() / latents.shape[0]),
    }


benchmarks.register(
    ID,
    Explanation(
        what="SAEs of several architectures and settings, three seeds each, on one model, and of "
        "one architecture on a second model with the same features in other directions; what "
        "can be seen of latents without the truth, against whether they track a true feature.",
        formula="primary number: AUROC of each proxy over living latents",
        range="[0, 1]",
        chance="1/2",
        source="proxies of arXiv 2501.16615, 2505.20254 and 2606.12138; universality_credence",
    ),
)(
    Benchmark(
        id=ID,
        title="Proxies of the truth",
        question="Which number that needs no truth predicts it?",
        primary="auroc",
        primary_variant="universality_credence",
        sizes=SIZES,
        cells=cells,
        by=("condition", "factor_arm", "variant"),
        metrics=("auroc",),
        claims=CLAIMS,
    )
)
