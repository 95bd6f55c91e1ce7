"""LISTA-Matryoshka against numpy: the correction, prefixes by frequency, tilt, thresholds."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synthsae_jax import saes
from synthsae_jax.errors import ConfigError
from synthsae_jax.saes import lista_matryoshka as lista

RATES = np.random.default_rng(1).permutation(16).astype(np.float32)  # large: one batch moves little


def numbers(sae, **changes):
    return sae.hyper.replace(**{n: type(getattr(sae.hyper, n))(v) for n, v in changes.items()})


def with_rates(sae):
    return sae.init_state().replace(rates=jnp.asarray(RATES), step=jnp.int32(5))


def in_float64(params):
    return {n: np.asarray(v, np.float64) for n, v in vars(params).items() if v is not None}


def top(pre, total):
    kept = np.zeros(pre.size)
    best = np.argsort(-pre, axis=None)[:total]
    kept[best] = np.maximum(pre.ravel()[best], 0)
    return kept.reshape(pre.shape)


def reference_latents(w, x, k, eta, n_steps):
    """Latents of every step, by loops over the formula."""
    norms = np.linalg.norm(w["W_dec"], axis=1)
    pre = ((x - w["b_dec"]) @ w["W_enc"] + w["b_enc"]) * norms
    steps = [top(pre, int(k * len(x)))]
    for _ in range(n_steps):
        left = x - w["b_dec"] - (steps[-1] / norms) @ w["W_dec"]
        pre = pre + eta * (left @ w["W_enc"]) * norms
        steps.append(top(pre, int(k * len(x))))
    return steps


def tilted(errors, tau):
    weights = np.exp(tau * errors / errors.mean())
    return (weights * errors).sum() / weights.sum()


def test_loss_and_state_are_those_of_the_formula(tools, x):
    sae = tools.small("lista_matryoshka")
    hyper = numbers(sae, term_tilt=0.5, inner_loss_weight=0.25, refinement_step=0.4)
    params, state = tools.random_params(sae), with_rates(sae)
    (_, info), _ = tools.loss_and_gradient(sae.static, params, x, None, hyper, state)

    w, data = in_float64(params), np.asarray(x, np.float64)
    steps = reference_latents(w, data, 1.5, 0.4, n_steps=1)
    rates = RATES + 0.01 * ((steps[-1] > 0).mean(axis=0) - RATES)
    order = np.argsort(-rates)
    rows = w["W_dec"] / np.linalg.norm(w["W_dec"], axis=1, keepdims=True)
    errors = {
        width: ((steps[-1][:, order[:width]] @ rows[order[:width]] + w["b_dec"] - data) ** 2).sum(1)
        for width in (4, 8, 16)
    }
    np.testing.assert_allclose(info["latents"], steps[-1], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(info["terms"]["mse_loss"], tilted(errors[16], 0.5), rtol=1e-5)
    for width in (4, 8):
        found = info["terms"][f"inner_mse_loss_{width}"]
        np.testing.assert_allclose(found, 0.25 * tilted(errors[width], 0.5), rtol=1e-5)
    np.testing.assert_allclose(info["state"].rates, rates, rtol=1e-6)
    smallest = [z[z > 0].min() for z in steps]
    np.testing.assert_allclose(info["state"].thresholds, 0.01 * np.array(smallest), rtol=1e-4)
    assert info["state"].step == 6


def test_the_first_batch_sets_the_rates(tools, x):
    sae = tools.small("lista_matryoshka")
    (_, info), _ = tools.loss_and_gradient(
        sae.static, tools.random_params(sae), x, None, sae.hyper, sae.init_state()
    )
    np.testing.assert_allclose(
        info["state"].rates, np.mean(np.asarray(info["latents"]) > 0, axis=0), rtol=1e-6
    )


def test_each_step_has_its_threshold_in_inference(tools, x):
    sae = tools.small("lista_matryoshka")
    params = tools.random_params(sae)
    state = sae.init_state().replace(thresholds=jnp.array([0.9, 0.3]))
    found = tools.outputs(sae.static, params, x, sae.hyper, state)
    assert found.final.extra["inner_threshold"].shape == (1, 16)
    np.testing.assert_array_equal(found.final.extra["inner_threshold"], np.float32(0.9))
    np.testing.assert_array_equal(found.final.threshold, np.float32(0.3))

    w, data = in_float64(params), np.asarray(x, np.float64)
    norms = np.linalg.norm(w["W_dec"], axis=1)
    pre = ((data - w["b_dec"]) @ w["W_enc"] + w["b_enc"]) * norms
    first = np.where(pre > 0.9, pre, 0)
    left = data - w["b_dec"] - (first / norms) @ w["W_dec"]
    pre = pre + 0.3 * (left @ w["W_enc"]) * norms
    expected = np.where(pre > 0.3, pre, 0)
    np.testing.assert_allclose(found.final_latents, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", [{"refinement_steps": 0}, {"refinement_step": 0.0}])
def test_without_its_parts_it_is_batchtopk(tools, x, dead, options):
    plain = tools.small("batchtopk")
    sae = saes.build("lista_matryoshka", d_in=8, d_sae=16, k=1.5, term_tilt=0.0, **options)
    params = tools.random_params(plain)
    state = sae.init_state()
    found, gradient = tools.loss_and_gradient(sae.static, params, x, dead, sae.hyper, state)
    expected, same = tools.loss_and_gradient(
        plain.static, params, x, dead, plain.hyper, plain.init_state()
    )
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5)
    np.testing.assert_allclose(found[1]["latents"], expected[1]["latents"], rtol=1e-5)
    assert found[1]["state"].thresholds[-1] == pytest.approx(expected[1]["state"].threshold)
    for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(same)):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


@jax.jit
def tilted_and_gradient(errors, tilt):
    return jax.value_and_grad(lista.tilted_mean)(errors, tilt)


def test_tilted_weights_by_hand():
    errors, tilt = jnp.array([1.0, 2.0, 3.0]), jnp.float32(2 * np.log(2))
    found, weights = tilted_and_gradient(errors, tilt)  # tilt * error / 2: factors 2, 4, 8
    np.testing.assert_allclose(weights, [2 / 14, 4 / 14, 8 / 14], rtol=1e-6)
    assert found == pytest.approx((2 * 1 + 4 * 2 + 8 * 3) / 14)
    even, weights = tilted_and_gradient(errors, jnp.float32(0))
    assert even == pytest.approx(2)
    np.testing.assert_allclose(weights, 1 / 3, rtol=1e-6)
    nothing, weights = tilted_and_gradient(jnp.zeros(3), tilt)
    assert nothing == 0
    np.testing.assert_allclose(weights, 1 / 3, rtol=1e-6)


@pytest.mark.parametrize("detached", [True, False])
def test_a_detached_prefix_trains_only_what_its_width_adds(tools, x, detached):
    sae = tools.small("lista_matryoshka", detach_prefixes=detached)
    params = tools.random_params(sae)
    latents = np.maximum(np.random.default_rng(0).normal(size=(24, 16)), 0).astype(np.float32)
    order = jnp.argsort(-RATES)

    @jax.jit
    @jax.grad
    def gradient(weights):
        made = lista.prefix_reconstructions(params.replace(**weights), latents, order, sae.options)
        return jnp.sum((made[1][8] - x) ** 2)

    found = gradient({"W_dec": params.W_dec, "b_dec": params.b_dec})
    moved = np.any(np.asarray(found["W_dec"]) != 0, axis=1)
    order = np.asarray(order)
    assert moved[order[4:8]].all()
    assert not moved[order[8:]].any()
    assert moved[order[:4]].all() == (not detached)
    assert np.any(found["b_dec"] != 0) == (not detached)


def test_gradients_of_sorted_prefixes_are_those_of_unsorted_latents_put_in_order(tools, x):
    """Sorting first and cutting at fixed places is the same function as ranking in place."""
    sae = tools.small("lista_matryoshka", detach_prefixes=False)
    params = tools.random_params(sae)
    latents = np.maximum(np.random.default_rng(0).normal(size=(24, 16)), 0).astype(np.float32)
    order = jnp.argsort(-RATES)
    rank = jnp.argsort(order)

    def cut(latents, params):
        full, inner = lista.prefix_reconstructions(params, latents, order, sae.options)
        return sum(jnp.sum((part - x) ** 2) for part in (full, *inner.values()))

    def masked(latents, params):
        widths = (16, 8, 4)
        chosen = [jnp.where((rank < width)[None], latents, 0.0) for width in widths]
        return sum(jnp.sum((sae.decode(params, part) - x) ** 2) for part in chosen)

    found = jax.jit(jax.value_and_grad(cut, argnums=(0, 1)))(latents, params)
    expected = jax.jit(jax.value_and_grad(masked, argnums=(0, 1)))(latents, params)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected)):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-3)


def test_without_a_rescaling_nothing_is_folded(x):
    sae = saes.build(
        "lista_matryoshka", d_in=8, d_sae=16, k=1.5, rescale_acts_by_decoder_norm=False
    )
    params = jax.jit(sae.init)(jax.random.key(0))
    final = sae.finalize(params)
    np.testing.assert_array_equal(final.W_dec, params.W_dec)
    np.testing.assert_allclose(sae.encode(final, x), sae.encode(params, x), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"matryoshka_widths": (8, 4)}, "matryoshka_widths must increase"),
        ({"matryoshka_widths": (0, 4)}, "matryoshka_widths must increase from at least 1"),
        ({"matryoshka_widths": (4, 17)}, "at most d_sae, got matryoshka_widths=(4, 17), d_sae=16"),
        ({"refinement_steps": -1}, "refinement_steps must not be negative"),
        ({"refinement_step": -0.1}, "refinement_step must not be negative"),
        ({"inner_loss_weight": -1}, "inner_loss_weight must not be negative"),
        ({"k": 0}, "0 < k <= d_sae"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ConfigError) as error:
        saes.build("lista_matryoshka", **{"d_in": 8, "d_sae": 16, "k": 2, **options})
    assert message in str(error.value)
