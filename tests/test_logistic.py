"""Logistic regression finds the weights, and stays finite where nothing holds them."""

import numpy as np
import pytest
from scipy.special import expit

from synthsae_jax.errors import ConfigError
from synthsae_jax.logistic import logistic_weights


def test_weights_of_a_logistic_model_are_found():
    rng = np.random.default_rng(2)
    x = np.c_[np.ones(20_000), rng.normal(size=(20_000, 2))]
    true = np.array([-1.0, 2.0, 0.5])
    y = rng.random(20_000) < expit(x @ true)
    # 4.5 standard errors at this size
    np.testing.assert_allclose(logistic_weights(x, y, 1e-8), true, atol=0.15)


def test_the_slope_is_zero_at_the_weights():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(50, 3)), rng.random(50) < 0.3
    for ridge in (1e-5, 0.1):
        w = logistic_weights(x, y, ridge)
        slope = x.T @ (expit(x @ w) - y) / 50 + ridge * w
        np.testing.assert_allclose(slope, 0, atol=1e-4)


def test_classes_that_can_be_separated_have_finite_weights():
    x = np.c_[np.ones(10), np.linspace(-1, 1, 10)]
    y = x[:, 1] > 0
    w = logistic_weights(x, y, 1e-5)
    assert np.isfinite(w).all()
    np.testing.assert_array_equal(x @ w > 0, y)
    with pytest.raises(ConfigError, match="ridge > 0"):
        logistic_weights(x, y, 0.0)
