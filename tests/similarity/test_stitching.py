"""Explained variance of one SAE on another model's activations: planted answers."""

from __future__ import annotations

import numpy as np
import pytest

from synthsae_jax import similarity
from synthsae_jax.errors import ConfigError

rng = np.random.default_rng(0)
N, D = 200, 6
CODES = rng.normal(size=(N, D)) * np.geomspace(4, 0.5, D)
TURN = np.linalg.qr(rng.normal(size=(D, D)))[0]
MEAN_A, MEAN_B = rng.normal(size=(2, D))
# model B is model A turned and moved; A's "SAE" keeps A's first three axes
X_A, X_B = CODES + MEAN_A, CODES @ TURN + MEAN_B
FIRST = np.diag([1.0, 1, 1, 0, 0, 0])


def sae_of_a(x):
    return (x - MEAN_A) @ FIRST + MEAN_A


def explained(x, x_hat):
    return 1 - np.sum((x - x_hat) ** 2) / np.sum((x - x.mean(0)) ** 2)


def test_alignment_gives_the_sae_what_it_had_at_home():
    carried = similarity.carry(X_B, TURN.T, MEAN_B, MEAN_A)
    np.testing.assert_allclose(carried, X_A, atol=1e-5)
    found = similarity.stitched_explained_variance(
        X_B,
        raw=sae_of_a(X_B),
        aligned=sae_of_a(np.asarray(carried)),
        own=X_B,
        rotation=TURN.T,
        mean_b=MEAN_B,
        mean_a=MEAN_A,
    )
    home = explained(X_A, sae_of_a(X_A))
    np.testing.assert_allclose(found["aligned"], home, atol=1e-5)
    np.testing.assert_allclose(found["raw"], explained(X_B, sae_of_a(X_B)), atol=1e-5)
    assert found["raw"] < home - 0.2
    np.testing.assert_allclose(found["carried"], 1.0, atol=1e-5)
    np.testing.assert_allclose(found["ceiling"], 1.0, atol=1e-5)


def test_a_narrower_space_loses_what_it_cannot_hold():
    # onto four of B's own axes: the other two are gone, with an SAE of A that is perfect
    x_b = CODES
    rotation = np.eye(D)[:, :4]
    carried = similarity.carry(x_b, rotation)
    found = similarity.stitched_explained_variance(x_b, aligned=carried, rotation=rotation)
    kept = np.hstack([CODES[:, :4], np.zeros((N, 2))])
    np.testing.assert_allclose(found["carried"], explained(x_b, kept), atol=1e-5)
    np.testing.assert_allclose(found["aligned"], found["carried"], atol=1e-6)
    assert np.isnan(found["raw"])
    assert np.isnan(found["ceiling"])


def test_constant_activations_have_no_explained_variance():
    x = np.full((10, 3), 0.1)
    assert np.isnan(similarity.stitched_explained_variance(x, raw=x)["raw"])


def test_wrong_shapes_are_refused():
    with pytest.raises(ConfigError, match="rotation"):
        similarity.carry(X_B, np.eye(4))
    with pytest.raises(ConfigError, match="needs the rotation"):
        similarity.stitched_explained_variance(X_B, aligned=X_A)
    with pytest.raises(ConfigError, match=r"raw must rebuild all of x_b \(200, 6\)"):
        similarity.stitched_explained_variance(X_B, raw=X_A[:5])
