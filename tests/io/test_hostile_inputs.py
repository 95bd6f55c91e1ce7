"""Every loader with every kind of spoilt input, a few of each: read, or refused in one line.

`scripts/fuzz_inputs` does the same with very many.
"""

from __future__ import annotations

import json
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hostile.judge import GOOD, judge
from hostile.loaders import LOADERS
from hostile.mutations import declared_bytes, fresh, mutations_of

from synthsae_jax import inputs

# a model that is read is compiled for, which takes seconds each time: the script has those
FAST = [name for name in LOADERS if name != "synthetic model"]


@pytest.mark.parametrize("name", FAST)
def test_spoilt_inputs_are_read_or_refused_in_one_line(name, tmp_path, monkeypatch):
    monkeypatch.setattr(inputs, "memory", lambda: 512 << 20)
    loader = LOADERS[name]
    valid, path = tmp_path / "valid" / loader.file, tmp_path / "input" / loader.file
    valid.parent.mkdir()
    loader.make(valid)
    assert judge(lambda: loader.load(valid), declared_bytes(valid)).kind == "read"
    files = sorted(p for p in valid.rglob("*") if p.is_file()) if valid.is_dir() else [valid]
    refused = 0
    for source in files:
        for kind, mutate in mutations_of(source).items():
            rng = np.random.default_rng([7, zlib.crc32(f"{name} {source.name} {kind}".encode())])
            fresh(valid, path)
            mutate(rng, path / source.relative_to(valid) if valid.is_dir() else path)
            verdict = judge(lambda: loader.load(path), declared_bytes(path), [tmp_path])
            assert verdict.kind in GOOD, (source.name, kind, verdict)
            if verdict.kind == "refused":
                refused += 1
                assert str(path) in verdict.text or str(path.parent) in verdict.text
    assert refused > 5


def test_what_must_not_happen_is_seen(tmp_path, monkeypatch):
    def elsewhere():
        (tmp_path.parent / "elsewhere").write_text("x")

    assert judge(lambda: {}["k"], 0).kind == "raw"
    assert judge(elsewhere, 0, [tmp_path]).kind == "wrote"
    assert not (tmp_path.parent / "elsewhere").exists()
    assert judge(lambda: np.ones(60_000_000).sum(), 0).kind == "memory"
    monkeypatch.setattr("hostile.judge.SECONDS", 0.01)
    assert judge(lambda: sum(range(1_000_000)), 0).kind == "slow"
    monkeypatch.setattr("hostile.judge.HANG_SECONDS", 0.1)
    monkeypatch.setattr("hostile.judge.SECONDS", 100)
    import time

    assert judge(lambda: time.sleep(5), 0).kind == "slow"


@pytest.mark.slow
def test_the_script_counts_every_input_and_goes_on_where_it_was_stopped(tmp_path):
    script = Path(__file__).parents[2] / "scripts" / "fuzz_inputs"
    out = tmp_path / "fuzz.json"
    words = ["--only", "rows", "--only", "codes .npy", "--home", str(tmp_path), "--out", str(out)]
    for number in (30, 120):
        command = [sys.executable, str(script), *words, "--per-loader", str(number)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        result = json.loads(out.read_text())
        assert result["inputs"] == 2 * number
        assert result["whole"]
        assert set(result["came_to"]) == {"read", "refused"}
