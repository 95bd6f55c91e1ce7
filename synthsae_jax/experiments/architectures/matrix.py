"""A cell of the matrix: each architecture three times in a world, all pairs, and other encoders."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from synthsae_jax import keys, metrics, worlds
from synthsae_jax.experiments.architectures.numbers import (
    direction_numbers,
    found_numbers,
    matched_numbers,
    upper,
)
from synthsae_jax.experiments.architectures.probes import VARIANT as PROBES
from synthsae_jax.experiments.architectures.probes import probe_numbers
from synthsae_jax.experiments.architectures.swap import (
    Swapped,
    linear,
    pursuit,
    swap_numbers,
)
from synthsae_jax.io.rows import Row
from synthsae_jax.metrics.baselines import MissingLibrary
from synthsae_jax.suite import table
from synthsae_jax.suite.base import Tick
from synthsae_jax.suite.probes import probed
from synthsae_jax.suite.study import (
    Number,
    Pair,
    Reading,
    Study,
    Trained,
    flags,
    read,
    rows_of_pair,
    rule_numbers,
    truth_numbers,
)
from synthsae_jax.worlds import Instance, World

SAME, OTHER, COPY = "same model", "independent models", "copy"
RULES = ("best_correlation_0.1", "decoder_cosine_0.7_raw")
Side = tuple[Reading, dict[str, Any]]


def models(study: Study, world: World, n: int, **changes: Any) -> list[Instance]:
    """Models of a world that share all features and, unless changed, no geometry."""
    config = dataclasses.replace(study.instance_config, **{"sharing": 0.0, **changes})
    return [
        worlds.init_instance(keys.instance_key(study.world_seed + study.number(i)), world, config)
        for i in range(n)
    ]


def train_on(
    study: Study,
    name: str,
    world: World,
    members: Sequence[Instance],
    numbers: Sequence[int],
    first: int,
    **options: Any,
) -> Trained:
    """One SAE on each of some models, of which several may be the same: `numbers` says which.

    Seeds count from `first`, so that no two SAEs of a cell share one.
    """
    trained = study.train(name, world, members, first=first, **options)
    columns = [
        [
            {
                **table.run_columns(study.shared, trained.result, study.number(number), i, r),
                "sae": trained.columns[i][r]["sae"],
            }
            for r in range(len(trained.columns[i]))
        ]
        for i, number in enumerate(numbers)
    ]
    return dataclasses.replace(trained, columns=columns)


def score_rows(
    study: Study,
    world: World,
    members: Sequence[Instance],
    numbers: Sequence[int],
    trained: Trained,
    n_eval: int,
    **more: Any,
) -> list[Row]:
    """F1, MCC, EV and the rest of each SAE, by the inference rule."""
    result = trained.result
    runs = (result.params, result.hyper, result.state.carried)
    found = metrics.evaluate_runs(
        world, worlds.stack(list(members)), result.sae, runs, n_eval, study.number(0)
    )
    ids = [study.number(i) for i in numbers]
    return table.run_rows(study.shared, result, ids, found, "", **more)


def compute(study: Study, size: Mapping[str, Any], tick: Tick) -> list[Row]:
    """Rows of all architectures and their pairs in one world."""
    tick(0.0, "building the world")
    world = study.world()
    a, b = models(study, world, 2)
    members, numbers = [a, a, b], [0, 0, 1]
    rows: list[Row] = []
    sides: dict[str, list[Side | None]] = {}
    trained = {}
    for place, name in enumerate(size["saes"]):
        start = 0.6 * place / len(size["saes"])
        tick(start, f"training {name}")
        here = train_on(study, name, world, members, numbers, first=3 * place)
        rows += score_rows(study, world, members, numbers, here, size["n_eval"])
        trained[name] = here
        sides[name] = [
            (read(here.subjects[i][0], world, study.n_match, study.number(0)), here.columns[i][0])
            if here.ok(i, 0)
            else None
            for i in range(3)
        ]
    tick(0.6, "pairs")
    rows += _levels(study, world, a, size, trained)
    for one, other in upper(list(sides)):
        # A of the one with the second of the other on the same model, with the third on another
        for condition, second in ((SAME, 1), (OTHER, 2)):
            left, right = sides[one][0], sides[other][second]
            if left is not None and right is not None:
                rows += _pair_rows(study, world, left, right, condition)
    known = {name: side[0] for name, side in sides.items() if side[0] is not None}
    rows += _copy_rows(study, world, known)
    tick(0.8, "other encoders")
    rows += _swapped_rows(study, world, known, 3 * len(sides), size["n_eval"])
    tick(0.9, "probes")
    rows += _probe_rows(study, world, a, known, size)
    return rows


def _pair_rows(study: Study, world: World, left: Side, right: Side, condition: str) -> list[Row]:
    pair = Pair(left[0], right[0], world)
    same = condition != OTHER
    numbers = [
        *truth_numbers(pair),
        *found_numbers(pair),
        *rule_numbers(pair, RULES),
        *matched_numbers(pair),
    ]
    if same:
        rows = left[0].subject.decoder, right[0].subject.decoder
        numbers += direction_numbers(*rows, study.number(0))
    columns = left[1], right[1]
    shared = flags(*columns, same_instance=same, same_dictionary=same)
    n = pair.a.latents.shape[0]
    return rows_of_pair(study.shared, numbers, *columns, n, condition=condition, **shared)


def _copy_rows(study: Study, world: World, known: Mapping[str, Side]) -> list[Row]:
    """The planted check: an architecture under another name is at 1 with itself."""
    name, side = next(iter(known.items()), (None, None))
    if name is None or side is None:
        return []
    copy = (side[0], {**side[1], "sae": f"{name}, copied"})
    return _pair_rows(study, world, side, copy, COPY)


def _swapped_rows(
    study: Study, world: World, known: Mapping[str, Side], first: int, n_eval: int
) -> list[Row]:
    sources = [side[0].subject for side in known.values()]
    if not sources:
        return []
    k = study.target_l0
    made = (
        linear(study, world, sources, n_eval, k, first),
        pursuit(study, world, sources, n_eval, k),
    )
    return [row for swapped in made for row in swapped_rows(study, world, known, swapped)]


def swapped_rows(
    study: Study, world: World, known: Mapping[str, Side], swapped: Swapped, **more: Any
) -> list[Row]:
    """Rows of each SAE beside its dictionary under another encoder."""
    rows: list[Row] = []
    for i, (reading, columns) in enumerate(known.values()):
        if swapped.trained is not None and not swapped.trained.ok(i, 0):
            continue
        other = read(swapped.subjects[i], world, study.n_match, study.number(0))
        scores = {name: float(values[i]) for name, values in swapped.scores.items()}
        second = {
            **(columns if swapped.trained is None else swapped.trained.columns[i][0]),
            "run_id": f"{columns['run_id']}+{swapped.encoder}",
            "instance": columns["instance"],
            "sae": f"{columns['sae']}, {swapped.encoder}",
        }
        numbers = swap_numbers(Pair(reading, other, world), scores)
        rows += rows_of_pair(
            study.shared,
            numbers,
            columns,
            second,
            reading.latents.shape[0],
            condition=f"encoder: {swapped.encoder}",
            **flags(columns, second, same_dictionary=True),
            **more,
        )
    return rows


def _probe_rows(
    study: Study, world: World, a: Instance, known: Mapping[str, Side], size: Mapping[str, Any]
) -> list[Row]:
    ids = probed(world, a, study.d_sae, size["n_probes"])
    rows: list[Row] = []
    for reading, columns in known.values():
        numbers = probe_numbers(reading.subject, world, study.n_match, study.number(0), ids)
        rows += number_rows(study, numbers, columns, study.n_match)
    if size["probe_samples"]:
        top = metrics.most_frequent(worlds.expected_rates(world), a, study.d_sae)
        n = size["probe_samples"]
        try:
            found = metrics.probe_levels(world, a, top, size["n_probes"], n, n, study.number(0))
        except MissingLibrary as error:
            rows += table.missing_rows(study.shared, "probes", study.number(0), str(error), "bound")
        else:
            rows += table.level_rows(
                study.shared, None, study.number(0), found, f"{PROBES}/ceiling"
            )
    return rows


def number_rows(
    study: Study, numbers: Sequence[Number], columns: Mapping[str, Any], n: int, **more: Any
) -> list[Row]:
    """Rows about one run."""
    return rows_of_pair(study.shared, numbers, columns, {"sae": columns["sae"]}, n, **more)


def _levels(
    study: Study,
    world: World,
    a: Instance,
    size: Mapping[str, Any],
    trained: Mapping[str, Trained],
) -> list[Row]:
    """What the true directions of the most frequent features reach, and untrained SAEs."""
    number = study.number(0)
    top = metrics.most_frequent(worlds.expected_rates(world), a, study.d_sae)
    ceiling = metrics.oracle_levels(world, a, np.asarray(top), size["n_eval"], number)
    rows = table.level_rows(study.shared, None, number, ceiling, "ceiling")
    name = next(iter(trained))
    sae = trained[name].result.sae
    floor = metrics.chance_levels(world, a, sae, hyper=sae.hyper, seed=number)
    return rows + table.level_rows(study.shared, name, number, floor, "chance")
