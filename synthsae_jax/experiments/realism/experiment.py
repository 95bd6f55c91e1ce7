"""realism@1: the published numbers of universality beside what synthetic worlds give."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

from synthsae_jax import worlds
from synthsae_jax.experiments.realism import cell as realism_cell
from synthsae_jax.experiments.realism.cell import Arm
from synthsae_jax.experiments.realism.claims import AS_PUBLISHED, CLAIMS
from synthsae_jax.experiments.realism.readings import MODELS
from synthsae_jax.experiments.realism.targets import JUDGE, TARGETS
from synthsae_jax.experiments.recovery import train_config
from synthsae_jax.registry import Explanation
from synthsae_jax.suite.base import Benchmark, Cell, benchmarks
from synthsae_jax.suite.study import Study, cells_by_arm

ID = "realism@1"
_THIRD = 1 / 3

ARMS = {
    arm.name: arm
    for arm in (
        Arm(AS_PUBLISHED, scaled=True, verdicts=True),
        Arm("a third of the training", length=_THIRD),
        Arm("a third, steeper law", length=_THIRD, exponent=1.0),
        Arm("a third, twice k", length=_THIRD, k=2.0),
        Arm("a third, fewer dimensions", length=_THIRD, dimensions=2 / 3),
        Arm("fewer dimensions", dimensions=2 / 3, verdicts=True),
        Arm("steeper law", exponent=1.0, verdicts=True),
        Arm("half of the width", width=0.5, verdicts=True),
        Arm("no trees", trees=False, verdicts=True),
    )
}
_SMALL = tuple(ARMS)[:4]
_SAES = {
    "saes": ("batchtopk", "standard"),
    "verdict_saes": ("matryoshka", "matching_pursuit"),
}

SIZES: Mapping[str, Mapping[str, Any]] = {
    "smoke": {
        "preset": "micro",
        "target_l0": 4.7,
        "worlds": 1,
        "arms": ("a third of the training",),
        "n_seeds": 3,
        "saes": (),
        "verdict_saes": (),
        "n_probes": 4,
        "n_train": 51_200,
        "n_match": 8_192,
        "batch_size": 128,
        "lr": 1e-2,
        "dead_window": 50,
    },
    "small": {
        "preset": "mini",
        "target_l0": 4.0,
        "worlds": 5,
        "arms": _SMALL,
        "n_seeds": 9,
        **_SAES,
        "n_probes": 8,
        "n_train": 96_000,
        "n_match": 8_192,
        "batch_size": 256,
        "lr": 1e-2,
        "dead_window": 100,
    },
    "standard": {
        "preset": "1k",
        "target_l0": 5.6,
        "worlds": 10,
        "arms": tuple(ARMS),
        "n_seeds": 9,
        **_SAES,
        "n_probes": 32,
        "n_train": 4_096_000,
        "n_match": 294_912,
        "batch_size": 1024,
        "lr": 1e-3,
        "dead_window": 500,
    },
    "full": {
        "preset": "4k",
        "target_l0": 12.4,
        "worlds": 20,
        "arms": tuple(ARMS),
        "n_seeds": 9,
        **_SAES,
        "n_probes": 64,
        "n_train": 20_480_000,
        "n_match": 999_424,
        "batch_size": 1024,
        "lr": 5e-4,
        "dead_window": 1000,
    },
}


def cells(scale: str, salt: str) -> Sequence[Cell]:
    """One cell per world and setting; worlds take turns, so that a prefix is balanced."""
    size = SIZES[scale]
    cell = functools.partial(_cell, size)
    return cells_by_arm(ID, salt, size["worlds"], [ARMS[name] for name in size["arms"]], cell)


def _cell(size: Mapping[str, Any], seed: int, world: int, number: int, arm: Arm) -> Cell:
    preset = worlds.preset(size["preset"])
    samples = round(arm.length * size["n_train"])
    dim = round(arm.dimensions * preset.instance.hidden_dim)
    width = round(arm.width * preset.d_sae)
    weights = 2 * width * dim
    # the seeds and those at twice k, one on each other model, a wider one that counts twice
    names = realism_cell.saes_of(size, arm)
    runs = size["n_seeds"] + len(MODELS) + 2 * (1 + 1 + len(names))
    config = train_config({**size, "n_train": samples})
    study = Study(ID, size["preset"], seed, number, config, size["target_l0"], size["n_match"])
    shape = f"{width} latents, {dim} dimensions{'' if arm.trees else ', no trees'}"
    return Cell(
        name=f"world{world}/{arm.name}",
        spec={
            **{key: value for key, value in size.items() if key != "arms"},
            **dataclasses.asdict(arm),
            "models": [dataclasses.asdict(model) for model in MODELS],
            "targets": [target.spec() for target in TARGETS],
            "world_seed": seed,
            "seeds": {"world": seed},
        },
        compute=functools.partial(realism_cell.compute, study, size, arm),
        runs=runs,
        samples=samples,
        flops=6.0 * weights * samples * (runs + 2),
        memory=4.0 * (4 * weights + 6 * size["batch_size"] * width) * runs,
        programs=tuple(
            f"{name}, {shape}: {what}"
            for name in ("topk", "topk twice as wide", *names)
            for what in ("training", "reading")
        ),
        pairs=size["n_seeds"] * (size["n_seeds"] - 1) // 2 + len(MODELS) + 3 + len(names),
    )


benchmarks.register(
    ID,
    Explanation(
        what="What was published of SAEs on language models and of their universality, beside the "
        "same numbers from SAEs on small synthetic worlds of several settings. A setting is chosen "
        "by half of the published numbers and judged by the other half.",
        formula="primary number: share of the published numbers of the second half that agree "
        "(levels within .1; signs, bounds and ranges as printed)",
        range="[0, 1]",
        chance="the mean share over all settings",
        source="; ".join(dict.fromkeys(t.source for t in TARGETS)),
    ),
)(
    Benchmark(
        id=ID,
        title="Published numbers beside synthetic worlds",
        question="At which settings do synthetic worlds give the published numbers?",
        primary="agreement",
        primary_variant=JUDGE,
        sizes=SIZES,
        cells=cells,
        by=("factor_setting", "condition"),
        metrics=("agreement",),
        claims=CLAIMS,
    )
)
