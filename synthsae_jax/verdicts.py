"""What may be concluded from an interval about a claim (PROTOCOL, sections 4 and 7)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from scipy import stats as scipy_stats

from synthsae_jax.errors import check_choice, require
from synthsae_jax.stats import Interval

BELOW_BAR = "present, below the bar"
Verdict = Literal["supported", "refuted", "present, below the bar", "undecided"]
VERDICTS: tuple[Verdict, ...] = ("supported", "refuted", BELOW_BAR, "undecided")


@dataclasses.dataclass(frozen=True)
class Hypothesis:
    """What is claimed of a mean, fixed before the data are drawn.

    `effect`: it reaches `smallest_effect` (its sign is the direction). `equivalent`: it lies
    within `margin` of 0. `noninferior`: it is not below -`margin`.
    """

    smallest_effect: float
    margin: float
    claim: str = "effect"

    def __post_init__(self):
        check_choice("claim", self.claim, ("effect", "equivalent", "noninferior"))
        require(
            0 <= self.margin <= abs(self.smallest_effect),
            f"Hypothesis: margin must lie between 0 and the smallest effect "
            f"({abs(self.smallest_effect)}), got {self.margin}.",
        )


def verdict(
    interval: Interval, smallest_effect: float, margin: float, claim: str = "effect"
) -> Verdict:
    """What the whole interval says of a claim: one of `VERDICTS`.

    effect: supported where all of it reaches the smallest effect, refuted where all of it stays
    short of the margin (too small to matter, or the wrong way). equivalent: supported inside
    +-margin, refuted where all of it reaches the smallest effect in size. Between the two bounds
    the effect is there and too small to matter: present, below the bar. noninferior: supported
    above -margin, refuted below it. Points without an interval decide nothing.
    """
    hypothesis = Hypothesis(smallest_effect, margin, claim)
    lo, hi = interval.lo, interval.hi
    if lo is None or hi is None:
        return "undecided"
    if claim == "effect" and smallest_effect < 0:
        lo, hi = -hi, -lo
    size = abs(hypothesis.smallest_effect)
    between = False
    if claim == "effect":
        yes, no = lo >= size, hi < margin
        between = margin < lo and hi < size
    elif claim == "equivalent":
        yes, no = -margin <= lo and hi <= margin, lo >= size or hi <= -size
        between = (margin < lo and hi < size) or (-size < lo and hi < -margin)
    else:
        yes, no = lo >= -margin, hi < -margin
    # with margin = smallest effect an interval on the line would be both
    return "supported" if yes else "refuted" if no else BELOW_BAR if between else "undecided"


def p_value(interval: Interval, null: float = 0.0) -> float:
    """Two-sided p value of the mean against `null`, by t; NaN where there is no interval.

    For none or all of n it is the exact binomial one.
    """
    if not interval.known:
        return math.nan
    distance = abs(interval.estimate - null)
    if interval.method == "exact":
        return _exact_p(interval, null)
    if interval.se == 0:
        return 1.0 if distance == 0 else 0.0
    return float(2 * scipy_stats.t.sf(distance / interval.se, interval.df))


def holm(p_values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Holm-adjusted p values `[K]`, in the order given.

    An undefined (NaN) one stays NaN and still counts as a member of the family.
    """
    p = np.asarray(p_values, np.float64)
    order = np.argsort(np.where(np.isnan(p), np.inf, p), kind="stable")
    steps = np.where(np.isnan(p[order]), 1.0, p[order]) * np.arange(p.size, 0, -1)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return np.where(np.isnan(p), np.nan, adjusted)


def family_verdicts(
    intervals: Mapping[str, Interval], hypotheses: Mapping[str, Hypothesis]
) -> dict[str, Verdict]:
    """Verdicts of one named family: a decision stands only where it survives Holm as well.

    The p value of a member is that against the bound its interval left behind.
    """
    alone = {
        name: verdict(intervals[name], h.smallest_effect, h.margin, h.claim)
        for name, h in hypotheses.items()
    }
    p = [_decision_p(intervals[name], h, alone[name]) for name, h in hypotheses.items()]
    verdicts: dict[str, Verdict] = {}
    for (name, decision), adjusted in zip(alone.items(), holm(p), strict=True):
        # An interval that ends on its bound has p = 1 - level but for rounding.
        survives = adjusted <= 1 - intervals[name].level + 1e-12
        verdicts[name] = decision if survives else "undecided"
    return verdicts


def detectable_effect(interval: Interval, power: float = 0.8) -> float:
    """The true difference from 0 that this many units would find with the given power.

    `(t_(level) + t_(power)) se`; NaN where there is no interval.
    """
    if not interval.known or math.isnan(interval.se):
        return math.nan
    ends = scipy_stats.t.ppf([0.5 + interval.level / 2, power], interval.df)
    return float(ends.sum() * interval.se)


def _decision_p(interval: Interval, hypothesis: Hypothesis, decision: Verdict) -> float:
    if decision == "undecided":
        return 1.0
    estimate, size, margin = interval.estimate, hypothesis.smallest_effect, hypothesis.margin
    if decision == BELOW_BAR:
        # it lies beyond one bound and short of the other: as sure as the less sure of the two
        return max(p_value(interval, math.copysign(b, estimate)) for b in (margin, abs(size)))
    if hypothesis.claim == "effect":
        return p_value(interval, size if decision == "supported" else math.copysign(margin, size))
    if hypothesis.claim == "noninferior":
        return p_value(interval, -margin)
    bound = margin if decision == "supported" else abs(size)
    return p_value(interval, math.copysign(bound, estimate))


def _exact_p(interval: Interval, null: float) -> float:
    """Of none or all of n: the chance of it were `null` the true share, doubled."""
    bound = interval.hi if interval.estimate == 0 else 1 - interval.lo  # type: ignore[operator]
    # `share_interval` turned round
    trials = math.log((1 - interval.level) / 2) / math.log1p(-bound)
    away = null if interval.estimate == 0 else 1 - null
    return 1.0 if away <= 0 else min(1.0, 2 * max(0.0, 1 - away) ** trials)
