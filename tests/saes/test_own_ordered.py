"""Nested dropout: the exact expectation against a loop over prefixes, and draws against it."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synthsae_jax import saes
from synthsae_jax.errors import ConfigError
from synthsae_jax.saes import ordered

RATE = 0.2


def probabilities(distribution):
    if distribution == "uniform":
        return np.full(16, 1 / 16)
    ends = RATE * (1 - RATE) ** np.arange(16)
    ends[-1] = (1 - RATE) ** 15  # whatever would end later
    return ends


def prefix_errors(sae, params, x):
    """The squared error of each prefix length and sample, `[L, n]`."""
    latents = np.asarray(sae.encode(params, x))
    cut = [np.where(np.arange(16) < m, latents, 0) for m in range(1, 17)]
    made = [np.asarray(sae.decode(params, z)) for z in cut]
    return np.array([((x_hat - x) ** 2).sum(axis=1) for x_hat in made])


@functools.partial(jax.jit, static_argnames="sae")
def loss(sae, params, x, hyper, key=None):
    value, info = sae.loss(params, x, hyper=hyper, key=key)
    return value, info["latents"], info["terms"]


def build(**options):
    return saes.build("ordered", d_in=8, d_sae=16, k=4, prefix_rate=RATE, **options)


@pytest.mark.parametrize("distribution", ordered.DISTRIBUTIONS)
def test_the_expectation_is_the_mean_over_all_prefixes(tools, x, distribution):
    sae = build(prefix_distribution=distribution, prefix_loss_weight=0.5)
    params = tools.random_params(sae)
    total, _, terms = loss(sae.static, params, x, sae.hyper)
    errors = prefix_errors(sae, params, x).mean(axis=1)
    expected = 0.5 * (probabilities(distribution) * errors).sum()
    np.testing.assert_allclose(terms["prefix_mse_loss"], expected, rtol=1e-5)
    np.testing.assert_allclose(terms["mse_loss"], errors[-1], rtol=1e-5)
    np.testing.assert_allclose(total, expected + errors[-1], rtol=1e-5)


def test_the_gradient_is_that_of_the_mean_over_all_prefixes(tools, x):
    sae = build()
    params = tools.random_params(sae)
    chosen = jnp.arange(16)[None] < jnp.arange(1, 17)[:, None]

    @jax.jit
    @jax.grad
    def by_prefix(params):
        latents = sae.encode(params, x)
        errors = [jnp.sum((sae.decode(params, latents) - x) ** 2, axis=1)]
        cut = jnp.where(chosen[:, None], latents[None], 0.0).reshape(-1, 16)
        made = sae.decode(params, cut).reshape(16, *x.shape)
        errors.append(jnp.sum((made - x[None]) ** 2, axis=2).mean(axis=0))
        return sum(error.mean() for error in errors)

    _, found = tools.loss_and_gradient(sae.static, params, x, None, sae.hyper, ())
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(by_prefix(params))):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("prefixes", ["one per batch", "one per sample"])
def test_draws_have_the_same_expectation(tools, x, prefixes):
    sae = build(prefixes=prefixes, prefix_distribution="geometric")
    params = tools.random_params(sae)
    keys = jax.random.split(jax.random.key(0), 2000)
    draws = jax.vmap(loss, in_axes=(None, None, None, None, 0))
    drawn = draws(sae.static, params, x, sae.hyper, keys)[2]["prefix_mse_loss"]
    p, errors = probabilities("geometric"), prefix_errors(sae, params, x)
    if prefixes == "one per batch":
        errors = errors.mean(axis=1, keepdims=True)
    mean = p @ errors
    variance = (p @ (errors - mean) ** 2).mean() / errors.shape[1]
    assert abs(np.mean(drawn) - mean.mean()) < 4.5 * np.sqrt(variance / 2000)
    # the variance of 2,000 draws is within 4.5 sqrt(2 / 2000) of itself where they are normal
    assert np.var(drawn) == pytest.approx(variance, rel=0.2)


@pytest.mark.parametrize("distribution", ordered.DISTRIBUTIONS)
def test_lengths_are_drawn_with_their_probabilities(distribution):
    options = build(prefix_distribution=distribution).options
    lengths = ordered.draw_length(jax.random.key(1), (20_000,), jnp.float32(RATE), options)
    rates = np.bincount(lengths, minlength=17)[1:] / 20_000
    p = probabilities(distribution)
    assert (np.abs(rates - p) < 4.5 * np.sqrt(p * (1 - p) / 20_000)).all()
    found = ordered.length_probabilities(jnp.float32(RATE), options)
    np.testing.assert_allclose(found, p, rtol=1e-5)


def test_without_a_key_a_draw_falls_back_on_the_expectation(tools, x):
    drawing, exact = build(prefixes="one per sample"), build()
    params = tools.random_params(exact)
    expected = loss(exact.static, params, x, exact.hyper)[0]
    assert loss(drawing.static, params, x, drawing.hyper)[0] == pytest.approx(expected)


def test_the_loss_knows_the_order_that_encode_does_not(tools, x):
    sae = build()
    params = tools.random_params(sae)
    turned = params.replace(
        W_enc=params.W_enc[:, ::-1], b_enc=params.b_enc[::-1], W_dec=params.W_dec[::-1]
    )
    _, latents, before = loss(sae.static, params, x, sae.hyper)
    _, same, after = loss(sae.static, turned, x, sae.hyper)
    np.testing.assert_allclose(same, latents[:, ::-1], rtol=1e-5)
    assert after["mse_loss"] == pytest.approx(before["mse_loss"])
    assert after["prefix_mse_loss"] != pytest.approx(before["prefix_mse_loss"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prefixes": "some"}, "Unknown prefixes 'some'"),
        ({"prefix_distribution": "zipf"}, "Known: geometric, uniform"),
        ({"prefix_rate": 0.0}, "prefix_rate must lie between 0 and 1"),
        ({"prefix_loss_weight": -1}, "prefix_loss_weight must not be negative"),
        ({"k": 0}, "1 <= k <= d_sae"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ConfigError) as error:
        saes.build("ordered", **{"d_in": 8, "d_sae": 16, "k": 2, **options})
    assert message in str(error.value)
