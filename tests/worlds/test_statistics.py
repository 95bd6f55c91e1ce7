"""Statistics of dictionaries, copulas and codes against explicit matrices and expectations."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from world_reference import correlation, factor_pair, random_correlation, tree_world

from synthsae_jax import worlds
from synthsae_jax.errors import ConfigError
from synthsae_jax.worlds import statistics


def overlaps_by_pairs(rows):
    """All statistics, row by row in float64."""
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    cosine = np.abs(rows @ rows.T)
    others = np.array([np.delete(row, i) for i, row in enumerate(cosine)])
    return (
        others.max(1).mean(),
        np.percentile(others, 95, axis=1).mean(),
        np.percentile(others, 99, axis=1).mean(),
        cosine[np.triu_indices(len(rows), 1)].mean(),
        others.max(),
    )


@pytest.mark.parametrize(("n", "dim"), [(2, 3), (70, 8)])
def test_superposition_against_all_pairs(n, dim, monkeypatch):
    monkeypatch.setattr(statistics, "_BLOCK", 32)  # so that blocks of two sizes occur
    rows = np.random.default_rng(n).normal(size=(n, dim))
    found = worlds.superposition_statistics(rows)
    np.testing.assert_allclose(found, overlaps_by_pairs(rows), rtol=1e-5)


def test_superposition_of_special_dictionaries():
    np.testing.assert_allclose(worlds.superposition_statistics(np.eye(5)), 0, atol=1e-7)
    opposite = np.array([[1.0, 0], [-3.0, 0], [0, 1.0]])
    found = worlds.superposition_statistics(opposite)
    np.testing.assert_allclose(found.mean_max, 2 / 3, rtol=1e-6)
    np.testing.assert_allclose((found.mean, found.largest), (1 / 3, 1), rtol=1e-6)
    assert np.isnan(worlds.superposition_statistics(np.ones((1, 3)))).all()


@pytest.mark.parametrize("kind", ["low rank", "dense", "none"])
def test_correlation_against_the_matrix(kind):
    given = {"low rank": factor_pair(), "dense": random_correlation(), "none": None}[kind]
    world = tree_world(correlation=given)
    pairs = correlation(world)[np.triu_indices(48, 1)]
    found = worlds.correlation_statistics(world)
    np.testing.assert_allclose(found.rms, np.sqrt((pairs**2).mean()), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(found.mean, pairs.mean(), rtol=1e-5, atol=1e-7)


def test_correlation_of_one_feature_is_undefined():
    world = worlds.make_world([0.5], slots=(1, 1, 1))
    assert np.isnan(worlds.correlation_statistics(world)).all()


def test_measured_l0_agrees_with_its_expectation():
    world = tree_world(portion=0.5, scaled=True)
    n = 3 * 4096
    found, expected = worlds.measured_l0(world, n), worlds.expected_l0(world, by_level=True)
    assert set(found) == {*expected, "sd"}
    sizes = {"roots": 3, "level_1": 11, "level_2": 12, "free": 22, "total": 48}
    assert set(expected) == set(sizes)
    for name, value in expected.items():
        # a sum over m features of one level has a variance of at most m times its mean
        sd = found["sd"] if name == "total" else np.sqrt(sizes[name] * value)
        assert abs(found[name] - value) < 4.5 * sd / np.sqrt(n), name
    parts = sum(found[name] for name in sizes if name != "total")
    np.testing.assert_allclose(parts, found["total"], rtol=1e-9)
    twins = worlds.measured_l0(worlds.twin(world, "counts"), n)
    assert twins == found  # one copy of them


def test_measured_l0_does_not_count_cut_samples():
    world = worlds.make_world(np.full(9, 0.5), slots=(1, 9, 4))
    with pytest.raises(ConfigError, match="slots"):
        worlds.measured_l0(world, 4096)


def test_sd_of_independent_features_is_known():
    probability = np.linspace(0.1, 0.9, 9)
    world = worlds.make_world(probability, slots=(1, 9, 9))
    found = worlds.measured_l0(world, 8192)
    variance = (probability * (1 - probability)).sum()
    np.testing.assert_allclose(found["sd"] ** 2, variance, rtol=4.5 * np.sqrt(2 / 8192))
    assert found["roots"] == 0
    assert isinstance(found["free"], float)
    assert jnp.isfinite(found["total"])
    assert worlds.measured_l0(world, 4096, seed=1) != worlds.measured_l0(world, 4096, seed=2)
    assert jax.tree.leaves(found)
