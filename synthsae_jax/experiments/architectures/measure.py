"""What architectures@1 trains and measures: pairs, other encoders and probes; scores by setting."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations_with_replacement
from typing import Any

import numpy as np

from synthsae_jax import keys, metrics, worlds
from synthsae_jax.experiments.architectures.setting import COPY, OTHER, SAME, Matrix, Setting
from synthsae_jax.metrics.baselines import MissingLibrary
from synthsae_jax.suite import pairs
from synthsae_jax.suite.agreement import matched_numbers, together_numbers
from synthsae_jax.suite.context import Context, Trained, flags
from synthsae_jax.suite.cost import Training
from synthsae_jax.suite.encoders import ENCODERS, Source, swapped_observations
from synthsae_jax.suite.observation import Number, Observation, Side
from synthsae_jax.suite.pair import Pair, rule_numbers, truth_numbers
from synthsae_jax.suite.probes import VARIANT as PROBES
from synthsae_jax.suite.probes import probe_numbers, probed
from synthsae_jax.suite.reading import Reading, read
from synthsae_jax.suite.scores import (
    level_observation,
    levels_of_most_frequent,
    score_observations,
)
from synthsae_jax.worlds import Instance, World

RULES = ("best_correlation_0.1", "decoder_cosine_0.7_raw")
PW_MCC = "pw_mcc"
# an architecture's SAEs of the matrix: two on one model, one on another
_MODELS = (0, 0, 1)
_RUNS = 2  # of the ranking


def train(context: Context) -> Sequence[Training]:
    """The matrix: three SAEs each, and an encoder for each one's dictionary. A setting: two."""
    arm, saes = context.arm, context.scale.saes
    if isinstance(arm, Matrix):
        matrix = [context.training(name, len(_MODELS)) for name in saes]
        return [*matrix, context.training("frozen", len(saes))]
    width = round(arm.width * context.d_sae)
    return [context.training(name, 1, runs=_RUNS, d_sae=width) for name in saes]


def n_pairs(context: Context) -> int:
    """Pairs that a cell scores."""
    n = len(context.scale.saes)
    # under both conditions, with itself included; one copy; each under each encoder
    return n * (n + 1) + 1 + n * len(ENCODERS) if isinstance(context.arm, Matrix) else n


def measure(context: Context, arm: Matrix | Setting) -> Iterator[Observation]:
    """Of one cell."""
    context.tick(0.0, "building the world")
    return _matrix(context) if isinstance(arm, Matrix) else _ranking(context, arm)


def models(context: Context, world: World, n: int, **changes: Any) -> list[Instance]:
    """Models of a world that share all features and, unless changed, no geometry."""
    config = dataclasses.replace(context.instance_config, **{"sharing": 0.0, **changes})
    key = lambda i: keys.instance_key(context.world_seed + context.number(i))
    return [worlds.init_instance(key(i), world, config) for i in range(n)]


def _matrix(context: Context) -> Iterator[Observation]:
    world, saes = context.world(), context.scale.saes
    of_model = models(context, world, 2)
    trained: dict[str, Trained] = {}
    for i, name in enumerate(saes):
        part = context.part(0.6 * i / len(saes), 0.6 * (i + 1) / len(saes))
        trained[name] = part.train(
            name,
            world,
            [of_model[m] for m in _MODELS],
            # no two SAEs of a cell share a seed
            first=len(_MODELS) * i,
            numbers=[context.number(m) for m in _MODELS],
        )
        yield from score_observations(context, world, trained[name], context.scale.n_eval)
    context.tick(0.6, "pairs")
    first = trained[saes[0]]
    yield from levels_of_most_frequent(context, world, of_model[0], first, context.scale.n_eval)
    reading = _readings(context, world, trained)
    for one, other in combinations_with_replacement(saes, 2):
        # A of the one with the second of the other on the same model, with the third on another
        for condition, second in ((SAME, 1), (OTHER, 2)):
            sides = trained[one].side(0), trained[other].side(second)
            yield _pair(context, world, sides, (reading(one, 0), reading(other, second)), condition)
    yield _copy(context, world, first.side(0), reading(saes[0], 0))
    sources = [
        Source(trained[name].side(0), trained[name].subjects[0][0], reading(name, 0))
        for name in saes
    ]
    part, start = context.part(0.8, 0.9), len(_MODELS) * len(saes)
    yield from swapped_observations(part, world, sources, context.scale.n_eval, start)
    context.tick(0.9, "probes")
    yield from _probes(context, world, of_model[0], sources)


Read = Callable[[], Reading]


def _readings(
    context: Context, world: World, trained: dict[str, Trained]
) -> Callable[[str, int], Read]:
    """What each SAE does on the tokens of the cell's number, read when first asked."""

    @functools.cache
    def reading(name: str, i: int) -> Reading:
        return read(trained[name].subjects[i][0], world, context.n_match, context.number(0))

    return lambda name, i: functools.partial(reading, name, i)


def _pair(
    context: Context, world: World, sides: tuple[Side, Side], read: tuple[Read, Read], name: str
) -> Observation:
    same = name != OTHER
    a, b = (side.columns for side in sides)
    return Observation(
        sides,
        lambda: _pair_numbers(Pair(read[0](), read[1](), world)),
        {"condition": name, **flags(a, b, same_instance=same, same_dictionary=same)},
        pairs.tokens(context.n_match),
    )


def _pair_numbers(pair: Pair) -> Iterator[Number]:
    yield from truth_numbers(pair)
    yield from together_numbers(pair)
    yield from rule_numbers(pair, RULES)
    yield from matched_numbers(pair)


def _copy(context: Context, world: World, side: Side, read: Read) -> Observation:
    """The planted check: an architecture under another name is at 1 with itself."""
    copy = Side({**side.columns, "sae": f"{side.columns['sae']}, copied"}, side.status)
    return _pair(context, world, (side, copy), (read, read), COPY)


def _probes(
    context: Context, world: World, model: Instance, sources: Sequence[Source]
) -> Iterator[Observation]:
    scale, number = context.scale, context.number(0)
    ids = probed(world, model, context.d_sae, scale.n_probes)
    for source in sources:
        subject = source.subject
        yield Observation(
            (source.side,),
            lambda of=subject: probe_numbers(of, world, context.n_match, number, ids),
            tokens=context.n_match,
        )
    yield _supervised(context, world, model)


def _supervised(context: Context, world: World, model: Instance) -> Observation:
    """The ceiling of probes: supervised ones on all dimensions of the model."""
    n, level = context.scale.probe_samples, f"{PROBES}/ceiling"
    why = "this scale fits no supervised probes"
    if n:
        top = metrics.most_frequent(worlds.expected_rates(world), model, context.d_sae)
        n_probes, number = context.scale.n_probes, context.number(0)
        try:
            values = metrics.probe_levels(world, model, top, n_probes, n, n, number)
            return level_observation(context, level, values)
        except MissingLibrary as error:
            why = str(error)
    columns = {"run_id": f"{level}-{context.world_seed}-all", "instance": context.number(0)}
    return Observation((Side(columns),), lambda: [Number(level, "f1", math.nan, why)])


def _ranking(context: Context, arm: Setting) -> Iterator[Observation]:
    """Scores of two SAEs of each architecture, and how alike their decoder rows are."""
    world = setting_world(context, arm)
    overlap = {}
    if arm.overlap:
        random = worlds.overlap_of(world.n_features, context.scale.d_in)
        overlap = {"overlap": round(random + arm.overlap, 4)}
    (model,) = models(context, world, 1, **overlap)
    saes = context.scale.saes
    for i, name in enumerate(saes):
        trained = context.part(i / len(saes), (i + 1) / len(saes)).train(
            name,
            world,
            [model],
            runs=_RUNS,
            first=i,
            numbers=[context.number(0)],
            width=round(arm.width * context.d_sae),
            target_l0=arm.l0 * context.target_l0,
        )
        yield from score_observations(context, world, trained, context.scale.n_eval)
        a, b = (trained.side(0, r) for r in range(_RUNS))
        decoders = [trained.subjects[0][r].decoder for r in range(_RUNS)]
        yield Observation(
            (a, b),
            functools.partial(direction_numbers, *decoders, context.number(0)),
            flags(a.columns, b.columns, same_dictionary=True),
            context.scale.n_eval,
        )


def setting_world(context: Context, arm: Setting) -> World:
    """The preset's world with the setting's change."""
    preset = worlds.preset(context.scale.preset).world
    changed: dict[str, Any] = {}
    if preset.hierarchy:
        changed["hierarchy"] = dataclasses.replace(preset.hierarchy, **arm.hierarchy)
    if preset.slots:
        # without exclusion more children fire at once; equal room in all settings compiles once
        changed["slots"] = tuple(3 * n for n in preset.slots)
    return context.world(**changed)


def direction_numbers(a: np.ndarray, b: np.ndarray, seed: int) -> list[Number]:
    """PW-MCC: mean |cosine| of decoder rows under the best assignment, beside random rows."""
    rng = np.random.default_rng(seed)
    random = [rng.normal(size=rows.shape) for rows in (a, b)]
    why = "a decoder is not finite"
    return [
        Number(PW_MCC, "score", metrics.mcc(a, b), why),
        Number(f"{PW_MCC}/chance", "score", metrics.mcc(*random), why),
    ]
