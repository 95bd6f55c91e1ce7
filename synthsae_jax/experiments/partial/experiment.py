"""partial@1: two models share a part of their features: who finds out how much, and which?"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from synthsae_jax import matching, worlds
from synthsae_jax.experiments.partial.claims import CLAIMS
from synthsae_jax.experiments.partial.joint import JOINT, joint_numbers, train_joint
from synthsae_jax.experiments.recovery import train_config
from synthsae_jax.io.rows import Row, make_row
from synthsae_jax.matching.detection import sharedness
from synthsae_jax.registry import Explanation
from synthsae_jax.suite import table
from synthsae_jax.suite.base import Benchmark, Cell, Tick, benchmarks
from synthsae_jax.suite.study import (
    FamilyPair,
    Number,
    Pair,
    Study,
    cells_by_arm,
    family_of,
    family_pairs,
    protocol_numbers,
    read,
    rows_of_pair,
    rule_numbers,
    train_family,
    truth_numbers,
)
from synthsae_jax.worlds import expected_rates
from synthsae_jax.worlds.family import Condition, Family

ID = "partial@1"
LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)
SCORES = ("activation_pearson", "activation_cosine", "jaccard", "hypergeometric_z", "phi")
BINS = 4  # of frequency
GEOMETRIES = {"rotated": 1.0, "independent": 0.0}

SIZES: Mapping[str, Mapping[str, Any]] = {
    "smoke": {
        "preset": "micro",
        "target_l0": 4.7,
        "worlds": 1,
        "arms": ("rotated",),
        "levels": (0.5,),
        "joint": ("crosscoder",),
        "joint_width": 192,
        "protocols": (),
        "n_train": 25_600,
        "n_match": 8_192,
        "batch_size": 128,
        "lr": 1e-2,
        "dead_window": 50,
    },
    "small": {
        "preset": "micro",
        "target_l0": 4.7,
        "worlds": 5,
        "arms": ("rotated", "independent"),
        "levels": LEVELS,
        "joint": JOINT,
        "joint_width": 192,
        "protocols": ("ours@1",),
        "n_train": 128_000,
        "n_match": 32_768,
        "batch_size": 256,
        "lr": 1e-2,
        "dead_window": 100,
    },
    "standard": {
        "preset": "1k",
        "target_l0": 5.6,
        "worlds": 10,
        "arms": ("rotated", "independent"),
        "levels": LEVELS,
        "joint": JOINT,
        "joint_width": 384,
        "protocols": ("ours@1", "mppc2024"),
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
        "arms": ("rotated", "independent"),
        "levels": LEVELS,
        "joint": JOINT,
        "joint_width": 1536,
        "protocols": ("ours@1", "mppc2024"),
        "n_train": 20_480_000,
        "n_match": 999_424,
        "batch_size": 1024,
        "lr": 5e-4,
        "dead_window": 1000,
    },
}


def shares(level: float, t: float) -> Condition:
    """B has this share of A's features, its directions rotated (t = 1) or its own (t = 0)."""
    return Condition(f"shared {level:g}, t {t:g}", shared=level, sharing=t)


def cells(scale: str, salt: str) -> Sequence[Cell]:
    """One cell per world and arm; worlds take turns, so that a prefix is balanced."""
    size = SIZES[scale]
    arms = [*size["arms"], *(j for j in size["joint"] if j not in size["arms"])]
    cell = functools.partial(_cell, size)
    return cells_by_arm(ID, salt, size["worlds"], arms, cell)


def _cell(size: Mapping[str, Any], seed: int, world: int, number: int, arm: str) -> Cell:
    preset = worlds.preset(size["preset"])
    conditions = tuple(shares(level, GEOMETRIES.get(arm, 0.0)) for level in size["levels"])
    joint = arm not in GEOMETRIES
    n_runs = len(conditions) + (0 if joint else 1)
    width = size["joint_width"] if joint else preset.d_sae
    weights = 2 * width * preset.instance.hidden_dim * (2 if joint else 1)
    study = Study(
        ID, size["preset"], seed, number, train_config(size), size["target_l0"], size["n_match"]
    )
    compute = _joint if joint else _pairs
    given = {key: value for key, value in size.items() if key not in ("arms", "joint")}
    return Cell(
        name=f"world{world}/{arm}",
        spec={**given, "arm": arm, "world_seed": seed, "seeds": {"world": seed}},
        compute=functools.partial(compute, study, size, arm, conditions),
        runs=n_runs,
        samples=size["n_train"],
        flops=6.0 * weights * size["n_train"] * n_runs,
        memory=4.0 * (4 * weights + 6 * size["batch_size"] * width) * n_runs,
        programs=tuple(f"{arm if joint else 'topk'}: {what}" for what in ("training", "reading")),
        pairs=0 if joint else len(conditions),
    )


def _pairs(
    study: Study,
    size: Mapping[str, Any],
    arm: str,
    conditions: tuple[Condition, ...],
    tick: Tick,
) -> list[Row]:
    """SAEs of each model by itself: what rules declare, and what scores detect."""
    tick(0.0, "building the family")
    family = family_of(study, study.world(), conditions, None)
    trained = train_family(study, family, "topk", tick=lambda done, what: tick(0.6 * done, what))
    rates = np.tile(expected_rates(family.base), 2)
    rows: list[Row] = []
    told = lambda done, what: tick(0.6 + 0.4 * done, what)
    for found in family_pairs(study, family, trained, tick=told):
        rows += _rows_of(study, size, arm, found, rates)
    return rows


def _rows_of(
    study: Study, size: Mapping[str, Any], arm: str, found: FamilyPair, rates: np.ndarray
) -> list[Row]:
    pair, condition = found.pair, found.condition
    key = jax.random.fold_in(jax.random.key(study.number(0)), found.run)
    numbers = [*truth_numbers(pair), *rule_numbers(pair), *detection_numbers(pair, rates)]
    if arm == "rotated":
        numbers += protocol_numbers(pair, size["protocols"], key=key)
    return rows_of_pair(
        study.shared,
        numbers,
        *found.columns,
        pair.a.latents.shape[0],
        condition=condition.name,
        factor_arm=arm,
        factor_shared=condition.shared,
        **found.flags,
    )


def detection_numbers(pair: Pair, rates: np.ndarray) -> list[Number]:
    """Does a latent's best score say whether the other model has its feature? By frequency.

    `rates [F]` of the features. Latents of A that track a feature; q1 is the rarest quarter.
    """
    present = np.asarray(pair.instances[1].present)
    alive = np.asarray(pair.counts.alive_b)
    tables = {name: np.asarray(pair.counts.score(name)) for name in SCORES}
    view = pair.view
    aligned = matching.score("decoder_cosine", view.W_dec_a, view.W_dec_b_aligned)
    tables["decoder_cosine_aligned"] = np.asarray(aligned)
    found = []
    for name, scores in tables.items():
        best = np.where(alive[None], scores, -np.inf).max(1)
        best = np.where(pair.a.alive, best, np.nan)
        values = sharedness(best, pair.a.tracked, present, rates, BINS)["auroc"]
        why = "all or none of the features that A tracks here are in B"
        found.append(Number(name, "sharedness_auroc", float(values[0]), why))
        found += [
            Number(name, f"sharedness_auroc_q{q}", float(value), why)
            for q, value in enumerate(values[1:], start=1)
        ]
    return found


def _joint(
    study: Study,
    size: Mapping[str, Any],
    arm: str,
    conditions: tuple[Condition, ...],
    tick: Tick,
) -> list[Row]:
    """One SAE of both models: which latents its decoder norms call shared."""
    tick(0.0, "building the family")
    family: Family = family_of(study, study.world(), conditions, None)
    first = len(family.instances)
    trained = train_joint(study, family, arm, size["joint_width"], first)
    registry = family.registry("factors")
    reference = np.asarray(family.reference.present)
    rows: list[Row] = []
    for i, condition in enumerate(conditions):
        tick(0.6 + 0.4 * i / len(conditions), condition.name)
        if not trained.ok(i, 0):
            continue
        reading = read(trained.subjects[i][0], registry, study.n_match, study.number(0))
        present = reference, np.asarray(family.partner(i).present)
        rows += [
            make_row(
                **study.shared.columns(),
                **trained.columns[i][0],
                condition=condition.name,
                metric=number.metric,
                variant=number.variant,
                n_eval=reading.latents.shape[0],
                factor_arm=arm,
                factor_shared=condition.shared,
                **table.valued(number.value, reason=number.reason),
            )
            for number in joint_numbers(reading.subject, reading.truth, reading.alive, present)
        ]
    return rows


benchmarks.register(
    ID,
    Explanation(
        what="Models that share none to all of their features: the overlap that published rules, "
        "crosscoders and universal SAEs imply, and whether scores tell a shared latent from one "
        "whose feature the other model lacks.",
        formula="primary number: AUROC of the best correlation for 'the other model has it'",
        range="[0, 1]",
        chance="1/2; of an implied overlap: what it is at a level of 0",
        source="H9 of this suite; crosscoder readings as in arXiv 2504.02922, universal SAEs as "
        "in arXiv 2502.03714",
    ),
)(
    Benchmark(
        id=ID,
        title="Partial universality",
        question="Two models share a part of their features: who finds out how much, and which?",
        primary="sharedness_auroc",
        primary_variant="activation_pearson",
        sizes=SIZES,
        cells=cells,
        by=("factor_arm", "factor_shared"),
        metrics=("declared", "sharedness_auroc", "false_exclusive", "false_shared"),
        claims=CLAIMS,
    )
)
