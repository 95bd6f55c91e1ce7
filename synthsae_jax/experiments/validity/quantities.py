"""The numbers of validity@1: scores, what is true, and tests of scores with known answers."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from synthsae_jax.experiments.validity.arms import (
    FEW,
    GRID,
    INDEPENDENT,
    PROTOCOLS,
    ROTATED,
    TURNED,
)
from synthsae_jax.experiments.validity.measure import PLANTED
from synthsae_jax.matching.validity import validity_tests
from synthsae_jax.suite.needs import Values
from synthsae_jax.suite.pair import ALL_RULES, RELATIONAL
from synthsae_jax.suite.quantity import Quantity, combined, number
from synthsae_jax.worlds import family
from synthsae_jax.worlds.family import Condition

# relational measures that answer wherever enough latents are matched: what all compare on
COMPARED = tuple(name for name in RELATIONAL if name != "svcca")
R_RULE = "best_correlation_0.1"
TITLES: Mapping[str, str] = {
    R_RULE: "best correlation > .1",
    "decoder_cosine_0.7_raw": "decoder cosine > .7, raw",
    "decoder_cosine_0.7_aligned": "decoder cosine > .7, aligned",
    "planted_truth": "(control) the truth itself",
    "planted_geometry": "(control) the geometry's knob",
    "planted_constant": "(control) a constant",
    "svcca_rank1": "SVCCA, rank 1",
    "svcca": "SVCCA, 99 %",
    "cka_debiased": "CKA, debiased",
    "rsa": "RSA",
    "procrustes": "Procrustes",
    "mutual_knn": "mutual k-NN",
}
PLAIN = tuple(condition.name for condition in GRID)  # pairs as they are
ZEROS = tuple(condition.name for condition in family.ZEROS)
SHARED, UNRELATED = (0.25, 0.5, 0.75, 1.0), 0.0  # levels of what is shared
HALF = 0.5  # of the features in common: pairs that a score should tell
ALPHA = 0.05
_PAIR = ("world_seed", "run_id", "run_id_b", "condition")
_RUNS = ("run_id", "run_id_b")


def _declared(name: str) -> Quantity:
    metric = "declared" if name in ALL_RULES else "score"
    return number(metric, name, title=TITLES.get(name, name), unit="score")


SCORES = {
    name: _declared(name).at(condition=PLAIN)
    for name in (*ALL_RULES, *RELATIONAL, *PROTOCOLS, *PLANTED)
}
REAL = tuple(name for name in SCORES if name not in PLANTED)
# what may be meant by truth: ranks are given over all of them
TRUTHS = {
    metric: number(metric, "truth", condition=PLAIN)
    for metric in (
        "true_universality",
        "true_universality_least",
        "true_universality_most",
        "features_shared",
    )
}
TRUE = TRUTHS["true_universality"]
PRECISION = number("precision", R_RULE, condition=PLAIN)


def where(name: str, fits: Callable[[Condition], bool]) -> Quantity:
    """The score under those conditions of the grid that fit."""
    return _declared(name).at(condition=tuple(c.name for c in GRID if fits(c)))


def at_zero(name: str, *zeros: str) -> Quantity:
    """The score where nothing is shared; both zeros unless some are named."""
    return _declared(name).at(condition=zeros or ZEROS)


def values_of(values: Values) -> dict[tuple, float]:
    """Value of each pair that has one."""
    return values.by(*_PAIR)


def _joined(one: Values, other: Values, columns: Sequence[str] = _PAIR) -> list[list[float]]:
    """Both values of the pairs that have both."""
    first, second = one.by(*columns), other.by(*columns)
    return [[each[at] for at in first if at in second] for each in (first, second)]


def _test(
    name: str, test: str, needs: Sequence[Quantity], of_world: Callable[..., float]
) -> Quantity:
    """A validity test of a score; `of_world` takes the values of each need."""
    explained = validity_tests.explanation(test)
    return Quantity(
        name=f"{test} of {name}",
        title=f"{test} of {TITLES.get(name, name)}",
        unit="validity test",
        needs=tuple(need for quantity in needs for need in quantity.needs),
        of_world=of_world,
        undefined=explained.undefined if explained else "",
    )


@functools.cache
def on_compared_pairs(quantity: Quantity) -> Quantity:
    """The number from those pairs alone of which relational measures can be asked."""
    return quantity.on_same(*(SCORES[name] for name in COMPARED))


@functools.cache
def spearman(name: str, truth: str = "true_universality") -> Quantity:
    """Rank correlation with the truth, over the pairs that the score answers."""
    test = validity_tests["monotone"]
    both = TRUTHS[truth].on_same(SCORES[name]), SCORES[name].on_same(TRUTHS[truth])
    return _test(name, "monotone", both, lambda true, score: test(*_joined(true, score)))


@functools.cache
def false_positives(name: str) -> Quantity:
    """How often the score's test finds p <= .05 where nothing is shared."""
    p = number("p", name, condition=ZEROS)
    test = validity_tests["rejection_rate"]
    rate = _test(name, "rejection_rate", (p,), lambda values: test(values.values, ALPHA))
    return dataclasses.replace(rate, trials=True)


@functools.cache
def monotone(name: str) -> Quantity:
    """Does it rise with what is shared, directions being rotated copies?"""
    score = where(name, lambda c: c.sharing == 1 or c.shared == 0).at(arm="random")
    test = validity_tests["monotone"]
    levels = lambda values: [row["factor_shared"] for row in values.rows]
    return _test(name, "monotone", (score,), lambda values: test(levels(values), values.values))


@functools.cache
def geometry(name: str) -> Quantity:
    """Its move from t = 0 to t = 1, mean over shared fractions that have both."""

    def of_world(values: Values) -> float:
        score = values.by("shared", "t")
        both = [level for level, t in score if t == 1 and (level, 0.0) in score]
        middle = {level: (score[level, 0.0] + score[level, 1.0]) / 2 for level in both}
        points = [(t, score[level, t] - middle[level]) for level in both for t in (0.0, 1.0)]
        return validity_tests["slope"](*_columns(points))

    return _test(name, "slope", (where(name, lambda c: c.shared > 0).at(arm="random"),), of_world)


@functools.cache
def leakage(name: str) -> Quantity:
    """What an init in common adds where nothing else is."""
    test = validity_tests["leakage"]
    return _test(
        name,
        "leakage",
        (at_zero(name).at(arm="same_init"), at_zero(name).at(arm="random")),
        lambda same, apart: test(*_joined(same, apart, ("condition",))),
    )


@functools.cache
def confound(name: str, *levels: tuple[str, float]) -> Quantity:
    """Slope of its error on a confound (arms with levels): all features shared, no geometry."""
    at = [
        of.at(arm=arm, condition=INDEPENDENT.name)
        for of in (_declared(name), number("true_universality", "truth"))
        for arm, _ in levels
    ]

    def of_world(*values: Values) -> float:
        means = np.array([v.mean() for v in values]).reshape(2, len(levels))
        return validity_tests["slope"]([level for _, level in levels], means[0] - means[1])

    return _test(name, "slope", at, of_world)


@functools.cache
def beside(name: str, suffix: str, test: str) -> Quantity:
    """How far it is off where a pair is seen otherwise."""
    as_it_is = _declared(name).at(arm="random", condition=ROTATED.name)
    otherwise = _declared(name).at(arm="random", condition=ROTATED.name + suffix)

    def of_world(seen: Values, plain: Values) -> float:
        both = _joined(seen, plain, _RUNS)
        return validity_tests[test](*both) if both[0] else math.nan

    return _test(name, test, (otherwise, as_it_is), of_world)


@functools.cache
def ordering(name: str) -> Quantity:
    """Does it tell pairs with half of the features or more in common from unrelated ones?"""
    test = validity_tests["ordering"]
    return _test(
        name,
        "ordering",
        (where(name, lambda c: c.shared >= HALF), at_zero(name)),
        lambda sharing, unrelated: test(sharing.values, unrelated.values),
    )


# what moves a score that should not: head of a column -> the test
MOVED: Mapping[str, Callable[[str], Quantity]] = {
    "geometry": geometry,
    "same init": leakage,
    "width": lambda name: confound(name, ("narrow", -1.0), ("random", 0.0), ("wide", 1.0)),
    "frequency": lambda name: confound(name, ("flat", 0.5), ("random", 0.7), ("steep", 0.9)),
    "artefacts": lambda name: confound(name, ("pursuit", 1.0), ("pursuit_2k", 2.0)),
    "turned": lambda name: beside(name, TURNED, "invariance_error"),
    "tokens": lambda name: beside(name, FEW, "sample_error"),
}


def threshold(name: str) -> Quantity:
    """The least value that at most 5 % of the pairs without a common feature pass.

    Over all arms and worlds and both zeros: the conservative order statistic, the largest value
    below 20 pairs.
    """
    needs = at_zero(name).needs
    return Quantity(f"threshold of {name}", "threshold", "score", needs, _least_passed, units=())


def passed(name: str, t: float) -> Quantity:
    """Share of the pairs with half of the features or more in common that pass the threshold."""
    pairs = where(name, lambda c: c.shared >= HALF and c.sharing == t)

    def of_world(values: Values, unrelated: Values) -> float:
        least, scores = _least_passed(unrelated), values.defined
        return float((scores > least).mean()) if scores.size and math.isfinite(least) else math.nan

    needs = (*pairs.needs, *at_zero(name).needs)
    return Quantity(f"share of {name} passed, t {t:g}", "passed", "", needs, of_world, units=())


def _least_passed(zeros: Values) -> float:
    ordered = np.sort(zeros.defined)
    at = math.ceil((1 - ALPHA) * (ordered.size + 1))
    return float(ordered[min(at, ordered.size) - 1]) if ordered.size else math.nan


def above_chance(name: str, arm: str, condition: str) -> Quantity:
    """(score - chance) / (1 - chance) of a relational measure."""
    score = number("score", name, arm=arm, condition=condition)
    chance = number("score", f"{name}/chance", arm=arm, condition=condition)
    return combined(
        lambda s, c: (s - c) / (1 - c), score, chance, name=f"{name} above chance", title=name
    )


def _columns(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [a for a, _ in points], [b for _, b in points]


FALSE_POSITIVES = combined(
    lambda *rates: float(np.nanmean(rates)) if np.isfinite(rates).any() else math.nan,
    *map(false_positives, PROTOCOLS),
    name="false positives",
    title="false-positive rate under both zeros, mean over protocols",
    unit="share of pairs",
)
