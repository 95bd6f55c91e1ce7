"""Signed top-k, nested prefixes and matching pursuit: hand-worked numbers and brute force."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synthsae_jax import metrics, saes
from synthsae_jax.saes import matching_pursuit as mp
from synthsae_jax.saes.topk import TopKOptions, dead_latents_error

LOSS_AND_GRADIENT = jax.jit(
    lambda sae, params, x, dead, hyper: jax.value_and_grad(sae.loss, has_aux=True)(
        params, x, dead, hyper=hyper
    ),
    static_argnums=0,
)


def identity_params(norm: float) -> saes.SAEParams:
    eye = jnp.eye(3)
    return saes.SAEParams(W_enc=eye, b_enc=jnp.zeros(3), W_dec=norm * eye, b_dec=jnp.zeros(3))


def test_signed_values_are_kept_by_magnitude():
    sae = saes.build("abs_topk", d_in=3, d_sae=3, k=2)
    x = jnp.array([[-3.0, 1.0, 2.0], [0.5, -0.25, 0.0]])
    params = identity_params(2.0)
    latents = sae.encode(params, x)
    np.testing.assert_allclose(latents, [[-6, 0, 4], [1, -0.5, 0]])
    np.testing.assert_allclose(sae.decode(params, latents), [[-6, 0, 4], [1, -0.5, 0]])
    (_, info), gradient = LOSS_AND_GRADIENT(sae.static, params, x, None, sae.hyper)
    # errors (-3, -1, 2) and (.5, -.25, 0)
    assert info["terms"]["mse_loss"] == pytest.approx((9 + 1 + 4 + 0.25 + 0.0625) / 2)
    np.testing.assert_allclose(np.sign(gradient.b_enc), [-1, -1, 1])


def test_dead_latents_revive_by_magnitude():
    pre = jnp.array([[-2.0, 1.0, 0.5, 9.0]])
    dead = jnp.array([True, True, True, False])
    options = TopKOptions(d_in=4, d_sae=4)
    revived = dead_latents_error(pre, dead, jnp.zeros((1, 4)), jnp.eye(4), options, jnp.abs)
    assert revived == pytest.approx(4 + 1)  # two of three, the scale is 1


def test_a_latent_that_is_always_negative_counts_as_firing():
    sae = saes.build("abs_topk", d_in=3, d_sae=3, k=1)
    x = jnp.tile(jnp.array([[-3.0, -2.0, -1.0]]), (4, 1))
    latents = sae.encode(identity_params(1.0), x)
    np.testing.assert_array_equal(latents, np.tile([[-3.0, 0.0, 0.0]], (4, 1)))
    assert metrics.l0(latents) == 1
    assert metrics.dead_latents(latents) == 2


def test_prefixes_by_hand():
    sae = saes.build("matryoshka", d_in=3, d_sae=3, k=2.0, matryoshka_widths=[1, 2])
    assert sae.options.matryoshka_widths == (1, 2, 3)
    assert sae == saes.build("matryoshka", d_in=3, d_sae=3, k=1.0, matryoshka_widths=(1, 2, 3))
    params = identity_params(1.0).replace(b_dec=jnp.array([0.0, 0.0, 1.0]))
    x = jnp.array([[1.0, 3.0, 1.0], [2.0, 0.5, 5.0]])
    (loss, info), _ = LOSS_AND_GRADIENT(sae.static, params, x, None, sae.hyper)
    np.testing.assert_allclose(info["latents"], [[1, 3, 0], [2, 0, 4]])
    # reconstructions by the first latent, by two, by all: what each leaves
    first = (0 + 9 + 0) + (0 + 0.25 + 16)
    second = 0 + (0 + 0.25 + 16)
    assert info["terms"]["inner_mse_loss_1"] == pytest.approx(first / 2)
    assert info["terms"]["inner_mse_loss_2"] == pytest.approx(second / 2)
    assert info["terms"]["mse_loss"] == pytest.approx(0.25 / 2)
    assert loss == pytest.approx((first + second + 0.25) / 2)


def test_one_prefix_is_batchtopk():
    plain = saes.build("batchtopk", d_in=5, d_sae=9, k=2.2)
    nested = saes.build("matryoshka", d_in=5, d_sae=9, k=2.2, matryoshka_widths=[9])
    params = plain.init(jax.random.key(0))
    x, dead = jax.random.normal(jax.random.key(1), (7, 5)), jnp.arange(9) < 3
    for sae in (plain, nested):
        (loss, info), gradient = LOSS_AND_GRADIENT(sae.static, params, x, dead, sae.hyper)
        if sae is plain:
            expected = (loss, info["terms"], gradient)
    for a, b in zip(jax.tree.leaves((loss, info["terms"], gradient)), jax.tree.leaves(expected)):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def brute_force(W_dec, x, rounds, threshold, stop_on_duplicate):
    """The pursuit of one sample, step by step; latents and residual."""
    latents, residual = np.zeros(len(W_dec)), x.copy()
    for _ in range(rounds):
        along = W_dec @ residual
        best, before = np.argmax(along), latents.copy()
        value = max(along[best], 0.0)
        latents[best] += value
        residual -= value * W_dec[best]
        if stop_on_duplicate and np.array_equal(latents != 0, before != 0):
            break
        if np.linalg.norm(residual) < threshold:
            break
    return latents, residual


PURSUE = jax.jit(mp.pursue, static_argnums=3)


@pytest.mark.parametrize(
    ("rounds", "threshold", "stop_on_duplicate"),
    [(1, 0.0, True), (6, 0.0, False), (6, 0.0, True), (12, 1.2, False), (12, 1.2, True)],
)
def test_pursuit_is_that_of_a_loop(rounds, threshold, stop_on_duplicate):
    rng = np.random.default_rng(0)
    W_dec = rng.normal(size=(9, 5))
    # rows up to 1.3 long: neither a projection nor divergent
    W_dec *= rng.uniform(0.7, 1.3, size=(9, 1)) / np.linalg.norm(W_dec, axis=1, keepdims=True)
    x = rng.normal(size=(40, 5))
    x[0] = 0
    options = mp.MatchingPursuitOptions(
        d_in=5, d_sae=9, max_iterations=rounds, stop_on_duplicate_support=stop_on_duplicate
    )
    arrays = (np.float32(W_dec), np.float32(x), np.float32(threshold))
    latents, residual = PURSUE(*arrays, options)
    expected = [brute_force(W_dec, row, rounds, threshold, stop_on_duplicate) for row in x]
    np.testing.assert_allclose(latents, [z for z, _ in expected], atol=5e-6)
    np.testing.assert_allclose(residual, [r for _, r in expected], atol=5e-6)


def test_pursuit_without_the_product_of_the_decoder_with_itself(monkeypatch):
    rng = np.random.default_rng(1)
    W_dec, x = (rng.normal(size=s).astype(np.float32) * 0.3 for s in ((9, 5), (20, 5)))
    options = mp.MatchingPursuitOptions(d_in=5, d_sae=9, max_iterations=4)
    with_it = mp.pursue(W_dec, x, 0.0, options)
    monkeypatch.setattr(mp, "_LARGEST_GRAM", 0)
    for a, b in zip(mp.pursue(W_dec, x, 0.0, options), with_it):
        np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("threshold", [0.0, 0.4])
def test_gradients_of_many_rounds_are_those_of_the_written_out_chain(threshold):
    rng = np.random.default_rng(1)
    W_dec, x = (rng.normal(size=s).astype(np.float32) * 0.3 for s in ((9, 5), (20, 5)))
    rounds = 11
    options = mp.MatchingPursuitOptions(
        d_in=5, d_sae=9, max_iterations=rounds, stop_on_duplicate_support=False
    )

    def written_out(W_dec, x):
        latents, residual = jnp.zeros((20, 9)), x
        going = jnp.ones(20)
        for _ in range(rounds):
            row = W_dec[jnp.argmax(residual @ W_dec.T, axis=1)]
            best = jax.nn.one_hot(jnp.argmax(residual @ W_dec.T, axis=1), 9)
            value = going * jax.nn.relu(jnp.sum(residual * row, axis=1))
            latents = latents + value[:, None] * best
            residual = residual - value[:, None] * row
            length = jnp.linalg.norm(jax.lax.stop_gradient(residual), axis=1)
            going = going * (length >= threshold)
        return latents, residual

    def gradient(pursue):
        def objective(W_dec, x):
            latents, residual = pursue(W_dec, x)
            return jnp.sum(jnp.sin(latents)) + jnp.sum(jnp.square(residual))

        return jax.jit(jax.grad(objective, argnums=(0, 1)))(W_dec, x)

    ours = gradient(lambda W_dec, x: mp.pursue(W_dec, x, threshold, options))
    for a, b in zip(ours, gradient(written_out)):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_a_row_chosen_twice_adds_up():
    # |d|^2 = 1/2: what is left along the row halves each time
    W_dec = jnp.array([[jnp.sqrt(0.5), 0.0], [0.0, -1.0]])
    x = jnp.array([[1.0, 0.0]])
    for stop, values in ((False, [1.0, 0.5, 0.25, 0.125]), (True, [1.0, 0.5])):
        options = mp.MatchingPursuitOptions(
            d_in=2, d_sae=2, max_iterations=4, stop_on_duplicate_support=stop
        )
        latents, _ = PURSUE(W_dec, x, 0.0, options)
        np.testing.assert_allclose(latents, [[np.sqrt(0.5) * sum(values), 0.0]], rtol=1e-6)


def test_the_loss_is_that_of_the_reconstruction():
    sae = saes.build("matching_pursuit", d_in=5, d_sae=9, max_iterations=3)
    params = sae.init(jax.random.key(0)).replace(b_dec=jnp.arange(5.0) / 5)
    assert params.W_enc is None
    np.testing.assert_allclose(np.linalg.norm(params.W_dec, axis=1), 1.0, rtol=1e-6)
    x = jax.random.normal(jax.random.key(1), (7, 5))
    dead = None
    (loss, info), gradient = LOSS_AND_GRADIENT(sae.static, params, x, dead, sae.hyper)
    x_hat = sae.decode(params, info["latents"])
    assert loss == pytest.approx(float(np.square(x_hat - x).sum(-1).mean()), rel=1e-5)

    @jax.jit
    @jax.grad
    def through_latents(params):
        x_hat = sae.decode(params, sae.train_encode(params, x))
        return jnp.mean(jnp.sum(jnp.square(x_hat - x), axis=-1))

    expected = through_latents(params)
    np.testing.assert_allclose(gradient.W_dec, expected.W_dec, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(gradient.b_dec, expected.b_dec, rtol=1e-4, atol=1e-5)


def test_rounds_that_cannot_be_had_take_no_room():
    # a sample ends with the round after all latents are on, whatever it was allowed
    build = lambda n: saes.build("matching_pursuit", d_in=5, d_sae=9, max_iterations=n)
    x = jax.random.normal(jax.random.key(0), (7, 5))
    params = build(10).init(jax.random.key(1))
    assert build(10**9).options.rounds == 10
    np.testing.assert_array_equal(build(10**9).encode(params, x), build(10).encode(params, x))
