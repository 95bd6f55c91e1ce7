"""Decoder rows in and near the hull of anchors, which weights move, and anchors of one's own."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.optimize import nnls

from synthsae_jax import saes
from synthsae_jax.errors import ConfigError
from synthsae_jax.saes.archetypal import composed


@functools.partial(jax.jit, static_argnames="sae")
def trained(sae, params, hyper, x):
    """Thirty steps of Adam on one batch, projected after each as training does."""
    adam = optax.adam(3e-2)

    def step(carry, _):
        params, moments, state = carry
        (_, info), gradient = jax.value_and_grad(sae.loss, has_aux=True)(
            params, x, hyper=hyper, state=state
        )
        updates, moments = adam.update(gradient, moments)
        params = sae.project(optax.apply_updates(params, updates))
        return (params, moments, info["state"]), None

    carry = (params, adam.init(params), sae.init_state())
    return jax.lax.scan(step, carry, length=30)[0][0]


def distance_from_hull(rows, anchors):
    """Of each row, by non-negative least squares with a heavy row that makes weights sum to 1."""
    heavy = 1e3
    system = np.vstack([np.asarray(anchors, np.float64).T, heavy * np.ones(len(anchors))])
    return np.array([nnls(system, np.append(row, heavy))[1] for row in np.asarray(rows)])


@pytest.mark.parametrize("bound", [0.0, 0.25])
def test_trained_rows_stay_within_the_bound_of_the_hull(tools, x, bound):
    sae = tools.small("archetypal", relaxation_bound=bound)
    start = jax.jit(sae.init)(jax.random.key(0), hyper=sae.hyper)
    params = trained(sae.static, start, sae.hyper, x)
    mixing, relaxation = np.asarray(params.extra["mixing"]), np.asarray(params.extra["relaxation"])
    assert mixing.min() >= 0
    np.testing.assert_allclose(mixing.sum(axis=1), 1, rtol=1e-5)
    assert (mixing > 0).sum(axis=1).max() > 1  # rows have left their first anchor
    lengths = np.linalg.norm(relaxation, axis=1)
    assert lengths.max() == pytest.approx(bound, rel=1e-5)
    anchors = start.extra["anchors"]
    np.testing.assert_array_equal(params.extra["anchors"], anchors)
    np.testing.assert_allclose(params.W_dec, mixing @ anchors + relaxation, rtol=1e-5, atol=1e-6)
    assert distance_from_hull(params.W_dec, anchors).max() < bound + 1e-3


def test_latents_start_at_anchors_with_an_encoder_along_them():
    sae = saes.build("archetypal", d_in=8, d_sae=16, k=2, n_anchors=10, decoder_init_norm=0.5)
    init = jax.jit(sae.init)
    params = init(jax.random.key(0))
    anchors = np.asarray(params.extra["anchors"])
    np.testing.assert_allclose(np.linalg.norm(anchors, axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(params.W_dec, anchors[np.arange(16) % 10], rtol=1e-6)
    np.testing.assert_allclose(params.W_enc.T, 0.5 * params.W_dec, rtol=1e-5)
    assert np.any(init(jax.random.key(1)).extra["anchors"] != anchors)  # independent


def test_a_mixing_weight_at_zero_gets_a_gradient_and_fixed_weights_none(tools, x):
    sae = tools.small("archetypal")
    params = jax.jit(sae.init)(jax.random.key(0), hyper=sae.hyper)
    _, gradient = tools.loss_and_gradient(sae.static, params, x, None, sae.hyper, sae.init_state())
    slope = np.asarray(gradient.extra["mixing"])
    assert np.any(slope[np.asarray(params.extra["mixing"]) == 0] != 0)
    # W_dec = M C + R: what reaches R reaches M through the anchors
    expected = gradient.extra["relaxation"] @ params.extra["anchors"].T
    np.testing.assert_allclose(slope, expected, rtol=1e-4, atol=1e-5)
    assert not np.any(gradient.W_dec)
    assert not np.any(gradient.extra["anchors"])


def test_bounds_by_hand():
    extra = {
        "mixing": jnp.array([[0.5, 1.5, -1.0], [-1.0, -2.0, 0.0]]),
        "relaxation": jnp.array([[3.0, 4.0], [0.0, 0.5]]),
        "anchors": jnp.array([[4.0, 0.0], [0.0, 4.0], [9.0, 9.0]]),
        "relaxation_bound": jnp.float32(1.0),
    }
    made = composed(saes.SAEParams(extra=extra))
    np.testing.assert_allclose(made.extra["mixing"], [[0.25, 0.75, 0], [1 / 3, 1 / 3, 1 / 3]])
    np.testing.assert_allclose(made.extra["relaxation"], [[0.6, 0.8], [0, 0.5]], rtol=1e-6)
    np.testing.assert_allclose(made.W_dec, [[1.6, 3.8], [13 / 3, 29 / 6]], rtol=1e-6)


def test_anchors_of_ones_own(tools):
    sae = tools.small("archetypal")
    params = jax.jit(sae.init)(jax.random.key(0), hyper=sae.hyper)
    anchors = np.random.default_rng(0).normal(size=(12, 8))
    moved = saes.with_anchors(params, anchors)
    np.testing.assert_allclose(moved.W_dec, anchors[np.arange(16) % 12], rtol=1e-5)
    norms = np.linalg.norm(anchors, axis=1)[np.arange(16) % 12]
    np.testing.assert_allclose(moved.W_enc.T, 0.1 * moved.W_dec / norms[:, None], rtol=1e-4)
    with pytest.raises(ConfigError, match=r"shape \(A, D\) = \(12, 8\), got \(8, 12\)"):
        saes.with_anchors(params, anchors.T)
    with pytest.raises(ConfigError, match="archetypal SAE have anchors"):
        saes.with_anchors(saes.SAEParams(W_dec=anchors), anchors)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_anchors": 0}, "n_anchors must be at least 1 or None"),
        ({"relaxation_bound": -1}, "relaxation_bound must not be negative"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ConfigError) as error:
        saes.build("archetypal", **{"d_in": 8, "d_sae": 16, "k": 2, **options})
    assert message in str(error.value)
