"""How many worlds a claim takes, against counted t-tests and against each other."""

import numpy as np
import pytest
from scipy import stats as scipy_stats

from synthsae_jax import power, stats
from synthsae_jax.errors import ConfigError


@pytest.mark.parametrize(("n", "distance", "family"), [(5, 1.0, 1), (8, 0.8, 3), (20, 0.5, 1)])
def test_power_is_how_often_the_interval_excludes_the_bound(n, distance, family):
    samples = np.random.default_rng(n).normal(distance, 1.0, (20_000, n))
    p = scipy_stats.ttest_1samp(samples, 0.0, axis=1).pvalue
    above = samples.mean(1) > 0
    counted = np.mean((p <= 0.05 / family) & above)
    assert power.power_of(n, 1.0, distance, family) == pytest.approx(counted, abs=0.012)


def test_units_needed_is_the_least_that_reaches_the_power():
    for sd, distance, family in ((1.0, 1.0, 1), (0.3, 0.1, 4), (0.05, 0.2, 12)):
        n = power.units_needed(sd, distance, family)
        assert n is not None
        assert power.power_of(n, sd, distance, family) >= 0.8
        assert n == stats.FEWEST_UNITS or power.power_of(n - 1, sd, distance, family) < 0.8
    # a textbook case: half a standard deviation, two-sided, 80 %: 34 units
    assert power.units_needed(1.0, 0.5) == 34


def test_a_family_costs_units_and_no_number_of_them_decides_nothing():
    assert power.units_needed(1.0, 0.5, family=6) > power.units_needed(1.0, 0.5)
    assert power.units_needed(1.0, 1e-4) is None
    assert power.units_needed(1.0, 0.0) is None
    assert power.units_needed(0.01, 5.0) == stats.FEWEST_UNITS


@pytest.mark.parametrize(
    ("arguments", "message"), [((0.0, 1.0), "sd"), ((1.0, 1.0, 0), "family"), ((0.0, 0.0), "sd")]
)
def test_plans_from_nothing_are_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        power.units_needed(*arguments)
