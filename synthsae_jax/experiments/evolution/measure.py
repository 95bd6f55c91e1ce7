"""What evolution@1 trains, and what it reads at a snapshot: truth and scores, by frequency."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import jax
import numpy as np

from synthsae_jax import matching, worlds
from synthsae_jax.protocols.rules import rules
from synthsae_jax.suite import pairs
from synthsae_jax.suite.context import Context, Trained, flags
from synthsae_jax.suite.cost import Training
from synthsae_jax.suite.design import Arm
from synthsae_jax.suite.families import family_of, train_family
from synthsae_jax.suite.observation import Number, Observation
from synthsae_jax.suite.pair import Pair, measure_numbers, truth_numbers
from synthsae_jax.suite.reading import Subject, read
from synthsae_jax.suite.seeds import run_seed
from synthsae_jax.worlds import Instance, LearnedConfig, World, expected_rates, family

SHARED, TRAINING, MATURITY = "shared", "training", "maturity"
# the shared pair, and the floor: a model without a common feature
CONDITIONS = (
    dataclasses.replace(family.ROTATED, name=SHARED),
    family.DISJOINT_INDEPENDENT,
)
DISJOINT = family.DISJOINT_INDEPENDENT.name
QUARTERS = ("q1", "q2", "q3", "q4")  # q1: the rarest
RULES = ("best_correlation_0.1", "decoder_cosine_0.7_aligned")
MEASURES = ("cka_debiased", "rsa")
_DEAD = "all latents of a side are dead"


def train(context: Context) -> Sequence[Training]:
    """A family of SAEs, or two SAEs at each age of the models."""
    of_arm = {TRAINING: 1 + len(CONDITIONS), MATURITY: 2 * len(context.scale.ages)}
    return [context.training("topk", of_arm[context.arm.name])]


def measure(context: Context, arm: Arm) -> Iterator[Observation]:
    """Pairs of SAEs at snapshots of their training, or on models at snapshots of theirs."""
    return _over_training(context) if arm.name == TRAINING else _over_maturity(context)


def _over_training(context: Context) -> Iterator[Observation]:
    """Snapshots of SAEs in training: one pair that shares all, one that shares nothing."""
    context.tick(0.0, "building the family")
    models = family_of(context, context.world(), CONDITIONS)
    steps = context.config.snapshots
    trained = train_family(context.part(0.0, 0.5), models, "topk")
    present = np.asarray(models.reference.present)
    rates = np.where(present, np.tile(expected_rates(models.base), 2), 0.0)
    for i, condition in enumerate(CONDITIONS, start=1):
        registry = models.registry(condition.coupling)
        turn = functools.cache(
            functools.partial(_rotation, context, registry, models.reference, models.partner(i - 1))
        )
        for at, step in enumerate(steps):
            done = (i - 1 + at / len(steps)) / len(CONDITIONS)
            context.tick(0.5 + 0.5 * done, f"{condition.name} after {step} steps")
            ends = [_at(trained, j, at) for j in (0, i)]
            yield _observation(
                context,
                trained,
                (0, i),
                functools.partial(_pair, context, ends, registry, models.base, turn),
                rates,
                {"condition": condition.name, "age": step, "step": step},
            )


def _over_maturity(context: Context) -> Iterator[Observation]:
    """SAEs, each trained to its end, on two models that learn the same world, as they mature."""
    context.tick(0.0, "learning the models")
    world, ages = context.world(), context.scale.ages
    learned = _learned(context, world)
    trained = context.part(0.3, 0.6).train("topk", world, learned)
    for at, age in enumerate(ages):
        context.tick(0.6 + 0.4 * at / len(ages), f"models after {age} steps")
        models = (2 * at, 2 * at + 1)
        ends = [trained.subjects[i][0] for i in models]
        turn = functools.partial(_rotation, context, world, *(end.instance for end in ends))
        yield _observation(
            context,
            trained,
            models,
            functools.partial(_pair, context, ends, world, world, turn),
            expected_rates(world),
            {"condition": SHARED, "age": age},
        )


def _observation(
    context: Context,
    trained: Trained,
    models: tuple[int, int],
    pair: Callable[[], Pair],
    rates: np.ndarray,
    columns: dict[str, str | int],
) -> Observation:
    a, b = models
    present = [float(np.asarray(trained.subjects[i][0].instance.present).sum()) for i in models]
    return Observation(
        (trained.side(a), trained.side(b)),
        lambda: evolution_numbers(pair(), rates, context.d_sae),
        {
            **columns,
            "features": min(present),
            **flags(trained.columns[a][0], trained.columns[b][0], same_dictionary=False),
        },
        pairs.tokens(context.n_match),
    )


def _pair(
    context: Context,
    ends: Sequence[Subject],
    registry: World,
    base: World,
    turn: Callable[[], np.ndarray],
) -> Pair:
    """Both read on the tokens of `registry`, with their truth; kinship is that of `base`."""
    a, b = (read(end, registry, context.n_match, context.number(0)) for end in ends)
    return Pair(a, b, base, turn())


def _learned(context: Context, world: World) -> list[Instance]:
    """Two toy models at each age, the youngest first."""
    ages = context.scale.ages
    config = LearnedConfig(steps=ages[-1], snapshots=tuple(ages))
    seeds = [run_seed(context.number(0), s) for s in range(2)]
    dictionaries = worlds.learn_dictionaries(
        world, context.instance_config.hidden_dim, config, seeds
    )
    every = worlds.learned_instances(world, dictionaries.snapshots)
    return [
        jax.tree.map(lambda leaf, s=s, at=at: leaf[s, at], every)
        for at in range(len(ages))
        for s in range(2)
    ]


def _rotation(context: Context, world: World, a: Instance, b: Instance) -> np.ndarray:
    return np.asarray(pairs.rotation(world, a, b, context.n_match, context.number(0)))


def _at(trained: Trained, i: int, at: int) -> Subject:
    """Model i's SAE as it was at a snapshot."""
    params = jax.tree.map(lambda leaf: np.asarray(leaf[i, 0]), trained.result.snapshots[at])
    subject = trained.subjects[i][0]
    encoder = None if params.W_enc is None else params.W_enc.T
    run = (params, *subject.run[1:])
    return dataclasses.replace(subject, run=run, decoder=params.W_dec, encoder=encoder)


def frequency_edges(rates: np.ndarray, width: int) -> np.ndarray:
    """Rates that part the `width` most frequent features into quarters, rarest first, [3]."""
    frequent = np.sort(rates)[::-1][:width][::-1]
    parts = np.array_split(frequent, 4)
    return np.array([(a[-1] + b[0]) / 2 for a, b in itertools.pairwise(parts)])


def quarter(rates: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The quarter of each rate, 0 (rarest) to 3; what never fires is -1."""
    rates = np.asarray(rates)
    return np.where(rates > 0, np.searchsorted(edges, rates, side="right"), -1)


def evolution_numbers(pair: Pair, rates: np.ndarray, width: int) -> Iterator[Number]:
    """Truth and scores of a pair, all latents and by quarter.

    `rates [F]`: of the features of the registry, 0 where the pair's models lack them both. Latents
    are in the quarter of their own firing rate, features in that of theirs, so that what is
    declared and what is true count against the same `width / 4`.
    """
    edges = frequency_edges(rates, width)
    yield from truth_numbers(pair)
    yield from _truth(pair, rates, edges, width)
    counts = pair.counts
    latents = quarter(np.asarray(counts.fired_b) / float(np.asarray(counts.n)), edges)
    yield from _declared(pair, latents, width)
    yield from _means(pair, latents)
    yield from measure_numbers(pair, MEASURES)


def _truth(pair: Pair, rates: np.ndarray, edges: np.ndarray, width: int) -> Iterator[Number]:
    a, b = (side.tracked[side.alive & (side.tracked >= 0)] for side in (pair.a, pair.b))
    both = np.intersect1d(a, b)
    yield from _counted("truth", quarter(rates[both], edges), width)


def _declared(pair: Pair, latents: np.ndarray, width: int) -> Iterator[Number]:
    """What each rule declares of B's latents, whose quarters `latents [L]` are."""
    for name in RULES:
        m = rules[name].match(pair.view)
        matched = np.unique(np.asarray(m.col)[np.asarray(m.valid)])
        yield from _counted(name, latents[matched], width)


def _counted(variant: str, quarters: np.ndarray, width: int) -> Iterator[Number]:
    """How many, as a share of the width; of each quarter, of a quarter of it."""
    yield Number(variant, "declared", len(quarters) / width)
    for q, name in enumerate(QUARTERS):
        yield Number(variant, f"declared_{name}", float((quarters == q).sum() / (width / 4)))


def _means(pair: Pair, latents: np.ndarray) -> Iterator[Number]:
    """Mean best correlation and mean best aligned cosine of B's living latents with A's."""
    alive_a, alive_b = pair.a.alive, pair.b.alive
    view = pair.view
    tables = {
        "mean_best_correlation": np.asarray(pair.counts.score("activation_pearson")),
        "mean_best_cosine": np.asarray(
            matching.score("decoder_cosine", view.W_dec_a, view.W_dec_b_aligned)
        ),
    }
    parts = {"": alive_b, **{f"_{q}": alive_b & (latents == i) for i, q in enumerate(QUARTERS)}}
    dead = not (alive_a.any() and alive_b.any())
    why = _DEAD if dead else "no living latent fires so often"
    for variant, scores in tables.items():
        best = np.where(alive_a[:, None], scores, -np.inf).max(0)
        for suffix, which in parts.items():
            value = math.nan if dead or not which.any() else float(best[which].mean())
            yield Number(variant, f"score{suffix}", value, why)
