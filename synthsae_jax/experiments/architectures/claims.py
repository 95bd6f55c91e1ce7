"""The claims of architectures@1."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np
from scipy import stats

from synthsae_jax.experiments.architectures.matrix import COPY, OTHER, SAME
from synthsae_jax.experiments.architectures.numbers import MATCHED
from synthsae_jax.experiments.architectures.ranking import BASE
from synthsae_jax.io.rows import Row
from synthsae_jax.suite.claims import Claim
from synthsae_jax.suite.study.select import by_world, mean, select

PURSUIT = "matching_pursuit"
WIDE, SCALED = "twice the width", "scaled children"
CORRELATION = "best_correlation_0.1"


def pair_values(
    rows: Sequence[Row], variant: str, metric: str, condition: str
) -> dict[tuple[str, str], float]:
    """Mean of a quantity for each pair of architectures, in the order they were read."""
    found: dict[tuple[str, str], list[float]] = {}
    for row in select(rows, variant=variant, metric=metric, condition=condition):
        if row["value"] is not None:
            pair = row["sae"], row.get("sae_b") or row["sae"]
            found.setdefault(pair, []).append(row["value"])
    return {pair: float(np.mean(values)) for pair, values in found.items()}


def _mean(found: Sequence[float]) -> float:
    return float(np.mean(found)) if found else math.nan


def _across(condition: str) -> Callable[[Sequence[Row]], dict[int, float]]:
    """co_recovery of unlike pairs under a condition, relative to like pairs on one model."""

    def of_world(rows: list[Row]) -> float:
        same = pair_values(rows, "truth", "co_recovery", SAME)
        here = pair_values(rows, "truth", "co_recovery", condition)
        like = _mean([v for (a, b), v in same.items() if a == b])
        return _mean([v for (a, b), v in here.items() if a != b]) / like - 1

    return by_world(of_world)


def _models(rows: list[Row]) -> float:
    same, other = (pair_values(rows, "truth", "co_recovery", c) for c in (SAME, OTHER))
    like = lambda found: _mean([v for (a, b), v in found.items() if a == b])
    return like(other) - like(same)


def _pursuit(variant: str, metric: str) -> Callable[[Sequence[Row]], dict[int, float]]:
    """Pairs of matching pursuit with another, less the pairs of two others."""

    def of_world(rows: list[Row]) -> float:
        found = pair_values(rows, variant, metric, SAME)
        unlike = {pair: v for pair, v in found.items() if pair[0] != pair[1]}
        with_it = _mean([v for pair, v in unlike.items() if PURSUIT in pair])
        return with_it - _mean([v for pair, v in unlike.items() if PURSUIT not in pair])

    return by_world(of_world)


def scores(rows: Sequence[Row], setting: str, metric: str) -> dict[str, float]:
    """Mean score of each architecture at a setting: `metric`, or PW-MCC as "pw_mcc"."""
    variant, metric = ("pw_mcc", "score") if metric == "pw_mcc" else ("", metric)
    here = select(rows, factor_setting=setting, variant=variant, metric=metric)
    names = dict.fromkeys(row["sae"] for row in here)
    found = {name: mean(here, sae=name) for name in names}
    return {name: value for name, value in found.items() if not math.isnan(value)}


def settings_of(rows: Sequence[Row]) -> list[str]:
    """The settings of the ranking, in order."""
    return list(dict.fromkeys(row["factor_setting"] for row in rows if row.get("factor_setting")))


def kept_order(rows: Sequence[Row], metric: str, setting: str) -> dict[tuple[str, str], bool]:
    """For each pair of architectures: is its order that of the base setting? One world's rows."""
    base, here = (scores(rows, name, metric) for name in (BASE, setting))
    both = [name for name in base if name in here]
    return {(a, b): (base[a] > base[b]) == (here[a] > here[b]) for a, b in combinations(both, 2)}


def _order(rows: list[Row]) -> float:
    settings = [name for name in settings_of(rows) if name != BASE]
    return _mean([float(v) for s in settings for v in kept_order(rows, "f1", s).values()])


def _lead(setting: str, metric: str) -> Callable[[Sequence[Row]], dict[int, float]]:
    def of_world(rows: list[Row]) -> float:
        found = scores(rows, setting, metric)
        if PURSUIT not in found or len(found) < 2:
            return math.nan
        return found[PURSUIT] - max(v for name, v in found.items() if name != PURSUIT)

    return by_world(of_world)


def _behind(rows: list[Row]) -> float:
    last = []
    for setting in settings_of(rows):
        found = scores(rows, setting, "f1")
        if PURSUIT in found and len(found) > 1:
            last.append(float(found[PURSUIT] == min(found.values())))
    return _mean(last)


def _agreement(rows: list[Row]) -> float:
    pairwise, true = scores(rows, WIDE, "pw_mcc"), scores(rows, WIDE, "mcc")
    both = [name for name in pairwise if name in true]
    if len(both) < 3:
        return math.nan
    found = stats.kendalltau([pairwise[n] for n in both], [true[n] for n in both])
    return float(found.statistic) - 0.5


def _copied(rows: list[Row]) -> float:
    return mean(rows, variant="truth", metric="recovered_shared", condition=COPY) - 1


def _swapped(encoder: str, metric: str) -> Callable[[Sequence[Row]], dict[int, float]]:
    """What another encoder on matching pursuit's dictionary adds to its own score."""

    def of_world(rows: list[Row]) -> float:
        where = {"variant": "swapped", "metric": metric, "condition": f"encoder: {encoder}"}
        own = select(rows, sae=PURSUIT, variant="", metric=metric)
        own = [row for row in own if not row.get("factor_setting")]
        return mean(rows, sae=PURSUIT, **where) - mean(own)

    return by_world(of_world)


_MORE = "Worlds with trees, other widths, or more worlds, which make the interval shorter."
CLAIMS = (
    Claim(
        "H3a",
        "Two architectures find at least 90 % as much of the same features, beyond what each "
        "one's recovery predicts, as two SAEs of one architecture.",
        "co_recovery of unlike pairs / that of like pairs, less 1; one model",
        _across(SAME),
        smallest_effect=0.1,
        margin=0.1,
        kind="noninferior",
        changes=_MORE,
    ),
    Claim(
        "H3a models",
        "An SAE on a model with independent directions finds the same features as one on the "
        "same model.",
        "co_recovery of like pairs on independent models less that on one model",
        by_world(_models),
        smallest_effect=0.1,
        margin=0.1,
        kind="noninferior",
        changes="Geometry that is crowded for some features: then a model decides what is found.",
    ),
    Claim(
        "H3b",
        "Pairs with matching pursuit have the lowest precision.",
        "precision of r > .1, pairs of matching pursuit and another less pairs of two others",
        _pursuit(CORRELATION, "precision"),
        smallest_effect=-0.05,
        margin=0.0,
        changes=_MORE,
    ),
    Claim(
        "H3b artefacts",
        "Pairs with matching pursuit share the most artefacts.",
        "share of artefacts matched with an artefact (r >= .5), pairs with matching pursuit less "
        "pairs of two others",
        _pursuit(MATCHED, "shared_artefacts"),
        smallest_effect=0.05,
        margin=0.0,
        changes=_MORE,
    ),
    Claim(
        "H3c",
        "With latents to spare, what runs agree on and what is true rank architectures "
        "differently.",
        "Kendall's tau of PW-MCC with MCC at twice the width, less .5",
        by_world(_agreement),
        smallest_effect=-0.1,
        margin=0.0,
        changes="More architectures: tau of four takes few values.",
    ),
    Claim(
        "H3d",
        "The order of architectures by F1 depends on the world: settings turn at least a tenth of "
        "the pairs round.",
        "share of pairs whose order is that of the base setting of the same world, less .9",
        by_world(lambda rows: _order(rows) - 0.9),
        smallest_effect=-0.05,
        margin=0.0,
        changes="Settings further from the base one.",
    ),
    Claim(
        "H3e",
        "Matching pursuit is last in F1, as on SynthSAEBench-16k, at most settings.",
        "share of settings at which it is last",
        by_world(_behind),
        smallest_effect=0.75,
        margin=0.5,
        changes="Settings at which children scale with their parents, or latents are many.",
    ),
    Claim(
        "H3f",
        "Matching pursuit is first in F1 where children scale with their parents.",
        "its F1 less the best other one's",
        _lead(SCALED, "f1"),
        smallest_effect=0.01,
        margin=0.0,
        changes="Longer training, or another L0.",
    ),
    Claim(
        "H3g",
        "What matching pursuit loses in F1 is its encoder: a linear one on the same dictionary "
        "gains it.",
        "F1 of its dictionary under a trained linear encoder less its own",
        _swapped("linear", "f1"),
        smallest_effect=0.05,
        margin=0.0,
        changes="A dictionary that is itself wrong: then no encoder helps.",
    ),
    Claim(
        "copy",
        "An architecture copied under another name shares all that it recovered with itself.",
        "share of what both recovered that both recovered together, less 1",
        by_world(_copied),
        smallest_effect=0.001,
        margin=0.001,
        kind="equivalent",
        changes="A mistake in the suite.",
        family="control",
    ),
)
