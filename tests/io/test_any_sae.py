"""Anybody's SAE: SAELens folders and plain arrays give directions and codes."""

import hashlib

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from synthsae_jax import io, saes
from synthsae_jax.errors import ConfigError
from synthsae_jax.io.any_sae import load_sae

D, L = 5, 7
RNG = np.random.default_rng(0)
ARRAYS = {
    "W_dec": RNG.normal(size=(L, D)),
    "W_enc": RNG.normal(size=(D, L)).astype(np.float32),
    "b_enc": 0.1 * RNG.normal(size=L).astype(np.float32),
    "b_dec": RNG.normal(size=D).astype(np.float32),
}
X = RNG.normal(size=(20, D)).astype(np.float32)


def saved(tmp_path, **more):
    path = tmp_path / "sae.npz"
    np.savez(path, **{**ARRAYS, **more})
    return load_sae(path)


def codes(loaded):
    return np.asarray(loaded.sae.encode(loaded.params, X))


def pre(subtract):
    x = X - ARRAYS["b_dec"] if subtract else X
    return x @ ARRAYS["W_enc"] + ARRAYS["b_enc"]


@pytest.mark.parametrize("subtract", [0, 1])
def test_the_rule_of_firing_is_what_the_file_says(subtract, tmp_path):
    given = {"apply_b_dec_to_input": np.int64(subtract)}
    p = pre(subtract)
    np.testing.assert_allclose(codes(saved(tmp_path, **given)), np.maximum(p, 0), atol=1e-5)
    threshold = np.full(L, 0.5, np.float32)
    jump = codes(saved(tmp_path, threshold=threshold, **given))
    np.testing.assert_allclose(jump, np.where(p > 0.5, p, 0), atol=1e-5)
    top = codes(saved(tmp_path, k=np.int64(2), **given))
    kept = np.argsort(np.argsort(-p, axis=1), axis=1) < 2
    np.testing.assert_allclose(top, np.where(kept, np.maximum(p, 0), 0), atol=1e-5)


def test_directions_hashes_and_half_precision(tmp_path):
    loaded = saved(tmp_path)
    assert (loaded.d_in, loaded.d_sae) == (D, L)
    assert loaded.decoder.dtype == np.float32
    assert np.array_equal(loaded.encoder, ARRAYS["W_enc"].T)
    content = (tmp_path / "sae.npz").read_bytes()
    assert loaded.sha256() == {"sae.npz": hashlib.sha256(content).hexdigest()}
    save_file({"W_dec": ARRAYS["W_dec"].astype(np.float16)}, tmp_path / "half.safetensors")
    half = load_sae(tmp_path / "half.safetensors")
    np.testing.assert_allclose(half.decoder, ARRAYS["W_dec"], atol=2e-3)
    assert half.encoder is None
    assert half.sae is None
    assert "W_enc" in half.no_codes


def test_whether_the_bias_is_taken_off_is_not_guessed(tmp_path):
    loaded = saved(tmp_path)
    assert loaded.sae is None
    assert "apply_b_dec_to_input" in loaded.no_codes
    # without a bias there is nothing to ask
    assert saved(tmp_path, b_dec=np.zeros(D)).sae is not None


def test_a_folder_of_saelens(tmp_path):
    sae = saes.build("topk", d_in=D, d_sae=L, k=2)
    params = sae.init(jax.random.key(0))
    io.save_saelens_sae(tmp_path / "sae", sae, params)
    loaded = load_sae(tmp_path / "sae")
    assert loaded.architecture == "topk"
    assert set(loaded.sha256()) == {"cfg.json", "sae_weights.safetensors"}
    assert np.array_equal(codes(loaded), np.asarray(sae.encode(params, X)))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"W_enc": ARRAYS["W_enc"].T}, r"'W_enc' must have shape \[5, 7\]"),
        ({"W_dec": np.full((L, D), np.nan)}, "not finite"),
        ({"log_threshold": np.zeros(L)}, "unknown array 'log_threshold'"),
        ({"threshold": np.zeros(L), "k": 3, "apply_b_dec_to_input": 1}, "give one of them"),
        ({"k": np.zeros(2), "apply_b_dec_to_input": 1}, "k must be one number"),
        ({"W_dec": np.zeros(3)}, r"W_dec must be \[L, D\]"),
    ],
)
def test_what_does_not_fit_is_named(more, said, tmp_path):
    with pytest.raises(ConfigError, match=said):
        saved(tmp_path, **more)


def test_what_is_no_sae_is_named(tmp_path):
    with pytest.raises(ConfigError, match="no SAE at"):
        load_sae(tmp_path / "nowhere.npz")
    (tmp_path / "sae.pt").write_bytes(b"")
    with pytest.raises(ConfigError, match="folder of SAELens or a file of arrays"):
        load_sae(tmp_path / "sae.pt")
    (tmp_path / "bad.npz").write_bytes(b"no archive")
    with pytest.raises(ConfigError, match=r"is no \.npz file"):
        load_sae(tmp_path / "bad.npz")
    np.savez(tmp_path / "none.npz", b_dec=np.zeros(3))
    with pytest.raises(ConfigError, match=r"'W_dec' .* is missing"):
        load_sae(tmp_path / "none.npz")
