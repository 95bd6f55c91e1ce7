"""Intervals for means over few units (PROTOCOL, section 4).

The unit is what was drawn independently: the world for claims about worlds, the instance within
one. Seeds inside an instance are averaged first. Below 5 units there are points and no interval,
below 20 a t-interval, from 20 on a BCa bootstrap; pairs of instances have a jackknife of their own.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Hashable, Iterable, Sequence

import numpy as np
from scipy import stats as scipy_stats

from synthsae_jax import resampling
from synthsae_jax.errors import require

FEWEST_UNITS = 5  # below: points, no interval
BOOTSTRAP_UNITS = 20  # from here on: BCa instead of t


@dataclasses.dataclass(frozen=True)
class Interval:
    """A mean over units with its uncertainty; `lo` and `hi` are None where there is none."""

    estimate: float  # NaN where no value is defined
    lo: float | None
    hi: float | None
    n: int  # units (for pairs: instances) behind the estimate
    # "t", "bca", "jackknife", "exact" (a share with none or all of n), "points" (too few units) or
    # "undefined" (no value)
    method: str
    excluded: int = 0  # undefined values that were left out
    points: tuple[float, ...] = ()  # the unit means, where there are too few for an interval
    se: float = math.nan
    df: float = math.nan
    level: float = 0.95

    @property
    def known(self) -> bool:
        """Is there an interval, and not only points?"""
        return self.lo is not None and self.hi is not None


def defined_mean(values: Iterable[float]) -> float:
    """Mean of the finite values; NaN where there is none."""
    array = np.asarray(values if isinstance(values, np.ndarray) else list(values), np.float64)
    finite = array[np.isfinite(array)]
    return float(finite.mean()) if finite.size else math.nan


def ratio(part: float, whole: float) -> float:
    """A part of a whole that is counted; NaN of nothing."""
    return float(part) / float(whole) if whole > 0 else math.nan


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


def share_interval(
    values: Sequence[float] | np.ndarray, trials: int, level: float = 0.95
) -> Interval:
    """`mean_interval` of shares, with the exact bound where it is none or all of what was tried.

    `trials` is how many observations are behind the shares. Where every unit's share is 0 (or 1)
    the bound is Clopper and Pearson's for 0 (or all) of `trials`: 0 of 60 leaves room for 6 %.
    It takes trials as independent, so it is too short by what those of one world have in common,
    of which units without spread tell nothing.
    """
    interval = mean_interval(values, level)
    alike = interval.known and interval.lo == interval.hi
    if not alike or interval.estimate not in (0.0, 1.0) or trials < 1:
        return interval
    # two-sided, as all intervals are: (1 - level) / 2 on this side
    reach = 1 - ((1 - level) / 2) ** (1 / trials)
    lo, hi = (0.0, reach) if interval.estimate == 0 else (1 - reach, 1.0)
    return dataclasses.replace(interval, lo=lo, hi=hi, method="exact", se=math.nan)


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
