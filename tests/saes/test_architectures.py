"""Numbers of single architectures worked out by hand, and properties that only some have."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synthsae_jax import saes
from synthsae_jax.saes import parts
from synthsae_jax.saes.batchtopk import BatchTopKState, updated_threshold
from synthsae_jax.saes.topk import TopKOptions, dead_latents_error

LOSS_AND_GRADIENT = jax.jit(
    lambda sae, params, x, dead, hyper: jax.value_and_grad(sae.loss, has_aux=True)(
        params, x, dead, hyper=hyper
    ),
    static_argnums=0,
)
DEAD_LATENTS_ERROR = jax.jit(dead_latents_error, static_argnums=4)


def identity_params(norm: float) -> saes.SAEParams:
    """Three latents along three axes, decoder rows of the given norm."""
    eye = jnp.eye(3)
    return saes.SAEParams(W_enc=eye, b_enc=jnp.zeros(3), W_dec=norm * eye, b_dec=jnp.zeros(3))


def test_initial_weights_are_tied_directions_of_the_given_norm():
    sae = saes.build("topk", d_in=30, d_sae=200, k=3, decoder_init_norm=0.5)
    params = jax.jit(sae.init)(jax.random.key(0))
    np.testing.assert_array_equal(params.W_enc, params.W_dec.T)
    np.testing.assert_allclose(np.linalg.norm(params.W_dec, axis=1), 0.5, rtol=1e-6)
    assert not np.any(params.b_enc)
    assert not np.any(params.b_dec)


def test_initial_weights_as_drawn_are_kaiming_uniform():
    sae = saes.build("standard", d_in=30, d_sae=2000, decoder_init_norm=None)
    drawn = np.asarray(sae.init(jax.random.key(0)).W_dec)
    bound = np.sqrt(6 / 30)
    # 60,000 uniform draws: the largest is within 1e-3 of the bound, but for a chance of e^-30
    assert bound * 0.999 < np.abs(drawn).max() <= bound
    # sd of the mean square of a uniform is bound^2 sqrt(4 / 45 / n); 4.5 of them
    sigma = bound**2 * np.sqrt(4 / 45 / drawn.size)
    assert abs(np.mean(drawn**2) - bound**2 / 3) < 4.5 * sigma


def test_l1_loss_by_hand():
    sae = saes.build("standard", d_in=3, d_sae=3, l1_coefficient=0.5, l1_warm_up_steps=10)
    x = jnp.array([[1.0, -2.0, 3.0], [0.0, 4.0, 0.0]])
    loss, info = sae.loss(identity_params(2.0), x, state=parts.StepState(jnp.int32(4)))
    # latents (1, 0, 3), (0, 4, 0); reconstructions twice that
    assert info["terms"]["mse_loss"] == pytest.approx(((1 + 4 + 9) + 16) / 2)
    # lengths sum to 2 (1 + 3) and 2 * 4; coefficient 0.5 * 4 / 10
    assert info["terms"]["l1_loss"] == pytest.approx(0.2 * (8 + 8) / 2)
    assert loss == pytest.approx(15 + 1.6)
    assert info["state"].step == 5


@pytest.mark.parametrize("p", [0.5, 2.0])
def test_other_norms_of_the_penalty(p):
    sae = saes.build("standard", d_in=3, d_sae=3, lp_norm=p)
    x = jnp.array([[1.0, -2.0, 4.0], [-1.0, -1.0, -1.0]])  # no latent fires on the second
    (_, info), gradient = LOSS_AND_GRADIENT(sae.static, identity_params(1.0), x, None, sae.hyper)
    expected = (1 + 4**p) ** (1 / p) / 2
    assert info["terms"]["l1_loss"] == pytest.approx(expected, rel=1e-5)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_topk_ranks_by_length_where_it_rescales():
    x = jnp.array([[3.0, 2.0, 1.0]])
    params = identity_params(1.0).replace(W_dec=jnp.diag(jnp.array([1.0, 2.0, 5.0])))
    sae = saes.build("topk", d_in=3, d_sae=3, k=1)
    np.testing.assert_allclose(sae.encode(params, x), [[0, 0, 5]])  # lengths 3, 4, 5
    np.testing.assert_allclose(sae.decode(params, sae.encode(params, x)), [[0, 0, 5]])
    raw = saes.build("topk", d_in=3, d_sae=3, k=1, rescale_acts_by_decoder_norm=False)
    np.testing.assert_allclose(raw.encode(params, x), [[3, 0, 0]])
    final = sae.finalize(params)
    np.testing.assert_allclose(np.linalg.norm(final.W_dec, axis=1), 1.0)
    assert raw.finalize(params) is params


def test_topk_keeps_only_positive_values():
    sae = saes.build("topk", d_in=3, d_sae=3, k=2)
    latents = sae.encode(identity_params(1.0), jnp.array([[-1.0, 2.0, -3.0]]))
    np.testing.assert_array_equal(latents, [[0, 2, 0]])


def test_batchtopk_ranks_over_the_batch_and_finalizes_to_a_threshold():
    sae = saes.build("batchtopk", d_in=3, d_sae=3, k=1.0, topk_threshold_lr=0.25)
    x = jnp.array([[5.0, 4.0, 1.0], [2.0, 3.0, -1.0]])
    params = identity_params(2.0)
    np.testing.assert_allclose(sae.train_encode(params, x), [[10, 8, 0], [0, 0, 0]])
    _, info = sae.loss(params, x, state=BatchTopKState(jnp.float32(4.0)))
    assert info["state"].threshold == pytest.approx(4 + 0.25 * (8 - 4))
    final = sae.finalize(params, info["state"])
    np.testing.assert_allclose(final.threshold, 5.0)
    latents = sae.encode(final, x)  # lengths 10, 8, 2, 4, 6, -2 against 5
    np.testing.assert_allclose(latents, [[10, 8, 0], [0, 6, 0]])
    np.testing.assert_allclose(sae.decode(final, latents), [[10, 8, 0], [0, 6, 0]])


def test_batchtopk_counts_a_fractional_k_down():
    sae = saes.build("batchtopk", d_in=3, d_sae=3, k=0.5)
    x = jnp.array([[5.0, 4.0, 1.0], [2.0, 3.0, 7.0], [2.5, 3.5, 7.5]])
    latents = sae.train_encode(identity_params(1.0), x)
    assert (latents > 0).sum() == 1  # floor(0.5 * 3)


def test_a_batch_without_an_active_latent_leaves_the_threshold():
    state = BatchTopKState(jnp.float32(0.3))
    after = updated_threshold(state, jnp.zeros((4, 3)), jnp.float32(0.5))
    assert after.threshold == state.threshold


def brute_force_revival(pre, dead, residual, W_dec):
    half = residual.shape[1] // 2
    ids = np.flatnonzero(dead)
    total = 0.0
    for row, left in zip(pre, residual):
        chosen = sorted(ids, key=lambda j: -row[j])[: min(half, len(ids))]
        made = sum((row[j] / np.linalg.norm(W_dec[j]) * W_dec[j] for j in chosen), np.zeros(4))
        total += ((made - left) ** 2).sum()
    return min(len(ids) / half, 1.0) * total / len(pre)


@pytest.mark.parametrize("n_dead", [0, 1, 2, 5, 7])
def test_dead_latents_error_is_that_of_a_loop(n_dead):
    rng = np.random.default_rng(1)
    pre, residual = rng.normal(size=(5, 7)), rng.normal(size=(5, 4))
    W_dec, dead = rng.normal(size=(7, 4)), np.arange(7) < n_dead
    options = TopKOptions(d_in=4, d_sae=7)
    ours = DEAD_LATENTS_ERROR(pre, dead, residual, W_dec, options)
    expected = brute_force_revival(pre, dead, residual, W_dec)
    np.testing.assert_allclose(ours, expected, rtol=1e-5)
    assert n_dead > 0 or ours == 0


def test_living_latents_get_no_gradient_from_the_auxiliary_loss():
    sae = saes.build("topk", d_in=4, d_sae=6, k=2)
    params = jax.jit(sae.init)(jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (10, 4))
    dead = jnp.array([True, False, False, True, False, False])

    def auxiliary(params):
        return sae.loss(params, x, dead)[1]["terms"]["auxiliary_reconstruction_loss"]

    gradient = jax.jit(jax.grad(auxiliary))(params)
    assert not np.any(gradient.W_dec[~dead])
    assert not np.any(gradient.W_enc[:, ~dead])
    assert np.all(np.any(gradient.W_dec[dead] != 0, axis=1))


def test_a_zero_decoder_row_is_harmless():
    sae = saes.build("batchtopk", d_in=4, d_sae=6, k=2)
    params = jax.jit(sae.init)(jax.random.key(0))
    params = params.replace(W_dec=params.W_dec.at[2].set(0.0))
    x = jax.random.normal(jax.random.key(1), (10, 4))
    (loss, _), gradient = jax.value_and_grad(sae.loss, has_aux=True)(params, x, jnp.arange(6) == 2)
    assert np.isfinite(loss)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    final = sae.finalize(params)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(final))


def test_folding_keeps_what_the_sae_computes():
    params = identity_params(3.0).replace(b_enc=jnp.array([0.5, -0.5, 0.0]))
    folded = parts.fold_decoder_norms(params)
    sae = saes.build("standard", d_in=3, d_sae=3)
    x = jnp.array([[1.0, 2.0, -1.0]])
    np.testing.assert_allclose(sae.encode(folded, x), 3 * sae.encode(params, x))
    np.testing.assert_allclose(
        sae.decode(folded, sae.encode(folded, x)), sae.decode(params, sae.encode(params, x))
    )
