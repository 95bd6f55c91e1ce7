"""SAELens' synthetic models: read, written back byte for byte, refused with a reason."""

from __future__ import annotations

import dataclasses
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from synthsae_jax import worlds
from synthsae_jax.errors import ConfigError
from synthsae_jax.io.saelens_model import (
    CONFIG,
    TREES,
    WEIGHTS,
    load_saelens_model,
    save_saelens_model,
)
from synthsae_jax.worlds.copula import threshold_of
from synthsae_jax.worlds.magnitude import FoldedNormal
from synthsae_jax.worlds.rates import expected_rates

TINY_SLOTS = (8, 32, 16, 16, 32)


@pytest.fixture
def tiny(golden, tmp_path):
    """A copy of SAELens' small model, to be broken."""
    return shutil.copytree(golden / "saelens-tiny", tmp_path / "tiny")


@pytest.fixture(scope="module")
def loaded(golden):
    return load_saelens_model(golden / "saelens-tiny", slots=TINY_SLOTS)


def own_world(**choices):
    config = worlds.WorldConfig(
        n_features=30,
        firing=worlds.Zipfian(0.5, 0.4, 0.01),
        hierarchy=worlds.HierarchyConfig(2, 3, 2, 1.0, compensation="saelens"),
        correlation=worlds.LowRank(3, 0.2),
        mean=worlds.LinearMagnitude(2.0, 1.0),
        std=worlds.FoldedNormal(0.1, 0.1),
    )
    slots = choices.pop("slots", TINY_SLOTS)
    config = dataclasses.replace(config, **choices)
    return worlds.init_world(jax.random.key(0), config, slots=slots)


def own_instance(world, **choices):
    rows = jax.random.normal(jax.random.key(1), (world.n_features, 5))
    return worlds.make_instance(world, rows, jnp.arange(5.0)).replace(**choices)


def assert_same_files(a, b):
    names = {p.name for p in a.iterdir() if p.name in (CONFIG, WEIGHTS, TREES)}
    assert names == {p.name for p in b.iterdir()}
    for name in names:
        assert (a / name).read_bytes() == (b / name).read_bytes(), name


@pytest.mark.parametrize("name", ["saelens-1k", "saelens-tiny"])
def test_a_model_of_saelens_comes_back_byte_for_byte(golden, tmp_path, name):
    world, instance = load_saelens_model(golden / name, slots=(8,) * (6 if "1k" in name else 5))
    assert save_saelens_model(tmp_path / "copy", world, instance) == tmp_path / "copy"
    assert_same_files(golden / name, tmp_path / "copy")


def test_loaded_numbers(golden, loaded):
    world, instance = loaded
    stored = load_file(golden / "saelens-tiny" / WEIGHTS)
    np.testing.assert_array_equal(world.probabilities, stored["firing_probabilities"])
    np.testing.assert_allclose(
        world.threshold, threshold_of(stored["firing_probabilities"]), rtol=1e-6, atol=1e-7
    )
    np.testing.assert_array_equal(instance.dictionary, stored["feature_vectors"])
    np.testing.assert_array_equal(instance.bias, stored["bias"])
    np.testing.assert_allclose(world.mean, 2 * 0.5 ** (np.arange(30) / 29), rtol=1e-6)
    std = worlds.magnitude.FoldedNormal(std=0.3, max_value=0.5).values(30, 11 + 1)
    np.testing.assert_allclose(world.std, std, rtol=1e-6)
    assert (world.seed, world.config.hidden_dim, instance.hidden_dim) == (11, 8, 8)
    assert np.asarray(instance.present).all()
    assert np.asarray(world.forest.scaled).any()


def test_a_loaded_artefact_has_the_rates_that_saelens_sampled(golden):
    world, _ = load_saelens_model(golden / "saelens-1k", slots=(8,) * 6)
    with np.load(golden / "saelens-1k" / "sampled_statistics.npz") as counted:
        observed, n = counted["firing_rate"], int(counted["n"])
    rates = expected_rates(world, n_factors=8192)
    assert world.n_features == 1024
    assert (np.abs(observed - rates) < 4.5 * np.sqrt(rates * (1 - rates) / n)).all()


def test_own_world_survives_saelens_format(tmp_path):
    world = own_world()
    instance = own_instance(world)
    save_saelens_model(tmp_path / "own", world, instance)
    again, copy = load_saelens_model(tmp_path / "own", slots=world.slots)
    for a, b in zip(
        jax.tree.leaves((world.forest, instance)), jax.tree.leaves((again.forest, copy))
    ):
        np.testing.assert_array_equal(a, b)
    for name in ("probabilities", "threshold", "mean", "std", "factor", "residual"):
        np.testing.assert_allclose(getattr(again, name), getattr(world, name), rtol=1e-6, atol=1e-7)
    config = json.loads((tmp_path / "own" / CONFIG).read_text())
    assert config["bias"] == pytest.approx(np.sqrt(30))  # |(0, 1, 2, 3, 4)|
    assert config["seed"] == world.seed
    assert config["orthogonalization"] is None


def test_config_of_a_made_instance_is_kept(tmp_path):
    world = own_world(hierarchy=None, correlation=None, slots=(8, 32, 32))
    choices = worlds.InstanceConfig(
        hidden_dim=4, bias_norm=0.5, orthogonalize_steps=3, orthogonalize_lr=0.1
    )
    instance = worlds.init_instance(jax.random.key(0), world, choices)
    save_saelens_model(tmp_path / "own", world, instance)
    config = json.loads((tmp_path / "own" / CONFIG).read_text())
    assert config["orthogonalization"] == {"num_steps": 3, "lr": 0.1, "chunk_size": 1024}
    assert config["bias"] == 0.5
    assert config["hierarchy"] is config["correlation"] is None
    assert not (tmp_path / "own" / TREES).exists()


def test_exact_compensation_passes_only_where_it_is_saelens_own(tmp_path):
    chain = worlds.HierarchyConfig(3, 2, 1, compensation="exact")
    world = own_world(hierarchy=chain, correlation=None, std=0.0, slots=(8, 32, 16, 32))
    # without rivals, copula or magnitudes cut at 0 both are p / p_parent
    save_saelens_model(tmp_path / "chain", world, own_instance(world))
    tree = json.loads((tmp_path / "chain" / CONFIG).read_text())["hierarchy"]
    assert tree["compensate_probabilities"] is True
    rivals = worlds.HierarchyConfig(2, 3, 1, 1.0, compensation="exact")
    world = own_world(hierarchy=rivals, firing=worlds.Zipfian(1.0, 0.4, 0.001), slots=world.slots)
    with pytest.raises(ConfigError, match=r"probabilities are not .* falls short of 'exact'"):
        save_saelens_model(tmp_path / "exact", world, own_instance(world))


INEXPRESSIBLE = {
    "twins": (lambda w, i: (worlds.twin(w), i), "twins"),
    "stacked worlds": (lambda w, i: (worlds.stack([w, w]), i), "stacked"),
    "stacked instances": (lambda w, i: (w, worlds.stack([i, i])), "instances are stacked"),
    "own numbers": (
        lambda w, i: (worlds.make_world(np.full(30, 0.1), slots=(8, 32, 32)), i),
        "your own numbers",
    ),
    "dense": (
        lambda w, i: (
            own_world(hierarchy=None, correlation=worlds.DenseCopula(), slots=(8, 32, 32)),
            i,
        ),
        "dense matrix",
    ),
    "law": (
        lambda w, i: (own_world(firing=worlds.ScaledZipf(0.5, 2.0)), i),
        "no law ScaledZipf",
    ),
    "changed mean": (lambda w, i: (w.replace(mean=2 * w.mean), i), "mean magnitudes"),
    "changed std": (lambda w, i: (w.replace(std=w.std + 1), i), "std magnitudes"),
    "changed p": (lambda w, i: (w.replace(probabilities=w.probabilities / 2), i), "probabilities"),
    "changed threshold": (lambda w, i: (w.replace(threshold=w.threshold + 1), i), "thresholds"),
    "no seed": (lambda w, i: (w.replace(seed=None), i), "no integer seed"),
    "absent": (lambda w, i: (w, i.replace(present=i.present.at[3].set(False))), "absent"),
    "dropped": (lambda w, i: (w, i.replace(keep=0.5 * i.keep)), "dropped"),
    "gain": (lambda w, i: (w, i.replace(gain=2 * i.gain)), "rescaled"),
    "noise": (lambda w, i: (w, i.replace(noise=jnp.float32(0.1))), "noise"),
    "too few rows": (lambda w, i: (w, i.replace(dictionary=i.dictionary[:9])), "9 features"),
}


@pytest.mark.parametrize("name", INEXPRESSIBLE)
def test_what_the_format_cannot_hold_is_refused(name, tmp_path):
    change, message = INEXPRESSIBLE[name]
    world = own_world()
    world, instance = change(world, own_instance(world))
    with pytest.raises(ConfigError, match=message):
        save_saelens_model(tmp_path / "x", world, instance)
    assert list(tmp_path.iterdir()) == []


def edit_config(folder, **changes):
    path = folder / CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def edit_tensors(folder, **changes):
    tensors = load_file(folder / WEIGHTS) | changes
    save_file({k: v for k, v in tensors.items() if v is not None}, folder / WEIGHTS)


def cut(folder, name):
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: len(data) // 2])


BROKEN = {
    "no config": (lambda f: (f / CONFIG).unlink(), CONFIG + ": no such file"),
    "no weights": (lambda f: (f / WEIGHTS).unlink(), WEIGHTS + ": no such file"),
    "no hierarchy": (lambda f: (f / TREES).unlink(), TREES + ": no such file, but the config"),
    "cut config": (lambda f: cut(f, CONFIG), CONFIG + ": cannot be read as JSON"),
    "cut weights": (lambda f: cut(f, WEIGHTS), WEIGHTS + ".* is truncated"),
    "cut hierarchy": (lambda f: cut(f, TREES), TREES + ": cannot be read as JSON"),
    "empty weights": (lambda f: (f / WEIGHTS).write_bytes(b""), "is empty"),
    "binary config": (lambda f: (f / CONFIG).write_bytes(b"\xff\xfe{"), "cannot be read as JSON"),
    "a list": (lambda f: (f / CONFIG).write_text("[]"), "expected a JSON object"),
    "unknown law": (
        lambda f: edit_config(f, firing_probability={"generator_name": "zipf"}),
        CONFIG + ": firing_probability: Unknown firing law 'zipf'. Did you mean 'zipfian'",
    ),
    "unknown magnitude": (
        lambda f: edit_config(f, mean_firing_magnitudes={"generator_name": "gamma"}),
        CONFIG + ": mean_firing_magnitudes: Unknown magnitude law 'gamma'",
    ),
    "bad law": (
        lambda f: edit_config(f, firing_probability={"generator_name": "constant", "p": 1}),
        "Unknown field of Constant 'p'",
    ),
    "unknown field": (lambda f: edit_config(f, colour=1), "unknown field 'colour'"),
    "bad hierarchy": (lambda f: edit_config(f, hierarchy={"max_depth": 0}), "hierarchy: .*max_dep"),
    "bad rank": (lambda f: edit_config(f, correlation={"rank": 0}), "correlation: LowRank: rank"),
    "bad count": (lambda f: edit_config(f, num_features="30"), "num_features must be a whole"),
    "bad dtype": (lambda f: edit_config(f, dtype="bfloat16"), "dtype must be 'float32'"),
    "bad bias": (lambda f: edit_config(f, bias="big"), "bias must be true, false or a number"),
    "no seed": (lambda f: edit_config(f, seed=None), CONFIG + ": FoldedNormal: needs a seed"),
    "fewer features": (lambda f: edit_config(f, num_features=29), r"must have shape \[29, 8\]"),
    "other dim": (lambda f: edit_config(f, hidden_dim=9), r"must have shape \[30, 9\]; got"),
    "no factor": (
        lambda f: edit_config(f, correlation={"rank": 2, "correlation_scale": 0.1, "seed": None}),
        "tensor 'correlation_factor' is missing",
    ),
    "half a factor": (
        lambda f: edit_tensors(f, correlation_factor=np.zeros((30, 2), np.float32)),
        "tensor 'correlation_diag' is missing",
    ),
    "no variance": (
        lambda f: edit_tensors(
            f,
            correlation_factor=np.ones((30, 2), np.float32),
            correlation_diag=np.ones(30, np.float32),
        ),
        "sum to 1 for each feature",
    ),
    "missing tensor": (lambda f: edit_tensors(f, bias=None), "tensor 'bias' is missing"),
    "extra tensor": (lambda f: edit_tensors(f, extra=np.ones(2)), "unknown tensor 'extra'"),
    "float64": (lambda f: edit_tensors(f, bias=np.zeros(8)), "must be float32; got float64"),
    "not finite": (
        lambda f: edit_tensors(f, bias=np.full(8, np.nan, np.float32)),
        "8 values are not finite",
    ),
    "no probabilities": (
        lambda f: edit_tensors(f, firing_probabilities=np.full(30, 1.5, np.float32)),
        r"firing_probabilities must lie in \[0, 1\]",
    ),
    "long rows": (
        lambda f: edit_tensors(f, feature_vectors=np.ones((30, 8), np.float32)),
        "must have length 1",
    ),
    "foreign feature": (
        lambda f: (f / TREES).write_text('{"roots": [{"feature_index": 30}]}'),
        TREES + r": roots\[0\]: feature_index must lie in 0..29",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_folders_are_one_line_that_names_the_file(name, tiny):
    break_it, message = BROKEN[name]
    break_it(tiny)
    with pytest.raises(ConfigError, match=message) as caught:
        load_saelens_model(tiny, slots=TINY_SLOTS)
    assert "\n" not in str(caught.value)
    assert str(tiny) in str(caught.value)


def test_no_such_folder(tmp_path):
    with pytest.raises(ConfigError, match="no such folder"):
        load_saelens_model(tmp_path / "nowhere")


def test_stored_probabilities_rule_and_a_conflict_is_said(tmp_path):
    world = own_world()
    save_saelens_model(tmp_path / "own", world, own_instance(world))
    edited = np.full(30, 0.25, np.float32)
    edit_tensors(tmp_path / "own", firing_probabilities=edited)
    with pytest.warns(UserWarning, match="not those of the config"):
        again, instance = load_saelens_model(tmp_path / "own", slots=TINY_SLOTS)
    np.testing.assert_array_equal(again.probabilities, edited)
    with pytest.raises(ConfigError, match="probabilities are not those"):
        save_saelens_model(tmp_path / "copy", again, instance)


def test_without_copula_stored_probabilities_are_saelens_own(tiny, tmp_path):
    edit_tensors(tiny, firing_probabilities=np.full(30, 0.25, np.float32))
    world, instance = load_saelens_model(tiny, slots=TINY_SLOTS)
    save_saelens_model(tmp_path / "copy", world, instance)
    assert_same_files(tiny, tmp_path / "copy")


def test_saving_replaces_a_model_and_nothing_else(loaded, tiny, tmp_path):
    world, instance = loaded
    (tiny / TREES).write_text("old")
    save_saelens_model(tiny, world, instance)  # a folder with only a model's files
    assert json.loads((tiny / TREES).read_text())["roots"]
    (tiny / "notes.txt").write_text("mine")
    before = {p.name: p.read_bytes() for p in tiny.iterdir()}
    with pytest.raises(ConfigError, match=r"also holds notes\.txt"):
        save_saelens_model(tiny, world, instance)
    assert {p.name: p.read_bytes() for p in tiny.iterdir()} == before
    save_saelens_model(tmp_path / "new" / "deep", world, instance)
    assert (tmp_path / "new" / "deep" / CONFIG).exists()


def test_a_failing_write_leaves_the_old_model(loaded, tiny, monkeypatch):
    world, instance = loaded
    before = {p.name: p.read_bytes() for p in tiny.iterdir()}

    def full(number, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.write", full)
    with pytest.raises(OSError, match="No space left"):
        save_saelens_model(tiny, world, instance)
    assert {p.name: p.read_bytes() for p in tiny.iterdir()} == before
    assert [p.name for p in tiny.parent.iterdir()] == ["tiny"]


def test_whole_numbers_stay_whole(tiny, tmp_path):
    edit_config(tiny, std_firing_magnitudes=0, bias=False, seed=12)
    edit_tensors(tiny, bias=np.zeros(8, np.float32))
    world, instance = load_saelens_model(tiny, slots=TINY_SLOTS)
    save_saelens_model(tmp_path / "copy", world, instance)
    config = json.loads((tmp_path / "copy" / CONFIG).read_text())
    assert repr(config["std_firing_magnitudes"]) == "0"
    assert config["bias"] is False
    np.testing.assert_array_equal(world.std, 0)
    assert world.config.std != FoldedNormal()
