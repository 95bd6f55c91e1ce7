"""leakage@1: how much universality can a shared initialisation or data order fake?"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from synthsae_jax import worlds
from synthsae_jax.experiments.leakage.claims import CLAIMS
from synthsae_jax.experiments.leakage.rows import stage_rows, true_rows
from synthsae_jax.experiments.recovery import train_config
from synthsae_jax.io.rows import Row
from synthsae_jax.registry import Explanation
from synthsae_jax.suite.base import Benchmark, Cell, Tick, benchmarks
from synthsae_jax.suite.recipes import recipe
from synthsae_jax.suite.study import (
    Study,
    Subject,
    Trained,
    cells_by_arm,
    family_of,
    read_latents,
    read_truth,
)
from synthsae_jax.worlds import World, family
from synthsae_jax.worlds.family import Family, plain_view

ID = "leakage@1"
STAGES = (0.0, 0.01, 0.1, 1.0)  # of the training
# run r: its initialisation and its order of data, as numbers among the cell's two of each
RUNS = ((0, 0), (0, 1), (1, 0), (1, 1))


@dataclasses.dataclass(frozen=True)
class Arm:
    """SAEs of one architecture: how long they train, in how many dimensions, from what start."""

    name: str
    sae: str = "topk"
    length: float = 1.0  # of the scale's training
    narrower: int = 1  # the preset's dimensions over the arm's
    unit: bool = False  # decoder rows start at norm 1
    rate: float = 1.0  # the learning rate over the scale's: weights move by so much in a step


ARMS = {
    arm.name: arm
    for arm in (
        Arm("topk"),
        Arm("standard", sae="standard"),
        Arm("topk, short", length=0.125),
        Arm("standard, short", sae="standard", length=0.125),
        Arm("topk, short, unit start", length=0.125, unit=True),
        Arm("topk, short, few dimensions", length=0.125, narrower=4),
        # at small scales about the rate of published trainings
        Arm("topk, short, slow", length=0.125, rate=0.03),
        Arm("standard, short, slow", sae="standard", length=0.125, rate=0.03),
        Arm("topk, worst", length=0.125, narrower=4, unit=True),
    )
}

SIZES: Mapping[str, Mapping[str, Any]] = {
    "smoke": {
        "preset": "micro",
        "target_l0": 4.7,
        "worlds": 1,
        "arms": ("topk, short",),
        "n_train": 204_800,
        "n_match": 8_192,
        "batch_size": 128,
        "lr": 1e-2,
        "dead_window": 50,
    },
    "small": {
        "preset": "micro",
        "target_l0": 4.7,
        "worlds": 5,
        "arms": tuple(ARMS),
        "n_train": 256_000,
        "n_match": 16_384,
        "batch_size": 256,
        "lr": 1e-2,
        "dead_window": 100,
    },
    "standard": {
        "preset": "1k",
        "target_l0": 5.6,
        "worlds": 10,
        "arms": tuple(ARMS),
        "n_train": 4_096_000,
        "n_match": 294_912,
        "batch_size": 1024,
        "lr": 1e-3,
        "dead_window": 250,
    },
    "full": {
        "preset": "4k",
        "target_l0": 12.4,
        "worlds": 20,
        "arms": tuple(ARMS),
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
    return cells_by_arm(ID, salt, size["worlds"], [ARMS[name] for name in size["arms"]], cell)


def _cell(size: Mapping[str, Any], seed: int, world: int, number: int, arm: Arm) -> Cell:
    preset = worlds.preset(size["preset"])
    n_runs = 2 * len(RUNS)
    dim = preset.instance.hidden_dim // arm.narrower
    weights = 2 * preset.d_sae * dim
    samples = round(arm.length * size["n_train"])
    config = train_config({**size, "n_train": samples, "lr": arm.rate * size["lr"]})
    study = Study(ID, size["preset"], seed, number, config, size["target_l0"], size["n_match"])
    return Cell(
        name=f"world{world}/{arm.name}",
        spec={
            **{key: value for key, value in size.items() if key != "arms"},
            **dataclasses.asdict(arm),
            "stages": STAGES,
            "world_seed": seed,
            "seeds": {"world": seed},
        },
        compute=functools.partial(_compute, study, arm),
        runs=n_runs,
        samples=samples,
        flops=6.0 * weights * samples * n_runs,
        memory=4.0 * (4 * weights + 6 * size["batch_size"] * preset.d_sae) * n_runs,
        programs=tuple(
            f"{arm.sae}, {dim} dimensions, {'unit' if arm.unit else 'usual'} start: {what}"
            for what in ("training", "reading")
        ),
        pairs=(n_runs - 1) * len(STAGES),
    )


def _compute(study: Study, arm: Arm, tick: Tick) -> list[Row]:
    tick(0.0, "building the family")
    config = study.instance_config
    config = dataclasses.replace(config, hidden_dim=config.hidden_dim // arm.narrower)
    models = family_of(study, study.world(), (family.DISJOINT_INDEPENDENT,), config)
    trained = _train(study, arm, models, config.hidden_dim, tick)
    registry = models.registry("independent")
    rows: list[Row] = []
    for at, stage in enumerate(STAGES):
        tick(0.6 + 0.4 * at / len(STAGES), f"pairs after {stage:.0%} of the training")
        here = _at_stage(trained, at)
        latents = [
            [read_latents(s, registry, study.n_match, study.number(0), "match") for s in of]
            for of in here
        ]
        given = {"factor_arm": arm.name, "factor_stage": stage}
        rows += stage_rows(study, trained, here, latents, trained.result.config, given)
        if stage == 1 and arm.narrower == 1:
            rows += _truth_rows(study, trained, here, registry, given)
    return rows


def _train(study: Study, arm: Arm, models: Family, dim: int, tick: Tick) -> Trained:
    """Runs `[2, 4]`: the model and its disjoint partner, each from both starts in both orders.

    Both read the plain world, in which a feature and its twin are one: in the same order they
    fire together, the most that a common text could couple two models without a common feature.
    """
    n_steps = study.config.n_steps
    # a short run's hundredth still is a step
    steps = tuple(math.ceil(n_steps * stage) for stage in STAGES)
    made = recipe(arm.sae, dim, study.d_sae, study.target_l0, study.config)
    sae = made.sae.with_options(decoder_init_norm=1.0) if arm.unit else made.sae
    seeds = study.seeds(1, 2)[0]
    both = lambda i: np.array([[seeds[run[i]] for run in RUNS]] * 2)
    return study.train(
        arm.sae,
        models.base,
        [plain_view(instance) for instance in models.instances],
        seen_as=models.instances,
        runs=len(RUNS),
        sae=sae,
        config=dataclasses.replace(made.config, snapshots=steps),
        init_seeds=both(0),
        data_seeds=both(1),
        tick=lambda done, what: tick(0.6 * done, what),
    )


def _at_stage(trained: Trained, at: int) -> list[list[Subject]]:
    """The subjects as they were at a snapshot."""
    params = jax.tree.map(np.asarray, trained.result.snapshots[at])

    def then(subject: Subject, i: int, r: int) -> Subject:
        own = jax.tree.map(lambda leaf: leaf[i, r], params)
        encoder = None if own.W_enc is None else own.W_enc.T
        run = (own, *subject.run[1:])
        return dataclasses.replace(subject, run=run, decoder=own.W_dec, encoder=encoder)

    return [[then(s, i, r) for r, s in enumerate(of)] for i, of in enumerate(trained.subjects)]


def _truth_rows(
    study: Study,
    trained: Trained,
    here: list[list[Subject]],
    registry: World,
    given: Mapping[str, Any],
) -> list[Row]:
    """What is true of the runs on one model, which do share all features."""
    reference, *others = here[0]
    seed = study.number(0)
    of_a = read_truth(reference, registry, study.n_match, seed)
    return [
        row
        for r, other in enumerate(others, start=1)
        if trained.ok(0, 0) and trained.ok(0, r)
        for row in true_rows(
            study,
            trained,
            r,
            of_a,
            read_truth(other, registry, study.n_match, seed),
            given,
        )
    ]


benchmarks.register(
    ID,
    Explanation(
        what="SAEs with the same or another initialisation, the same or another order of data, on "
        "one model or on two without a common feature; how alike their decoders are after 0, 1, "
        "10 and 100 % of the training, in the same space and unaligned.",
        formula="primary number: share of latents whose assigned decoder cosine is above .7, on "
        "models without a common feature, from the same initialisation",
        range="[0, 1]",
        chance="the same share from another initialisation",
        source="Fel et al. 2025 and arXiv 2606.02061 on shared starts; arXiv 2501.16615's rule",
    ),
)(
    Benchmark(
        id=ID,
        title="Leakage of initialisation and data order",
        question="How much universality can a shared initialisation or data order fake?",
        primary="above_0.7",
        primary_variant="all",
        sizes=SIZES,
        cells=cells,
        by=("factor_arm", "condition", "factor_stage"),
        metrics=("above_0.7", "matched_cosine", "declared"),
        claims=CLAIMS,
    )
)
