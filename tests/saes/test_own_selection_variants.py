"""Minimum firing, frozen weights and aligned directions, each against numbers by hand."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synthsae_jax import saes
from synthsae_jax.errors import ConfigError
from synthsae_jax.saes import aligned
from synthsae_jax.saes.frozen import WEIGHTS
from synthsae_jax.saes.min_firing import keep_gated

PRE = jnp.array([[9.0, 1.0, -1.0], [8.0, 2.0, -2.0], [7.0, 3.0, -3.0], [6.0, 0.5, -4.0]])


@pytest.mark.parametrize(
    ("min_firing", "kept"),
    [
        (0.0, [9, 8, 7]),
        (1.0, [9, 8, 3]),  # latent 1 has its best, latent 2 has no positive one
        (1.9, [9, 8, 3]),
        (2.0, [9, 8, 3, 2]),  # the gate alone needs more than k n = 3 places
    ],
)
def test_every_latent_has_its_largest_and_the_rest_go_to_the_largest(min_firing, kept):
    found = np.asarray(jax.jit(keep_gated)(PRE, jnp.float32(0.75), jnp.float32(min_firing)))
    expected = np.where(np.isin(PRE, kept), PRE, 0)
    np.testing.assert_array_equal(found, expected)


def test_the_threshold_is_that_of_selection_without_a_gate(tools, x):
    plain, sae = tools.small("batchtopk"), tools.small("min_firing_batchtopk")
    params, state = tools.random_params(plain), plain.init_state()
    (_, free), _ = tools.loss_and_gradient(plain.static, params, x, None, plain.hyper, state)
    (_, info), _ = tools.loss_and_gradient(sae.static, params, x, None, sae.hyper, state)
    assert info["state"].threshold == pytest.approx(free["state"].threshold)
    assert np.any(info["latents"] != free["latents"])
    assert np.asarray(info["latents"] > 0).any(axis=0).all()
    ungated = sae.hyper.replace(min_firing=np.float32(0.0))
    (_, info), _ = tools.loss_and_gradient(sae.static, params, x, None, ungated, state)
    np.testing.assert_allclose(info["latents"], free["latents"], rtol=1e-6)


@pytest.mark.parametrize("names", [("W_dec",), WEIGHTS])
def test_frozen_weights_stay_and_the_threshold_is_learned(tools, dictionary, names):
    sae = tools.small("frozen", frozen_weights=names)
    start = jax.jit(sae.init)(jax.random.key(0))
    params, state, _ = tools.train(sae.static, start, sae.hyper, dictionary, jax.random.key(1), 30)
    for name in WEIGHTS:
        moved = bool(np.any(getattr(params, name) != getattr(start, name)))
        assert moved == (name not in names), name
    assert state.threshold > 0
    assert saes.architectures["frozen"].frozen(sae.options) == names


def test_a_random_sae_computes_what_batchtopk_does(tools, x):
    plain, sae = tools.small("batchtopk"), tools.small("frozen", k=1.5)
    params, state = tools.random_params(plain), plain.init_state()
    expected, slope = tools.loss_and_gradient(plain.static, params, x, None, plain.hyper, state)
    found, gradient = tools.loss_and_gradient(sae.static, params, x, None, sae.hyper, state)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-6)
    np.testing.assert_allclose(gradient.W_enc, slope.W_enc, rtol=1e-5, atol=1e-6)
    assert not np.any(gradient.W_dec)


def test_alignment_moves_the_encoder_least(tools):
    params = tools.random_params(tools.small("aligned"))
    params = params.replace(W_dec=params.W_dec.at[3].set(0.0))
    moved = aligned.align(params)
    expected = np.ones(16)
    expected[3] = 0
    np.testing.assert_allclose(aligned.inner_products(moved), expected, rtol=1e-5, atol=1e-5)
    step = np.asarray(moved.W_enc - params.W_enc).T  # along the decoder row: the shortest way
    assert not step[3].any()
    W_dec, step = np.delete(np.asarray(params.W_dec), 3, 0), np.delete(step, 3, 0)
    cosine = (step * W_dec).sum(1) / np.linalg.norm(step, axis=1) / np.linalg.norm(W_dec, axis=1)
    np.testing.assert_allclose(np.abs(cosine), 1, rtol=1e-5)


def test_alignment_survives_folding_and_is_kept_by_project(tools):
    sae = tools.small("aligned")
    params = tools.random_params(sae)
    for made in (sae.project(params), sae.finalize(params)):
        np.testing.assert_allclose(aligned.inner_products(made), 1, rtol=1e-4)
    once = sae.project(params)
    np.testing.assert_allclose(sae.project(once).W_enc, once.W_enc, rtol=1e-4, atol=1e-5)
    final = sae.finalize(params)
    assert sae.project(final) is final


def test_penalties_by_hand(tools, x):
    sae = tools.small("aligned", exact=False, alignment_coefficient=0.5)
    params, state = tools.random_params(sae), sae.init_state()
    (_, info), _ = tools.loss_and_gradient(sae.static, params, x, None, sae.hyper, state)
    W_enc, W_dec = np.asarray(params.W_enc, np.float64), np.asarray(params.W_dec, np.float64)
    scores = np.array([W_enc[:, j] @ W_dec[j] for j in range(16)])
    assert info["terms"]["alignment_loss"] == pytest.approx(0.5 * ((scores - 1) ** 2).mean())
    units = W_dec / np.linalg.norm(W_dec, axis=1, keepdims=True)
    squares = (units @ units.T) ** 2
    off = squares[~np.eye(16, dtype=bool)].mean()
    assert info["terms"]["orthogonality_loss"] == pytest.approx(0.1 * off)
    assert sae.project(params) is params
    np.testing.assert_allclose(aligned.mean_squared_cosine(jnp.eye(3)), 0, atol=1e-7)
    assert aligned.mean_squared_cosine(jnp.ones((1, 4))) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("min_firing_batchtopk", {"min_firing": -1}, "min_firing must not be negative"),
        ("frozen", {"frozen_weights": ("W_decc",)}, "Did you mean 'W_dec'?"),
        ("frozen", {"frozen_weights": ("b_dec", "b_dec")}, "name each weight once"),
        ("aligned", {"alignment_coefficient": -1}, "alignment_coefficient must not be negative"),
        ("aligned", {"orthogonality_coefficient": -0.5}, "orthogonality_coefficient must not be"),
        ("aligned", {"k": 17}, "0 < k <= d_sae"),
    ],
)
def test_wrong_options_are_named(name, options, message):
    with pytest.raises(ConfigError) as error:
        saes.build(name, **{"d_in": 8, "d_sae": 16, "k": 2, **options})
    assert message in str(error.value)
