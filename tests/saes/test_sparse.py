"""Losses from active latents alone equal those from all; search and sums, by brute force."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synthsae_jax import saes
from synthsae_jax.errors import ConfigError
from synthsae_jax.saes import places, sparse
from synthsae_jax.saes.select import keep_top_k_of_batch

N, D, L = 48, 16, 70  # L fills neither words of 32 bits nor strides of 16
CASES = {
    "batchtopk": {"k": 5.0},
    "topk": {"k": 5, "rescale_acts_by_decoder_norm": False},
    "abs_topk": {"k": 5, "apply_b_dec_to_input": False},
    "matryoshka": {"k": 5.0, "matryoshka_widths": (8, 33), "use_matryoshka_aux_loss": True},
}
DEAD = {"nobody": 0, "few": 4, "more than half of D": 30}


def problem(name: str):
    rng = np.random.default_rng(3)
    sae = saes.build(name, d_in=D, d_sae=L, **CASES[name])
    draw = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)
    params = saes.SAEParams(
        W_enc=draw(D, L), b_enc=0.3 * draw(L), W_dec=0.4 * draw(L, D), b_dec=0.5 * draw(D)
    )
    return sae, params, draw(N, D)


@functools.cache
def both(name: str):
    """Loss, info and gradients by either way, in one program."""
    sae, _, _ = problem(name)

    @jax.jit
    def run(params, x, dead, k):
        given = {"hyper": sae.hyper.replace(k=k)}
        ways = (
            lambda p, x: sae.loss(p, x, dead, **given),
            lambda p, x: sae.sparse_loss(p, x, dead, capacity=8, **given),
        )
        return [jax.value_and_grad(way, (0, 1), has_aux=True)(params, x) for way in ways]

    return run


@pytest.mark.parametrize("dead", DEAD)
@pytest.mark.parametrize("name", CASES)
def test_loss_latents_state_and_gradients_equal_the_dense_ones(name, dead):
    sae, params, x = problem(name)
    mask = jnp.zeros(L, bool).at[jnp.arange(DEAD[dead]) * 2].set(True)
    (dense, info), slopes = both(name)(params, x, mask, sae.hyper.k)[0]
    (loss, found), gradients = both(name)(params, x, mask, sae.hyper.k)[1]
    # float32 sums of some 50 products in another order
    assert float(loss) == pytest.approx(float(dense), rel=1e-6)
    assert set(found["terms"]) == set(info["terms"])
    for term, value in info["terms"].items():
        assert float(found["terms"][term]) == pytest.approx(float(value), rel=2e-6), term
    assert (float(info["terms"]["auxiliary_reconstruction_loss"]) > 0) == (dead != "nobody")
    np.testing.assert_array_equal(found["latents"] != 0, info["latents"] != 0)
    np.testing.assert_allclose(found["latents"], info["latents"], rtol=2e-6, atol=1e-6)
    np.testing.assert_array_equal(found["fired"], np.any(info["latents"] != 0, axis=0))
    assert float(found["l0"]) == pytest.approx(np.count_nonzero(info["latents"]) / N)
    for ours, theirs in zip(jax.tree.leaves(found["state"]), jax.tree.leaves(info["state"])):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    for ours, theirs in zip(jax.tree.leaves(gradients), jax.tree.leaves(slopes)):
        np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-6 * np.abs(theirs).max())


def test_runs_side_by_side_with_their_own_k_equal_each_alone():
    _, params, x = problem("batchtopk")
    k, dead = jnp.array([1.0, 4.5, 8.0]), jnp.zeros(L, bool).at[3].set(True)
    stacked = jax.tree.map(lambda a: jnp.stack([a, 0.7 * a, -a]), params)
    together = jax.jit(jax.vmap(both("batchtopk"), (0, None, None, 0)))(stacked, x, dead, k)
    for run in range(3):
        alone = both("batchtopk")(jax.tree.map(lambda a, r=run: a[r], stacked), x, dead, k[run])
        ((loss, info), gradients), ((expected, dense), slopes) = together[1], alone[0]
        found = (loss, info["latents"], info["state"], gradients)
        wanted = (expected, dense["latents"], dense["state"], slopes)
        for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(wanted)):
            scale = np.abs(theirs).max()
            np.testing.assert_allclose(ours[run], theirs, rtol=2e-5, atol=2e-6 * scale)


def test_without_room_for_all_the_loss_is_nan():
    _, params, x = problem("batchtopk")
    (loss, _), _ = both("batchtopk")(params, x, jnp.zeros(L, bool), 8.5)[1]
    assert np.isnan(loss)


def test_who_has_no_sparse_loss_says_so():
    x = np.zeros((2, 4), np.float32)
    standard = saes.build("standard", d_in=4, d_sae=6)
    half = saes.build("topk", d_in=4, d_sae=6, k=2, dtype="bfloat16")
    for sae in (standard, half):
        assert not sae.has_sparse_loss
        with pytest.raises(ConfigError, match="no sparse_loss"):
            sae.sparse_loss(sae.init(jax.random.key(0)), x, capacity=4)


# ---- the search ---------------------------------------------------------------------------------

CAPACITY = 8
search = jax.jit(lambda pre, total: places.places_of_batch(pre, total, CAPACITY))


def pre_activations(kind: str) -> np.ndarray:
    rng = np.random.default_rng(7)
    x = rng.normal(size=(N, L)).astype(np.float32)
    return {
        "normal": x,
        "ties": np.round(2 * x),
        "constant": np.ones_like(x),
        "zeros": np.zeros_like(x),
        "negative": -np.abs(x),
        "few positive": np.where(rng.uniform(size=x.shape) < 0.01, np.abs(x), -np.abs(x)),
        "one sample": np.where(np.arange(N)[:, None] == 5, np.abs(x) + 9, x),
        "every sixteenth": np.where(np.arange(L)[None] % 16 == 3, np.abs(x) + 9, x),
        "infinite": np.where(rng.uniform(size=x.shape) < 0.02, np.inf, x),
    }[kind]


KINDS = "normal ties constant zeros negative few_positive one_sample every_sixteenth infinite"


@pytest.mark.parametrize("kind", [kind.replace("_", " ") for kind in KINDS.split()])
@pytest.mark.parametrize("total", [0, 1, 40, N * CAPACITY])
def test_the_list_holds_what_counting_over_all_keeps(kind, total):
    pre = jnp.asarray(pre_activations(kind))
    found = jax.tree.map(np.asarray, search(pre, total))
    kept = np.zeros((N, L), np.float32)
    active = found.active
    kept[found.sample[active], found.latent[active]] = pre[found.sample, found.latent][active]
    np.testing.assert_array_equal(kept, keep_top_k_of_batch(pre, total))
    assert active.sum() == (kept > 0).sum()  # no place twice
    np.testing.assert_array_equal(found.start, np.cumsum(found.count) - found.count)
    listed = found.sample[: found.count.sum()] * L + found.latent[: found.count.sum()]
    assert (np.diff(listed) > 0).all()


# ---- sums ---------------------------------------------------------------------------------------


@functools.cache
def drawn_places(n: int = 520, width: int = 700, seed: int = 2):
    """More groups than two tiles hold on either side, of very different size."""
    rng = np.random.default_rng(seed)
    rate = np.minimum(6 / (1 + rng.permutation(width)), 0.6)
    dense = np.where(rng.uniform(size=(n, width)) < rate, rng.normal(size=(n, width)), 0)
    dense[7] = rng.normal(size=width)  # one sample has all
    sample, latent = np.nonzero(dense)
    pad = (0, 100)
    count = np.bincount(sample, minlength=n)
    found = places.Places(
        sample=jnp.asarray(np.pad(sample, pad), jnp.int32),
        latent=jnp.asarray(np.pad(latent, pad), jnp.int32),
        active=jnp.arange(sample.size + 100) < sample.size,
        start=jnp.asarray(np.cumsum(count) - count, jnp.int32),
        count=jnp.asarray(count, jnp.int32),
    )
    values = jnp.asarray(np.pad(dense[sample, latent], pad), jnp.float32)
    return found, values, dense


@pytest.mark.parametrize("inner", [(), (3, 400)])
def test_decoding_and_its_gradients_equal_dense_products(inner):
    at, values, dense = drawn_places()
    n, width = dense.shape
    rng = np.random.default_rng(4)
    W_dec = rng.normal(size=(width, 5)).astype(np.float32)
    slopes = rng.normal(size=(len(inner) + 1, n, 5)).astype(np.float32)

    @jax.jit
    def run(values, W_dec):
        found, back = jax.vjp(lambda v, W: sparse.decode_levels(at, v, W, inner), values, W_dec)
        return found, back(tuple(jnp.asarray(slopes)))

    found, (from_values, from_W_dec) = run(values, W_dec)
    borders = [0, *inner, width]
    level = np.searchsorted(borders, np.arange(width), side="right") - 1
    for i, ours in enumerate(found):
        np.testing.assert_allclose(ours, (dense * (level == i)) @ W_dec, atol=2e-5)
    full = np.einsum("lnd,ld->nl", slopes[level], W_dec)
    exists = np.asarray(at.active)
    expected = np.where(exists, full[at.sample, at.latent], 0)
    np.testing.assert_allclose(from_values, expected, atol=1e-5)
    expected = np.einsum("nl,lnd->ld", dense, slopes[level])
    np.testing.assert_allclose(from_W_dec, expected, atol=1e-4)


def test_a_sum_over_no_place_is_zero():
    at, values, dense = drawn_places()
    nobody = at.replace(active=jnp.zeros_like(at.active), count=jnp.zeros_like(at.count))
    rows = jnp.ones((dense.shape[1], 5))
    assert not np.any(sparse.decode_at(nobody, values, rows))
    found = sparse.by_latent(nobody, 0 * values, at.sample, jnp.ones((dense.shape[0], 5)), 700)
    assert not np.any(found)
