"""Copulas: SAELens' factors, dense matrices, and what a user brings."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import load_file

from synthsae_jax.errors import ConfigError
from synthsae_jax.worlds.copula import independent, threshold_of
from synthsae_jax.worlds.correlation import DenseCopula, LowRank, from_user


def test_factor_of_the_artefact(golden):
    stored = load_file(golden / "saelens-1k" / "synthetic_model.safetensors")
    copula = LowRank(25, 0.1).copula(1024, 42 + 4)
    np.testing.assert_allclose(copula.factor, stored["correlation_factor"], atol=1e-7)
    np.testing.assert_allclose(copula.residual, stored["correlation_diag"], atol=5e-7)


def test_long_rows_are_shortened_and_counted():
    with pytest.warns(UserWarning, match="of 50 features were all shared variance"):
        copula = LowRank(30, 0.25).copula(50, 0)
    np.testing.assert_allclose((copula.factor**2).sum(1) + copula.residual, 1, atol=1e-12)
    assert copula.residual.min() == pytest.approx(0.01)


def test_dense_matrix_is_a_correlation_matrix_of_the_asked_kind():
    weak = DenseCopula(
        positive_ratio=0.8, uncorrelated_ratio=0.4, min_strength=0, max_strength=0.01
    )
    copula = weak.copula(120, 3)
    matrix = copula.cholesky @ copula.cholesky.T
    np.testing.assert_allclose(np.diag(matrix), 1, atol=1e-12)
    pairs = matrix[np.triu_indices(120, 1)]  # 7,140 pairs, too weak to need a repair
    assert np.mean(np.abs(pairs) < 1e-12) == pytest.approx(0.4, abs=4.5 * np.sqrt(0.24 / 7140))
    signed = pairs[np.abs(pairs) > 1e-12]
    assert np.mean(signed > 0) == pytest.approx(0.8, abs=4.5 * np.sqrt(0.16 / len(signed)))
    np.testing.assert_array_equal(copula.cholesky, weak.copula(120, 3).cholesky)
    assert not np.array_equal(copula.cholesky, weak.copula(120, 4).cholesky)


def test_strong_dense_matrix_is_repaired():
    copula = DenseCopula(1.0, 0.0, 0.1, 0.9).copula(60, 0)
    matrix = copula.cholesky @ copula.cholesky.T
    np.testing.assert_allclose(np.diag(matrix), 1, atol=1e-9)
    assert np.linalg.eigvalsh(matrix)[0] > 0


def test_states_are_standard_and_repeat():
    copula = LowRank(4, 0.3).copula(10, 0)
    states = copula.states(4096)
    assert states.shape == (4096, 4)
    np.testing.assert_array_equal(states, copula.states(4096))
    np.testing.assert_allclose(states.mean(0), 0, atol=1e-12)  # in pairs (e, -e)
    np.testing.assert_allclose(np.cov(states.T), np.eye(4), atol=0.02)
    assert independent(5).states(4096).shape == (1, 0)


def test_thresholds_keep_their_digits():
    p = np.array([0.5, 1.0, 0.0, 1e-12])
    np.testing.assert_allclose(threshold_of(p), [0, -np.inf, np.inf, 7.0344838253], rtol=1e-10)


def test_a_users_matrix_and_pair_mean_the_same():
    rng = np.random.default_rng(0)
    factor = rng.uniform(-0.5, 0.5, (6, 2))
    residual = 1 - (factor**2).sum(1)
    pair = from_user((factor, residual), 6)
    dense = from_user(factor @ factor.T + np.diag(residual), 6)
    assert dense.dense
    assert not pair.dense
    np.testing.assert_allclose(
        dense.cholesky @ dense.cholesky.T, pair.factor @ pair.factor.T + np.diag(pair.residual)
    )
    assert from_user(None, 6).factor.shape == (6, 0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LowRank(0), "rank must be a whole number >= 1"),
        (lambda: LowRank(2.5), "rank must be a whole number"),
        (lambda: LowRank(3, -1.0), "scale must be >= 0"),
        (lambda: DenseCopula(positive_ratio=2), "positive_ratio must lie"),
        (lambda: DenseCopula(min_strength=0.5, max_strength=0.4), "min_strength <= max_strength"),
        (lambda: from_user(np.eye(3), 4), r"a matrix \[4, 4\]"),
        (lambda: from_user(2 * np.eye(3), 3), "unit diagonal"),
        (lambda: from_user(np.array([[1, 0.5], [0.4, 1]]), 2), "symmetric"),
        (lambda: from_user(np.ones((3, 3)), 3), "positive definite; its least"),
        (lambda: from_user((np.eye(3),), 3), "must be .factor, residual.; got 1 parts"),
        (lambda: from_user((np.zeros((3, 1)), np.ones(4)), 3), "got shapes"),
        (lambda: from_user((np.ones((3, 1)), np.zeros(3)), 3), "residual must be > 0"),
        (lambda: from_user((np.ones((3, 1)), np.ones(3)), 3), "must be 1 for every feature"),
    ],
)
def test_refusals(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
