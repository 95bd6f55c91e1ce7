"""JumpReLU and gated SAEs: numbers worked out by hand."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synthsae_jax import saes
from synthsae_jax.saes import parts
from synthsae_jax.saes.parts import StepState

LOSS_AND_GRADIENT = jax.jit(
    lambda sae, params, x, dead, hyper, state: jax.value_and_grad(sae.loss, has_aux=True)(
        params, x, dead, hyper=hyper, state=state
    ),
    static_argnums=0,
)
# two latents along two axes, their decoder rows of norm 2; thresholds .5 and 1
JUMPRELU = saes.SAEParams(
    W_enc=np.eye(2, dtype=np.float32),
    b_enc=np.zeros(2, np.float32),
    W_dec=2 * np.eye(2, dtype=np.float32),
    b_dec=np.zeros(2, np.float32),
    threshold=np.array([0.5, 1.0], np.float32),
)
# latents (.6, 0), (2, 3): the first three values above their thresholds, the last below
X = np.array([[0.6, 0.9], [2.0, 3.0]], np.float32)


def jumprelu(**options):
    return saes.build("jumprelu", d_in=2, d_sae=2, jumprelu_bandwidth=0.4, **options)


def loss_and_gradient(sae, params, x=X, dead=None, step: int = 0):
    state = StepState(jnp.int32(step))
    return LOSS_AND_GRADIENT(sae.static, params, x, dead, sae.hyper, state)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, (1 + 2) / 2),
        ({"jumprelu_sparsity_loss_mode": "quadratic", "target_l0": 1.5}, 2 / 1.5 * 0.25),
        (
            {"jumprelu_sparsity_loss_mode": "tanh", "jumprelu_tanh_scale": 0.5},
            (np.tanh(0.6) + np.tanh(2.0) + np.tanh(3.0)) / 2,
        ),
    ],
)
def test_what_sparsity_costs_in_each_mode(options, expected):
    sae = jumprelu(l0_coefficient=0.2, l0_warm_up_steps=8, **options)
    (loss, info), _ = loss_and_gradient(sae, JUMPRELU, step=2)
    np.testing.assert_allclose(info["latents"], [[0.6, 0.0], [2.0, 3.0]])
    # reconstructions (1.2, 0), (4, 6)
    assert info["terms"]["mse_loss"] == pytest.approx((0.36 + 0.81 + 4 + 9) / 2)
    assert info["terms"]["l0_loss"] == pytest.approx(0.2 * 2 / 8 * expected)
    assert loss == pytest.approx(sum(float(v) for v in info["terms"].values()))
    assert info["state"].step == 3


@pytest.mark.parametrize("to_input", [False, True])
def test_the_jump_has_an_estimated_slope_near_its_threshold(to_input):
    # only .6 and .9 lie within .2 of their thresholds .5 and 1; x_hat - x is (.6, -.9) there, so
    # a latent's error gradient, averaged over two samples, is 2 (.6, -.9) * norm 2 / 2
    sae = jumprelu(l0_coefficient=3.0, jumprelu_ste_to_input=to_input)
    _, gradient = loss_and_gradient(sae, JUMPRELU)
    of_latents = np.array([2 * 0.6, -2 * 0.9])
    estimated = (of_latents * [0.5, 1.0] + 3.0 / 2) / 0.4  # jump of height threshold, and the step
    np.testing.assert_allclose(gradient.threshold, -estimated, rtol=1e-5)
    active = np.array([2 * 0.6 + 2 * 2.0, 2 * 3.0])  # through latents that fire
    expected = active + estimated if to_input else active
    np.testing.assert_allclose(gradient.b_enc, expected, rtol=1e-5)


def test_a_target_pulls_thresholds_from_both_sides():
    def pull(target):
        options = {"jumprelu_sparsity_loss_mode": "quadratic", "target_l0": target}
        sae = jumprelu(l0_coefficient=1e3, **options)
        return np.asarray(loss_and_gradient(sae, JUMPRELU)[1].threshold)

    assert np.all(pull(0.5) < 0)  # too many fire: descent raises thresholds
    assert np.all(pull(2.0) > 0)


def test_a_negative_threshold_counts_as_zero_and_keeps_its_gradient():
    sae = jumprelu(l0_coefficient=1.0)
    x = np.array([[0.1, -0.1], [-0.15, 0.05]], np.float32)
    below = JUMPRELU.replace(threshold=np.array([-0.3, -0.01], np.float32))
    zero = JUMPRELU.replace(threshold=np.zeros(2, np.float32))
    (loss, info), gradient = loss_and_gradient(sae, below, x)
    (same, _), expected = loss_and_gradient(sae, zero, x)
    np.testing.assert_allclose(info["latents"], np.maximum(x, 0))
    assert loss == same
    np.testing.assert_array_equal(gradient.threshold, expected.threshold)
    assert np.all(np.asarray(gradient.threshold) != 0)
    np.testing.assert_array_equal(sae.encode(below, x), np.maximum(x, 0))
    for projected in (sae.project(below), sae.finalize(below)):
        np.testing.assert_array_equal(projected.threshold, [0, 0])
        np.testing.assert_array_equal(projected.W_enc, below.W_enc)


def test_dead_latents_pay_for_staying_below_their_thresholds():
    sae = jumprelu(pre_act_loss_coefficient=0.5, l0_coefficient=0.0)
    (_, info), gradient = loss_and_gradient(sae, JUMPRELU, dead=np.array([False, True]))
    # the second latent is .1 short in one sample, in units of its norm 2
    assert info["terms"]["pre_act_loss"] == pytest.approx(0.5 * 0.1 * 2 / 2, rel=1e-5)
    (_, info), without = loss_and_gradient(sae, JUMPRELU, dead=np.array([True, False]))
    assert info["terms"]["pre_act_loss"] == 0
    pulled = np.asarray(gradient.b_enc) - np.asarray(without.b_enc)
    np.testing.assert_allclose(pulled, [0, -0.5], atol=1e-6)
    assert "pre_act_loss" not in loss_and_gradient(jumprelu(), JUMPRELU)[0][1]["terms"]


def test_initial_thresholds():
    sae = jumprelu(jumprelu_init_threshold=0.25)
    np.testing.assert_array_equal(sae.init(jax.random.key(0)).threshold, [0.25, 0.25])


def test_gate_and_magnitude_by_hand():
    sae = saes.build("gated", d_in=2, d_sae=2, l1_coefficient=0.3)
    params = saes.SAEParams(
        W_enc=np.eye(2, dtype=np.float32),
        W_dec=2 * np.eye(2, dtype=np.float32),
        b_dec=np.array([1.0, 0.0], np.float32),
        b_gate=np.array([0.0, -0.5], np.float32),
        b_mag=np.array([0.25, 0.0], np.float32),
        r_mag=np.log(np.array([3.0, 0.5], np.float32)),
    )
    x = np.array([[2.0, 2.0], [0.0, 0.25]], np.float32)
    # centred (1, 2), (-1, .25): gates (1, 1.5), (-1, -.25), magnitudes (3.25, 1), (0, .125)
    (loss, info), _ = loss_and_gradient(sae, params, x)
    np.testing.assert_allclose(info["latents"], [[3.25, 1.0], [0.0, 0.0]], rtol=1e-6)
    # reconstructions (7.5, 2), (1, 0); by the gates alone (3, 3), (1, 0)
    assert info["terms"]["mse_loss"] == pytest.approx((5.5**2 + 0 + 1 + 0.0625) / 2)
    auxiliary = info["terms"]["auxiliary_reconstruction_loss"]
    assert auxiliary == pytest.approx((1 + 1 + 1 + 0.0625) / 2)
    assert info["terms"]["l1_loss"] == pytest.approx(0.3 * (2 * 2.5 + 0) / 2)
    assert loss == pytest.approx(sum(float(v) for v in info["terms"].values()))


def test_a_gate_starts_as_a_standard_sae():
    gated, standard = (saes.build(n, d_in=5, d_sae=9) for n in ("gated", "standard"))
    x = jax.random.normal(jax.random.key(1), (6, 5))
    ours, like = (sae.init(jax.random.key(0)) for sae in (gated, standard))
    assert ours.b_enc is None
    np.testing.assert_array_equal(ours.W_dec, like.W_dec)
    np.testing.assert_allclose(gated.encode(ours, x), standard.encode(like, x), rtol=1e-6)


def test_penalties_warm_up_alike():
    assert parts.warmed_up(2.0, parts.first_step().step, 10) == 0
    assert parts.warmed_up(2.0, parts.first_step().step, 0) == 2
