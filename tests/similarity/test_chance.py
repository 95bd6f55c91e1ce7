"""Chance: closed forms against simulation and the published formulas, and shuffled partners."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from synthsae_jax import similarity
from synthsae_jax.directions import best_cosine
from synthsae_jax.errors import ConfigError


def expected_max_cosine(m, d):
    """The Gumbel expansion for m normal variables of variance 1/d."""
    log = np.log(m)
    correction = (np.log(log) + np.log(4 * np.pi) - 2 * np.euler_gamma) / (4 * log)
    return np.sqrt(2 * log / d) * (1 - correction)


@pytest.mark.parametrize(
    ("m", "d", "known"), [(1024, 128, 0.290), (16384, 768, 0.144), (32768, 768, 0.150)]
)
def test_best_of_random_directions(m, d, known):
    exact = best_cosine(m, d)
    np.testing.assert_allclose(expected_max_cosine(m, d), known, atol=1e-3)
    # the expansion leaves out that cosines end at 1: 5 % at d = 128, 1 % at 768
    np.testing.assert_allclose(exact, known, rtol=8 / d + 0.01)


def test_absolute_cosines_have_twice_the_candidates():
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(2000, 10, 6))
    cosines = directions[:, :, 0] / np.linalg.norm(directions, axis=2)
    for absolute in (False, True):
        best = (np.abs(cosines) if absolute else cosines).max(axis=1)
        expected = best_cosine(10, 6, absolute=absolute)
        assert abs(best.mean() - expected) < 3 * best.std() / np.sqrt(len(best))


@pytest.mark.parametrize("n", [16, 200])
def test_null_of_the_published_svcca(n):
    # 600 shuffles of one direction: |r| has mean sqrt(2 / (pi (n - 1)))
    rng = np.random.default_rng(n)
    x, y = rng.normal(size=(2, 600, n))
    x, y = (v - v.mean(1, keepdims=True) for v in (x, y))
    r = np.abs((x * y).sum(1) / np.sqrt((x * x).sum(1) * (y * y).sum(1)))
    chance = similarity.chance("svcca_rank1", n, 5, 7)
    np.testing.assert_allclose(chance, np.sqrt(2 / (np.pi * (n - 1))))
    assert abs(r.mean() - chance) < 3 * r.std() / np.sqrt(r.size)


def test_cka_bias_grows_with_dimensions_per_point():
    # p = q isotropic: near p / (n + p), so a half where p = n
    assert similarity.chance("cka", 4000, 8, 8) == pytest.approx(0.002, rel=0.01)
    assert similarity.chance("cka", 100, 100, 100) == pytest.approx(0.5, rel=0.01)
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(2, 200, 60, 120))
    X, Y = (v - v.mean(1, keepdims=True) for v in (X, Y))
    K, L = (v @ v.transpose(0, 2, 1) for v in (X, Y))
    norms = np.sqrt((K * K).sum((1, 2)) * (L * L).sum((1, 2)))
    cka = (K * L).sum((1, 2)) / norms
    chance = similarity.chance("cka", 60, 120, 120)
    assert abs(cka.mean() - chance) < 3 * cka.std() / np.sqrt(len(cka))


@pytest.mark.parametrize("name", ["mutual_knn", "svcca_rank1"])
def test_measures_of_strangers_are_at_the_closed_form(name):
    rng = np.random.default_rng(1)
    X, Y = rng.normal(size=(2, 60, 48, 4)).astype(np.float32)
    measured = jax.jit(jax.vmap(lambda x, y: similarity.evaluate(name, x, y)[0]))
    values = np.asarray(measured(X, Y), np.float64)
    expected = 10 / 47 if name == "mutual_knn" else np.sqrt(2 / (np.pi * 47))
    assert similarity.chance(name, 48, 4, 4) == pytest.approx(expected)
    assert abs(values.mean() - expected) < 3 * values.std(ddof=1) / np.sqrt(len(values))


def test_unknown_chance_is_nan():
    assert np.isnan(similarity.chance("procrustes", 100, 5, 5))
    assert np.isnan(similarity.chance("linear_predictivity", 100, 5, 5, ridge=0.1))
    assert np.isnan(similarity.chance("cka_debiased", 3, 5, 5))
    assert np.isnan(similarity.chance("mutual_knn", 11, 5, 5))
    assert similarity.chance("mutual_knn", 101, 5, 5, k=20) == pytest.approx(0.2)
    with pytest.raises(ConfigError, match="option of measure"):
        similarity.chance("mutual_knn", 101, 5, 5, neighbours=20)
    with pytest.raises(ConfigError, match="n=0"):
        similarity.chance("cka", 0, 5, 5)


def test_shuffled_partners():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 6)).astype(np.float32)
    null = similarity.shuffled("mutual_knn", X, X + 1, jax.random.key(0), draws=8, k=5)
    assert null.shape == (8,)
    # a share of 60 x 5 neighbours has a standard deviation of about .02, the mean of 8 of .006
    assert abs(null.mean() - 5 / 59) < 0.02
    again = similarity.shuffled("mutual_knn", X, X + 1, jax.random.key(0), draws=8, k=5)
    np.testing.assert_array_equal(null, again)
    with pytest.raises(ConfigError, match="does not look at which points"):
        similarity.shuffled("subspace_overlap", X, X, jax.random.key(0))
    with pytest.raises(ConfigError, match="draws"):
        similarity.shuffled("cka", X, X, jax.random.key(0), draws=0)
