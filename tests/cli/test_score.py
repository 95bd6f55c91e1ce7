"""`synthsae score`: SAE folders against a model."""

from __future__ import annotations

import json
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from synthsae_jax import cli, io, metrics
from synthsae_jax.cli import output


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """SAE folders whose decoders are known; loading them is tested with the loader."""
    rng = np.random.default_rng(0)
    first = np.linalg.qr(rng.normal(size=(6, 6)))[0].astype(np.float32)
    # rows 0 to 3 of the second are rows 3 to 0 of the first; its last two point the other way
    second = np.concatenate([first[3::-1], -first[4:]])
    rows = {"a": first, "b": second, "narrow": first[:, :4]}
    for name in rows:
        (tmp_path / name).mkdir()

    def load(path):
        return "sae", SimpleNamespace(W_dec=jnp.asarray(rows[path.name]))

    monkeypatch.setattr(io, "load_saelens_sae", load, raising=False)
    return {name: str(tmp_path / name) for name in rows}


@pytest.fixture
def evaluated(monkeypatch):
    """A model of six dimensions, and numbers of an evaluation."""
    calls = []

    def evaluate(world, instance, sae, params, n_samples, seed):
        calls.append((world, sae, n_samples, seed))
        return {"mcc": jnp.float32(0.5), "f1": 0.25}

    model = lambda path: (str(path), SimpleNamespace(hidden_dim=6))
    monkeypatch.setattr(io, "load_saelens_model", model, raising=False)
    monkeypatch.setattr(metrics, "evaluate", evaluate, raising=False)
    return calls


def test_score_uses_the_packaged_model_unless_told(folders, evaluated, golden, tmp_path, capsys):
    target = tmp_path / "scores.json"
    words = ["score", folders["a"], "--samples", "1000", "--json", str(target)]
    assert cli.main(words) == 0
    assert evaluated == [(str(golden / "saelens-1k"), "sae", 1000, 0)]
    assert capsys.readouterr().out.split() == ["mcc", "0.5000", "f1", "0.2500"]
    assert json.loads(target.read_text()) == {"mcc": 0.5, "f1": 0.25}
    assert cli.main(["score", folders["a"], "--model", "elsewhere"]) == 0
    assert evaluated[-1][0] == "elsewhere"


def test_score_names_a_model_that_does_not_fit(folders, evaluated, only_line):
    assert cli.main(["score", folders["narrow"]]) == 2
    assert "reads 4 dimensions, but the model has 6" in only_line()
    assert evaluated == []


def test_undefined_numbers_are_null_with_a_reason(folders, evaluated, monkeypatch, tmp_path):
    numbers = {"mcc": jnp.float32(jnp.nan), "explained_variance": -jnp.inf, "f1": 0.25}
    monkeypatch.setattr(metrics, "evaluate", lambda *_: numbers)
    target = tmp_path / "scores.json"
    assert cli.main(["score", folders["a"], "--json", str(target)]) == 0
    no_constants = lambda word: pytest.fail(f"{word} is not JSON")
    found = json.loads(target.read_text(), parse_constant=no_constants)
    reasons = found.pop("reasons")
    assert found == {"mcc": None, "explained_variance": None, "f1": 0.25}
    assert set(reasons) == {"mcc", "explained_variance"}
    assert "the decoder is not finite" in reasons["mcc"]
    assert "the inputs do not vary" in reasons["explained_variance"]


@pytest.mark.parametrize("name", ["mcc", "l0", "f1", "dead_latents", "true_l0", "n_eval", "loss"])
def test_every_number_has_a_reason(name):
    assert "not finite" in output.why_undefined(name)


def test_the_file_of_numbers_is_looked_for_before_the_work(folders, evaluated, tmp_path, only_line):
    assert cli.main(["score", folders["a"], "--json", str(tmp_path)]) == 2
    assert "is a folder" in only_line()
    assert evaluated == []
