"""A manifest says where numbers come from, and a broken folder is one line and no change."""

from __future__ import annotations

import json
import subprocess

import jax
import numpy as np
import pytest

import synthsae_jax
from synthsae_jax.errors import ConfigError
from synthsae_jax.io import manifest, provenance, results, rows


def example(**more):
    return manifest.make_manifest(
        "recovery@1",
        "smoke",
        "ab" * 32,
        {"dictionary": np.array([0.123456789, -1234.56789, 0.0])},
        {"instance": (0, 1), "init": np.arange(3)[0]},
        vmap_width=6,
        **more,
    )


def test_a_manifest_names_versions_device_and_seeds():
    made = example(salt="00ff")
    assert made["versions"]["jax"] == jax.__version__
    assert made["versions"]["synthsae_jax"] == synthsae_jax.__version__
    assert set(provenance.PACKAGES) <= set(made["versions"])
    assert made["machine"]["device_count"] == jax.device_count()
    assert made["machine"]["device"] == jax.devices()[0].device_kind
    assert made["machine"]["threads"] >= 1
    assert made["seeds"] == {"instance": [0, 1], "init": 0}
    assert made["canaries"] == {"dictionary": [0.12346, -1234.6, 0.0]}
    assert (made["state"], made["vmap_width"], made["salt"]) == ("running", 6, "00ff")


def test_a_manifest_comes_back_as_written(tmp_path):
    made = manifest.finish(example(), "completed")
    manifest.write_manifest(tmp_path, made)
    back = manifest.read_manifest(tmp_path)
    assert back == made
    assert back["finished_at"] >= back["created_at"]
    with pytest.raises(ConfigError, match="Unknown state 'done'"):
        manifest.finish(made, "done")


def test_compare_lists_what_differs_and_nothing_else():
    a, b = example(), manifest.finish(example(), "interrupted")
    assert provenance.compare(a, b) == []
    b = json.loads(json.dumps(b))
    b["versions"]["jax"] = "9.9"
    b["canaries"]["dictionary"][0] = 0.12348
    del b["vmap_width"]
    found = provenance.compare(a, b)
    assert [d.field for d in found] == ["canaries.dictionary", "versions.jax", "vmap_width"]
    assert str(found[1]) == f"versions.jax: {jax.__version__} / 9.9"
    assert found[2] == ("vmap_width", 6, None)
    assert "state" in [d.field for d in provenance.compare(a, b, ignore=())]


@pytest.mark.parametrize(
    ("x", "y", "same"),
    [
        (1.23455, 1.234550001, True),  # rounds to either side
        (1.2345e-9, 1.2346e-9, True),
        (1.2345, 1.2347, False),
        (9.9999, 10.0, True),
        (1.0, -1.0, False),
        (0.0, 1e-9, False),
        (float("nan"), float("nan"), True),
        (float("nan"), 1.0, False),
    ],
)
def test_canaries_agree_within_one_unit_of_the_fifth_digit(x, y, same):
    a, b = example(), example()
    a["canaries"] = {"c": provenance.fingerprint([x])}
    b["canaries"] = {"c": provenance.fingerprint([y])}
    assert (provenance.compare(a, b) == []) == same
    # a canary of another length is another computation
    b["canaries"]["c"].append(0.0)
    assert len(provenance.compare(a, b)) == 1


def test_commit_is_that_of_this_project_or_none(tmp_path, monkeypatch):
    state = provenance.git_state()
    assert set(state) == {"commit", "dirty"}
    # installed below somebody else's repository: not our commit
    package = tmp_path / "env" / "synthsae_jax"
    package.mkdir(parents=True)
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    monkeypatch.setattr(synthsae_jax, "__file__", str(package / "__init__.py"))
    assert provenance.git_state() == {"commit": None, "dirty": None}


def folder_of_results(path):
    row = rows.make_row(benchmark="recovery@1", run_id="r", step=1, metric="mcc", value=0.5)
    results.write_rows(path / results.RESULTS, [row])
    manifest.write_manifest(path, example())
    return row


def test_a_result_folder_is_read_whole(tmp_path):
    row = folder_of_results(tmp_path)
    folder = manifest.read_folder(tmp_path)
    assert folder.rows == [row]
    assert folder.manifest["benchmark"] == "recovery@1"


CELL = {"id": "a-01", "rows": 3, "sha256": "ab" * 32, "seconds": 1.5}


def edit(folder, **changes):
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_the_seconds_of_cells_are_read_from_either_layout():
    assert manifest.cell_seconds({"cells": {"a": CELL}}) == {"a": 1.5}
    assert manifest.cell_seconds({"cell_seconds": {"a": 2.5}, "cells_done": ["a"]}) == {"a": 2.5}
    assert manifest.cell_seconds({}) == {}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p: (p / "manifest.json").unlink(), "has no manifest.json"),
        (lambda p: (p / "results.jsonl").unlink(), "has no results.jsonl"),
        (lambda p: (p / "manifest.json").write_text('{"benchmark": '), "cannot be read as JSON"),
        (lambda p: (p / "manifest.json").write_text("[]"), "expected a JSON object"),
        (lambda p: (p / "manifest.json").write_text('{"scale": 3}'), "no text in benchmark"),
        (lambda p: (p / "results.jsonl").write_text("hello\n"), "line 1: cannot be read as JSON"),
        (lambda p: edit(p, cells=3), "'cells' must map names to finished cells"),
        (lambda p: edit(p, cells={"a": {}}), "cell 'a': not a finished cell"),
        (lambda p: edit(p, cells={"a": CELL | {"rows": -1}}), "cell 'a': not a finished cell"),
        (lambda p: edit(p, cells={"a": CELL | {"id": "../../a"}}), "cell 'a': not a finished cell"),
        (lambda p: edit(p, cells={"a": CELL}), "1 of 3 rows.*cell 'a' is missing"),
        (lambda p: edit(p, cells_done={"a": 1}), "'cells_done' must be a list of names"),
        (lambda p: edit(p, cells_done=[["a"]]), "'cells_done' must be a list of names"),
    ],
)
def test_a_broken_folder_is_one_line_and_stays_as_it_is(tmp_path, damage, message):
    folder_of_results(tmp_path)
    damage(tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(ConfigError, match=message) as caught:
        manifest.read_folder(tmp_path)
    assert "\n" not in str(caught.value)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_no_folder_is_no_result_folder(tmp_path):
    with pytest.raises(ConfigError, match="no such folder"):
        manifest.read_folder(tmp_path / "nowhere")
