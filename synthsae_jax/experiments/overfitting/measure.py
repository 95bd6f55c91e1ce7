"""What overfitting@1 trains and measures: SAEs on one dictionary twice and on a fresh one once."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence

import numpy as np

from synthsae_jax import keys, worlds
from synthsae_jax.experiments.overfitting.setting import (
    BATCHTOPK,
    CORRELATION,
    FRESH,
    ONCE,
    PURSUIT,
    SAME,
)
from synthsae_jax.suite import pairs
from synthsae_jax.suite.agreement import matched_numbers
from synthsae_jax.suite.context import Context, Trained, flags
from synthsae_jax.suite.cost import Training
from synthsae_jax.suite.design import Arm
from synthsae_jax.suite.encoders import Source, swapped_observations
from synthsae_jax.suite.observation import Number, Observation
from synthsae_jax.suite.pair import Pair, rule_numbers, truth_numbers
from synthsae_jax.suite.reading import Reading, read
from synthsae_jax.suite.recipes import recipe
from synthsae_jax.suite.scores import score_observations
from synthsae_jax.worlds import Instance, World

# the models of a cell's SAEs: two on one dictionary, one on a fresh one
_MODELS = (0, 0, 1)
_SECOND = {SAME: 1, FRESH: 2}  # which SAE is beside the first


def train(context: Context) -> Sequence[Training]:
    """BatchTopK at all multiples at once, a pursuit for each, and encoders of the two at k x 1."""
    n, scale = len(_MODELS), context.scale
    return [
        context.training(BATCHTOPK, n, runs=len(scale.grid)),
        *(context.training(PURSUIT, n, label=f"k x {k:g}") for k in scale.pursuit),
        context.training("frozen", 2),
    ]


def measure(context: Context, arm: Arm) -> Iterator[Observation]:
    """Scores of each SAE, pairs on the same and on a fresh dictionary, other encoders."""
    scale = context.scale
    context.tick(0.0, "building the world")
    world = context.world()
    members = _members(context, world)
    sources: dict[str, Source] = {}
    broad = _batchtopk(context.part(0.02, 0.3), world, members)
    yield from _scored(context, world, broad, scale.grid)
    for i, k in enumerate(scale.pursuit):
        part = context.part(0.3 + 0.4 * i / len(scale.pursuit), 0.7)
        # three SAEs of a program before it, so that none shares a seed
        trained = part.train(
            PURSUIT,
            world,
            members,
            numbers=_numbers(context),
            first=len(_MODELS) * (i + 1),
            target_l0=k * context.target_l0,
        )
        yield from _scored(context, world, trained, (k,))
        readings = _Readings(context, world, trained, 0)
        yield from _pairs(readings, k)
        if k == ONCE:
            sources[PURSUIT] = readings.source
    context.tick(0.7, "pairs of batchtopk")
    for r, k in enumerate(scale.grid):
        readings = _Readings(context, world, broad, r)
        yield from _pairs(readings, k)
        if k == ONCE:
            sources[BATCHTOPK] = readings.source
    context.tick(0.9, "other encoders")
    first = len(_MODELS) * (len(scale.pursuit) + 1)
    yield from swapped_observations(
        context, world, list(sources.values()), scale.n_eval, first, k=ONCE
    )


def _members(context: Context, world: World) -> list[Instance]:
    """Models that share all features and no direction, in the order of `_MODELS`."""
    config = dataclasses.replace(context.instance_config, sharing=0.0)
    key = lambda i: keys.instance_key(context.world_seed + context.number(i))
    models = {i: worlds.init_instance(key(i), world, config) for i in set(_MODELS)}
    return [models[i] for i in _MODELS]


def _numbers(context: Context) -> list[int]:
    return [context.number(i) for i in _MODELS]


def _batchtopk(context: Context, world: World, members: Sequence[Instance]) -> Trained:
    """BatchTopK at every multiple of the L0, all in one program: run r has multiple r."""
    sae_recipe = recipe(
        BATCHTOPK, context.scale.d_in, context.d_sae, context.target_l0, context.config
    )
    k = np.asarray(context.scale.grid, np.float32) * context.target_l0
    return context.train(
        BATCHTOPK,
        world,
        members,
        numbers=_numbers(context),
        runs=k.size,
        sae=sae_recipe.sae,
        config=sae_recipe.config,
        hyper=sae_recipe.sae.hyper.replace(k=k),
    )


def _scored(
    context: Context, world: World, trained: Trained, multiples: Sequence[float]
) -> Iterator[Observation]:
    """Each SAE's scores; run r has the multiple r."""
    for i, observation in enumerate(
        score_observations(context, world, trained, context.scale.n_eval)
    ):
        yield dataclasses.replace(observation, columns={"k": multiples[i % len(multiples)]})


@dataclasses.dataclass(frozen=True)
class _Readings:
    """Run r of three SAEs, each read once and only when asked."""

    context: Context
    world: World
    trained: Trained
    run: int

    @functools.cached_property
    def _readings(self) -> dict[int, Reading]:
        return {}

    def of(self, i: int) -> Reading:
        """SAE i on the match stream, with its truth."""
        if i not in self._readings:
            subject, seed = self.trained.subjects[i][self.run], self.context.number(0)
            self._readings[i] = read(subject, self.world, self.context.n_match, seed)
        return self._readings[i]

    @property
    def source(self) -> Source:
        """The first, for other encoders on its dictionary."""
        side, subject = self.trained.side(0, self.run), self.trained.subjects[0][self.run]
        return Source(side, subject, lambda: self.of(0))


def _pairs(readings: _Readings, k: float) -> Iterator[Observation]:
    """The first SAE beside the second on its dictionary, and beside the one on a fresh one."""
    trained, r = readings.trained, readings.run
    for condition, second in _SECOND.items():
        sides = trained.side(0, r), trained.side(second, r)
        same = condition == SAME
        shared = flags(*(side.columns for side in sides), same_instance=same, same_dictionary=same)
        yield Observation(
            sides,
            functools.partial(_pair_numbers, readings, second),
            {"condition": condition, "k": k, **shared},
            pairs.tokens(readings.context.n_match),
        )


def _pair_numbers(readings: _Readings, second: int) -> list[Number]:
    pair = Pair(readings.of(0), readings.of(second), readings.world)
    return [*truth_numbers(pair), *rule_numbers(pair, (CORRELATION,)), *matched_numbers(pair)]
