"""SAEs of several models: numbers by hand, what each recovers, and members taken out."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synthsae_jax import saes
from synthsae_jax.errors import ConfigError
from synthsae_jax.saes.mutual import MutualOptions, agreement

COUPLED = ("crosscoder", "crosscoder_l1", "mutual", "universal")
AGREEMENT = jax.jit(agreement, static_argnums=1)


def two_models() -> saes.SAEParams:
    """Two latents of two models with two dimensions; decoder norms (3, 4) and (5, 0)."""
    W_dec = jnp.array([[3.0, 0.0, 0.0, 4.0], [0.0, 5.0, 0.0, 0.0]])
    W_enc = jnp.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [1.0, 0.0]])
    return saes.SAEParams(W_enc=W_enc, b_enc=jnp.zeros(2), W_dec=W_dec, b_dec=jnp.zeros(4))


def trained(tools, sae, dictionary, rounds=2):
    """Finalized weights after some hundred steps on the probe problem."""
    params = jax.jit(sae.init)(jax.random.key(4))
    for i in range(rounds):
        key = jax.random.key(5 + i)
        params, state, _ = tools.train(sae.static, params, sae.hyper, dictionary, key, 300)
    return sae.finalize(params, state)


def cosines(W_dec, features):
    unit = lambda rows: np.asarray(rows) / np.linalg.norm(rows, axis=1, keepdims=True)
    return np.abs(unit(W_dec) @ unit(features).T)


def test_a_crosscoder_ranks_by_the_sum_of_norms_in_the_models():
    sae = saes.build("crosscoder", d_in=4, d_sae=2, k=1.0)
    params = two_models()
    x = jnp.array([[1.0, 1.2, 0.0, 0.0]])  # activations 1 and 1.2, lengths 7 and 6
    latents = sae.train_encode(params, x)
    np.testing.assert_allclose(latents, [[7, 0]])  # by norm over all it would be 5 and 6
    np.testing.assert_allclose(sae.decode(params, latents), [[3, 0, 0, 4]])
    loss, info = sae.loss(params, x)
    assert loss == pytest.approx(2**2 + 1.2**2 + 4**2)
    np.testing.assert_array_equal(info["latents"], latents)
    final = sae.finalize(params, info["state"].replace(threshold=jnp.float32(6.5)))
    np.testing.assert_allclose(saes.relative_norms(final, 2), [[3 / 7, 4 / 7], [1, 0]], rtol=1e-6)
    norms = np.linalg.norm(final.W_dec.reshape(2, 2, 2), axis=-1)
    np.testing.assert_allclose(norms.sum(-1), 1)
    found = sae.encode(final, x)
    np.testing.assert_allclose(found, [[7, 0]], rtol=1e-6)
    np.testing.assert_allclose(sae.decode(final, found), [[3, 0, 0, 4]], rtol=1e-6)


def test_an_l1_crosscoder_pays_for_the_norms_in_each_model():
    sae = saes.build("crosscoder_l1", d_in=4, d_sae=2, l1_coefficient=0.1)
    _, info = sae.loss(two_models(), jnp.array([[1.0, 1.2, 0.0, 0.0], [-1.0, 2.0, 0.0, 0.0]]))
    # latents (1, 1.2) and (0, 2) times 7 and 5
    assert info["terms"]["l1_loss"] == pytest.approx(0.1 * (7 + 6 + 10) / 2)
    # reconstructions (3, 6, 0, 4) and (0, 10, 0, 0)
    errors = (2**2 + 4.8**2 + 4**2) + (1 + 8**2)
    assert info["terms"]["mse_loss"] == pytest.approx(errors / 2)


def test_shares_and_blocks_of_the_decoder():
    W_dec = jnp.array([[3.0, 4.0, 0.0, 5.0], [0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0]])
    params = saes.SAEParams(W_dec=W_dec)
    shares = saes.relative_norms(params, 2)
    np.testing.assert_allclose(shares, [[0.5, 0.5], [np.nan, np.nan], [0, 1]])
    np.testing.assert_array_equal(saes.decoder_block(params, 2, 1), W_dec[:, 2:])
    runs = saes.SAEParams(W_dec=jnp.stack([W_dec, W_dec]))
    np.testing.assert_array_equal(saes.decoder_block(runs, 4, 3), runs.W_dec[..., 3:])
    np.testing.assert_array_equal(saes.relative_norms(runs, 2)[1], shares)


def test_a_crosscoder_tells_shared_features_from_exclusive_ones(tools):
    """Four features of both models and two of each alone, orthogonal side by side."""
    eye = np.eye(4)
    both = np.concatenate([np.hstack([eye[:2], sign * eye[:2]]) for sign in (1, -1)]) / np.sqrt(2)
    alone = np.zeros((2, 4))
    features = np.concatenate([both, np.hstack([eye[2:], alone]), np.hstack([alone, eye[2:]])])
    sae = tools.small("crosscoder", k=2)
    params = trained(tools, sae, jnp.asarray(features, jnp.float32))
    found = cosines(params.W_dec, features)
    nearest = found.argmax(axis=0)
    assert found.max(axis=0).min() > 0.99
    shares = np.asarray(saes.relative_norms(params, 2))[nearest, 0]
    # a cosine of .99 leaves a share of at most .125 to the wrong model
    np.testing.assert_allclose(shares, [0.5] * 4 + [1] * 2 + [0] * 2, atol=0.125)


@pytest.mark.parametrize("pairing", ["nearest", "index"])
def test_agreement_is_that_of_a_loop(pairing):
    rows = np.random.default_rng(0).normal(size=(3, 6, 4)).astype(np.float32)
    unit = rows / np.linalg.norm(rows, axis=-1, keepdims=True)
    found = []
    for a, b in itertools.permutations(range(3), 2):
        for i in range(6):
            every = [unit[a, i] @ unit[b, j] for j in range(6)]
            found.append(max(every) if pairing == "nearest" else every[i])
    options = MutualOptions(d_in=12, d_sae=18, n_members=3, pairing=pairing)
    assert float(AGREEMENT(rows, options)) == pytest.approx(np.mean(found), rel=1e-5)
    same = np.stack([rows[0]] * 3)
    assert float(AGREEMENT(same, options)) == pytest.approx(1, rel=1e-5)


def test_members_are_saes_of_their_own_but_for_the_mutual_term(tools, x, dead):
    sae = tools.small("mutual", k=4, mutual_coefficient=0.3)
    params = tools.random_params(sae)
    state = sae.init_state().replace(threshold=jnp.array([0.2, 0.4]))
    call = (sae.static, params, x, dead, sae.hyper, state)
    (loss, info), gradient = tools.loss_and_gradient(*call)
    together = tools.outputs(sae.static, params, x, sae.hyper, state)
    total = 0.0
    for m in range(2):
        columns, rows = slice(8 * m, 8 * m + 8), slice(4 * m, 4 * m + 4)
        one, raw = saes.member(sae, params, m)
        assert (one.name, one.d_in, one.d_sae, float(one.hyper.k)) == ("batchtopk", 4, 8, 2)
        own = one.init_state().replace(threshold=state.threshold[m])
        call = (one.static, raw, x[:, rows], dead[columns], one.hyper, own)
        total += float(tools.loss_and_gradient(*call)[0][0])
        alone = tools.outputs(one.static, raw, x[:, rows], one.hyper, own)
        for name in ("latents", "train_latents", "final_latents"):
            latents = np.asarray(getattr(together, name))[:, columns]
            np.testing.assert_allclose(latents, getattr(alone, name), rtol=1e-5, atol=1e-6)
        x_hat = np.asarray(together.final_x_hat)[:, rows]
        np.testing.assert_allclose(x_hat, alone.final_x_hat, rtol=1e-5, atol=1e-5)
        # finalized weights of a member are a finalized member's
        final = saes.member(sae, together.final, m)[1]
        for a, b in zip(jax.tree.leaves(final), jax.tree.leaves(alone.final)):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
        # what lies outside the blocks is not read, and cleared at the end
        for weights in (gradient, together.final):
            assert not np.any(np.delete(weights.W_dec[columns], np.r_[rows], axis=1))
            assert not np.any(np.delete(weights.W_enc[rows], np.r_[columns], axis=1))
    decoders = jnp.stack([saes.member(sae, params, m)[1].W_dec for m in (0, 1)])
    apart = 1 - AGREEMENT(decoders, sae.options)
    assert info["terms"]["mutual_loss"] == pytest.approx(0.3 * float(apart), rel=1e-5)
    assert float(loss) == pytest.approx(total + 0.3 * float(apart), rel=1e-5)


def test_members_start_apart_and_are_drawn_together(tools):
    features = np.random.default_rng(1).normal(size=(8, 4))
    twice = jnp.asarray(np.hstack([features, features]), jnp.float32)  # one model, read twice

    def apart(coefficient):
        sae = tools.small("mutual", mutual_coefficient=coefficient)
        params = trained(tools, sae, twice, rounds=1)
        decoders = [saes.member(sae, params, m)[1].W_dec for m in (0, 1)]
        return 1 - float(AGREEMENT(jnp.stack(decoders), sae.options))

    sae = tools.small("mutual")
    first, second = (saes.member(sae, sae.init(jax.random.key(0)), m)[1] for m in (0, 1))
    assert not np.any(first.W_dec == second.W_dec)
    assert apart(10.0) < 0.5 * apart(0.0)


def test_a_universal_sae_encodes_one_model_and_decodes_all(tools, x):
    sae = tools.small("universal", k=2)
    params = tools.random_params(sae)
    encoders = [sae.with_options(encode_from=m) for m in range(2)]
    # for each model, inputs from which the other is gone
    blind = [x.at[:, 4 * (1 - m) : 4 * (2 - m)].set(0.0) for m in range(2)]

    @jax.jit
    def outcomes(params, x, blind, keys):
        codes = [one.train_encode(params, x) for one in encoders]
        seen = [one.train_encode(params, b) for one, b in zip(encoders, blind)]
        x_hat = [sae.decode(params, code) for code in codes]
        drawn = jax.lax.map(lambda key: sae.loss(params, x, key=key), keys)
        return codes, seen, x_hat, drawn, sae.loss(params, x)

    keys = jax.random.split(jax.random.key(0), 8)
    codes, seen, x_hat, (drawn, info), (mean, both) = outcomes(params, x, blind, keys)
    for code, alone in zip(codes, seen):
        np.testing.assert_allclose(alone, code, rtol=1e-5, atol=1e-6)
    losses = np.array([np.square(made - x).sum(-1).mean() for made in x_hat])
    assert abs(losses[0] - losses[1]) > 0.01
    which = np.abs(losses[None] - np.asarray(drawn)[:, None]).argmin(axis=1)
    assert set(which) == {0, 1}
    np.testing.assert_allclose(drawn, losses[which], rtol=1e-5)
    expected = np.stack(codes)[which]
    np.testing.assert_allclose(info["latents"], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(mean, losses.mean(), rtol=1e-5)
    np.testing.assert_allclose(both["latents"], np.mean(codes, axis=0), rtol=1e-5, atol=1e-6)


def test_a_universal_sae_finds_what_models_share(tools):
    """Eight features, orthogonal in each of two models."""
    rng = np.random.default_rng(2)
    rows = [np.linalg.qr(rng.normal(size=(8, 8)))[0] for _ in range(2)]
    features = np.hstack(rows)
    sae = saes.build("universal", d_in=16, d_sae=16, k=2)
    params = trained(tools, sae, jnp.asarray(features, jnp.float32))
    found = cosines(params.W_dec, features)
    assert found.max(axis=0).min() > 0.99
    # as many features fire as in training, a little apart from the threshold
    acts = rng.permuted([[1.5, 1.8] + [0.0] * 6] * 64, axis=1).astype(np.float32)
    codes = []
    for m in range(2):
        one, weights = saes.member(sae, params, m)
        x = jnp.asarray(acts @ rows[m], jnp.float32)
        codes.append(np.asarray(one.encode(weights, x)))
        from_joint = sae.with_options(encode_from=m).encode(params, jnp.asarray(acts @ features))
        np.testing.assert_allclose(codes[m], from_joint, atol=1e-5)
    # decoded into the other model
    _, other = saes.member(sae, params, 1)
    x_hat = one.decode(other, codes[0])
    assert np.square(x_hat - x).sum() < 0.01 * np.square(x).sum()


def test_runs_may_stay_stacked(tools):
    sae = tools.small("mutual")
    runs = [tools.random_params(sae, seed) for seed in range(2)]
    _, stacked = saes.member(sae, jax.tree.map(lambda *leaf: jnp.stack(leaf), *runs), 1)
    _, alone = saes.member(sae, runs[1], 1)
    for a, b in zip(jax.tree.leaves(stacked), jax.tree.leaves(alone)):
        np.testing.assert_array_equal(a[1], b)


@pytest.mark.parametrize("name", COUPLED)
def test_parts_must_be_equal(name, tools):
    count = "n_members" if name == "mutual" else "n_models"
    with pytest.raises(ConfigError, match=f"d_in must be a multiple of {count}, got d_in=8"):
        tools.small(name, **{count: 3})
    with pytest.raises(ConfigError, match="must be at least"):
        tools.small(name, **{count: 0})


def test_bad_options_are_refused(tools):
    with pytest.raises(ConfigError, match="Did you mean 'nearest'"):
        tools.small("mutual", pairing="nearst")
    with pytest.raises(ConfigError, match="mutual_coefficient must not be negative"):
        tools.small("mutual", mutual_coefficient=-1.0)
    with pytest.raises(ConfigError, match="d_sae must be a multiple of n_members"):
        saes.build("mutual", d_in=8, d_sae=15, k=2)
    with pytest.raises(ConfigError, match="number from 0 to 1, got encode_from=2"):
        tools.small("universal", encode_from=2)
    with pytest.raises(ConfigError, match="l1_coefficient must not be negative"):
        tools.small("crosscoder_l1", l1_coefficient=-1.0)
    sae = tools.small("crosscoder")
    with pytest.raises(ConfigError, match="'mutual' or 'universal' SAE, got 'crosscoder'"):
        saes.member(sae, tools.random_params(sae), 0)
    sae = tools.small("mutual")
    with pytest.raises(ConfigError, match="2 models, counted from 0; got m=2"):
        saes.member(sae, tools.random_params(sae), 2)
    sae = tools.small("universal")
    with pytest.raises(ConfigError, match="member takes finalized weights"):
        saes.member(sae, tools.random_params(sae), 0)
    with pytest.raises(ConfigError, match="decoder's width must be a multiple"):
        saes.relative_norms(tools.random_params(sae), 3)
