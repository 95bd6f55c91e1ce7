"""`synthsae score`: SAE folders against a model."""

from __future__ import annotations

import json
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from synthsae_jax import cli, io, metrics


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
