"""Intervals for means over few units, and what may be concluded from one (PROTOCOL, section 4).

The unit is what was drawn independently: the world for claims about worlds, the instance within
one. Seeds inside an instance are averaged first. Below 5 units there are points and no interval,
below 20 a t-interval, from 20 on a BCa bootstrap; pairs of instances have a jackknife of their own.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Literal

import numpy as np
from scipy import stats as scipy_stats

from synthsae_jax import resampling
from synthsae_jax.errors import check_choice, require

Verdict = Literal["supported", "refuted", "undecided"]
FEWEST_UNITS = 5  # below: points, no interval
BOOTSTRAP_UNITS = 20  # from here on: BCa instead of t


@dataclasses.dataclass(frozen=True)
class Interval:
    """A mean over units with its uncertainty; `lo` and `hi` are None where there is none."""

    estimate: float  # NaN where no value is defined
    lo: float | None
    hi: float | None
    n: int  # units (for pairs: instances) behind the estimate
    method: str  # "t", "bca", "jackknife", "points" (too few units) or "undefined" (no value)
    excluded: int = 0  # undefined values that were left out
    points: tuple[float, ...] = ()  # the unit means, where there are too few for an interval
    se: float = math.nan
    df: float = math.nan
    level: float = 0.95

    @property
    def known(self) -> bool:
        """Is there an interval, and not only points?"""
        return self.lo is not None and self.hi is not None


def mean_interval(values: Sequence[float] | np.ndarray, level: float = 0.95) -> Interval:
    """Mean of independent units `[n]` with an interval; NaN values are left out and counted.

    Percentiles of a bootstrap over few units are too short (nominal 95 % covers 84 % at n = 5,
    90 % at 10), so those get a t-interval, and fewer than 5 get none.
    """
    require(0 < level < 1, f"Interval: level must lie between 0 and 1, got {level}.")
    values = np.asarray(values, np.float64).ravel()
    finite = values[np.isfinite(values)]
    n, excluded = finite.size, values.size - finite.size
    if n == 0:
        return Interval(math.nan, None, None, 0, "undefined", excluded, level=level)
    mean = float(finite.mean())
    se = float(finite.std(ddof=1)) / math.sqrt(n) if n > 1 else math.nan
    if n < FEWEST_UNITS:
        points = tuple(float(v) for v in finite)
        return Interval(mean, None, None, n, "points", excluded, points, level=level)
    if n < BOOTSTRAP_UNITS:
        return _t_interval(mean, se, n - 1, n, "t", excluded, level)
    lo, hi = resampling.bca_interval(finite, level)
    return Interval(mean, lo, hi, n, "bca", excluded, (), se, n - 1, level)


def nested_interval(
    values: Sequence[float] | np.ndarray, units: Sequence[Hashable], level: float = 0.95
) -> Interval:
    """Interval over units of the means inside them: every unit counts once, however many seeds.

    `units[i]` names the unit of `values[i]`. A unit without a defined value is left out.
    """
    means, excluded = _means_by(values, list(units))
    interval = mean_interval(list(means.values()), level)
    return dataclasses.replace(interval, excluded=excluded)


def dyadic_interval(
    values: Sequence[float] | np.ndarray,
    a: Sequence[Hashable],
    b: Sequence[Hashable],
    level: float = 0.95,
) -> Interval:
    """Mean over pairs of instances, with an interval that knows that pairs share instances.

    `values[i]` belongs to the instances `a[i]` and `b[i]`; several values of one unordered pair
    (seeds, both directions) are averaged first. Resampling pairs as if they were independent
    covers about half of what it says; this is a delete-one-instance jackknife with the pair's own
    noise counted once (`resampling.dyadic_jackknife`) and a t quantile. It covers 93 to 99 % for
    Gaussian effects, the upper end where instances do not differ at all.

    Pairs within one instance answer another question: all pairs of that kind are an ordinary
    nested mean; a mixture of both is refused.
    """
    require(0 < level < 1, f"Interval: level must lie between 0 and 1, got {level}.")
    a, b = list(a), list(b)
    require(
        len(values) == len(a) == len(b),
        f"Dyadic interval: {len(values)} values, but {len(a)} and {len(b)} instances.",
    )
    within = [left == right for left, right in zip(a, b, strict=True)]
    if within and all(within):
        return nested_interval(values, a, level)
    require(
        not any(within),
        f"Dyadic interval: {sum(within)} of {len(a)} pairs lie within one instance; "
        "give those and the pairs between instances separately.",
    )
    ids: dict[Hashable, int] = {}
    numbered = [
        sorted((ids.setdefault(i, len(ids)), ids.setdefault(j, len(ids)))) for i, j in zip(a, b)
    ]
    means, excluded = _means_by(values, [tuple(pair) for pair in numbered])
    if not means:
        return Interval(math.nan, None, None, 0, "undefined", excluded, level=level)
    pair_values = np.array(list(means.values()))
    # numbered again: an instance may have lost all its pairs to undefined values
    pairs = np.unique(np.array(list(means)), return_inverse=True)[1].reshape(-1, 2)
    mean, n = float(pair_values.mean()), int(pairs.max()) + 1
    se, df = resampling.dyadic_jackknife(pair_values, pairs[:, 0], pairs[:, 1])
    # four complete units have three degrees of freedom: one rule for every set of pairs
    if n < FEWEST_UNITS or not df > FEWEST_UNITS - 2 + 1e-6:
        points = tuple(float(v) for v in pair_values)
        return Interval(mean, None, None, n, "points", excluded, points, level=level)
    return _t_interval(mean, se, df, n, "jackknife", excluded, level)


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
    """What the whole interval says of a claim: "supported", "refuted" or "undecided".

    effect: supported where all of it reaches the smallest effect, refuted where all of it stays
    short of the margin (too small to matter, or the wrong way). equivalent: supported inside
    +-margin, refuted where all of it reaches the smallest effect in size. noninferior: supported
    above -margin, refuted below it. Points without an interval decide nothing.
    """
    hypothesis = Hypothesis(smallest_effect, margin, claim)
    lo, hi = interval.lo, interval.hi
    if lo is None or hi is None:
        return "undecided"
    if claim == "effect" and smallest_effect < 0:
        lo, hi = -hi, -lo
    size = abs(hypothesis.smallest_effect)
    if claim == "effect":
        yes, no = lo >= size, hi < margin
    elif claim == "equivalent":
        yes, no = -margin <= lo and hi <= margin, lo >= size or hi <= -size
    else:
        yes, no = lo >= -margin, hi < -margin
    # with margin = smallest effect an interval of width 0 on the line would be both
    return "supported" if yes else "refuted" if no else "undecided"


def p_value(interval: Interval, null: float = 0.0) -> float:
    """Two-sided p value of the mean against `null`, by t; NaN where there is no interval."""
    if not interval.known:
        return math.nan
    distance = abs(interval.estimate - null)
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
    if not interval.known:
        return math.nan
    ends = scipy_stats.t.ppf([0.5 + interval.level / 2, power], interval.df)
    return float(ends.sum() * interval.se)


def _decision_p(interval: Interval, hypothesis: Hypothesis, decision: Verdict) -> float:
    if decision == "undecided":
        return 1.0
    estimate, size, margin = interval.estimate, hypothesis.smallest_effect, hypothesis.margin
    if hypothesis.claim == "effect":
        return p_value(interval, size if decision == "supported" else math.copysign(margin, size))
    if hypothesis.claim == "noninferior":
        return p_value(interval, -margin)
    bound = margin if decision == "supported" else abs(size)
    return p_value(interval, math.copysign(bound, estimate))


def _t_interval(
    mean: float, se: float, df: float, n: int, method: str, excluded: int, level: float
) -> Interval:
    reach = float(scipy_stats.t.ppf(0.5 + level / 2, df)) * se
    return Interval(mean, mean - reach, mean + reach, n, method, excluded, (), se, df, level)


def _means_by(values, groups: list) -> tuple[dict[Hashable, float], int]:
    """Mean of the finite values of each group, and how many values were not finite."""
    values = np.asarray(values, np.float64).ravel()
    require(len(groups) == values.size, f"Interval: {values.size} values, but {len(groups)} units.")
    members: dict[Hashable, list[float]] = {}
    excluded = 0
    for value, group in zip(values, groups, strict=True):
        if np.isfinite(value):
            members.setdefault(group, []).append(float(value))
        else:
            excluded += 1
    return {group: float(np.mean(inside)) for group, inside in members.items()}, excluded
