"""Encoders for inference against loops in numpy: leave-one-out pruning, orthogonal pursuit."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import nnls

from synthsae_jax import saes
from synthsae_jax.errors import ConfigError

TRACES = []


@functools.partial(jax.jit, static_argnames="sae")
def encode(sae, params, x, hyper):
    TRACES.append(sae.name)
    return sae.encode(params, x, hyper=hyper)


def in_float64(params):
    return {n: np.asarray(v, np.float64) for n, v in vars(params).items() if v is not None}


def unit_rows(W):
    return W / np.linalg.norm(W, axis=1, keepdims=True)


@pytest.fixture
def base(tools):
    return tools.small("topk", k=5)


def test_a_latent_stays_if_the_residual_without_it_points_its_way(base, tools, x):
    tau = 0.3
    params = tools.random_params(base)
    before = np.asarray(encode(base.static, params, x, base.hyper), np.float64)
    pruned = encode(saes.leave_one_out(base, tau=tau).static, params, x, base.hyper)
    w = in_float64(params)
    rows = unit_rows(w["W_dec"])  # the latents of topk are lengths
    expected = before.copy()
    for i, latents in enumerate(before):
        for j in np.flatnonzero(latents):
            others = np.where(np.arange(16) == j, 0, latents)
            if (np.asarray(x[i]) - w["b_dec"] - others @ rows) @ rows[j] <= tau:
                expected[i, j] = 0
    assert 0 < (expected != 0).sum() < (before != 0).sum()
    np.testing.assert_allclose(pruned, expected, rtol=1e-6)


def reference_pursuit(x, rows, k, signed):
    units, codes = unit_rows(rows), np.zeros((len(x), len(rows)))
    for i, sample in enumerate(x):
        support, left = [], sample
        for _ in range(k):
            found = units @ left
            found = np.abs(found) if signed else found
            found[support] = -np.inf
            if found.max() <= 0:
                break
            support.append(int(found.argmax()))
            left = sample - rows[support].T @ np.linalg.lstsq(rows[support].T, sample)[0]
        fit = np.linalg.lstsq(rows[support].T, sample)[0]
        codes[i, support] = fit if signed else nnls(rows[support].T, sample)[0]
    return codes


@pytest.mark.parametrize("signed", [True, False])
def test_orthogonal_matching_pursuit_is_that_of_a_loop(base, tools, x, signed):
    params = tools.random_params(base)
    sae = saes.orthogonal_matching_pursuit(base, k=4, signed=signed)
    found = encode(sae.static, params, x, base.hyper)
    w = in_float64(params)
    data = np.asarray(x, np.float64) - w["b_dec"]
    expected = reference_pursuit(data, unit_rows(w["W_dec"]), 4, signed)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    if signed:
        np.testing.assert_array_equal((np.asarray(found) != 0).sum(axis=1), 4)
    else:
        assert np.min(found) >= 0
        assert (np.asarray(found) > 0).sum() < 4 * len(x)  # some fit would want a negative value


def test_a_pursuit_recovers_codes_over_orthogonal_rows_of_any_length():
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    rows = basis[:6] * np.array([0.2, 1, 3, 0.5, 1, 2])[:, None]
    rows = np.vstack([rows, np.zeros(8), rows[1]]).astype(np.float32)  # a dead row, a double
    codes = np.where(rng.uniform(size=(20, 8)) < 0.4, rng.uniform(1, 2, (20, 8)), 0)
    codes[:, 6:] = 0
    codes[0] = 0
    sae = saes.build("standard", d_in=8, d_sae=8)
    params = saes.SAEParams(np.eye(8), np.zeros(8), rows, np.full(8, 0.5, np.float32))
    x = jnp.asarray(codes @ rows + 0.5, jnp.float32)
    pursuit = saes.orthogonal_matching_pursuit(sae, k=8)
    found = np.asarray(encode(pursuit.static, params, x, sae.hyper))
    np.testing.assert_allclose(found @ rows, codes @ rows, atol=1e-5)
    assert (found[:, 6] == 0).all()
    np.testing.assert_allclose(found[:, [0, 2, 3, 4, 5]], codes[:, [0, 2, 3, 4, 5]], atol=1e-5)


def test_only_encode_differs(base, tools, x, dead):
    params = tools.random_params(base)
    for sae in (saes.leave_one_out(base), saes.orthogonal_matching_pursuit(base, k=3)):
        assert sae.name.startswith("topk+")
        assert sae.hyper is base.hyper
        np.testing.assert_array_equal(sae.train_encode(params, x), base.train_encode(params, x))
        assert jax.eval_shape(sae.loss, params, x)[0].shape == ()
        np.testing.assert_array_equal(sae.init(jax.random.key(0)).W_dec.shape, (16, 8))


def test_equal_refinements_are_not_traced_again(base, tools, x):
    params = tools.random_params(base)

    def traces(*variants):
        TRACES.clear()
        for sae in variants:
            encode(sae.static, params, x, sae.hyper)
        return len(TRACES)

    other_k = tools.small("topk", k=3)  # a number of the base's
    assert saes.leave_one_out(base, tau=0.1) == saes.leave_one_out(other_k, tau=0.1)
    assert traces(*(saes.leave_one_out(sae, tau=0.125) for sae in (base, other_k))) == 1
    assert saes.leave_one_out(base, tau=0.1) != saes.leave_one_out(base, tau=0.2)
    assert saes.leave_one_out(base) != base
    pursuit = saes.orthogonal_matching_pursuit
    assert pursuit(base, k=2) == pursuit(other_k, k=2)
    assert hash(pursuit(base, k=2)) == hash(pursuit(other_k, k=2))
    assert pursuit(base, k=2) != pursuit(base, k=2, signed=True)


def test_wrapped_functions_and_thresholds_are_refined_too(tools, x):
    batch = tools.small("batchtopk")
    params = batch.finalize(
        tools.random_params(batch), batch.init_state().replace(threshold=jnp.float32(0.2))
    )
    found = encode(saes.leave_one_out(batch).static, params, x, batch.hyper)
    wrapped = saes.wrap(
        functools.partial(batch.encode, params),
        functools.partial(batch.decode, params),
        params.W_dec,
    )
    same = saes.leave_one_out(wrapped)
    np.testing.assert_allclose(same.encode(same.params, x), found, rtol=1e-6)


def test_numpy_numbers_are_numbers(base):
    assert saes.leave_one_out(base, np.float32(0.5)) == saes.leave_one_out(base, 0.5)
    pursuit = saes.orthogonal_matching_pursuit
    assert pursuit(base, np.int64(2)) == pursuit(base, 2)


def test_wrong_choices_are_named(base):
    with pytest.raises(ConfigError, match="tau must be a finite number, got tau=nan"):
        saes.leave_one_out(base, tau=float("nan"))
    for k in (0, 9, 2.5):
        with pytest.raises(ConfigError, match=r"1 <= k <= min\(d_in, d_sae\) = 8, got k="):
            saes.orthogonal_matching_pursuit(base, k=k)
    host = saes.wrap(np.asarray, np.asarray, np.eye(3), host=True)
    with pytest.raises(ConfigError, match="host=True"):
        saes.leave_one_out(host)
