"""What drivers@1 measures of a pair: what both recover, and what each side's recovery predicts."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import cast

import jax
import numpy as np
from scipy import sparse

from synthsae_jax import keys, worlds
from synthsae_jax.experiments.drivers.worlds import (
    Intervention,
    arm_world,
    instance_config,
    rates_of,
    shape,
)
from synthsae_jax.matching import TruthSweep
from synthsae_jax.matching.detection import co_recovery, frequency_bin
from synthsae_jax.matching.report import why_undefined
from synthsae_jax.metrics.reference import OracleCodes, most_frequent
from synthsae_jax.protocols.rules import rules
from synthsae_jax.suite import pairs
from synthsae_jax.suite.context import Context, Trained, flags
from synthsae_jax.suite.cost import Training
from synthsae_jax.suite.explained import explained_variance
from synthsae_jax.suite.observation import Number, Observation
from synthsae_jax.suite.pair import Pair, rule_numbers, truth_numbers
from synthsae_jax.suite.reading import Reading, Subject, read, read_codes
from synthsae_jax.suite.seeds import run_seed
from synthsae_jax.worlds import World

TRUTHS = ("agree", "functional", "geometric")  # the default first
RULE = "best_correlation_0.1"
BINS = 10
CONVERGED = 0.002  # explained variance that the last tenth of training may still add
_PLANTED = 0.7
# by outcome: what leaves it undefined
_WHY = {
    "excess": "in no tenth by frequency do both sides recover a feature that the other misses, or "
    "in none is one recovered by both and one by neither",
    "frequency_r2": "A recovers fewer than three features, or B all or none of those",
}


def train(context: Context) -> Sequence[Training]:
    """Two SAEs on the arm's world; where it is held against the base world, two on that."""
    arm: Intervention = context.arm
    sizes = shape(context.scale, arm)
    depths = (arm.depth, 0) if arm.between else (arm.depth,)
    return [
        context.training(arm.sae, 2, d_in=sizes.dim, d_sae=sizes.width, label=f"depth {depth}")
        for depth in depths
    ]


def measure(context: Context, arm: Intervention) -> Iterator[Observation]:
    """A pair on the arm's world; for some arms one of its SAEs beside one on the base world."""
    context.tick(0.0, "building the world")
    end = 0.7 if arm.between else 1.0
    world, match = arm_world(context, arm)
    trained = _train_pair(context.part(0.0, 0.6 * end), arm, world, first=0)
    readings = _readings(context, world, trained)
    sizes = shape(context.scale, arm)
    yield Observation(
        (trained.side(0), trained.side(1)),
        lambda: _numbers(context, arm, Pair(readings(0), readings(1), world), trained, match),
        {
            "condition": arm.name,
            "n_features": sizes.n_features,
            "dim": sizes.dim,
            "width": sizes.width,
            **_flags(trained, trained),
        },
        pairs.tokens(context.n_match),
    )
    if not arm.between:
        return
    plain, _ = arm_world(context, arm.without_codes())
    other = _train_pair(context.part(end, 1.0), arm.without_codes(), plain, first=2)
    beside = _readings(context, plain, other)
    yield Observation(
        (trained.side(0), other.side(1)),
        lambda: outcome_numbers(readings(0), beside(1), rates_of(context.scale, arm)),
        {"condition": arm.beside_base, **_flags(trained, other)},
        pairs.tokens(context.n_match),
    )


def _train_pair(context: Context, arm: Intervention, world: World, first: int) -> Trained:
    """Two models with every feature in common, each with directions and an SAE of its own.

    Keys and seeds are those of the world's number: arms of one world differ in what they set.
    """
    config = instance_config(context.scale, arm)
    numbers = [1000 * (context.world_index + 1) + i for i in range(2)]
    models = [worlds.init_instance(keys.instance_key(i), world, config) for i in numbers]
    seeds = np.array([[run_seed(i, 0)] for i in numbers])
    return context.train(
        arm.sae,
        world,
        models,
        first=first,
        width=shape(context.scale, arm).width,
        init_seeds=seeds,
        data_seeds=seeds,
    )


def _readings(context: Context, world: World, trained: Trained) -> Callable[[int], Reading]:
    """What each SAE does on the tokens of the world's number, read when first asked."""

    @functools.cache
    def reading(i: int) -> Reading:
        return read(trained.subjects[i][0], world, context.n_match, context.world_index)

    return reading


def _flags(a: Trained, b: Trained) -> dict[str, bool]:
    return flags(a.columns[0][0], b.columns[1][0], same_dictionary=False)


def _numbers(
    context: Context, arm: Intervention, pair: Pair, trained: Trained, match: worlds.RateMatch
) -> Iterator[Number]:
    index, rates = context.world_index, rates_of(context.scale, arm)
    yield from truth_numbers(pair)
    yield from outcome_numbers(pair.a, pair.b, rates)
    yield from match_numbers(pair)
    width = shape(context.scale, arm).width
    yield from oracle_numbers(oracle_pair(pair, pair.world, rates, width, context.n_match, index))
    yield from _held(pair, trained, match, index)


def _held(pair: Pair, trained: Trained, match: worlds.RateMatch, seed: int) -> Iterator[Number]:
    """What the arm was to leave as it is, and whether training had come to its end."""
    ends, gains = [], []
    for i, row in enumerate(trained.subjects):
        before = jax.tree.map(lambda leaf, i=i: np.asarray(leaf)[i, 0], trained.result.snapshots[0])
        ends.append(explained_variance(row[0], pair.world, seed))
        gains.append(ends[-1] - explained_variance(row[0], pair.world, seed, before))
    overlap = [worlds.superposition_statistics(m.dictionary).mean_max for m in pair.instances]
    why, gain = "the activations do not vary", float(np.max(gains))
    yield Number("held", "mean_l0", match.mean_l0)
    yield Number("held", "rates_missed", float(match.missed))
    yield Number("held", "overlap", float(np.mean(overlap)))
    yield Number("held", "explained_variance", float(np.mean(ends)), why)
    yield Number("held", "last_tenth", gain, why)
    converged = float(gain < CONVERGED) if math.isfinite(gain) else math.nan
    yield Number("held", "converged", converged, why)


def recovered(reading: Reading, method: str) -> np.ndarray:
    """bool [F]: features that some living latent tracks."""
    tracked = np.where(reading.alive, reading.truth.of(method, 0.7), -1)
    features = np.zeros(reading.subject.instance.present.shape[0], bool)
    features[tracked[tracked >= 0]] = True
    return features


def outcome(a: np.ndarray, b: np.ndarray, rates: np.ndarray) -> dict[str, float]:
    """Numbers of two recovered sets, bool [F], over features of these rates.

    `expected`: co-recovery if the sides recovered features independently within tenths by rate,
    sum_s a_s b_s / n_s / F. `excess`: the Mantel-Haenszel log odds ratio over these tenths.
    `frequency_r2`: of what A recovers, the share of variance of B's recovery that the log rate
    explains.
    """
    bin_of = frequency_bin(rates, BINS)
    per_bin = lambda which: np.bincount(bin_of[which], minlength=BINS)
    n = np.maximum(per_bin(np.ones(a.size, bool)), 1)
    r2 = math.nan
    if a.sum() > 2 and 0 < b[a].sum() < a.sum():
        r2 = float(np.corrcoef(np.log(rates[a]), b[a])[0, 1] ** 2)
    return {
        "recovery": float((a.mean() + b.mean()) / 2),
        "co_recovery": float((a & b).mean()),
        "expected": float((per_bin(a) * per_bin(b) / n).sum() / a.size),
        "excess": co_recovery(a, b, rates, BINS),
        "firing_weighted": float(rates[a & b].sum() / rates.sum()),
        "frequency_r2": r2,
    }


def outcome_numbers(a: Reading, b: Reading, rates: np.ndarray) -> Iterator[Number]:
    """`outcome` under the default truth, which is the variant; co-recovery under the others too."""
    for method in TRUTHS:
        numbers = outcome(recovered(a, method), recovered(b, method), rates)
        for name in numbers if method == TRUTHS[0] else ("co_recovery",):
            yield Number(method, name, numbers[name], _WHY.get(name, ""))


def match_numbers(pair: Pair) -> Iterator[Number]:
    """Matches of the rule, as shares of the latents: all, of one feature, and of relatives."""
    report = pair.report(rules[RULE].match(pair.view))
    (declared,) = (n for n in rule_numbers(pair, (RULE,)) if n.metric == "declared")
    yield declared
    why = why_undefined(report)
    for name, part in (("exact", "precision"), ("kin", "false_universality_kin")):
        reason = declared.reason if math.isnan(declared.value) else why.get(part, "")
        yield Number(RULE, name, declared.value * report[part], reason)


def oracle_pair(pair: Pair, world: World, rates: np.ndarray, width: int, n: int, seed: int) -> Pair:
    """The same models read by SAEs that recover a planted share of the features, perfectly.

    Each side has .7 of the `width` most frequent features, drawn with the world's seed alone: equal
    recovery in every arm. What the arms then still differ in does not go through recovery.
    """
    rng = np.random.default_rng(seed)
    sides = []
    for side in (pair.a, pair.b):
        instance = side.subject.instance
        top = most_frequent(rates, instance, width)
        ids = np.sort(rng.choice(top, round(_PLANTED * width), replace=False))
        rows = np.asarray(instance.dictionary)[ids]
        run = (ids, rows, np.asarray(instance.bias))
        subject = Subject("oracle", OracleCodes(rates.size), run, instance, rows, rows)
        codes = read_codes(instance, world, n, seed, "match")[:, ids]
        settings = side.truth.settings
        truth = TruthSweep(settings, np.tile(ids.astype(np.int32), (len(settings), 1)))
        sides.append(Reading(subject, cast(sparse.csr_matrix, codes), truth))
    return dataclasses.replace(pair, a=sides[0], b=sides[1])


def oracle_numbers(pair: Pair) -> Iterator[Number]:
    """What the rule declares shared of such a pair."""
    for number in rule_numbers(pair, (RULE,)):
        if number.metric == "declared":
            yield dataclasses.replace(number, variant="oracle", standard=False)
