"""The validity tests on measures whose faults are planted."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import linregress

from synthsae_jax.errors import ConfigError
from synthsae_jax.matching.validity import (
    invariance_error,
    leakage,
    monotone,
    ordering,
    rejection_rate,
    sample_error,
    slope,
    validity_tests,
    violation_rate,
)

NAN = math.nan


def test_monotone():
    levels = np.linspace(0, 1, 11)
    # any rising function will do
    assert monotone(levels, np.exp(3 * levels)) == pytest.approx(1)
    assert monotone(levels, -levels) == pytest.approx(-1)
    assert monotone([0, 1, 2, 3], [0.0, 2.0, 1.0, 3.0]) == pytest.approx(1 - 6 * 2 / (4 * 15))
    # an undefined score is left out
    assert monotone([0, 1, 2, 3], [0.0, 1.0, NAN, 2.0]) == pytest.approx(1)
    assert math.isnan(monotone(levels, np.ones(11)))
    assert math.isnan(monotone([0, 1], [0, 1]))


def test_slope_is_of_the_error_not_of_the_score():
    rng = np.random.default_rng(0)
    width, truth = np.log(rng.uniform(0.25, 4, 40)), rng.random(40)
    assert slope(width, truth, truth) == pytest.approx(0)
    assert slope(width, truth + 0.3 * width, truth) == pytest.approx(0.3)
    noisy = rng.random(40)
    assert slope(width, noisy) == pytest.approx(linregress(width, noisy).slope)
    assert math.isnan(slope([1.0, 1.0], [0.1, 0.2]))


def test_rates_and_differences_by_hand():
    assert rejection_rate([0.01, 0.05, 0.5, NAN]) == pytest.approx(2 / 3)
    assert math.isnan(rejection_rate([NAN]))
    assert leakage([0.5, 0.7, NAN], [0.4, 0.4, 0.1]) == pytest.approx(0.2)
    assert sample_error([0.1, 0.5], [0.4, 0.1]) == pytest.approx(math.sqrt((0.09 + 0.16) / 2))
    assert invariance_error([0.1, 0.5], [0.1, 0.2]) == pytest.approx(0.3)
    # a score that vanishes under a rotation is no invariant one
    assert math.isnan(invariance_error([0.1], [NAN]))
    assert math.isnan(leakage([], []))
    assert math.isnan(sample_error([NAN], [1.0]))


def test_ordering():
    assert ordering([0.8, 0.9], [0.1, 0.2, 0.3]) == 1.0
    assert violation_rate([0.8, 0.9], [0.1, 0.2, 0.3]) == 0.0
    rng = np.random.default_rng(0)
    sharing, unrelated = rng.integers(2, 9, 12) / 9, rng.integers(0, 6, 15) / 9
    wrong = [
        (u > s) + (u == s) / 2 for s, u in itertools.product(sharing.tolist(), unrelated.tolist())
    ]
    assert violation_rate(sharing, unrelated) == pytest.approx(np.mean(wrong))
    # positives rank 1 and 3 of 3
    assert ordering([0.9, 0.1], [0.5]) == pytest.approx((1 + 2 / 3) / 2)
    assert math.isnan(ordering([0.5], []))
    assert math.isnan(violation_rate([NAN], [0.5]))


def test_unlike_columns_are_refused():
    with pytest.raises(ConfigError, match="two columns alike"):
        monotone([1, 2], [1, 2, 3])
    with pytest.raises(ConfigError, match=r"in \[0, 1\]"):
        rejection_rate([2.0])


@pytest.mark.parametrize("name", validity_tests.names())
def test_each_says_what_is_right(name):
    explanation = validity_tests.explanation(name)
    assert explanation is not None
    assert explanation.what
    assert explanation.undefined
    assert "is right" in explanation.range
