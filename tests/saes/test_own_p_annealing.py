"""When p falls, what the penalty is, and that its cost is kept where p changes."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synthsae_jax import saes
from synthsae_jax.errors import ConfigError
from synthsae_jax.saes import p_annealing
from synthsae_jax.saes.p_annealing import PAnnealingHyper

SMALL = {"d_in": 8, "d_sae": 16, "l1_coefficient": 0.5}


def p_at(step, **choices):
    hyper = PAnnealingHyper(**choices)
    steps = jnp.asarray(step, jnp.int32)
    return p_annealing.exponent(p_annealing.updates_done(steps, hyper), hyper)


def test_p_falls_in_equal_steps_between_its_ends():
    found = p_at(
        [-1, 0, 3, 4, 6, 7, 9, 10, 12, 13, 99],
        p_start=1.0, p_end=0.4, p_anneal_start=4, p_anneal_steps=9, p_updates=3,
    )  # fmt: skip
    expected = [1, 1, 1, 1, 1, 0.8, 0.8, 0.6, 0.6, 0.4, 0.4]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    long = {"p_anneal_steps": 300_000, "p_updates": 300_000, "p_end": 0.25}
    np.testing.assert_allclose(p_at([0, 100_000, 200_000, 300_000], **long), [1, 0.75, 0.5, 0.25])


def test_one_penalty_by_hand():
    lengths = jnp.array([[4.0, 0.0, 9.0], [0.0, 0.0, 0.0]])
    found, slope = jax.value_and_grad(p_annealing.sum_of_powers)(lengths, jnp.float32(0.5))
    assert found == pytest.approx((2 + 3) / 2)
    np.testing.assert_allclose(slope, [[1 / 8, 0, 1 / 12], [0, 0, 0]], rtol=1e-6)


def test_it_begins_as_the_standard_sae(tools, x):
    sae, plain = tools.small("p_annealing"), tools.small("standard")
    params = tools.random_params(plain)
    found, gradient = tools.loss_and_gradient(
        sae.static, params, x, None, sae.hyper, sae.init_state()
    )
    expected, same = tools.loss_and_gradient(
        plain.static, params, x, None, plain.hyper, plain.init_state()
    )
    assert found[1]["terms"]["l1_loss"] == pytest.approx(expected[1]["terms"]["l1_loss"])
    for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(same)):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_the_penalty_costs_the_same_where_p_changes(tools, x):
    """On one batch again and again the rescaled penalty is the same number at every p."""
    sae = tools.small("p_annealing")
    hyper = sae.hyper.replace(p_anneal_steps=np.int32(6), p_updates=np.int32(3))
    params, state = tools.random_params(sae), sae.init_state()
    lengths = sae.encode(params, x) * np.linalg.norm(params.W_dec, axis=1)[None]
    paid = []
    for _ in range(9):
        (_, info), _ = tools.loss_and_gradient(sae.static, params, x, None, hyper, state)
        state = info["state"]
        paid.append(float(info["terms"]["l1_loss"]))
    np.testing.assert_allclose(paid, paid[0], rtol=1e-5)
    total = np.asarray(lengths).sum(axis=1).mean()
    powers = np.where(lengths > 0, np.asarray(lengths) ** 0.5, 0).sum(axis=1).mean()
    assert state.scale == pytest.approx(total / powers, rel=1e-5)  # p_end of the example is .5


def test_a_batch_without_a_latent_leaves_the_scale(tools, x):
    sae = tools.small("p_annealing")
    hyper = sae.hyper.replace(p_anneal_steps=np.int32(5))
    params = tools.random_params(sae)
    silent = params.replace(b_enc=params.b_enc - 100)
    state = sae.init_state()
    for _ in range(3):
        (_, info), _ = tools.loss_and_gradient(sae.static, silent, x, None, hyper, state)
        state = info["state"]
    assert state.scale == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"p_end": 0.0}, "0 < p_end <= p_start, got p_start=1.0, p_end=0.0"),
        ({"p_start": 0.1}, "p must fall"),
        ({"p_updates": 0}, "1 <= p_updates <= p_anneal_steps"),
        ({"p_anneal_steps": 5}, "p_updates=10, p_anneal_steps=5"),
        ({"l1_coefficient": -1}, "l1_coefficient must not be negative"),
        ({"p_anneal_start": -1}, "p_anneal_start must not be negative"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ConfigError) as error:
        saes.build("p_annealing", **{**SMALL, **options})
    assert message in str(error.value)
