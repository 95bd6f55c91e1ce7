"""Bounds: perfect where the answer is there for the taking, and equal to an oracle elsewhere."""

from __future__ import annotations

import sys

import jax
import numpy as np
import pytest
import tiny

from synthsae_jax import keys, metrics, worlds
from synthsae_jax.errors import ConfigError

WORLD = tiny.world()
RIGHT_ANGLES = worlds.make_instance(
    WORLD, np.linalg.qr(np.random.default_rng(0).normal(size=(tiny.D, tiny.F)))[0].T
)
EVERY = np.arange(tiny.F)
ONES = dict.fromkeys(("precision", "recall", "f1", "accuracy"), 1.0)


def best_k(instance, world=WORLD, ids=EVERY, k=6):
    return metrics.best_k_levels(world, instance, ids, k, 200, 3, batch_size=128)


def evaluated_on(world, instance):
    """The samples of `best_k`: true activations and inputs."""
    acts, x = [], []
    for step in range(2):
        key = jax.random.fold_in(keys.data_key(3, "evaluate"), step)
        codes, batch = worlds.draw(key, world, instance, 128)
        acts.append(worlds.densify(codes, tiny.F))
        x.append(batch)
    return np.concatenate(acts), np.concatenate(x)


def test_with_right_angles_and_k_to_spare_the_codes_are_found():
    sparse = tiny.world(0.05)
    acts, _ = evaluated_on(sparse, RIGHT_ANGLES)
    assert (acts > 0).sum(axis=1).max() <= 6
    assert (acts > 0).any(axis=0).all()
    found = best_k(RIGHT_ANGLES, sparse)
    assert {name: found[name] for name in ONES} == pytest.approx(ONES, abs=1e-6)
    assert found["mcc"] == pytest.approx(1, abs=1e-6)
    assert found["explained_variance"] == pytest.approx(1, abs=1e-6)
    assert found["l0"] == found["true_l0"]


def test_with_right_angles_the_k_largest_codes_are_found():
    acts, x = evaluated_on(WORLD, RIGHT_ANGLES)
    kept = np.where(acts >= np.sort(acts, axis=1)[:, -6:-5], acts, 0)
    found = best_k(RIGHT_ANGLES)
    tp, fn = (kept > 0).sum(0), ((acts > 0) & (kept == 0)).sum(0)
    assert fn.sum() > 0
    assert found["recall"] == pytest.approx(np.mean(tp / (tp + fn)), abs=1e-6)
    assert found["precision"] == pytest.approx(1, abs=1e-6)
    x_hat = kept @ np.asarray(RIGHT_ANGLES.dictionary) + np.asarray(RIGHT_ANGLES.bias)
    error, variance = ((x - x_hat) ** 2).sum(), ((x - x.mean(0)) ** 2).sum()
    assert found["explained_variance"] == pytest.approx(1 - error / variance, abs=1e-5)


def test_an_encoder_that_sees_only_x_is_below_the_oracle():
    rows = np.random.default_rng(1).normal(size=(tiny.F, tiny.D))
    rows[:, 8:] = 0.0
    found = best_k(worlds.make_instance(WORLD, rows))
    assert found["mcc"] == pytest.approx(1, abs=1e-6)
    assert 0.2 < found["f1"] < 0.8
    assert set(found) == {*metrics.METRICS, "n_eval"}


def probes(instance=RIGHT_ANGLES, ids=EVERY, world=WORLD, n_probes=6):
    return metrics.probe_levels(world, instance, ids, n_probes, n_train=2048, n_test=1024, seed=1)


def test_probes_of_separable_features_are_perfect():
    found = probes()
    assert {name: found[name] for name in ONES} == pytest.approx(ONES, abs=0.01)
    undefined = set(metrics.METRICS) - set(ONES) - {"true_l0"}
    assert all(np.isnan(found[name]) for name in undefined)
    assert set(found) == {*metrics.METRICS, "n_eval"}
    assert found["n_eval"] == 1024
    # 24 independent features: the sd of the mean of 1,024 counts is at most sqrt(6 / 1,024)
    rates = np.linspace(0.25, 0.05, tiny.F)
    error = 4.5 * np.sqrt(np.sum(rates * (1 - rates)) / 1024)
    assert found["true_l0"] == pytest.approx(rates.sum(), abs=error)


def test_a_feature_that_never_fires_in_training_has_no_probe():
    rates = np.linspace(0.25, 0.05, tiny.F)
    rates[7] = 0.0
    world = worlds.make_world(rates, std=0.1, slots=tiny.SLOTS)
    found = probes(ids=np.array([2] * 3 + [7] * 3), world=world)
    assert found["f1"] == pytest.approx(0.5, abs=0.01)
    assert found["accuracy"] == pytest.approx(1, abs=0.01)


def test_probes_of_crowded_features_are_fallible():
    rows = np.random.default_rng(1).normal(size=(tiny.F, tiny.D))
    rows[:, 8:] = 0.0
    found = probes(worlds.make_instance(WORLD, rows))
    assert 0.1 < found["f1"] < 0.9


def test_what_has_no_level_is_refused(monkeypatch):
    for k in (0, 7):
        with pytest.raises(ConfigError, match=rf"min\(D, len\(ids\)\) = 6, got k={k}"):
            best_k(RIGHT_ANGLES, ids=EVERY[:6], k=k)
    with pytest.raises(ConfigError, match="got 0 ids"):
        probes(ids=np.array([], int))
    with pytest.raises(ConfigError, match="l2 must be positive"):
        metrics.probe_levels(WORLD, RIGHT_ANGLES, EVERY, l2=0.0)
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    with pytest.raises(ConfigError, match="probe_levels needs scikit-learn"):
        probes()
