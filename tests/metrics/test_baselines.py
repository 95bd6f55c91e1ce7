"""Baselines: what each finds where the answer is planted, and the samples it is fitted to."""

from __future__ import annotations

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from synthsae_jax import keys, metrics, worlds
from synthsae_jax.errors import ConfigError
from synthsae_jax.metrics.samples import samples

WORLD, INSTANCE = tiny.world(), tiny.instance()


def first_of(stream, n=2048, batch=1024):
    """Samples and codes as `draw` gives them, batch by batch."""
    found = []
    for step in range(n // batch):
        key = jax.random.fold_in(keys.data_key(0, stream), step)
        codes, x = jax.jit(worlds.draw, static_argnums=3)(key, WORLD, INSTANCE, batch)
        found.append((np.asarray(worlds.densify(codes, tiny.F)), np.asarray(x)))
    return (np.concatenate(arrays) for arrays in zip(*found))


def test_samples_are_those_of_the_stream():
    acts, x = first_of("train")
    ids = [3, 20, 0]
    found = samples(WORLD, INSTANCE, 1500, 0, "train", ids)
    np.testing.assert_allclose(found[0], x[:1500], atol=1e-5)
    np.testing.assert_allclose(found[1], acts[:1500, ids], rtol=1e-6)
    np.testing.assert_array_equal(found[2], (acts[:1500] > 0).sum(axis=1))
    again, _, _ = samples(WORLD, INSTANCE, 300, 0, "train", ids)
    np.testing.assert_array_equal(again, found[0][:300])
    held_out, _, _ = samples(WORLD, INSTANCE, 300, 0, "evaluate", ids)
    assert not np.any(np.all(held_out == again, axis=1))


def test_pca_is_the_singular_value_decomposition():
    _, x = first_of("train")
    sae, params = metrics.fit_baseline("pca", WORLD, INSTANCE, 6, n_samples=2048)
    mean = x.mean(axis=0)
    np.testing.assert_allclose(params.b_dec, mean, atol=1e-5)
    rows = np.linalg.svd(x - mean, full_matrices=False)[2][:6]
    # float32 samples; neighbouring variances are some per cent apart
    np.testing.assert_allclose(np.abs(np.sum(params.W_dec * rows, axis=1)), 1, atol=1e-4)
    codes = np.asarray(sae.encode(params, x[:50]))
    np.testing.assert_allclose(codes, (x[:50] - mean) @ np.asarray(params.W_dec).T, atol=1e-4)
    assert (codes < 0).any()
    np.testing.assert_allclose(
        sae.decode(params, codes), codes @ np.asarray(params.W_dec) + mean, atol=1e-4
    )
    few, _ = metrics.fit_baseline("pca", WORLD, INSTANCE, 6, k=2, n_samples=2048)
    kept = np.asarray(few.encode(params, x[:50]))
    largest = np.argsort(-np.abs(codes), axis=1)[:, :2]
    expected = np.zeros_like(codes)
    np.put_along_axis(expected, largest, np.take_along_axis(codes, largest, axis=1), axis=1)
    np.testing.assert_allclose(kept, expected, atol=1e-5)


def test_ica_finds_independent_features_and_is_evaluated_like_an_sae():
    # rates below .1: at .21 a feature has the fourth moment of a normal variable
    world = tiny.world(0.1)
    sae, params = metrics.fit_baseline("ica", world, INSTANCE, tiny.F, n_samples=8192)
    np.testing.assert_allclose(np.linalg.norm(params.W_dec, axis=1), 1, atol=1e-5)
    found = metrics.evaluate(world, INSTANCE, sae, params, 200, batch_size=128)
    # an estimate from 8,192 samples is off by about 1 / sqrt(8,192) in each of 24 dimensions
    assert found["mcc"] > 0.98
    assert found["explained_variance"] > 0.999  # as many directions as features
    assert found["l0"] == tiny.F  # a linear code is never 0
    codes = sae.encode(params, INSTANCE.bias[None] + 2 * INSTANCE.dictionary)
    silent = sae.encode(params, INSTANCE.bias[None])
    own = np.abs(np.asarray(codes - silent)).max(axis=1)
    # the code of a feature is its magnitude, up to sign
    np.testing.assert_allclose(own, 2, atol=0.2)


def test_dictionary_learning_finds_sparse_features():
    sae, params = metrics.fit_baseline(
        "dictionary_learning", WORLD, INSTANCE, tiny.F, k=3, n_samples=2048
    )
    chance = metrics.random_mcc(tiny.F, tiny.F, tiny.D, jax.random.key(0))
    # far above a random decoder's, whose sd is about .01
    assert metrics.mcc(params.W_dec, INSTANCE.dictionary) > chance + 0.2
    x, _, _ = samples(WORLD, INSTANCE, 200, 0, "evaluate")
    codes = jax.jit(sae.encode)(params, x)
    assert ((codes != 0).sum(axis=1) == 3).all()
    assert metrics.explained_variance(x, sae.decode(params, codes)) > 0.5


def test_what_does_not_fit_is_refused(monkeypatch):
    def fit(name, d_sae=8, k=None, instance=INSTANCE, **options):
        return metrics.fit_baseline(name, WORLD, instance, d_sae, k, **options)

    with pytest.raises(ConfigError, match="Did you mean 'pca'"):
        fit("pcaa")
    with pytest.raises(ConfigError, match="1 to 32 latents here, got d_sae=33"):
        fit("pca", 33)
    with pytest.raises(ConfigError, match="more samples than latents"):
        fit("pca", 8, n_samples=8)
    for k in (0, 9):
        with pytest.raises(ConfigError, match=f"from 1 to 8, got k={k}"):
            fit("ica", k=k)
    with pytest.raises(ConfigError, match="which chooses k codes, got k=None"):
        fit("dictionary_learning")
    with pytest.raises(ConfigError, match="single world and a single instance"):
        fit("pca", instance=worlds.stack([INSTANCE, INSTANCE]))
    monkeypatch.setitem(sys.modules, "sklearn.decomposition", None)
    with pytest.raises(ConfigError, match="'ica' needs scikit-learn; install it with"):
        fit("ica", n_samples=64)


def test_a_baseline_is_not_trained():
    sae, params = metrics.fit_baseline("pca", WORLD, INSTANCE, 6, n_samples=2048)
    with pytest.raises(ConfigError, match="not initialised or trained"):
        sae.init(jax.random.key(0))
    with pytest.raises(ConfigError, match="not initialised or trained"):
        sae.loss(params, jnp.zeros((2, tiny.D)))


def test_every_baseline_is_explained():
    assert metrics.baselines.names() == ("pca", "ica", "dictionary_learning")
    for name in metrics.baselines:
        explanation = metrics.baselines.explanation(name)
        assert explanation.what
        assert explanation.formula
        assert explanation.source
