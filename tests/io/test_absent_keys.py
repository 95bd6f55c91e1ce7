"""A key that a folder of SAELens does not have means what SAELens' inference class means by it.

The values are the defaults of SAELens 6.54.12: of the `SAEConfig` of each architecture (its
training classes have others), of the parts of `SyntheticModelConfig`, and of what its loader takes
for granted of configs from before version 6.
"""

from __future__ import annotations

import json
import shutil

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from synthsae_jax import io
from synthsae_jax.errors import ConfigError
from synthsae_jax.io.saelens_config import from_json
from synthsae_jax.io.saelens_sae import CONFIG, WEIGHTS

COMMON = {
    "dtype": "float32",
    "device": "cpu",
    "apply_b_dec_to_input": True,
    "normalize_activations": "none",
    "reshape_activations": "none",
}
TOP_K = {"k": 100, "rescale_acts_by_decoder_norm": False}
DEFAULTS = {
    "standard": {},
    "jumprelu": {},
    "gated": {},
    "topk": TOP_K,
    "abstopk": TOP_K,
    "matching_pursuit": {
        "max_iterations": None,
        "residual_threshold": 0.01,
        "stop_on_duplicate_support": True,
    },
}
ABSENT = [(kind, key) for kind, options in DEFAULTS.items() for key in {**COMMON, **options}]
D, L = 4, 128


def folder(place, kind, config):
    """The weights of an SAE wide enough for k = 100, with decoder rows of different lengths."""
    rng = np.random.default_rng(0)
    w_dec = (rng.normal(size=(L, D)) * np.linspace(0.5, 2, L)[:, None]).astype(np.float32)
    vector = lambda n, scale: (scale * rng.normal(size=n)).astype(np.float32)
    tensors = {"W_dec": w_dec, "b_dec": vector(D, 0.1)}
    if kind != "matching_pursuit":
        tensors["W_enc"] = rng.normal(size=(D, L)).astype(np.float32)
        names = ("b_gate", "b_mag", "r_mag") if kind == "gated" else ("b_enc",)
        tensors |= {name: vector(L, 0.1) for name in names}
    if kind == "jumprelu":
        tensors["threshold"] = np.abs(vector(L, 0.5))
    place.mkdir(parents=True)
    save_file(tensors, place / WEIGHTS)
    (place / CONFIG).write_text(json.dumps({"d_in": D, "d_sae": L, **config}))
    return place


X = np.random.default_rng(1).normal(size=(16, D)).astype(np.float32)


def latents(place):
    sae, params = io.load_saelens_sae(place)
    codes = sae.encode(params, jnp.asarray(X))
    return np.asarray(codes), np.asarray(sae.decode(params, codes)), sae.config()


@pytest.mark.parametrize(("architecture", "key"), ABSENT)
def test_an_absent_key_is_the_default_of_the_inference_class(architecture, key, tmp_path):
    whole = {"architecture": architecture, **COMMON, **DEFAULTS[architecture]}
    whole["metadata"] = {"sae_lens_version": "6.54.12"}
    without = {k: v for k, v in whole.items() if k != key}
    codes, x_hat, config = latents(folder(tmp_path / "whole", architecture, whole))
    others = latents(folder(tmp_path / "without", architecture, without))
    np.testing.assert_array_equal(others[0], codes)
    np.testing.assert_array_equal(others[1], x_hat)
    assert others[2] == config


@pytest.mark.parametrize("architecture", ["topk", "abstopk"])
def test_latents_are_ranked_as_they_are_where_the_folder_does_not_say(architecture, tmp_path):
    tensors = {
        "W_enc": np.eye(2, dtype=np.float32),
        "W_dec": np.diag([1.0, 5.0]).astype(np.float32),
        "b_enc": np.zeros(2, np.float32),
        "b_dec": np.zeros(2, np.float32),
    }
    save_file(tensors, tmp_path / WEIGHTS)
    config = {"architecture": architecture, "d_in": 2, "d_sae": 2, "k": 1}
    x = jnp.array([[2.0, 1.0]])
    for more, codes in (({}, [[2, 0]]), ({"rescale_acts_by_decoder_norm": True}, [[0, 5]])):
        (tmp_path / CONFIG).write_text(json.dumps({**config, **more}))
        sae, params = io.load_saelens_sae(tmp_path)
        np.testing.assert_array_equal(sae.encode(params, x), codes)


# --- configs from before version 6 ----------------------------------------------------------


OLD = {
    "model_name": "gpt2-small",
    "hook_point": "blocks.8.hook_resid_pre",
    "hook_point_layer": 8,
    "dtype": "torch.float32",
    "context_size": 128,
    "lr": 4e-4,
    "l1_coefficient": 8e-5,
    "activation_fn_str": "relu",
    "activation_fn_kwargs": {},
    "finetuning_scaling_factor": False,
    "normalize_activations": False,
    "sae_lens_training_version": None,
}


# an old config, and what of a config of today says the same
TRANSLATED = {
    "before there were architectures": (OLD, {"architecture": "standard"}),
    "nothing": ({}, {"architecture": "standard"}),
    "a version of its own key": (
        {"sae_lens_version": "5.9.1", "architecture": "standard"},
        {"architecture": "standard"},
    ),
    "an activation with its k": (
        OLD | {"activation_fn": "topk", "activation_fn_kwargs": {"k": 3}},
        {"architecture": "topk", "k": 3},
    ),
    "an architecture": (OLD | {"architecture": "jumprelu"}, {"architecture": "jumprelu"}),
    "not normalised by null": (
        {"architecture": "gated", "normalize_activations": None},
        {"architecture": "gated"},
    ),
}


@pytest.mark.parametrize("case", TRANSLATED)
def test_an_old_config_is_read_as_saelens_translates_it(case, tmp_path):
    old, new = TRANSLATED[case]
    kind = new["architecture"]
    codes, x_hat, config = latents(folder(tmp_path / "old", kind, old))
    today = {"metadata": {"sae_lens_version": "6.54.12"}, **new}
    others = latents(folder(tmp_path / "new", kind, today))
    np.testing.assert_array_equal(codes, others[0])
    np.testing.assert_array_equal(x_hat, others[1])
    assert config == others[2]
    assert (np.count_nonzero(codes, axis=1) <= 3).all() == (kind == "topk")


REFUSED = {
    "no architecture of today": (
        {"metadata": {"sae_lens_version": "6.1.0"}},
        "architecture is missing; it must be one of abstopk",
    ),
    "no architecture, but a k": ({"k": 3}, "architecture is missing.* has no k"),
    "a list": ({"architecture": ["topk"]}, r"Unknown architecture \['topk'\]"),
    "an object": ({"architecture": {}}, "Unknown architecture {}"),
    "another activation": (OLD | {"activation_fn_str": "tanh"}, "'relu' or 'topk'; got 'tanh'"),
    "topk without k": (OLD | {"activation_fn_str": "topk"}, "activation_fn_kwargs with k"),
    "scaled": (OLD | {"finetuning_scaling_factor": True}, "fold the factor"),
    "normalised": (OLD | {"normalize_activations": True}, "got 'expected_average_only_in'"),
    "reshaped": (OLD | {"hook_point": "blocks.1.attn.hook_z"}, "must be 'none'; got 'hook_z'"),
    "a misspelling": ({"apply_b_dec_to_inputs": False}, "Did you mean 'apply_b_dec_to_input'"),
    "a misspelt option": (
        {"architecture": "topk", "rescale_act_by_decoder_norm": True},
        "Did you mean 'rescale_acts_by_decoder_norm'",
    ),
    "no version": ({"sae_lens_version": [6]}, "must be a version such as"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_an_old_config_cannot_mean_is_refused(case, tmp_path):
    config, message = REFUSED[case]
    place = folder(tmp_path / "sae", "standard", config)
    with pytest.raises(ConfigError, match=message) as caught:
        io.load_saelens_sae(place)
    assert str(caught.value).startswith(str(place / CONFIG))


# --- synthetic models -----------------------------------------------------------------------


FIRING = {
    "zipfian": {"exponent": 1.0, "max_prob": 0.3, "min_prob": 0.01},
    "linear": {"max_prob": 0.3, "min_prob": 0.01},
    "random": {"max_prob": 0.5, "min_prob": 0.01},
    "constant": {"probability": 0.1},
}
FOLDED = {"mean": 0.0, "std": 0.1, "min_value": None, "max_value": None}
PARTS = {
    "hierarchy": {
        "total_root_nodes": 100,
        "branching_factor": 100,
        "max_depth": 2,
        "mutually_exclusive_portion": 0.0,
        "mutually_exclusive_min_depth": 0,
        "mutually_exclusive_max_depth": None,
        "compensate_probabilities": False,
        "scale_children_by_parent": False,
    },
    "orthogonalization": {"num_steps": 200, "lr": 0.01, "chunk_size": 1024},
    "correlation": {"rank": 32, "correlation_scale": 0.1, "seed": None},
    "std_firing_magnitudes": {**FOLDED, "generator_name": "folded_normal"},
    "mean_firing_magnitudes": {"value": 1.0, "generator_name": "constant"},
    **{f"firing {name}": {**fields, "generator_name": name} for name, fields in FIRING.items()},
}
TOP = {
    "hierarchy": None,
    "orthogonalization": None,
    "correlation": None,
    "std_firing_magnitudes": 0.0,
    "mean_firing_magnitudes": 1.0,
    "bias": 1.0,
    "dtype": "float32",
    "seed": None,
}
MODEL = {"num_features": 200, "hidden_dim": 8, "firing_probability": PARTS["firing zipfian"]}
INNER = [(p, k) for p, fields in PARTS.items() for k in fields if k != "generator_name"]


@pytest.mark.parametrize(("part", "key"), INNER)
def test_an_absent_key_of_a_part_is_the_default_of_its_class(part, key, tmp_path):
    name = "firing_probability" if part.startswith("firing") else part
    without = {k: v for k, v in PARTS[part].items() if k != key}
    read = lambda fields: from_json({**MODEL, **TOP, name: fields}, tmp_path)
    assert read(without) == read(PARTS[part])


@pytest.mark.parametrize("key", TOP)
def test_an_absent_key_of_a_model_is_the_default_of_its_class(key, tmp_path):
    without = {k: v for k, v in TOP.items() if k != key}
    assert from_json({**MODEL, **without}, tmp_path) == from_json({**MODEL, **TOP}, tmp_path)


@pytest.mark.parametrize("key", MODEL)
def test_what_saelens_does_without_no_more_than_we_is_named(key, golden, tmp_path):
    model = shutil.copytree(golden / "saelens-tiny", tmp_path / "model")
    path = model / "synthetic_model_config.json"
    config = json.loads(path.read_text())
    del config[key]
    path.write_text(json.dumps(config))
    with pytest.raises(ConfigError, match=f"{key} is missing"):
        io.load_saelens_model(model)
