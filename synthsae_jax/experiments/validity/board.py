"""The board of validity@1: scores ranked by their own test, then on the pairs that all answer."""

from __future__ import annotations

import dataclasses

from synthsae_jax.experiments.validity.arms import PROTOCOLS
from synthsae_jax.experiments.validity.quantities import (
    ALPHA,
    REAL,
    SCORES,
    TRUTHS,
    false_positives,
    on_compared_pairs,
    spearman,
)
from synthsae_jax.suite.quantity import Estimate, Observed, Quantity

HOLDS, UNTESTED, OVER = range(3)
DEFAULT = next(iter(TRUTHS))


@dataclasses.dataclass(frozen=True)
class Standing:
    """A score's place on the board; `ranks` by truth, empty where nothing ranks it."""

    name: str
    false_positives: Estimate | None  # None: it has no test
    compared: Estimate  # rank correlation with the truth, on the pairs that all are compared on
    answered: Estimate  # the same, on every pair that it answers
    ranks: dict[str, int]

    @property
    def rank(self) -> int | None:
        """Under the default truth."""
        return self.ranks.get(DEFAULT)


def quantities() -> list[Quantity]:
    """What the board reads."""
    of_truth = [on_compared_pairs(spearman(name, truth)) for name in SCORES for truth in TRUTHS]
    answered = [spearman(name) for name in SCORES]
    return [*map(false_positives, PROTOCOLS), *answered, *of_truth]


def board(observed: Observed) -> list[Standing]:
    """Scores that were observed, best first; those that nothing ranks come last, then controls.

    A score whose test keeps to twice the nominal rate comes before one whose test says nothing,
    and that before one that calls chance a finding more often. Then the rank correlation with the
    truth decides, on the pairs that all scores are compared on: over other pairs, such as those
    without a common feature, of which some scores say nothing, it would be another number. Where it
    is undefined there is no rank.
    """
    names = [name for name in SCORES if observed.estimate(SCORES[name]).total]
    rates = {n: observed.estimate(false_positives(n)) for n in names if n in PROTOCOLS}
    by_truth = {
        truth: {name: observed.estimate(on_compared_pairs(spearman(name, truth))) for name in names}
        for truth in TRUTHS
    }
    ranks: dict[str, dict[str, int]] = {name: {} for name in names}
    for truth, estimates in by_truth.items():
        ranked = [name for name in names if name in REAL and estimates[name].known]
        ranked.sort(key=lambda name, e=estimates: (tier(rates.get(name)), -e[name].value))
        for rank, name in enumerate(ranked, start=1):
            ranks[name][truth] = rank
    standings = [
        Standing(
            name,
            rates.get(name),
            by_truth[DEFAULT][name],
            observed.estimate(spearman(name)),
            ranks[name],
        )
        for name in names
    ]
    last = len(names) + 1
    return sorted(standings, key=lambda s: (s.name not in REAL, s.rank or last))


def tier(rate: Estimate | None) -> int:
    """What a score's own test is worth; one that answers on less than half says nothing."""
    if rate is None or not rate.known or 2 * rate.defined < rate.total:
        return UNTESTED
    return OVER if rate.value > 2 * ALPHA else HOLDS
