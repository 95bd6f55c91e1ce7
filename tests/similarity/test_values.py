"""Values of the measures against numpy and scipy in float64, planted answers and chance."""

from __future__ import annotations

import functools

import jax
import numpy as np
import pytest
import scipy.linalg
import scipy.stats

from synthsae_jax import similarity
from synthsae_jax.errors import ConfigError

# float32 against float64 on sums over a few hundred entries
TOLERANCE = 2e-5
# compiled whole: operation by operation the many small shapes here cost more to compile
measure = jax.jit(similarity.measure, static_argnums=0, static_argnames="variance")


def centred(X):
    return X - X.mean(axis=0)


def cka_oracle(X, Y):
    """From the n x n kernels, where the package works on features."""
    H = np.eye(len(X)) - 1 / len(X)
    K, L = H @ X @ X.T @ H, H @ Y @ Y.T @ H
    return np.trace(K @ L) / np.sqrt(np.trace(K @ K) * np.trace(L @ L))


def hsic_oracle(K, L):
    """Four-index U-statistic written as the three terms of Song et al., on zeroed diagonals."""
    n, one = len(K), np.ones(len(K))
    K, L = K - np.diag(np.diag(K)), L - np.diag(np.diag(L))
    middle = (one @ K @ one) * (one @ L @ one) / ((n - 1) * (n - 2))
    return (np.trace(K @ L) + middle - 2 / (n - 2) * one @ K @ L @ one) / (n * (n - 3))


def cka_debiased_oracle(X, Y):
    # uncentred kernels on purpose: HSIC1 must not see where the origin is
    K, L = X @ X.T, Y @ Y.T
    return hsic_oracle(K, L) / np.sqrt(hsic_oracle(K, K) * hsic_oracle(L, L))


def procrustes_oracle(X, Y):
    """The cosine left after scipy's own best rotation of the zero-padded sets."""
    X, Y = centred(X), centred(Y)
    width = max(X.shape[1], Y.shape[1])
    X, Y = (np.pad(v, ((0, 0), (0, width - v.shape[1]))) for v in (X, Y))
    R, _ = scipy.linalg.orthogonal_procrustes(X, Y)
    return np.sum((X @ R) * Y) / (np.linalg.norm(X) * np.linalg.norm(Y))


def svcca_oracle(X, Y, variance=0.99):
    """PCA each side, then canonical correlations as cosines of the principal angles."""
    kept = []
    for side in (centred(X), centred(Y)):
        _, sigma, axes = np.linalg.svd(side, full_matrices=False)
        k = 1 + np.sum(np.cumsum(sigma**2) / np.sum(sigma**2) < variance)
        kept.append(side @ axes[:k].T)
    return np.mean(np.cos(scipy.linalg.subspace_angles(*kept)))


def rsa_oracle(X, Y):
    below = np.tril_indices(len(X), -1)
    distances = [1 - np.corrcoef(side)[below] for side in (X, Y)]
    return scipy.stats.spearmanr(*distances).statistic


ORACLES = {
    "cka": cka_oracle,
    "cka_debiased": cka_debiased_oracle,
    "procrustes": procrustes_oracle,
    "svcca": svcca_oracle,
    "rsa": rsa_oracle,
}


@pytest.mark.parametrize("name", ORACLES)
@pytest.mark.parametrize("shape", [(50, 6, 9), (40, 12, 4), (24, 30, 40)])
def test_values_agree_with_float64(name, shape):
    n, p, q = shape
    if name == "svcca" and n < p + q:
        n = 200  # more points than directions, else it is undefined
    rng = np.random.default_rng(n)
    X = rng.normal(size=(n, p)) * np.geomspace(1, 0.02, p) + 1
    Y = X[:, : min(p, 3)] @ rng.normal(size=(min(p, 3), q)) + 0.3 * rng.normal(size=(n, q))
    # rounded first, so both work on the same numbers
    X, Y = X.astype(np.float32), Y.astype(np.float32)
    expected = ORACLES[name](X.astype(np.float64), Y.astype(np.float64))
    np.testing.assert_allclose(measure(name, X, Y), expected, atol=TOLERANCE)


def test_unrelated_points_score_zero_where_the_measure_is_debiased():
    # n = 20 points in 30 and 40 dimensions: plain CKA is far above 0, debiased is 0 on average
    keys = jax.random.split(jax.random.key(0), 400)

    def draw(key):
        a, b = jax.random.split(key)
        return jax.random.normal(a, (20, 30)), jax.random.normal(b, (20, 40))

    X, Y = jax.vmap(draw)(keys)
    plain = jax.jit(jax.vmap(functools.partial(measure, "cka")))(X, Y)
    debiased = np.asarray(jax.jit(jax.vmap(functools.partial(measure, "cka_debiased")))(X, Y))
    assert plain.mean() > 0.5
    assert abs(debiased.mean()) < 4.5 * debiased.std() / np.sqrt(len(keys))
    assert debiased.min() < 0


def test_rsa_of_unrelated_points_is_zero_on_average():
    rng = np.random.default_rng(0)
    values = np.array(
        [measure("rsa", *rng.normal(size=(2, 30, 10)).astype(np.float32)) for _ in range(60)]
    )
    assert abs(values.mean()) < 4.5 * values.std() / np.sqrt(len(values))


def test_rsa_averages_ties():
    # rows out of three distinct ones: most distances are tied, exactly so in small integers
    rng = np.random.default_rng(3)
    X = np.eye(3, 4, dtype=np.float32)[rng.integers(0, 3, size=12)]
    Y = np.eye(3, 4, dtype=np.float32)[rng.integers(0, 3, size=12)]
    np.testing.assert_allclose(measure("rsa", X, Y), rsa_oracle(X, Y), atol=TOLERANCE)


def test_rsa_of_equidistant_points_is_nan():
    # an orthonormal frame has one distance for all pairs, so there is nothing to order
    X = np.float32([[1, -1, 0, 0], [0, 0, 1, -1], [1, 1, -1, -1]])
    assert np.isnan(measure("rsa", X, np.float32([[1, 2], [2, 1], [3, 5]])))


def test_svcca_refuses_where_counting_alone_gives_one():
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(2, 12, 8)).astype(np.float32)
    assert np.isnan(measure("svcca", X, Y))
    assert not np.isnan(measure("svcca", X, Y, variance=0.3))


def test_svcca_variance_share_chooses_directions():
    # one loud shared direction, one quiet private one: .9 keeps the first alone
    rng = np.random.default_rng(1)
    shared = 10 * rng.normal(size=(400, 1))
    X = np.hstack([shared, rng.normal(size=(400, 1))]).astype(np.float32)
    Y = np.hstack([shared, rng.normal(size=(400, 1))]).astype(np.float32)
    np.testing.assert_allclose(measure("svcca", X, Y, variance=0.9), 1.0, atol=0.02)
    assert measure("svcca", X, Y, variance=1.0) < 0.6
    with pytest.raises(ConfigError, match="variance must be in"):
        measure("svcca", X, Y, variance=1.5)


def test_cka_debiased_needs_four_points():
    X = np.float32([[1, 2], [3, 5], [2, 9]])
    assert np.isnan(measure("cka_debiased", X, X))


def test_procrustes_by_hand():
    # two orthogonal pairs of points; swapping and turning them changes nothing, and against one
    # of the two directions alone sqrt(1/2) of the norm is left
    X = np.float32([[1, 0], [-1, 0], [0, 1], [0, -1]])
    Y = np.float32([[0, 3], [0, -3], [-3, 0], [3, 0]])
    np.testing.assert_allclose(measure("procrustes", X, Y), 1.0, atol=TOLERANCE)
    np.testing.assert_allclose(measure("procrustes", X, Y[:, :1]), 0.5**0.5, atol=TOLERANCE)
