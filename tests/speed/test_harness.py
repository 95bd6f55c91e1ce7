"""The pieces of the speed harness, held against what is known."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import ceilings
import command
import growing
import harness
import jax.numpy as jnp
import memory
import numpy as np
import pairs
import pytest
from side_by_side import Peer, alternate

from synthsae_jax import worlds
from synthsae_jax.errors import ConfigError

CHECKOUT = Path(__file__).resolve().parents[2]


def test_measure_tells_stages_apart_and_counts_a_product():
    a = jnp.ones((32, 64))
    found = harness.measure(jnp.matmul, a, a.T, repeats=3)
    record = found.record()
    assert record["program_flops"] == pytest.approx(2 * 32 * 64 * 32, rel=0.01)
    assert record["argument_bytes"] == 2 * a.nbytes
    assert record["output_bytes"] == 4 * 32 * 32
    assert record["repeats"] == 3
    for stage in ("lower_seconds", "compile_seconds", "first_seconds", "seconds"):
        assert record[stage] > 0
    np.testing.assert_array_equal(found.call(), np.full((32, 32), 64.0))


def test_times():
    record = harness.Times((2.0, 1.0, 4.0)).record()
    assert record == {"seconds": 2.0, "least_seconds": 1.0, "spread": 1.5, "repeats": 3}
    assert harness.differences((5.0, 6.0), (1.0, 3.0)).seconds == (4.0, 3.0)


def test_a_fraction_is_of_what_binds():
    roof = ceilings.Ceilings({"float32": 100.0, "bfloat16": 400.0}, bytes=10.0)
    assert roof.fraction(ceilings.Work(flops=50, bytes=1), 1.0) == 0.5
    assert roof.fraction(ceilings.Work(flops=50, bytes=8), 1.0) == 0.8
    assert roof.fraction(ceilings.Work(flops=50, bytes=0), 1.0, "bfloat16") == 0.125
    assert roof.fraction(ceilings.Work(50, 0) * 2, 2.0) == 0.5


def test_the_peak_is_that_of_the_block():
    with memory.Peak() as peak:
        np.ones(8 << 20).sum()  # 64 MiB
    with memory.Peak() as later:
        pass
    (name,) = peak.record()
    if name == "peak_bytes":  # elsewhere the mark cannot be set back
        assert peak.bytes - later.bytes > 32 << 20
    assert later.bytes > 0


@pytest.mark.parametrize("kind", growing.KINDS)
@pytest.mark.parametrize("size", [1024, 1500])
def test_growing_worlds_have_one_l0(kind, size):
    world = growing.world_of(kind, size)
    assert size - 85 < world.n_features <= size
    assert float(worlds.expected_l0(world)) == pytest.approx(growing.L0, rel=1e-3)


def test_a_pair_is_the_same_as_slots_and_as_matrices():
    pair = pairs.make_pair(width=40, k=6, tokens=500)
    a, b = pair.matrices(300)
    assert a.shape == b.shape == (300, 40)
    dense = np.zeros((500, 41), np.float32)
    np.add.at(dense, (np.arange(500)[:, None], pair.index_a), pair.value_a)
    np.testing.assert_array_equal(a.toarray(), dense[:300, :40])
    # at most once on a token: a value is one draw from [1, 2)
    assert a.data.min() >= 1
    assert a.data.max() < 2
    np.testing.assert_array_equal(np.concatenate([x for x, _ in pair.dense(300, 128)]), a.toarray())
    both = (a > 0).toarray() & (b > 0).toarray()[:, pair.partner]
    assert both.sum() / a.nnz > 0.75


def test_a_saved_pair_is_read_as_the_peer_reads_it(tmp_path):
    pair = pairs.make_pair(width=40, k=6, tokens=50)
    pair.save(tmp_path / "pair.npz", 20)
    stored = np.load(tmp_path / "pair.npz")
    np.testing.assert_array_equal(stored["b_indices"], pair.index_b[:20])
    assert int(stored["width"]) == 40


STUB = """
import json, sys
for line in sys.stdin:
    asked = json.loads(line)
    if asked["task"] == "break":
        sys.exit("it hurts")
    seconds = {1: 2.0, 2: 3.0}[asked["threads"]]
    print(json.dumps({"seconds": seconds, "asked": asked}), flush=True)
"""


@pytest.fixture
def stub(tmp_path):
    """A peer that answers at once, faster with one thread."""
    server = tmp_path / "serve.py"
    server.write_text(STUB)
    return lambda: Peer(Path(sys.executable), server)


def test_the_peers_faster_number_of_threads_is_kept(stub):
    with stub() as peer:
        answer = peer.best_threads("sample", batch=4)
        assert peer.threads == 1
        assert peer.tried == {"sample": {1: 2.0, 2: 3.0}}
        assert answer["asked"] == {"task": "sample", "threads": 1, "batch": 4}
    assert peer.process.returncode == 0


def test_a_peer_that_breaks_says_why(stub):
    with stub() as peer, pytest.raises(ConfigError, match=r"'break'.*it hurts"):
        peer.ask("break")


def test_sides_take_turns():
    order = []
    side = lambda name, seconds: lambda: order.append(name) or seconds
    ours, theirs = alternate(side("a", 1.0), side("b", 2.0), 3)
    assert "".join(order) == "ababab"
    assert (ours.median, theirs.median) == (1.0, 2.0)


def test_tables_show_numbers_as_they_are_read():
    assert command.shown(12345.678) == "12,346"
    assert command.shown(0.123456) == "0.1235"
    assert command.shown(1234) == "1,234"
    assert command.shown(None) == ""
    assert command.shown(3 << 30, "peak_bytes") == "3.00 GiB"
    assert command.rounded({"a": [0.123456789]}) == {"a": [0.123457]}
    assert command.present([{"a": None, "b": 1}], ("a", "b", "c")) == ["b"]


def test_the_peers_side_does_not_import_ours():
    for file in (CHECKOUT / "benchmarks/speed/peer").glob("*.py"):
        assert "import synthsae_jax" not in file.read_text()
        assert "from synthsae_jax" not in file.read_text()


def test_setup_of_the_peer_parses_and_leaves_other_things_alone(tmp_path):
    script = CHECKOUT / "scripts/setup_peer"
    assert os.access(script, os.X_OK)
    said = subprocess.run([script, "--help"], capture_output=True, text=True, check=True).stdout
    assert "SYNTHSAE_PEER_PYTHON" in said
    (tmp_path / "thesis.tex").write_text("mine")
    environment = {**os.environ, "SYNTHSAE_PEER_VENV": str(tmp_path)}
    done = subprocess.run([script], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 1
    assert "holds other things than a virtual environment" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_peer_that_is_set_up_is_found_at_once(tmp_path):
    place = tmp_path / "venv"
    (place / "bin").mkdir(parents=True)
    (place / "bin/python").symlink_to(sys.executable)
    (place / ".setup-done").write_text("6.54.12\n")
    environment = {**os.environ, "SYNTHSAE_PEER_VENV": str(place)}
    script = CHECKOUT / "scripts/setup_peer"
    done = subprocess.run([script], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == f"{place}/bin/python\n"


def test_json_has_no_nan(tmp_path, capsys):
    content = {"benchmark": "a", "device": "b", "rows": [{"x": float("nan")}]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        command.finish(content, ("x",), tmp_path / "a.json")
    content["rows"] = [{"x": 1.0}]
    command.finish(content, ("x",), tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text()) == content
