"""The numbers of drivers@1: outcomes, effects over the fraction, differences from the base arm."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping

import numpy as np

from synthsae_jax.experiments.drivers.measure import RULE, TRUTHS
from synthsae_jax.experiments.drivers.worlds import LEVELS
from synthsae_jax.suite.needs import Need, Values
from synthsae_jax.suite.quantity import Quantity, combined, number

BASE = "base"
TRUTH = TRUTHS[0]
_RUNS = 2 ** (len(LEVELS) - 1)
_NO_EFFECT = 0.01  # of the features: below it no share of an effect is defined
TERMS = tuple(
    " x ".join(term) for order in (1, 2) for term in itertools.combinations(LEVELS, order)
)


def both_recover(truth: str = TRUTH) -> Quantity:
    """Features that both SAEs recover, by a truth."""
    title = "both recover" if truth == TRUTH else f"both recover, {truth}"
    return number("co_recovery", truth, title=title, unit="share of features")


RECOVERY = number("recovery", TRUTH, title="each recovers", unit="share of features")
CO_RECOVERY = both_recover()
EXPECTED = number("expected", TRUTH, title="predicted by recovery", unit="share of features")
EXCESS = number("excess", TRUTH, title="excess, log odds", unit="log odds")
FIRINGS = number("firing_weighted", TRUTH, title="both recover, firings", unit="share of firings")
FREQUENCY = number("frequency_r2", TRUTH, title="B's recovery by rate, r2", unit="variance")
TRUE = number("true_universality", "truth", title="true universality", unit="share of latents")
TRUE_LEAST = number(
    "true_universality_least", "truth", title="strictest truth", unit="share of latents"
)
TRUE_MOST = number(
    "true_universality_most", "truth", title="most lenient truth", unit="share of latents"
)
DECLARED = number("declared", RULE, title="r > .1, declared", unit="share of latents")
PLANTED = number("declared", "oracle", title="r > .1, planted recovery", unit="share of latents")
EXACT = number("exact", RULE, title="matched to itself", unit="share of latents")
KIN = number("kin", RULE, title="matched to a relative", unit="share of latents")
OVERLAP = number("overlap", "held", title="overlap", unit="cosine")
MEAN_L0 = number("mean_l0", "held", title="expected L0", unit="features")
RATES_MISSED = number("rates_missed", "held", title="rates off", unit="features")
EXPLAINED = number("explained_variance", "held", title="EV", unit="variance")
LAST_TENTH = number("last_tenth", "held", title="last tenth", unit="variance")
CONVERGED = number("converged", "held", title="pairs that had converged", unit="share of pairs")


def size(name: str) -> Quantity:
    """A size of an arm: "n_features", "dim", "width"."""
    of_world = lambda values: float(values.rows[0][f"factor_{name}"]) if values.rows else math.nan
    return Quantity(name, name, "count", (Need("overlap", "held"),), of_world)


def effects(outcomes: Mapping[tuple[float, ...], float]) -> dict[str, float]:
    """Main effects and interactions of two, high minus low, from settings in the order of `LEVELS`.

    Each is twice the mean of the outcome times the signs of its factors. NaN where a run of the
    fraction is missing.
    """
    if len(outcomes) < _RUNS:
        return dict.fromkeys(TERMS, math.nan)
    lows = np.array([low for low, _ in LEVELS.values()])
    signs = np.where(np.array(list(outcomes)) > lows, 1, -1)
    values, names = np.array(list(outcomes.values())), list(LEVELS)
    column = lambda term: np.prod([signs[:, names.index(n)] for n in term.split(" x ")], axis=0)
    return {term: 2 * float(np.mean(column(term) * values)) for term in TERMS}


def effect(of: Quantity, term: str) -> Quantity:
    """What a factor, or two together, do to a number over the fraction."""

    def of_world(values: Values) -> float:
        return effects(values.by(*LEVELS))[term]

    return dataclasses.replace(
        of.at(block=True),
        name=f"effect of {term} on {of.name}",
        title=f"effect of {term} on {of.title}",
        of_world=of_world,
        undefined=f"not all {_RUNS} arms of the fraction have a value",
    )


def beyond_recovery(factor: str) -> Quantity:
    """A factor's effect on co-recovery less its effect on what recovery predicts."""
    return effect(CO_RECOVERY, factor) - effect(EXPECTED, factor)


def mediated(factor: str) -> Quantity:
    """Share of a factor's effect on co-recovery that each side's recovery predicts.

    The effect on what two SAEs recovering independently (within tenths by frequency) would have in
    common, over the effect on what they do.
    """
    return combined(
        lambda total, predicted: predicted / total if abs(total) >= _NO_EFFECT else math.nan,
        effect(CO_RECOVERY, factor),
        effect(EXPECTED, factor),
        name=f"mediated {factor}",
        title="effect on expected over effect on actual co-recovery",
        unit="ratio",
        undefined=f"the effect is below {_NO_EFFECT:g} of the features, or the fraction is not "
        "complete",
    )


def difference(of: Quantity, arm: str, other: str = BASE) -> Quantity:
    """An arm's number less another's."""
    return of.at(condition=arm) - of.at(condition=other)


def from_base(of: Quantity) -> Quantity:
    """A number less the base arm's, for a table that says of which arm."""
    return (of - of.at(condition=BASE)).called(of.title)
