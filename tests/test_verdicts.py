"""Verdicts follow from intervals, alone and in families."""

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from synthsae_jax import stats, verdicts
from synthsae_jax.errors import ConfigError
from synthsae_jax.stats import Interval
from synthsae_jax.verdicts import Hypothesis


def between(lo: float, hi: float) -> Interval:
    """An interval as a t-interval of 10 units would have it."""
    se = (hi - lo) / 2 / scipy_stats.t.ppf(0.975, 9)
    return Interval((lo + hi) / 2, lo, hi, 10, "t", se=se, df=9)


@pytest.mark.parametrize(
    ("claim", "smallest", "lo", "hi", "expected"),
    [
        ("effect", 0.1, 0.11, 0.3, "supported"),
        ("effect", 0.1, 0.05, 0.3, "undecided"),
        ("effect", 0.1, 0.03, 0.09, "present, below the bar"),
        ("effect", 0.1, 0.01, 0.09, "undecided"),
        ("effect", -0.1, -0.09, -0.03, "present, below the bar"),
        ("effect", 0.1, -0.3, 0.01, "refuted"),
        ("effect", 0.1, -0.3, -0.2, "refuted"),
        ("effect", -0.1, -0.3, -0.2, "supported"),
        ("effect", -0.1, 0.2, 0.3, "refuted"),
        ("equivalent", 0.1, -0.01, 0.015, "supported"),
        ("equivalent", 0.1, -0.01, 0.05, "undecided"),
        ("equivalent", 0.1, 0.03, 0.09, "present, below the bar"),
        ("equivalent", 0.1, -0.09, -0.03, "present, below the bar"),
        ("equivalent", 0.1, -0.2, -0.12, "refuted"),
        ("noninferior", 0.1, -0.01, 0.5, "supported"),
        ("noninferior", 0.1, -0.05, 0.5, "undecided"),
        ("noninferior", 0.1, -0.2, -0.03, "refuted"),
    ],
)
def test_verdicts_follow_from_the_whole_interval(claim, smallest, lo, hi, expected):
    assert verdicts.verdict(between(lo, hi), smallest, 0.02, claim) == expected


def test_points_decide_nothing():
    assert verdicts.verdict(stats.mean_interval([0.9, 0.9]), 0.1, 0.02) == "undecided"


def test_a_hypothesis_checks_itself():
    with pytest.raises(ConfigError, match="margin"):
        Hypothesis(0.1, 0.2)
    with pytest.raises(ConfigError, match="Did you mean 'equivalent'"):
        Hypothesis(0.1, 0.02, "equivalence")


def test_p_value_agrees_with_scipy_and_with_the_interval():
    values = np.random.default_rng(11).normal(0.5, 1.0, 12)
    interval = stats.mean_interval(values)
    expected = scipy_stats.ttest_1samp(values, 0.1).pvalue
    assert verdicts.p_value(interval, 0.1) == pytest.approx(expected, rel=1e-9)
    assert verdicts.p_value(interval, interval.lo) == pytest.approx(0.05, rel=1e-9)
    assert math.isnan(verdicts.p_value(stats.mean_interval([1.0, 2.0])))


def test_holm_by_hand():
    adjusted = verdicts.holm([0.01, 0.04, 0.03, 0.005])
    np.testing.assert_allclose(adjusted, [0.03, 0.06, 0.06, 0.02])
    # a member that could not be tested makes the others' bar no lower
    np.testing.assert_allclose(verdicts.holm([0.01, math.nan]), [0.02, math.nan])


def test_a_family_keeps_only_decisions_that_survive_holm():
    hypotheses = {name: Hypothesis(0.1, 0.02) for name in "abc"}
    just = between(0.1001, 0.3)  # p is just under .05 against .1
    clear = between(0.4, 0.5)
    alone = verdicts.family_verdicts({"a": just}, {"a": hypotheses["a"]})
    assert alone == {"a": "supported"}
    together = verdicts.family_verdicts(
        {"a": just, "b": clear, "c": between(-0.5, -0.4)}, hypotheses
    )
    assert together == {"a": "supported", "b": "supported", "c": "refuted"}
    crowded = verdicts.family_verdicts({"a": just, "b": just, "c": clear}, hypotheses)
    assert crowded == {"a": "undecided", "b": "undecided", "c": "supported"}


def test_below_the_bar_has_to_survive_holm_on_both_sides():
    # just beyond the margin: its neighbours in the family cost it its verdict
    near = between(0.0201, 0.06)
    far = between(0.4, 0.5)
    tests = {name: Hypothesis(0.1, 0.02) for name in "abc"}
    assert verdicts.family_verdicts({"a": near}, {"a": tests["a"]})["a"] == verdicts.BELOW_BAR
    together = verdicts.family_verdicts({"a": near, "b": near, "c": near}, tests)
    assert set(together.values()) == {"undecided"}
    assert verdicts.family_verdicts({"a": between(0.05, 0.06), "b": far, "c": far}, tests)["a"] == (
        verdicts.BELOW_BAR
    )


def test_detectable_effect_is_found_as_often_as_it_says():
    rng = np.random.default_rng(12)
    n, sd = 12, 1.0
    effect = (scipy_stats.t.ppf(0.975, n - 1) + scipy_stats.t.ppf(0.8, n - 1)) * sd / n**0.5
    samples = [stats.mean_interval(rng.normal(effect, sd, n)) for _ in range(2000)]
    # sd is estimated, so each sample's own answer varies; its mean is (almost) the true one
    mean = np.mean([verdicts.detectable_effect(i) for i in samples])
    assert mean == pytest.approx(effect, rel=0.04)
    assert np.mean([i.lo > 0 for i in samples]) == pytest.approx(0.8, abs=0.05)
