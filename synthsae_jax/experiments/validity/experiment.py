"""validity@1: do scores of universality follow the truth?"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from synthsae_jax import worlds
from synthsae_jax.experiments.recovery import train_config
from synthsae_jax.experiments.validity.claims import CLAIMS
from synthsae_jax.experiments.validity.varied import varied
from synthsae_jax.io.rows import Row
from synthsae_jax.protocols.base import Context
from synthsae_jax.registry import Explanation
from synthsae_jax.suite.base import Benchmark, Cell, Tick, benchmarks
from synthsae_jax.suite.study import (
    ALL_RULES,
    RELATIONAL,
    FamilyPair,
    Number,
    Study,
    cells_by_arm,
    family_of,
    family_pairs,
    measure_numbers,
    protocol_numbers,
    rows_of_pair,
    rule_numbers,
    train_family,
    truth_numbers,
)
from synthsae_jax.worlds import family
from synthsae_jax.worlds.family import Condition

ID = "validity@1"
PROTOCOLS = (
    "lan2024",
    "lan2024_fixed",
    "paulo2025",
    "song2025",
    "mppc2024",
    "stability",
    "polymorphism2026",
    "ours@1",
)
ZEROS = (family.DISJOINT_INDEPENDENT, family.DISJOINT_COUPLED)


def shares(level: float, t: float) -> Condition:
    """B has this share of A's features, its geometry rotated (t = 1) or independent (t = 0)."""
    return Condition(f"shared {level:g}, t {t:g}", shared=level, sharing=t)


ROTATED, INDEPENDENT = shares(1.0, 1.0), shares(1.0, 0.0)
# what is true varies, at both geometries
GRID = (
    *(shares(level, 1.0) for level in (0.25, 0.5, 0.75)),
    ROTATED,
    shares(0.5, 0.0),
    INDEPENDENT,
    *ZEROS,
)
# what a confound does to pairs that share everything, or nothing
CONFOUND = (INDEPENDENT, family.DISJOINT_INDEPENDENT)


@dataclasses.dataclass(frozen=True)
class Arm:
    """One family of the design: what it changes of the preset, and its conditions."""

    name: str
    conditions: tuple[Condition, ...] = CONFOUND
    world: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    instance: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    width: float = 1.0  # of B's SAEs, relative to A's
    sae: str = "topk"
    same_init: bool = False
    k: float = 1.0  # of the SAEs, relative to the target L0
    factors: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def arms(preset: str) -> dict[str, Arm]:
    """Every arm by name. The first is the reference of the others: it varies what is true."""
    firing = worlds.preset(preset).world.firing
    dim = worlds.preset(preset).instance.hidden_dim
    # at an exponent of 1 the most frequent of micro's features would fire on all but 2 % of tokens
    flatter, steeper = (dataclasses.replace(firing, exponent=e) for e in (0.5, 0.9))  # type: ignore
    found = (
        Arm("random", GRID),
        Arm(
            "structured",
            (ROTATED, INDEPENDENT, shares(0.5, 1.0), *ZEROS),
            instance={"geometry": "structured"},
        ),
        Arm("anisotropic", (ROTATED, *CONFOUND), instance={"geometry": "anisotropic"}),
        Arm("narrow", width=0.5, factors={"width": 0.5}),
        Arm("wide", width=2.0, factors={"width": 2.0}),
        Arm("flat", world={"firing": flatter}, factors={"exponent": 0.5}),
        Arm("steep", world={"firing": steeper}, factors={"exponent": 0.9}),
        Arm("noisy", instance={"noise": 0.1}, factors={"noise": 0.1}),
        Arm("crowded", instance={"hidden_dim": dim // 2}, factors={"dim": dim // 2}),
        Arm("same_init", ZEROS, same_init=True, factors={"same_init": True}),
        Arm("pursuit", sae="matching_pursuit", factors={"k": 1.0}),
        Arm("pursuit_2k", sae="matching_pursuit", k=2.0, factors={"k": 2.0}),
    )
    return {arm.name: arm for arm in found}


SIZES: Mapping[str, Mapping[str, Any]] = {
    "smoke": {
        "preset": "micro",
        "target_l0": 4.7,
        "worlds": 1,
        "arms": ("random",),
        "conditions": ("shared 1, t 1", "disjoint_independent"),
        "protocols": ("paulo2025",),
        "draws": 0,
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
        # one level beside the reference tells whether a confound moves a score
        "arms": tuple(n for n in arms("micro") if n not in ("narrow", "flat", "noisy")),
        # lan2024_fixed repeats lan2024's costly measures, polymorphism2026 needs activations
        "protocols": ("lan2024", "paulo2025", "song2025", "mppc2024", "stability", "ours@1"),
        "draws": 19,
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
        "arms": tuple(arms("1k")),
        "protocols": PROTOCOLS,
        "draws": 99,
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
        "arms": tuple(arms("4k")),
        "protocols": PROTOCOLS,
        "draws": 199,
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


def _cell(size: Mapping[str, Any], seed: int, world: int, number: int, name: str) -> Cell:
    preset = worlds.preset(size["preset"])
    arm = arms(size["preset"])[name]
    chosen = size.get("conditions", tuple(c.name for c in arm.conditions))
    conditions = tuple(c for c in arm.conditions if c.name in chosen)
    members = 1 + len(conditions)
    n_runs = members * (1 if arm.width == 1 else 2)
    weights = 2 * preset.d_sae * preset.instance.hidden_dim
    study = Study(
        ID, size["preset"], seed, number, train_config(size), size["target_l0"], size["n_match"]
    )
    given = {key: value for key, value in size.items() if key != "arms"} | {"arm": name}
    return Cell(
        name=f"world{world}/{name}",
        spec={
            **given,
            "conditions": chosen,
            "world_seed": seed,
            "seeds": {"world": seed},
        },
        compute=functools.partial(_compute, study, size, arm, conditions),
        runs=n_runs,
        samples=size["n_train"],
        flops=6.0 * weights * size["n_train"] * n_runs,
        memory=4.0 * (4 * weights + 6 * size["batch_size"] * preset.d_sae) * n_runs,
        programs=(f"{arm.sae} {name}: training", f"{arm.sae}: reading", "sampling", "measures"),
        pairs=len(conditions),
    )


def _compute(
    study: Study,
    size: Mapping[str, Any],
    arm: Arm,
    conditions: tuple[Condition, ...],
    tick: Tick,
) -> list[Row]:
    tick(0.0, "building the family")
    world = study.world(**arm.world)
    config = dataclasses.replace(study.instance_config, **arm.instance)
    family = family_of(study, world, conditions, config)
    seeds = study.seeds(len(family.instances), 1)
    options = {"target_l0": arm.k * study.target_l0}
    if arm.same_init:
        options["init_seeds"] = 0 * seeds + seeds[0, 0]
    a = train_family(
        study, family, arm.sae, tick=lambda done, what: tick(0.6 * done, what), **options
    )
    b = a
    if arm.width != 1:
        b = train_family(study, family, arm.sae, width=round(arm.width * study.d_sae), **options)
    rows: list[Row] = []
    told = lambda done, what: tick(0.6 + 0.4 * done, what)
    for found in family_pairs(study, family, a, b, told):
        gram = family.gram_correlation(conditions.index(found.condition))
        rows += _rows(study, size, arm, found, gram)
        if arm.name == "random" and found.condition.alignable and found.condition.shared == 1:
            for suffix, pair in varied(found.pair, study.number(0)).items():
                here = dataclasses.replace(found.condition, name=found.condition.name + suffix)
                seen = dataclasses.replace(found, pair=pair, condition=here)
                rows += _rows(study, size, arm, seen, gram)
    return rows


def _rows(
    study: Study, size: Mapping[str, Any], arm: Arm, found: FamilyPair, gram: float
) -> list[Row]:
    pair, condition = found.pair, found.condition
    truth = truth_numbers(pair)
    numbers = [
        *truth,
        *planted(condition, truth),
        *rule_numbers(pair, ALL_RULES),
        *measure_numbers(pair, RELATIONAL),
        *protocol_numbers(
            pair,
            size["protocols"],
            key=jax.random.fold_in(jax.random.key(study.number(0)), found.run),
            # a null is asked for where the right answer is known to be chance
            draws=size["draws"] if condition.shared == 0 else 0,
            context=Context(level_draws=8),
        ),
    ]
    factors = {f"factor_{name}": value for name, value in arm.factors.items()}
    return rows_of_pair(
        study.shared,
        numbers,
        *found.columns,
        pair.a.latents.shape[0],
        condition=condition.name,
        factor_arm=arm.name,
        factor_shared=condition.shared,
        factor_t=condition.sharing,
        factor_gram_correlation=gram,
        **factors,
        **found.flags,
    )


def planted(condition: Condition, truth: Sequence[Number]) -> list[Number]:
    """Scores whose place on the board is known: the truth, the geometry's knob, a constant."""
    true = next(n.value for n in truth if n.metric == "true_universality")
    return [
        Number("planted_truth", "score", true),
        Number("planted_geometry", "score", condition.sharing),
        Number("planted_constant", "score", 0.5),
    ]


benchmarks.register(
    ID,
    Explanation(
        what="Families of models whose shared features and shared geometry are set apart, on "
        "several kinds of geometry, noise, frequency laws and widths; every rule, protocol and "
        "measure scores each pair of SAEs, and is itself scored against what is true.",
        formula="primary number: false-positive rate under both zeros; then Spearman with truth",
        range="[0, 1]",
        chance="the nominal 5 %",
        source="Feature Universality, arXiv 2410.06981; tests after ReSi, arXiv 2408.00531",
    ),
)(
    Benchmark(
        id=ID,
        title="Validity of universality scores",
        question="Do scores of universality follow the truth?",
        primary="false_positive_rate",
        primary_variant="board",
        sizes=SIZES,
        cells=cells,
        by=("factor_arm", "condition"),
        metrics=("declared", "score"),
        claims=CLAIMS,
    )
)
