"""How many units it takes to decide a claim, before any is drawn (PROTOCOL, section 7)."""

from __future__ import annotations

import math

from scipy import stats as scipy_stats

from synthsae_jax.errors import require
from synthsae_jax.stats import FEWEST_UNITS

MOST_UNITS = 10_000  # a claim that takes more is not decided by more worlds


def power_of(n: int, sd: float, distance: float, family: int = 1, level: float = 0.95) -> float:
    """Probability that a t-interval of `n` units excludes a bound that the mean is away from.

    `distance` is that between the true mean and the bound, `sd` the spread of a unit about the
    mean, both in the quantity's unit. `family`: claims that Holm's correction takes together; the
    first of them faces `(1 - level) / family`, and that is what each is planned for. The
    non-central t distribution is exact for Gaussian units.
    """
    require(n >= 2, f"Power: n must be at least 2, got {n}.")
    require(sd > 0, f"Power: sd must be above 0, got {sd}.")
    require(family >= 1, f"Power: family must be at least 1, got {family}.")
    critical = scipy_stats.t.isf((1 - level) / (2 * family), n - 1)
    return float(scipy_stats.nct.sf(critical, n - 1, abs(distance) / sd * math.sqrt(n)))


def units_needed(
    sd: float, distance: float, family: int = 1, power: float = 0.8, level: float = 0.95
) -> int | None:
    """The fewest units that decide with the given power; None where `MOST_UNITS` do not.

    Never below the five that an interval takes. A spread of 0 is a pilot's luck, not a plan, and
    is refused.
    """
    require(0 < power < 1, f"Power: power must lie between 0 and 1, got {power}.")
    if not abs(distance) > 0:
        require(sd > 0, f"Power: sd must be above 0, got {sd}.")
        return None
    enough = lambda n: power_of(n, sd, distance, family, level) >= power
    lo, hi = FEWEST_UNITS - 1, FEWEST_UNITS  # the answer lies in (lo, hi]
    while not enough(hi):
        if hi >= MOST_UNITS:
            return None
        lo, hi = hi, min(2 * hi, MOST_UNITS)
    while hi - lo > 1:
        middle = (lo + hi) // 2
        lo, hi = (lo, middle) if enough(middle) else (middle, hi)
    return hi
