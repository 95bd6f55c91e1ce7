"""evolution@1: when do scores settle, and when does what they should measure?"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from synthsae_jax import worlds
from synthsae_jax.experiments.evolution.claims import CLAIMS, MATURITY, SHARED, TRAINING
from synthsae_jax.experiments.evolution.scores import evolution_numbers
from synthsae_jax.experiments.recovery import train_config
from synthsae_jax.io.rows import Row
from synthsae_jax.registry import Explanation
from synthsae_jax.suite import pairs
from synthsae_jax.suite.base import Benchmark, Cell, Tick, benchmarks
from synthsae_jax.suite.seeds import run_seed
from synthsae_jax.suite.study import (
    Pair,
    Reading,
    Study,
    Subject,
    Trained,
    cells_by_arm,
    family_of,
    flags,
    read,
    rows_of_pair,
    train_family,
)
from synthsae_jax.training.config import log_spaced
from synthsae_jax.worlds import Instance, LearnedConfig, World, expected_rates, family

ID = "evolution@1"
# the shared pair, and the floor: a model without a common feature
CONDITIONS = (
    dataclasses.replace(family.ROTATED, name=SHARED),
    family.DISJOINT_INDEPENDENT,
)

SIZES: Mapping[str, Mapping[str, Any]] = {
    "smoke": {
        "preset": "micro",
        "target_l0": 4.7,
        "worlds": 1,
        "arms": (TRAINING,),
        "snapshots": 3,
        "ages": (),
        "n_train": 51_200,
        "n_match": 8_192,
        "batch_size": 128,
        "lr": 1e-2,
        "dead_window": 50,
    },
    "small": {
        "preset": "micro",
        "target_l0": 4.7,
        "worlds": 5,
        "arms": (TRAINING, MATURITY),
        "snapshots": 10,
        # on micro most features come up between these
        "ages": (14, 20, 32, 90, 500),
        "n_train": 256_000,
        "n_match": 32_768,
        "batch_size": 256,
        "lr": 1e-2,
        "dead_window": 100,
    },
    "standard": {
        "preset": "1k",
        "target_l0": 5.6,
        "worlds": 10,
        "arms": (TRAINING, MATURITY),
        "snapshots": 16,
        "ages": (16, 32, 64, 128, 256, 512, 1024),
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
        "arms": (TRAINING, MATURITY),
        "snapshots": 20,
        "ages": (16, 32, 64, 128, 256, 512, 1024, 2048),
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
    preset = worlds.preset(size["preset"])
    members = 1 + len(CONDITIONS) if arm == TRAINING else 2 * len(size["ages"])
    scored = size["snapshots"] * len(CONDITIONS) if arm == TRAINING else len(size["ages"])
    weights = 2 * preset.d_sae * preset.instance.hidden_dim
    study = Study(
        ID, size["preset"], seed, number, train_config(size), size["target_l0"], size["n_match"]
    )
    given = {key: value for key, value in size.items() if key != "arms"} | {"arm": arm}
    compute = _training if arm == TRAINING else _maturity
    return Cell(
        name=f"world{world}/{arm}",
        spec={**given, "world_seed": seed, "seeds": {"world": seed}},
        compute=functools.partial(compute, study, size),
        runs=members,
        samples=size["n_train"],
        flops=6.0 * weights * size["n_train"] * members,
        memory=4.0 * (4 * weights + 6 * size["batch_size"] * preset.d_sae) * members,
        programs=(f"topk, {arm}: training", "topk: reading", "sampling", "measures"),
        pairs=scored,
    )


def _training(study: Study, size: Mapping[str, Any], tick: Tick) -> list[Row]:
    """Snapshots of SAEs in training: one pair that shares all, one that shares nothing."""
    tick(0.0, "building the family")
    models = family_of(study, study.world(), CONDITIONS, None)
    steps = log_spaced(study.config.n_steps, size["snapshots"])
    kept = dataclasses.replace(study, config=dataclasses.replace(study.config, snapshots=steps))
    trained = train_family(kept, models, "topk", tick=lambda done, what: tick(0.5 * done, what))
    base = expected_rates(models.base)
    present = np.asarray(models.reference.present)
    rates = np.where(present, np.tile(base, 2), 0.0)
    rows: list[Row] = []
    for i, condition in enumerate(CONDITIONS, start=1):
        if not (trained.ok(0, 0) and trained.ok(i, 0)):
            continue
        registry = models.registry(condition.coupling)
        ends = models.reference, models.partner(i - 1)
        turn = _rotation(study, registry, *ends)
        for at, step in enumerate(steps):
            tick(0.5 + 0.25 * (i - 1 + at / len(steps)), f"{condition.name} after {step} steps")
            a, b = (_at(trained, j, at) for j in (0, i))
            pair = Pair(_read(study, a, registry), _read(study, b, registry), models.base, turn)
            columns = trained.columns[0][0], trained.columns[i][0]
            made = _rows(study, pair, rates, columns, condition.name, TRAINING, step)
            rows += [{**row, "step": step} for row in made]
    return rows


def _maturity(study: Study, size: Mapping[str, Any], tick: Tick) -> list[Row]:
    """SAEs, each trained to its end, on two models that learn the same world, as they mature."""
    tick(0.0, "learning the models")
    world = study.world()
    rates = expected_rates(world)
    learned = list(_learned(study, size, world))
    tick(0.3, "training")
    trained = study.train("topk", world, learned, tick=lambda done, what: tick(0.3 * done, what))
    ages = size["ages"]
    rows: list[Row] = []
    for at, age in enumerate(ages):
        tick(0.6 + 0.4 * at / len(ages), f"models after {age} steps")
        ends = 2 * at, 2 * at + 1
        if not all(trained.ok(i, 0) for i in ends):
            continue
        a, b = (trained.subjects[i][0] for i in ends)
        turn = _rotation(study, world, a.instance, b.instance)
        pair = Pair(_read(study, a, world), _read(study, b, world), world, turn)
        both = trained.columns[ends[0]][0], trained.columns[ends[1]][0]
        rows += _rows(study, pair, rates, both, SHARED, MATURITY, age)
    return rows


def _learned(study: Study, size: Mapping[str, Any], world: World) -> Iterator[Instance]:
    """Two toy models at each age, the youngest first."""
    ages = size["ages"]
    config = LearnedConfig(steps=ages[-1], snapshots=tuple(ages))
    seeds = [run_seed(study.number(0), s) for s in range(2)]
    dim = study.instance_config.hidden_dim
    found = worlds.learn_dictionaries(world, dim, config, seeds)
    every = worlds.learned_instances(world, found.snapshots)
    for at in range(len(ages)):
        for s in range(2):
            yield jax.tree.map(lambda leaf, s=s, at=at: leaf[s, at], every)


def _rotation(study: Study, world: World, a: Instance, b: Instance) -> np.ndarray:
    return np.asarray(pairs.rotation(world, a, b, study.n_match, study.number(0)))


def _at(trained: Trained, i: int, at: int) -> Subject:
    """Model i's SAE as it was at a snapshot."""
    own = jax.tree.map(lambda leaf: np.asarray(leaf[i, 0]), trained.result.snapshots[at])
    subject = trained.subjects[i][0]
    encoder = None if own.W_enc is None else own.W_enc.T
    run = (own, *subject.run[1:])
    return dataclasses.replace(subject, run=run, decoder=own.W_dec, encoder=encoder)


def _read(study: Study, subject: Subject, world: World) -> Reading:
    return read(subject, world, study.n_match, study.number(0))


def _rows(
    study: Study,
    pair: Pair,
    rates: np.ndarray,
    columns: tuple[Mapping[str, Any], Mapping[str, Any]],
    condition: str,
    arm: str,
    age: int,
) -> list[Row]:
    present = [float(np.asarray(i.present).sum()) for i in pair.instances]
    return rows_of_pair(
        study.shared,
        evolution_numbers(pair, rates, study.d_sae),
        *columns,
        pair.a.latents.shape[0],
        condition=condition,
        factor_arm=arm,
        factor_age=age,
        factor_features=min(present),
        **flags(*columns, same_dictionary=False),
    )


benchmarks.register(
    ID,
    Explanation(
        what="SAEs at log-spaced steps of their training, and SAEs on toy models at steps of "
        "theirs: when scores of universality reach nine tenths of their end, and when what is "
        "truly shared does, by frequency.",
        formula="primary number: step at which a curve first comes to .9 of its last value",
        range="[1, last step]",
        chance="the same scores on models without a common feature",
        source="the evolution question of Feature Universality; arXiv 2501.16615 on training time",
    ),
)(
    Benchmark(
        id=ID,
        title="Evolution over training",
        question="When do scores settle, and when does what they should measure?",
        primary="declared",
        primary_variant="truth",
        sizes=SIZES,
        cells=cells,
        by=("factor_arm", "condition"),
        metrics=("declared", "score", "true_universality"),
        claims=CLAIMS,
    )
)
