"""Calibration and detection against scikit-learn, loops, and numbers worked out by hand."""

import math

import numpy as np
import pytest
from sklearn import metrics as reference

from synthsae_jax.errors import ConfigError
from synthsae_jax.matching.calibration import (
    Threshold,
    brier,
    calibration_error,
    over_units,
    precision_threshold,
    precision_thresholds,
    reliability,
    tokens_needed,
)
from synthsae_jax.matching.detection import (
    auroc,
    average_precision,
    co_recovery,
    frequency_bin,
    sharedness,
)
from synthsae_jax.stats import mean_interval


@pytest.fixture(scope="module")
def pairs():
    """Probabilities that are right, in tenths so that there are ties, and what came of them."""
    rng = np.random.default_rng(0)
    p = rng.integers(0, 11, 4000) / 10
    return p, rng.random(4000) < p


def test_detection_equals_scikit_learn(pairs):
    p, true = (v[:300] for v in pairs)
    assert auroc(p, true) == pytest.approx(reference.roc_auc_score(true, p))
    assert average_precision(p, true) == pytest.approx(reference.average_precision_score(true, p))
    assert math.isnan(auroc([0.1, 0.2], [True, True]))
    assert math.isnan(average_precision([0.1, 0.2], [False, False]))
    with pytest.raises(ConfigError, match="a score is NaN"):
        auroc([math.nan, 1.0], [True, False])


def test_brier_adds_up_from_its_parts(pairs):
    p, true = pairs
    for bins in (None, 4, 10):
        found = brier(p, true, bins=bins)
        assert found.score == pytest.approx(reference.brier_score_loss(true, p))
        parts = found.reliability - found.resolution + found.uncertainty + found.within
        assert found.score == pytest.approx(parts)
    exact = brier(p, true)
    assert exact.within == pytest.approx(0, abs=1e-12)
    # calibrated: eleven bins of about 360, whose shares are off by about sqrt(.15 / 360) = .02
    assert exact.reliability < 2e-3
    assert exact.uncertainty == pytest.approx(true.mean() * (1 - true.mean()))
    constant = brier(np.full(true.size, true.mean()), true)
    assert constant.resolution == pytest.approx(0)
    assert constant.score == pytest.approx(constant.uncertainty)
    assert all(math.isnan(v) for v in brier([], []))


@pytest.mark.parametrize("equal_size", [False, True])
def test_calibration_error_equals_its_definition(pairs, equal_size):
    p, true = pairs
    of_width = np.array([min(int(v * 10), 9) for v in p])
    place = frequency_bin(p, 10) if equal_size else of_width
    gaps = [(place == b).sum() * abs((true - p)[place == b].mean()) for b in set(place.tolist())]
    found = calibration_error(p, true, equal_size=equal_size)
    assert found == pytest.approx(sum(gaps) / p.size)
    assert found < 0.03
    # a score that is always .2 too sure
    assert calibration_error(np.full(500, 0.9), np.arange(500) < 350) == pytest.approx(0.2)
    assert math.isnan(calibration_error([], []))


def test_errors_are_for_probabilities_only():
    for error in (brier, calibration_error):
        with pytest.raises(ConfigError, match=r"in \[0, 1\]"):
            error([0.5, 2.0], [True, False])
        with pytest.raises(ConfigError, match="true must be bool"):
            error([0.5, 0.2], [1, 3])


def test_reliability_cells_hold_every_pair_once(pairs):
    p, true = pairs
    rng = np.random.default_rng(1)
    firings = rng.integers(1, 50, p.size)
    units = rng.integers(0, 6, p.size).tolist()
    cells = reliability(p, true, firings, bins=4, frequency_bins=3, units=units)
    assert sum(cell.n for cell in cells) == p.size
    assert {cell.frequency_bin for cell in cells} == {0, 1, 2}
    place = frequency_bin(firings, 3)
    for cell in cells:
        inside = (place == cell.frequency_bin) & (p >= cell.score_lo) & (p <= cell.score_hi)
        assert cell.n == inside.sum()
        assert cell.true == pytest.approx(true[inside].mean())
        assert cell.score == pytest.approx(p[inside].mean())
        assert cell.interval is not None
        assert cell.interval.n == 6
    # the shares follow the probabilities: six cells of at least 200, sd of a share below .035
    assert max(abs(cell.true - cell.score) for cell in cells) < 4.5 * 0.035
    plain = reliability(p, true, bins=5)
    assert all(cell.interval is None and cell.frequency_bin == 0 for cell in plain)
    assert reliability([], []) == []


def by_brute_force(score, true, target, least):
    best = None
    for t in np.unique(score):
        chosen = score >= t
        if chosen.sum() >= least and true[chosen].mean() >= target:
            best = t if best is None else min(best, t)
    return best


@pytest.mark.parametrize("seed", range(6))
def test_threshold_equals_trying_all(seed):
    rng = np.random.default_rng(seed)
    score = np.round(rng.random(120), 2)
    true = rng.random(120) < score**0.3
    for target in (0.8, 0.95, 1.0):
        expected = by_brute_force(score, true, target, 10)
        found = precision_threshold(score, true, target=target, least=10)
        if expected is None:
            assert math.isnan(found.value)
            assert found.reason == f"no score is {target:.0%} precise"
        else:
            chosen = score >= expected
            wanted = (expected, true[chosen].mean(), true[chosen].sum() / true.sum())
            assert found[:3] == pytest.approx(wanted)
            assert found.n == chosen.sum()


def test_thresholds_by_frequency():
    rng = np.random.default_rng(0)
    score, firings = rng.random(2000), np.repeat([3, 300], 1000)
    # the rare need .9 for what the frequent have at .3
    true = score > np.where(firings == 3, 0.9, 0.3)
    rare, frequent = precision_thresholds(score, true, firings, bins=2, target=1.0)
    assert 0.9 < rare.value < 0.91
    assert 0.3 < frequent.value < 0.31
    assert rare.recall == frequent.recall == 1.0
    few = precision_threshold([0.1, 0.9], [True, True])
    assert isinstance(few, Threshold)
    assert few.reason == "fewer than 20 pairs"


def test_tokens_needed_by_hand():
    tokens = [1e3, 1e4, 1e5]
    # halfway from .8 to 1.0, in the logarithm
    assert tokens_needed(tokens, [0.5, 0.8, 1.0]).value == pytest.approx(10**4.5)
    # a fall below the target counts
    assert tokens_needed(tokens, [0.95, 0.8, 0.9]).value == pytest.approx(1e5)
    missed = tokens_needed(tokens, [0.5, 0.8, 0.85])
    assert math.isnan(missed.value)
    assert missed.reason == "not reached with 100000 tokens"
    early = tokens_needed(tokens, [0.95, 0.95, 1.0])
    assert early.value == 1e3
    assert "fewest" in early.reason
    assert "undefined" in tokens_needed(tokens, [0.1, math.nan, 1.0]).reason
    with pytest.raises(ConfigError, match="increasing"):
        tokens_needed([10, 5], [0.1, 0.2])


def test_intervals_are_over_units(pairs):
    p, true = pairs
    units = np.arange(p.size) % 8
    found = over_units(calibration_error, units.tolist(), p, true)
    each = [calibration_error(p[units == u], true[units == u]) for u in range(8)]
    assert found == mean_interval(each)
    assert found.n == 8
    with pytest.raises(ConfigError, match="one entry per row"):
        over_units(calibration_error, [1, 2], p, true)


def test_sharedness_by_hand_and_by_frequency():
    truth = np.array([0, 1, 2, 3, -1, 0])
    best = np.array([0.9, 0.8, 0.2, 0.3, 0.99, np.nan])
    shared = np.array([True, False, True, False])
    found = sharedness(best, truth, shared, rates=[0.1, 0.2, 0.01, 0.02], bins=2)
    # all: {.9, .2} against {.8, .3}; rare: .2 against .3; frequent: .9 against .8
    np.testing.assert_allclose(found["auroc"], [2 / 4, 0, 1])
    np.testing.assert_allclose(found["ap"], [(1 + 2 / 4) / 2, 1 / 2, 1])
    np.testing.assert_array_equal(found["n_shared"], [2, 1, 1])
    np.testing.assert_array_equal(found["n_exclusive"], [2, 1, 1])
    assert math.isnan(sharedness(best, truth, np.ones(4, bool))["ap"][0])


def test_co_recovery_does_not_count_what_frequency_explains():
    rng = np.random.default_rng(0)
    n = 4000
    rates = np.repeat([0.01, 0.2], n // 2)
    chance = np.where(rates > 0.1, 0.9, 0.1)
    a, b = rng.random(n) < chance, rng.random(n) < chance
    # both find the frequent ones: a large odds ratio, log(.82^2 / .18^2 * ...) well above 2
    assert co_recovery(a, b) > 2
    # 4.5 standard errors: each bin's log odds has about sqrt(4 terms 1/(n p q)) = .25, two bins
    assert abs(co_recovery(a, b, rates, bins=2)) < 4.5 * 0.25
    by_hand = [True] * 4 + [False] * 2, [True] * 3 + [False, True, False]
    # both 3, only a 1, only b 1, neither 1
    assert co_recovery(*by_hand) == pytest.approx(math.log(3 * 1 / (1 * 1)))
    assert math.isnan(co_recovery([True, False], [True, False]))


def test_frequency_bins_are_of_equal_size_and_keep_ties_together():
    np.testing.assert_array_equal(
        frequency_bin(np.arange(10)[::-1], 5), np.repeat(range(5), 2)[::-1]
    )
    assert len(set(frequency_bin([1, 1, 1, 1], 3).tolist())) == 1
    assert frequency_bin([], 3).size == 0
