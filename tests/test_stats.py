"""Intervals cover what they say, on planted data; verdicts follow from the interval alone."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from synthsae_jax import resampling, stats, verdicts
from synthsae_jax.errors import ConfigError
from synthsae_jax.stats import Interval

# 2000 repetitions: one standard error of a coverage near .95 is .005, so the band of PROTOCOL
# section 4 (.92 to .98) lies 5 or more of them from it.
REPETITIONS = 2000
BAND = (0.92, 0.98)


def covers(interval: Interval, truth: float) -> bool:
    return interval.lo <= truth <= interval.hi


def test_too_few_units_give_points_and_no_interval():
    interval = stats.mean_interval([0.4, 0.6, math.nan, 0.5])
    assert (interval.lo, interval.hi, interval.method) == (None, None, "points")
    assert interval.points == (0.4, 0.6, 0.5)
    assert interval.n == 3
    assert interval.excluded == 1
    assert interval.estimate == pytest.approx(0.5)


def test_no_value_is_undefined():
    interval = stats.mean_interval([math.nan, math.inf])
    assert interval.method == "undefined"
    assert math.isnan(interval.estimate)
    assert interval.n == 0
    assert interval.excluded == 2


def test_five_to_nineteen_units_give_the_t_interval():
    values = np.random.default_rng(0).normal(size=7)
    interval = stats.mean_interval(values, level=0.9)
    expected = scipy_stats.t.interval(0.9, 6, loc=values.mean(), scale=scipy_stats.sem(values))
    np.testing.assert_allclose((interval.lo, interval.hi), expected, rtol=1e-12)
    assert interval.method == "t"


def test_twenty_units_give_bca_which_repeats_and_moves_with_the_data():
    values = np.random.default_rng(1).exponential(size=24)
    interval = stats.mean_interval(values)
    assert interval.method == "bca"
    assert interval == stats.mean_interval(values)
    moved = stats.mean_interval(3 * values + 2)
    np.testing.assert_allclose(
        (moved.lo, moved.hi), (3 * interval.lo + 2, 3 * interval.hi + 2), rtol=1e-12
    )
    # a long right tail reaches further up than down
    assert interval.hi - interval.estimate > interval.estimate - interval.lo


def test_bca_is_close_to_scipys_where_units_are_many():
    values = np.random.default_rng(2).exponential(size=400)
    ours = resampling.bca_interval(values, resamples=20_000)
    theirs = scipy_stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, rng=np.random.default_rng(3)
    ).confidence_interval
    width = theirs.high - theirs.low
    # an end of a 20,000-fold bootstrap wanders by about 1 % of the width, twice over
    np.testing.assert_allclose(ours, (theirs.low, theirs.high), atol=0.05 * width)


def test_constant_values_have_an_interval_of_width_zero():
    for n in (5, 30):
        interval = stats.mean_interval(np.full(n, 0.25))
        assert (interval.lo, interval.hi) == (0.25, 0.25)


@pytest.mark.parametrize("trials", [5, 60, 1000])
def test_none_and_all_of_n_have_the_exact_binomial_bound(trials):
    for share, successes in ((0.0, 0), (1.0, trials)):
        exact = scipy_stats.binomtest(successes, trials).proportion_ci(0.95, method="exact")
        interval = stats.share_interval([share] * 6, trials)
        assert interval.method == "exact"
        np.testing.assert_allclose((interval.lo, interval.hi), (exact.low, exact.high), atol=1e-12)
        # its p value turns at its own end, and is scipy's for any other null
        end = interval.hi if share == 0 else interval.lo
        assert verdicts.p_value(interval, end) == pytest.approx(0.05, rel=1e-9)
        null = 0.3
        expected = min(1.0, 2 * (0.7 if share == 0 else 0.3) ** trials)
        assert verdicts.p_value(interval, null) == pytest.approx(expected, rel=1e-6)
    # 0 of 60 leaves room for 6 %, so it does not show that a rate stays below 5
    assert stats.share_interval([0.0] * 5, 60).hi == pytest.approx(0.0596, abs=1e-4)
    assert verdicts.verdict(stats.share_interval([0.0] * 5, 60), 0.1, 0.05, "equivalent") == (
        "undecided"
    )
    assert verdicts.verdict(stats.share_interval([0.0] * 5, 60), 0.1, 0.1, "equivalent") == (
        "supported"
    )


def test_shares_with_spread_are_means_like_others():
    values = [0.0, 0.1, 0.0, 0.2, 0.0]
    assert stats.share_interval(values, 50) == stats.mean_interval(values)
    assert stats.share_interval([0.5] * 6, 60) == stats.mean_interval([0.5] * 6)
    assert stats.share_interval([0.0] * 3, 60).method == "points"


@pytest.mark.parametrize("n", [5, 8, 20])
def test_mean_interval_covers(n):
    rng = np.random.default_rng(10 + n)
    hits = [covers(stats.mean_interval(rng.normal(1.0, 2.0, n)), 1.0) for _ in range(REPETITIONS)]
    assert BAND[0] < np.mean(hits) < BAND[1]


def test_nested_interval_counts_each_unit_once():
    values = [1.0, 1.0, 1.0, 2.0, 3.0, 4.0, 5.0, math.nan, math.nan]
    units = ["a", "a", "a", "b", "c", "d", "e", "e", "f"]
    interval = stats.nested_interval(values, units)
    expected = stats.mean_interval([1.0, 2.0, 3.0, 4.0, 5.0])
    assert (interval.lo, interval.hi, interval.n) == (expected.lo, expected.hi, 5)
    assert interval.excluded == 2


def three_level_pairs(rng, n: int, seeds: int = 3):
    """Pair values with effects of instances, of runs inside them, of pairs and of run pairs.

    `mu = 0`. Run `s` of one instance meets run `s` of every other, so that pairs share runs too.
    """
    instance = rng.normal(size=n)
    run = 0.7 * rng.normal(size=(n, seeds))
    a, b = np.triu_indices(n, 1)
    values = (
        (instance[a] + instance[b] + 0.7 * rng.normal(size=a.size))[:, None]
        + run[a]
        + run[b]
        + 0.5 * rng.normal(size=(a.size, seeds))
    )
    return values.ravel(), np.repeat(a, seeds), np.repeat(b, seeds)


@pytest.mark.parametrize("n", [5, 8, 20])
def test_dyadic_interval_covers_on_three_levels(n):
    rng = np.random.default_rng(20 + n)
    hits = [
        covers(stats.dyadic_interval(*three_level_pairs(rng, n)), 0.0) for _ in range(REPETITIONS)
    ]
    assert BAND[0] < np.mean(hits) < BAND[1]


@pytest.mark.parametrize("n", [5, 8, 20])
def test_worlds_as_top_unit_cover_on_three_levels(n):
    """World effects above the instances and seeds: pairs are averaged inside their world."""
    rng = np.random.default_rng(30 + n)
    hits = []
    for _ in range(REPETITIONS):
        worlds = rng.normal(size=n)
        inside = [three_level_pairs(rng, 4, seeds=2)[0] for _ in range(n)]
        values = np.concatenate([w + v for w, v in zip(worlds, inside, strict=True)])
        units = np.repeat(np.arange(n), inside[0].size).tolist()
        hits.append(covers(stats.nested_interval(values, units), 0.0))
    assert BAND[0] < np.mean(hits) < BAND[1]


def test_treating_pairs_as_independent_covers_far_too_little():
    """Why the jackknife is there: a t-interval over the 45 pairs of 10 instances."""
    rng = np.random.default_rng(4)
    hits = []
    for _ in range(500):
        instance = rng.normal(size=10)
        a, b = np.triu_indices(10, 1)
        values = instance[a] + instance[b]
        reach = 2.0 * values.std(ddof=1) / math.sqrt(values.size)
        hits.append(abs(values.mean()) < reach)
    assert np.mean(hits) < 0.75


def test_dyadic_equals_the_t_interval_where_pairs_only_add_their_instances():
    """y_ab = u_a + u_b: its mean is twice the mean of u, and so is its standard error."""
    u = np.random.default_rng(5).normal(size=9)
    a, b = np.triu_indices(9, 1)
    interval = stats.dyadic_interval(u[a] + u[b], a, b)
    expected = stats.mean_interval(2 * u)
    assert interval.method == "jackknife"
    assert interval.n == 9
    np.testing.assert_allclose(
        (interval.lo, interval.hi, interval.df), (expected.lo, expected.hi, 8), rtol=1e-9
    )


def test_dyadic_equals_the_t_interval_where_no_instance_is_in_two_pairs():
    values = np.random.default_rng(6).normal(size=7)
    interval = stats.dyadic_interval(values, np.arange(7), np.arange(7, 14))
    expected = stats.mean_interval(values)
    np.testing.assert_allclose(
        (interval.lo, interval.hi, interval.df), (expected.lo, expected.hi, 6), rtol=1e-9
    )


def test_dyadic_variance_is_unbiased():
    """Over many draws the mean of se^2 is the variance of the mean, 4 u^2/n + 2 e^2/(n (n-1))."""
    rng = np.random.default_rng(7)
    n, u, e = 6, 1.0, 0.5
    a, b = np.triu_indices(n, 1)
    variances = []
    for _ in range(3000):
        effect = u * rng.normal(size=n)
        values = effect[a] + effect[b] + e * rng.normal(size=a.size)
        variances.append(resampling.dyadic_jackknife(values, a, b).se ** 2)
    truth = 4 * u**2 / n + 2 * e**2 / (n * (n - 1))
    # se^2 is about chi-squared with 5 degrees: relative sd .63, so 4.5 sigma of 3000 is 5 %
    assert np.mean(variances) == pytest.approx(truth, rel=0.06)


def test_dyadic_does_not_depend_on_names_order_or_direction():
    rng = np.random.default_rng(8)
    values, a, b = three_level_pairs(rng, 6)
    reference = stats.dyadic_interval(values, a, b)
    names = np.array([f"instance {i}" for i in "fbdace"])
    order = rng.permutation(values.size)
    other = stats.dyadic_interval(values[order], names[b[order]], names[a[order]])
    np.testing.assert_allclose(
        (other.estimate, other.lo, other.hi),
        (reference.estimate, reference.lo, reference.hi),
        rtol=1e-9,
    )


def test_dyadic_averages_inside_a_pair_and_leaves_undefined_values_out():
    a, b = (np.array(side) for side in zip(*itertools.combinations(range(6), 2), strict=True))
    values = np.random.default_rng(9).normal(size=a.size)
    reference = stats.dyadic_interval(values, a, b)
    twice = stats.dyadic_interval(
        np.concatenate([values - 1, values + 1, [math.nan]]), [*a, *b, 0], [*b, *a, 99]
    )
    np.testing.assert_allclose((twice.lo, twice.hi), (reference.lo, reference.hi), rtol=1e-9)
    assert twice.n == 6
    assert twice.excluded == 1


def test_dyadic_with_few_instances_gives_points():
    a, b = np.triu_indices(4, 1)
    interval = stats.dyadic_interval(np.arange(6.0), a, b)
    assert interval.method == "points"
    assert interval.n == 4
    assert len(interval.points) == 6
    # four pairs of eight instances are four units, not eight
    assert stats.dyadic_interval(np.arange(4.0), range(4), range(4, 8)).method == "points"
    # a star: without its centre nothing is left to compare
    assert stats.dyadic_interval(np.arange(8.0), [0] * 8, range(1, 9)).method == "points"


def test_pairs_within_and_between_instances_do_not_mix():
    with pytest.raises(ConfigError, match="1 of 2 pairs lie within one instance"):
        stats.dyadic_interval([1.0, 2.0], [0, 0], [0, 1])
    within = stats.dyadic_interval(np.arange(6.0), range(6), range(6))
    assert within == stats.mean_interval(np.arange(6.0))


def test_lengths_and_levels_are_checked():
    with pytest.raises(ConfigError, match="2 values, but 1 units"):
        stats.nested_interval([1.0, 2.0], ["a"])
    with pytest.raises(ConfigError, match="2 values, but 1 and 2"):
        stats.dyadic_interval([1.0, 2.0], [0], [1, 2])
    with pytest.raises(ConfigError, match="got 95"):
        stats.mean_interval([1.0], level=95)
