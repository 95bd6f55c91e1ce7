"""Rounds of matching pursuit by the decoder's Gram matrix equal those by a product each."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synthsae_jax import saes
from synthsae_jax.saes import matching_pursuit as pursuit

N, D, L, ROUNDS = 40, 12, 48, 6


def run(stop_on_duplicate_support: bool):
    """Residuals, latents and the gradients of the loss, for random rows of norm 1."""
    rng = np.random.default_rng(6)
    rows = rng.normal(size=(L, D))
    W_dec = jnp.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), jnp.float32)
    x = jnp.asarray(rng.normal(size=(N, D)), jnp.float32)
    choices = {
        "max_iterations": ROUNDS,
        "stop_on_duplicate_support": stop_on_duplicate_support,
    }
    sae = saes.build("matching_pursuit", d_in=D, d_sae=L, residual_threshold=0.3, **choices)
    params = saes.SAEParams(W_dec=W_dec, b_dec=0.1 * x[0])

    @jax.jit
    def both(params, x):
        way = lambda params, x: sae.loss(params, x)
        return jax.value_and_grad(way, (0, 1), has_aux=True)(params, x)

    return both(params, x)


@pytest.mark.parametrize("stop", [True, False])
def test_the_gram_matrix_changes_neither_latents_nor_gradients(stop, monkeypatch):
    assert 2 * L <= N * ROUNDS  # so that there is one
    (loss, info), gradients = run(stop)
    monkeypatch.setattr(pursuit, "_LARGEST_GRAM", 0)
    (expected, direct), slopes = run(stop)
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)
    np.testing.assert_array_equal(info["latents"] != 0, direct["latents"] != 0)
    np.testing.assert_allclose(info["latents"], direct["latents"], atol=1e-5)
    for ours, theirs in zip(jax.tree.leaves(gradients), jax.tree.leaves(slopes)):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("width", [1, 7, 48, 64, 4096])
def test_the_first_of_the_largest_is_that_of_argmax(width):
    rng = np.random.default_rng(1)
    for values in (rng.normal(size=(9, width)), rng.integers(0, 3, size=(9, width))):
        found = pursuit._first_largest(jnp.asarray(values, jnp.float32))
        np.testing.assert_array_equal(found, np.argmax(values, axis=1))


@pytest.mark.parametrize("width", [48, 1022, 1024])
def test_the_gram_matrix_is_that_of_one_product(width):
    options = saes.build("matching_pursuit", d_in=D, d_sae=width, max_iterations=2).options
    rows = np.random.default_rng(2).normal(size=(width, D)).astype(np.float32)
    found = pursuit._gram(jnp.asarray(rows), options)
    np.testing.assert_allclose(found, rows @ rows.T, atol=1e-4)


def test_samples_taken_in_parts_give_the_same(monkeypatch):
    (loss, info), gradients = run(True)
    monkeypatch.setattr(pursuit, "_TOGETHER", N // 4)
    (parts, found), slopes = run(True)
    np.testing.assert_array_equal(info["latents"], found["latents"])
    assert float(loss) == pytest.approx(float(parts), rel=1e-6)
    for ours, theirs in zip(jax.tree.leaves(gradients), jax.tree.leaves(slopes)):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
