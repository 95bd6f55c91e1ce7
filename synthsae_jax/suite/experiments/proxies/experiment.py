"""proxies@1: what that can be seen without the truth predicts it?"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from synthsae_jax import worlds
from synthsae_jax.io.rows import Row, make_row
from synthsae_jax.matching.detection import auroc
from synthsae_jax.numerics import cosine_matrix
from synthsae_jax.registry import Explanation
from synthsae_jax.suite import table
from synthsae_jax.suite.base import Benchmark, Cell, Tick, benchmarks
from synthsae_jax.suite.experiments.proxies.claims import CLAIMS
from synthsae_jax.suite.experiments.proxies.latents import (
    PROXIES,
    SAME_CODE,
    Seen,
    latent_proxies,
    sae_proxies,
)
from synthsae_jax.suite.family import Condition, plain_view
from synthsae_jax.suite.recovery import train_config
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

ID = "proxies@1"
RUNS = 3
BINS = 10
# other settings of the first architecture: name -> (k, width, learning rate), as factors
SETTINGS = {
    "half k": (0.5, 1.0, 1.0),
    "double k": (2.0, 1.0, 1.0),
    "slow": (1.0, 1.0, 0.1),
    "narrow": (1.0, 0.5, 1.0),
}
OTHER_MODEL = Condition("independent", shared=1.0)
BOUNDED = tuple(name for name in PROXIES if name != "firing_rate")

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
        row = functools.partial(_row, study, arm, label)
        rows += [row("sae", p, v) for p, v in sae_proxies(group, found).items()]
        f1 = float(np.mean([seen.numbers["f1"] for seen in group]))
        rows.append(row("sae", "f1", f1))
        if is_architecture:
            pooled += list(zip(found, group, strict=True))
            rows += _auroc_rows(row, found, group)
            rows += _quadrant_rows(row, found, group)
    rows += _histogram_rows(functools.partial(_row, study, arm, "all"), pooled)
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


def _auroc_rows(row: Any, found: Sequence[Mapping[str, np.ndarray]], group: Sequence[Seen]):
    alive = np.concatenate([seen.alive for seen in group])
    rows = []
    for truth in ("agree", "any"):
        true = np.concatenate([seen.true[truth] for seen in group])
        rows.append(row("share_true", "", float(true[alive].mean()), truth=truth))
        for name in PROXIES:
            values = np.concatenate([of[name] for of in found])
            known = alive & np.isfinite(values)
            value = auroc(values[known], true[known]) if known.any() else math.nan
            rows.append(row("auroc", name, value, truth=truth))
            if truth == "agree":
                rows.append(row("coverage", name, float(known.sum() / alive.sum())))
    return rows


def reproduced(proxies: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Who is called reproduced, bool [L], by who the witnesses are."""
    return {
        "seeds, decoder": proxies["reappearance_decoder"] == 1,
        "seeds, codes": proxies["best_correlation"] >= SAME_CODE,
        "architectures": proxies["best_correlation_architectures"] >= SAME_CODE,
        "models": proxies["best_correlation_models"] >= SAME_CODE,
    }


def _quadrant_rows(row: Any, found: Sequence[Mapping[str, np.ndarray]], group: Sequence[Seen]):
    """Counts of (true or artefact) x (reproduced or not), by quarter of the firing rate."""
    counts: dict[tuple[str, str, str, str], int] = {}
    for proxies, seen in zip(found, group, strict=True):
        order = np.argsort(seen.fired, kind="stable")
        order = order[seen.fired[order] > 0]
        quarter = np.full(seen.fired.size, -1)
        quarter[order] = np.arange(order.size) * 4 // max(order.size, 1)
        for witness, again in reproduced(proxies).items():
            for truth in ("agree", "any"):
                true = seen.true[truth]
                for q in range(4):
                    for kind, which in _quadrants(true, again).items():
                        key = (kind, witness, truth, f"q{q + 1}")
                        counts[key] = counts.get(key, 0) + int((which & (quarter == q)).sum())
    return [
        row(kind, witness, count, truth=truth, stratum=stratum)
        for (kind, witness, truth, stratum), count in counts.items()
    ]


def _quadrants(true: np.ndarray, again: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "n_true_reproduced": true & again,
        "n_true_single": true & ~again,
        "n_artefact_reproduced": ~true & again,
        "n_artefact_single": ~true & ~again,
    }


def _histogram_rows(row: Any, pooled: Sequence[tuple[Mapping[str, np.ndarray], Seen]]):
    """True latents and artefacts by value of each proxy: what carries over to other worlds."""
    rows = []
    for name in BOUNDED:
        kinds: dict[str, np.ndarray] = {}
        for proxies, seen in pooled:
            known = seen.alive & np.isfinite(proxies[name])
            # a value of 1 belongs to the last bin
            place = np.clip(proxies[name][known] * BINS, 0, BINS - 1).astype(int)
            for kind, which in (("true", seen.true["agree"]), ("artefact", ~seen.true["agree"])):
                counts = np.bincount(place[which[known]], minlength=BINS)
                kinds[kind] = kinds.get(kind, np.zeros(BINS, int)) + counts
        rows += [
            row(f"n_{kind}", name, int(counts[b]), bin=b)
            for kind, counts in kinds.items()
            for b in range(BINS)
        ]
    return rows


def _row(
    study: Study,
    arm: str,
    label: str,
    metric: str,
    name: str,
    value: float,
    truth: str = "agree",
    stratum: str = "all",
    bin: int | None = None,
) -> Row:
    said = [p for p in (name, truth, stratum) if p not in ("", "agree", "all")]
    factors = {} if bin is None else {"factor_bin": bin}
    return make_row(
        **study.shared.columns(),
        run_id=f"{label}-{arm}-{study.world_seed}",
        sae=label,
        instance=study.number(0),
        condition=label,
        metric=metric,
        variant="/".join([*said, *([] if bin is None else [f"bin{bin}"])]),
        n_eval=study.n_match,
        factor_arm=arm,
        factor_proxy=name,
        factor_truth=truth,
        factor_stratum=stratum,
        **factors,
        **table.valued(value, reason="all latents are true, or none is, or it has no such number"),
    )


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
