"""Anybody's SAE: SAELens folders and plain arrays give directions and codes."""

import hashlib
import json

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

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


WRONG = {
    "k of 4.7": ({"k": 4.7}, "k must be a whole number; got 4.7"),
    "k of NaN": ({"k": np.nan}, "k must be a whole number; got nan"),
    "k of infinity": ({"k": np.inf}, "k must be a whole number; got inf"),
    "k of true": ({"k": True}, "k must be a whole number; got True"),
    "k of a word": ({"k": "2"}, "'k'|k must be one number"),
    "k of 0": ({"k": 0}, "1 <= k <= d_sae, got k=0"),
    "k of 8": ({"k": 8}, "1 <= k <= d_sae, got k=8"),
    "k of 1e18": ({"k": np.int64(10**18)}, "1 <= k <= d_sae, got k=1000000000000000000"),
    "complex k": ({"k": 2 + 0j}, "k must be one number; got complex128"),
    "a flag of NaN": ({"apply_b_dec_to_input": np.nan}, "must be 0 or 1; got nan"),
    "a flag of 2": ({"apply_b_dec_to_input": 2}, "must be 0 or 1; got 2"),
    "a flag of a word": ({"apply_b_dec_to_input": "x"}, "must be one number; got <U1"),
    "complex weights": ({"W_dec": ARRAYS["W_dec"] + 0j}, "real numbers; got complex128"),
    "weights of words": ({"W_enc": np.full((D, L), "x")}, "real numbers; got <U1"),
    "weights of 1e300": ({"W_dec": 1e300 * ARRAYS["W_dec"]}, "too large for float32"),
    "weights of infinity": ({"b_enc": np.full(L, np.inf)}, "7 values are not finite, such as inf"),
    "threshold of another size": ({"threshold": np.zeros(3)}, r"must have shape \[7\]; got \[3\]"),
    "a column of b_dec too long": ({"b_dec": np.zeros((D, 2))}, r"must have shape \[5\]"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_number_of_its_kind_is_refused(case, tmp_path):
    more, message = WRONG[case]
    with pytest.raises(ConfigError, match=message) as caught:
        saved(tmp_path, **{"apply_b_dec_to_input": 1, **more})
    assert str(caught.value).startswith(str(tmp_path / "sae.npz"))


@pytest.mark.parametrize("kind", [np.int16, np.uint32, np.int64, np.uint8, np.float32])
def test_k_of_every_type_is_read(kind, tmp_path):
    top = codes(saved(tmp_path, k=kind(2), apply_b_dec_to_input=True))
    assert ((top > 0).sum(axis=1) <= 2).all()
    arrays = {k: np.asarray(v, np.float32) for k, v in ARRAYS.items()}
    for shape in ((), (1,), (1, 1)):
        numbers = {"k": np.full(shape, 2, kind), "apply_b_dec_to_input": np.full(shape, True)}
        save_file({**arrays, **numbers}, tmp_path / "sae.safetensors")
        np.testing.assert_array_equal(codes(load_sae(tmp_path / "sae.safetensors")), top)


def test_vectors_with_an_axis_more_and_one_threshold_for_all_are_read(tmp_path):
    flag = {"apply_b_dec_to_input": 1}
    plain = codes(saved(tmp_path, threshold=np.full(L, 0.5), **flag))
    rows = {k: ARRAYS[k][None] for k in ("b_enc", "b_dec")}
    for threshold in (0.5, np.float16([0.5]), np.full((1, L), 0.5), np.full((L, 1), 0.5)):
        np.testing.assert_array_equal(
            codes(saved(tmp_path, threshold=threshold, **rows, **flag)), plain
        )


def test_both_matrices_transposed_are_told(tmp_path):
    turned = {name: ARRAYS[name].T for name in ("W_dec", "W_enc")}
    with pytest.raises(ConfigError, match=r"b_enc and b_dec .*transpose W_dec and W_enc"):
        saved(tmp_path, **turned, apply_b_dec_to_input=1)
    # one of them is a wrong shape
    with pytest.raises(ConfigError, match=r"must have shape \[5, 7\]; got \[7, 5\]. It looks tra"):
        saved(tmp_path, W_enc=turned["W_enc"], apply_b_dec_to_input=1)
    # where nothing else says how many latents there are, fewer than dimensions are worth a word
    wide = {"W_dec": ARRAYS["W_dec"], "W_enc": ARRAYS["W_enc"]}
    np.savez(tmp_path / "wide.npz", **wide)
    assert load_sae(tmp_path / "wide.npz").d_sae == L
    np.savez(tmp_path / "turned.npz", **turned)
    with pytest.warns(UserWarning, match=r"\[5, 7\] is read as 5 latents of 7 dimensions"):
        assert load_sae(tmp_path / "turned.npz").d_sae == D
    # a small SAE that says so is read without a word
    np.savez(tmp_path / "small.npz", **turned, b_dec=np.zeros(L))
    assert load_sae(tmp_path / "small.npz").d_sae == D


def test_names_are_checked_before_anything_is_read(tmp_path, monkeypatch):
    np.savez(tmp_path / "bomb.npz", W_dec=ARRAYS["W_dec"], bomb=np.zeros(10))
    monkeypatch.setattr(np, "empty", lambda *_: pytest.fail("memory was taken"))
    with pytest.raises(ConfigError, match="unknown array 'bomb'"):
        load_sae(tmp_path / "bomb.npz")


def test_an_sae_in_parts_is_read_from_a_folder_and_from_a_file(tmp_path):
    sae = saes.build("topk", d_in=D, d_sae=L, k=2)
    params = sae.init(jax.random.key(0))
    folder = io.save_saelens_sae(tmp_path / "sae", sae, params)
    whole = folder / "sae_weights.safetensors"
    expected, tensors = codes(load_sae(folder)), load_file(whole)
    whole.unlink()
    parts = {name: f"part-{i % 2}.safetensors" for i, name in enumerate(tensors)}
    for part in set(parts.values()):
        save_file({k: v for k, v in tensors.items() if parts[k] == part}, folder / part)
    index = folder / "sae_weights.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": parts}))
    loaded = load_sae(folder)
    np.testing.assert_array_equal(codes(loaded), expected)
    assert set(loaded.sha256()) == {"cfg.json", index.name, *parts.values()}
    assert set(load_sae(whole).sha256()) == {index.name, *parts.values()}


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
