"""A cell of matching@1: a family of models, and on every rung of the ladder what matchers find."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from synthsae_jax.experiments.matching.grid import CALIBRATION, RungPair, calibration, grid
from synthsae_jax.experiments.matching.quality import KIN, METRICS, Quality
from synthsae_jax.experiments.matching.rungs import read_rung
from synthsae_jax.experiments.matching.setting import (
    ORACLE,
    PRE,
    RUNGS,
    SHARED,
    TRAINED,
    Models,
    Setting,
    settings,
)
from synthsae_jax.matching import load_credence
from synthsae_jax.matching.columns import match_metrics
from synthsae_jax.suite import pairs
from synthsae_jax.suite.context import Context, Trained
from synthsae_jax.suite.cost import Training
from synthsae_jax.suite.families import family_of, train_family
from synthsae_jax.suite.observation import Number, Observation
from synthsae_jax.worlds import InstanceConfig
from synthsae_jax.worlds.family import Condition, Family

_SAE = "topk"


def train(context: Context) -> Sequence[Training]:
    """One program: A, and a B for each geometry."""
    models = 1 + len(context.scale.geometry)
    return [context.training(_SAE, models, d_in=_instance_config(context).hidden_dim)]


def measure(context: Context, arm: Models) -> Iterator[Observation]:
    """By rung, a group for each setting: all pairs of A with a B that it is about."""
    context.tick(0.0, "building the family")
    # the plain arms have no trees, whatever the preset
    world = context.world(**({} if arm.trees else {"hierarchy": None}))
    conditions = tuple(Condition(f"t {t:g}", SHARED, t) for t in context.scale.geometry)
    family = family_of(context, world, conditions, _instance_config(context))
    trained = train_family(context.part(0.0, 0.4), family, _SAE)
    turns = functools.cache(lambda: _turns(context, family))
    for i, rung in enumerate(RUNGS):
        context.tick(0.4 + 0.2 * i, rung)
        yield from _on_rung(context, rung, family, trained, turns)


def _on_rung(
    context: Context,
    rung: str,
    family: Family,
    trained: Trained,
    turns: Callable[[], list[np.ndarray]],
) -> Iterator[Observation]:
    arm, tokens = context.arm, context.scale.tokens
    asked, parent = settings(arm, rung, tokens), np.asarray(family.base.forest.parent)
    is_trained = rung == TRAINED
    sides = tuple(trained.side(i) for i in range(len(family.instances))) if is_trained else ()
    group = {
        "run_id": f"{rung}-{arm.name}-{context.world_seed}",
        "sae": _SAE if is_trained else rung,
        "instance": context.number(0),
        "condition": rung,
    }

    @functools.cache
    def read() -> list[RungPair]:
        a, *others = read_rung(rung, context, family, trained)
        each = enumerate(zip(others, family.conditions, turns(), strict=True))
        seed = context.number(0)
        return [RungPair(a, b, f"{c.sharing:g}", turn, seed + i) for i, (b, c, turn) in each]

    counts = functools.cache(lambda: grid(read(), asked, parent))
    for setting in asked:
        numbers = lambda setting=setting: _numbers(setting, counts()[setting], rung, arm)
        columns = {**group, **dataclasses.asdict(setting)}
        names = tuple((metric, setting.variant) for metric in METRICS)
        yield Observation(sides, numbers, columns, setting.tokens, names)
    for n in tokens:
        numbers = lambda n=n: calibration(read(), n, load_credence())
        names = tuple((metric, f"credence/n={n}") for metric in CALIBRATION)
        yield Observation(sides, numbers, {**group, "tokens": n}, n, names)


def _numbers(setting: Setting, counts: Quality, rung: str, arm: Models) -> Iterator[Number]:
    for metric, value in counts.numbers.items():
        if metric == KIN:
            if arm.trees:
                why = "no pair is one of two different features"
                yield Number(setting.variant, metric, value, why, standard=True)
            continue
        why = match_metrics.explanation(metric).undefined
        if setting.score == PRE and rung == ORACLE:
            why = "true codes have no pre-activations"
        yield Number(setting.variant, metric, value, why, standard=True)


def _turns(context: Context, family: Family) -> list[np.ndarray]:
    """What maps each B's directions onto A's, [D_b, D_a]."""
    world, seed = family.registry("factors"), context.number(0)
    partners = [family.partner(i) for i in range(len(family.conditions))]
    n = context.n_match
    return [np.asarray(pairs.rotation(world, family.reference, b, n, seed)) for b in partners]


def _instance_config(context: Context) -> InstanceConfig:
    config, arm = context.instance_config, context.arm
    dim = config.hidden_dim // arm.crowding
    return dataclasses.replace(config, hidden_dim=dim, drop=arm.drop)
