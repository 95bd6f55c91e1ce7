"""SAEs in SAELens' inference format: read, run, written back, refused with a reason."""

from __future__ import annotations

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from synthsae_jax import saes
from synthsae_jax.errors import ConfigError
from synthsae_jax.io.saelens_sae import (
    CONFIG,
    WEIGHTS,
    load_saelens_sae,
    save_saelens_sae,
)

# the folders that scripts/make_golden_saelens wrote, and the architecture of each
FOLDERS = {
    "standard": "standard",
    "standard-plain-input": "standard",
    "jumprelu": "jumprelu",
    "topk": "topk",
    "topk-rescaled": "topk",
    "gated": "gated",
    "matching_pursuit": "matching_pursuit",
    "abstopk": "abs_topk",
    "abstopk-rescaled": "abs_topk",
    "batchtopk": "jumprelu",
    "matryoshka": "jumprelu",
}
WRITTEN = {*FOLDERS.values(), "batchtopk", "matryoshka"} | {
    *("aligned", "archetypal", "crosscoder", "frozen", "min_firing_batchtopk", "mutual"),
    *("crosscoder_l1", "ordered", "p_annealing"),
}


@pytest.fixture(scope="module")
def folders(golden):
    return golden / "saelens-saes"


@pytest.fixture(scope="module")
def outputs(folders):
    with np.load(folders / "outputs.npz") as arrays:
        return dict(arrays)


@pytest.fixture
def broken(folders, tmp_path):
    """A copy of a JumpReLU SAE, to be broken."""
    return shutil.copytree(folders / "jumprelu", tmp_path / "sae")


def edit_config(folder, **changes):
    path = folder / CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def edit_tensors(folder, **changes):
    tensors = load_file(folder / WEIGHTS) | changes
    save_file({k: v for k, v in tensors.items() if v is not None}, folder / WEIGHTS)


def test_there_is_a_folder_of_every_kind(folders):
    assert {p.name for p in folders.iterdir() if p.is_dir()} == set(FOLDERS)


@pytest.mark.parametrize("name", FOLDERS)
def test_latents_and_reconstructions_are_those_of_saelens(folders, outputs, name):
    sae, params = load_saelens_sae(folders / name)
    assert sae.name == FOLDERS[name]
    latents = sae.encode(params, outputs["x"])
    # values of some units, six products each in float32
    np.testing.assert_allclose(latents, outputs[f"{name}/latents"], atol=2e-5)
    x_hat = sae.decode(params, jnp.asarray(outputs[f"{name}/latents"]))
    np.testing.assert_allclose(x_hat, outputs[f"{name}/x_hat"], atol=2e-5)


@pytest.mark.parametrize("name", FOLDERS)
def test_weights_come_back_byte_for_byte(folders, tmp_path, name):
    sae, params = load_saelens_sae(folders / name)
    save_saelens_sae(tmp_path / "copy", sae, params)
    assert (tmp_path / "copy" / WEIGHTS).read_bytes() == (folders / name / WEIGHTS).read_bytes()
    places = (tmp_path / "copy", folders / name)
    ours, theirs = (json.loads((place / CONFIG).read_text()) for place in places)
    del ours["metadata"], theirs["metadata"]
    assert ours == pytest.approx(theirs)


def trained(name, **options):
    """A finalized SAE of the architecture with random weights, its latents and reconstruction."""
    sae = saes.build(name, d_in=6, d_sae=10, **options)
    params = sae.init(jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (64, 6))
    _, info = sae.loss(params, x)
    params = sae.finalize(params, info["state"])
    latents = sae.encode(params, x)
    return sae, params, x, latents, sae.decode(params, latents)


@pytest.mark.parametrize("name", saes.names())
def test_every_architecture_survives_or_is_refused(tmp_path, name):
    options = saes.architectures[name].example
    sae, params, x, latents, x_hat = trained(name, **options)
    if name not in WRITTEN:
        with pytest.raises(ConfigError, match="no inference rule"):
            save_saelens_sae(tmp_path / "sae", sae, params)
        assert not (tmp_path / "sae").exists()
        return
    save_saelens_sae(tmp_path / "sae", sae, params)
    again, weights = load_saelens_sae(tmp_path / "sae")
    np.testing.assert_allclose(again.encode(weights, x), latents, atol=1e-5)
    np.testing.assert_allclose(again.decode(weights, latents), x_hat, atol=1e-5)
    metadata = json.loads((tmp_path / "sae" / CONFIG).read_text())["metadata"]
    assert metadata["training_architecture"] == name


def test_stray_buffers_and_logarithms_are_read(broken):
    threshold = load_file(broken / WEIGHTS)["threshold"]
    edit_tensors(
        broken,
        threshold=None,
        log_threshold=np.log(threshold),
        **{"coefficient_autotuner.integral": np.zeros(1, np.float32)},
    )
    _, params = load_saelens_sae(broken)
    np.testing.assert_allclose(params.threshold, threshold, rtol=1e-6)


def test_half_precision_weights_come_out_wide(folders, tmp_path):
    source = load_file(folders / "standard" / WEIGHTS)
    folder = shutil.copytree(folders / "standard", tmp_path / "half")
    save_file({k: v.astype(np.float16) for k, v in source.items()}, folder / WEIGHTS)
    _, params = load_saelens_sae(folder)
    assert params.W_enc.dtype == jnp.float32
    np.testing.assert_allclose(params.W_enc, source["W_enc"], rtol=1e-3, atol=1e-6)
    # bfloat16, which numpy cannot write: the upper two bytes of each float32, by hand
    header, data, offset = {}, b"", 0
    for name, tensor in source.items():
        part = (np.ascontiguousarray(tensor).view(np.uint32) >> 16).astype("<u2").tobytes()
        header[name] = {"dtype": "BF16", "shape": list(tensor.shape)}
        header[name]["data_offsets"] = [offset, offset + len(part)]
        data, offset = data + part, offset + len(part)
    text = json.dumps(header).encode()
    (folder / WEIGHTS).write_bytes(len(text).to_bytes(8, "little") + text + data)
    _, params = load_saelens_sae(folder)
    np.testing.assert_allclose(params.W_dec, source["W_dec"], rtol=2**-7)


BROKEN = {
    "no config": (lambda f: (f / CONFIG).unlink(), "cfg.json: no such file"),
    "no weights": (lambda f: (f / WEIGHTS).unlink(), "sae_weights.safetensors: no such file"),
    "cut weights": (
        lambda f: (f / WEIGHTS).write_bytes((f / WEIGHTS).read_bytes()[:300]),
        "broken or truncated",
    ),
    "cut config": (lambda f: (f / CONFIG).write_text('{"d_in"'), "cannot be read as JSON"),
    "architecture": (
        lambda f: edit_config(f, architecture="jumprelo"),
        "Unknown architecture 'jumprelo'. Did you mean 'jumprelu'",
    ),
    "no architecture": (
        lambda f: edit_config(f, architecture=None),
        "architecture is missing; it must be one of",
    ),
    "normalised": (
        lambda f: edit_config(f, normalize_activations="layer_norm"),
        "normalize_activations must be 'none'; got 'layer_norm'",
    ),
    "reshaped": (
        lambda f: edit_config(f, reshape_activations="hook_z"),
        "reshape_activations must be 'none'",
    ),
    "width": (lambda f: edit_config(f, d_sae=11), r"must have shape \[6, 11\]; got \[6, 10\]"),
    "no width": (lambda f: edit_config(f, d_sae="ten"), "d_sae must be a whole number"),
    "strange key": (
        lambda f: edit_config(f, activation_fn="relu"),
        "unknown key 'activation_fn'; known: apply_b_dec_to_input, architecture, d_in, d_sae",
    ),
    "option of another": (lambda f: edit_config(f, k=3), "cfg.json: unknown key 'k'; known: "),
    "input": (lambda f: edit_config(f, apply_b_dec_to_input="yes"), "cfg.json: apply_b_dec"),
    "lost tensor": (lambda f: edit_tensors(f, b_enc=None), "tensor 'b_enc' is missing"),
    "strange tensor": (
        lambda f: edit_tensors(f, scaling_factor=np.ones(10, np.float32)),
        "unknown tensor 'scaling_factor'",
    ),
    "not finite": (
        lambda f: edit_tensors(f, b_dec=np.full(6, np.inf, np.float32)),
        "not finite",
    ),
}


OPTIONS = {
    "k of 0": ("topk", {"k": 0}, "cfg.json: k must satisfy 1 <= k <= d_sae, got k=0, d_sae=10"),
    "k too large": ("abstopk", {"k": 11}, "1 <= k <= d_sae, got k=11, d_sae=10"),
    "no whole k": ("topk", {"k": 2.5}, "k must be a whole number, got k=2.5"),
    "negative threshold": (
        "matching_pursuit",
        {"residual_threshold": -1},
        "residual_threshold must not be negative",
    ),
    "no round": ("matching_pursuit", {"max_iterations": 0}, "must be at least 1 or None"),
    "no word": (
        "matching_pursuit",
        {"stop_on_duplicate_support": "no"},
        "stop_on_duplicate_support must be True or False",
    ),
    "other width": ("gated", {"d_in": 7}, r"must have shape \[7, 10\]; got \[6, 10\]"),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_bad_options_of_a_folder_are_one_line(name, folders, tmp_path):
    source, changes, message = OPTIONS[name]
    folder = shutil.copytree(folders / source, tmp_path / "sae")
    edit_config(folder, **changes)
    with pytest.raises(ConfigError, match=message) as caught:
        load_saelens_sae(folder)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize("name", BROKEN)
def test_broken_folders_are_one_line_that_names_the_file(name, broken):
    break_it, message = BROKEN[name]
    break_it(broken)
    with pytest.raises(ConfigError, match=message) as caught:
        load_saelens_sae(broken)
    assert "\n" not in str(caught.value)
    assert str(broken) in str(caught.value)


def test_unfinished_and_stacked_weights_are_refused(tmp_path):
    sae = saes.build("batchtopk", d_in=6, d_sae=10, k=2)
    params = sae.init(jax.random.key(0))
    with pytest.raises(ConfigError, match="no 'threshold'; finalize them first"):
        save_saelens_sae(tmp_path / "sae", sae, params)
    stacked = jax.tree.map(lambda a: jnp.stack([a, a]), sae.finalize(params, sae.init_state()))
    with pytest.raises(ConfigError, match="one run at a time"):
        save_saelens_sae(tmp_path / "sae", sae, stacked)
    broken = sae.finalize(params, sae.init_state())
    broken = broken.replace(b_dec=broken.b_dec.at[0].set(jnp.nan))
    with pytest.raises(ConfigError, match="b_dec holds values that are not finite"):
        save_saelens_sae(tmp_path / "sae", sae, broken)
    foreign = saes.wrap(lambda x: x, lambda z: z, jnp.eye(3))
    with pytest.raises(ConfigError, match="no inference rule for SAE 'wrapped'"):
        save_saelens_sae(tmp_path / "sae", foreign, foreign.params)
    assert list(tmp_path.iterdir()) == []


def test_a_run_of_a_sweep_is_written_with_its_own_k(tmp_path):
    sae = saes.build("topk", d_in=6, d_sae=10, k=4)
    params = sae.finalize(sae.init(jax.random.key(0)))
    save_saelens_sae(tmp_path / "sae", sae, params, hyper=sae.hyper.replace(k=jnp.int32(2)))
    again, _ = load_saelens_sae(tmp_path / "sae")
    assert again.hyper.k == 2
    with pytest.raises(ConfigError, match="numbers of one run"):
        save_saelens_sae(tmp_path / "b", sae, params, hyper=sae.hyper.replace(k=np.array([2, 3])))
