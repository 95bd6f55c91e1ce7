"""Code attribution against non-negative least squares, and on codes mixed by hand."""

import numpy as np
import oracles
import pytest
from scipy.optimize import nnls

from synthsae_jax.matching import truth_map
from synthsae_jax.matching.truth_code import code_fit

N, F, L, K = 600, 9, 14, 4


@pytest.fixture(scope="module")
def planted():
    """Codes that are sums of up to three activations, some of which go together, and noise."""
    rng = np.random.default_rng(0)
    acts = (rng.random((N, F)) < 0.3) * (1 + rng.random((N, F)))
    acts[:, 1] = np.where(rng.random(N) < 0.7, acts[:, 0], acts[:, 1])  # correlated
    acts[:, 8] = 0  # never active
    mix = np.zeros((F, L))
    for i in range(L - 2):
        mix[rng.choice(F, rng.integers(1, 4), replace=False), i] = rng.uniform(0.5, 2)
    codes = acts @ mix + 0.1 * rng.random((N, L))
    codes[:, -2] = -acts[:, 3]  # goes against a feature
    codes[:, -1] = 0
    return acts, codes, mix


@pytest.fixture(scope="module")
def fitted(planted):
    acts, codes, _ = planted
    correlation = oracles.pearson(codes, acts).astype(np.float32)
    among = oracles.pearson(acts, acts).astype(np.float32)
    return code_fit(correlation, among, terms=K, block=5)


def standardised(v):
    sd = v.std(0)
    return (v - v.mean(0)) / np.where(sd > 0, sd, 1.0)


def test_weights_are_least_squares_on_the_features_taken_up(planted, fitted):
    acts, codes, _ = planted
    z, f = standardised(acts), standardised(codes)
    for i in range(L):
        ids = np.asarray(fitted.features[i])
        chosen = ids[ids >= 0]
        weights, left = nnls(z[:, chosen], f[:, i]) if chosen.size else (np.zeros(0), None)
        # float32 correlations, and coordinate descent stopped after 100 sweeps
        np.testing.assert_allclose(fitted.weights[i][ids >= 0], weights, atol=2e-4)
        np.testing.assert_array_equal(fitted.weights[i][ids < 0], 0)
        if left is not None:
            assert float(fitted.r2[i]) == pytest.approx(1 - left**2 / N, abs=2e-4)


def test_the_planted_mixture_is_found(planted, fitted):
    acts, codes, mix = planted
    z, f = standardised(acts), standardised(codes)
    for i in range(L - 2):
        best, _ = nnls(z, f[:, i])
        # noise gives any feature some hundredths
        expected = set(np.flatnonzero(best > 0.05).tolist())
        ids, weights = np.asarray(fitted.features[i]), np.asarray(fitted.weights[i])
        assert set(ids[weights > 0.05].tolist()) == expected
        assert expected == set(np.flatnonzero(mix[:, i] * acts.std(0) > 0).tolist())
    # nothing negative, and nothing for a latent that is silent
    assert 3 not in np.asarray(fitted.features[-2])
    assert float(fitted.r2[-1]) == float(fitted.purity[-1]) == 0.0
    np.testing.assert_array_equal(fitted.features[-1], -1)
    shares = np.asarray(fitted.relative).sum(1)
    np.testing.assert_allclose(shares[:-2], 1, rtol=1e-6)


def test_attribution_needs_both_a_good_and_a_pure_fit():
    rng = np.random.default_rng(1)
    acts = (rng.random((2000, 6)) < 0.2) * (1 + rng.random((2000, 6)))
    latents = np.stack(
        [
            3 * acts[:, 4],
            acts[:, 0] + acts[:, 1] + acts[:, 2],  # explained, and nobody's
            acts[:, 5] + 2 * (rng.random(2000) < 0.5),  # a feature under noise
            acts[:, 3] + 0.3 * acts[:, 2],
        ],
        axis=1,
    ).astype(np.float32)
    rows = np.eye(6, dtype=np.float32)[:4]
    found = truth_map(rows, latents, np.eye(6, dtype=np.float32), acts, "code")
    np.testing.assert_array_equal(found, [4, -1, -1, 3])
    found = truth_map(rows, latents, np.eye(6), acts, "code", r2=0.1)
    assert int(found[2]) == 5
    absent = np.arange(6) != 4
    found = truth_map(rows, latents, np.eye(6), acts, "code", present=absent)
    np.testing.assert_array_equal(found, [-1, -1, -1, 3])


def test_a_diverged_code_is_attributed_to_nothing():
    correlation = np.eye(4, dtype=np.float32)
    correlation[2, 1] = np.nan
    fit = code_fit(correlation, np.eye(4, dtype=np.float32))
    np.testing.assert_array_equal(np.isnan(fit.r2), [False, False, True, False])
