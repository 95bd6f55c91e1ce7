"""A model that SAELens wrote, sampled by us and by the definition: word for word, and pair by pair.

What SAELens itself sampled from it is compared in `test_against_saelens`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal
from world_reference import (
    SIGMA,
    TAIL,
    correlation,
    count_p,
    dense_codes,
    densify,
    mean_z,
    oracle_codes,
    rate_p,
    sample,
    sd_z,
)

from synthsae_jax import worlds
from synthsae_jax.io import load_saelens_model

N, BATCHES, ORACLE = 4096, 12, 4
SLOTS = (8, 24, 16, 16, 16, 56)


@pytest.fixture(scope="module")
def model(golden):
    return load_saelens_model(golden / "saelens-1k", slots=SLOTS)


@pytest.fixture(scope="module")
def ours(model):
    """Dense codes float32 of 49,152 tokens."""
    world, _ = model
    parts = []
    for key in jax.random.split(jax.random.key(3), BATCHES):
        codes = sample(key, world, N)
        assert not codes.overflow.any()
        parts.append(np.asarray(densify(codes, world.n_features)))
    return np.concatenate(parts)


@pytest.fixture(scope="module")
def theirs(model):
    """Of 16,384 tokens, feature by feature in numpy."""
    rng = np.random.default_rng(4)
    return np.concatenate(
        [oracle_codes(rng, model[0], N).astype(np.float32) for _ in range(ORACLE)]
    )


def test_codes_are_those_of_drawing_all_features(model, key):
    found, expected = densify(sample(key, model[0], N), 1024), dense_codes(key, model[0], N)
    found = np.asarray(found)
    # probabilities are rounded normal CDFs: of 4 million words about one falls between two of them
    same = ((found > 0) == (expected > 0)).all(axis=1)
    assert (~same).sum() <= 4
    np.testing.assert_allclose(found[same], expected[same], rtol=1e-4, atol=1e-5)


def test_pairs_of_frequent_features_and_of_relatives(model, ours, theirs):
    frequent = np.argsort(-(theirs > 0).sum(0))[:40]
    parent = np.asarray(model[0].forest.parent)
    child = np.flatnonzero(parent >= 0)
    assert len(child) == 672
    together = []
    for codes in (ours, theirs):
        active = (codes > 0).astype(np.float32)
        some = active[:, frequent]
        together.append((some.T @ some, (active[:, child] * active[:, parent[child]]).sum(0)))
    for a, b in zip(*together):
        assert count_p(a, len(ours), b, len(theirs)).min() > TAIL


def test_pairs_of_roots_and_free_features_have_their_orthant_probability(model, ours):
    world, _ = model
    tops = [*np.asarray(world.forest.roots), *np.asarray(world.forest.free)[:4]]
    threshold, latent = np.asarray(world.threshold, np.float64), correlation(world)
    active = ours > 0
    for place, i in enumerate(tops):
        for j in tops[:place]:
            cov = [[1, latent[i, j]], [latent[i, j], 1]]
            rate = multivariate_normal(cov=cov).cdf(-threshold[[i, j]])
            # no magnitude of these is cut to 0: means are above 4, sds below 2
            assert rate_p((active[:, i] & active[:, j]).sum(), len(active), rate) > TAIL


def test_l0_and_activations_have_the_same_moments(model, ours, theirs):
    _, instance = model
    rows, bias = (np.asarray(a, np.float32) for a in (instance.dictionary, instance.bias))
    assert abs(mean_z(*((codes > 0).sum(1).astype(float) for codes in (ours, theirs)))) < SIGMA
    assert abs(sd_z(*((codes > 0).sum(1).astype(float) for codes in (ours, theirs)))) < SIGMA
    a, b = ((codes @ rows).astype(np.float64) for codes in (ours, theirs))
    assert np.abs(mean_z(a, b)).max() < SIGMA
    norms = [np.linalg.norm(x + bias, axis=1) for x in (a, b)]
    assert abs(mean_z(*norms)) < SIGMA
    # covariances along 40 directions of each kind: features, and the axes
    mean = a.mean(0)
    along = np.concatenate([rows[:40], np.eye(128)[:40]]).T
    p, q = (a - mean) @ along, (b - mean) @ along
    moments = []
    for x in (p, q):
        second, fourth = x.T @ x / len(x), (x**2).T @ (x**2) / len(x)
        moments.append((second, (fourth - second**2) / len(x)))
    (cov_a, error_a), (cov_b, error_b) = moments
    assert np.abs((cov_a - cov_b) / np.sqrt(error_a + error_b)).max() < SIGMA


def test_embedding_the_sparse_codes_is_the_dense_product(model, key):
    world, instance = model
    codes = sample(key, world, N)
    x = worlds.embed(instance, worlds.observe(instance, codes))
    dense = np.asarray(densify(codes, 1024), np.float64)
    rows, bias = (np.asarray(a, np.float64) for a in (instance.dictionary, instance.bias))
    np.testing.assert_allclose(x, dense @ rows + bias, atol=1e-4)
    assert x.dtype == jnp.float32
