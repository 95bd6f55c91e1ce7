"""Procrustes: planted rotations come back, on tokens the fit has not seen, at any widths."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes

from synthsae_jax import matching
from synthsae_jax.errors import ConfigError
from synthsae_jax.matching import CoMoments
from synthsae_jax.matching.alignment import align, fit_procrustes, procrustes_from_covariance


def planted(d_a, d_b, seed=0):
    """An isometry [d_b, d_a] (orthonormal along the shorter side)."""
    wide = max(d_a, d_b)
    q = np.linalg.qr(np.random.default_rng(seed).normal(size=(wide, wide)))[0]
    return q[:d_b, :d_a]


def activations(n, d, seed):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) * np.geomspace(1, 3, d)


@pytest.mark.parametrize(("d_a", "d_b"), [(8, 8), (5, 8)])
def test_a_planted_rotation_comes_back(d_a, d_b):
    # B holds A's activations in a rotated, perhaps wider space, with an offset of its own
    embed = planted(d_a, d_b)
    x_a = activations(300, d_a, 1)
    x_b = x_a @ embed.T + 7.0
    rotation = fit_procrustes(x_a[:200], x_b[:200])
    assert rotation.shape == (d_b, d_a)
    # float32: offsets of 7 on values of order 1
    np.testing.assert_allclose(rotation, embed, atol=1e-4)
    held_out = align(x_b[200:] - x_b[:200].mean(0), rotation)
    np.testing.assert_allclose(held_out, x_a[200:] - x_a[:200].mean(0), atol=1e-3)


def test_a_narrower_b_embeds_isometrically():
    embed = planted(8, 5)  # [5, 8], orthonormal rows
    x_b = activations(300, 5, 1)
    rotation = fit_procrustes(x_b @ embed, x_b)
    np.testing.assert_allclose(rotation, embed, atol=1e-4)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(5), atol=1e-5)


def test_noisy_fit_equals_scipy():
    x_a = activations(100, 6, 2)
    x_b = x_a @ planted(6, 6).T + activations(100, 6, 3)
    centred = [x - x.mean(0) for x in (x_b, x_a)]
    np.testing.assert_allclose(
        fit_procrustes(x_a, x_b), orthogonal_procrustes(*centred)[0], atol=1e-4
    )


def test_directions_match_after_alignment_and_not_before():
    d, n_features = 32, 48
    dictionary = activations(n_features, d, 4)
    embed = planted(d, d, 5)
    codes = np.random.default_rng(6).random((400, n_features))
    directions_b = dictionary @ embed.T
    rotation = fit_procrustes(codes @ dictionary, codes @ directions_b)
    before = matching.score("decoder_cosine", dictionary, directions_b)
    after = matching.score("decoder_cosine", dictionary, align(directions_b, rotation))
    # 400 tokens of 48 latents fix the map to float32
    np.testing.assert_allclose(np.diag(after), 1.0, atol=1e-4)
    assert np.abs(np.diag(before)).mean() < 0.4


def test_the_covariance_can_be_streamed():
    x_a, x_b = activations(120, 4, 7), activations(120, 6, 8)
    batches = tuple(jnp.asarray(x.reshape(6, 20, -1)) for x in (x_a, x_b))
    add = lambda moments, batch: (moments.update(*batch), None)
    moments, _ = jax.lax.scan(add, CoMoments.init(4, 6), batches)
    rotation = procrustes_from_covariance(moments.cross)
    np.testing.assert_allclose(rotation, fit_procrustes(x_a, x_b), atol=1e-4)
    # only the direction of the covariance counts
    scaled = procrustes_from_covariance(moments.cross / 120)
    np.testing.assert_allclose(scaled, rotation, atol=1e-5)


def test_unpaired_tokens_are_refused():
    with pytest.raises(ConfigError, match="same n > 1 tokens"):
        fit_procrustes(np.ones((5, 3)), np.ones((4, 3)))
