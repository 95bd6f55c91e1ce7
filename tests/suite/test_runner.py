"""Running a benchmark: resumed, refused, never damaging what is there."""

import dataclasses
import json

import pytest

from synthsae_jax import suite
from synthsae_jax.errors import ConfigError
from synthsae_jax.io.rows import make_row
from synthsae_jax.suite import runner
from synthsae_jax.suite.base import Benchmark, Cell

CANARIES = {"codes": [1.0, 2.0]}


@pytest.fixture(autouse=True)
def cheap_canaries(monkeypatch):
    monkeypatch.setattr(runner, "canaries", lambda: CANARIES)


class Interrupt(KeyboardInterrupt):
    pass


def toy(calls, stop_at=None, value=1.0):
    """Three cells of one row; raises in cell `stop_at` as Ctrl-C would."""

    def compute(i, tick):
        tick(0.5, "half")
        if i == stop_at:
            raise Interrupt
        calls.append(i)
        return [
            make_row(
                benchmark="toy@1", run_id=f"r{i}", step=1, metric="f1", value=value, instance=i
            )
        ]

    def cells(scale, salt):
        return [
            Cell(
                name=f"cell{i}",
                spec={"i": i, "value": value, "scale": scale, "salt": salt},
                compute=lambda tick, i=i: compute(i, tick),
                runs=1,
                samples=10,
                flops=1e6,
                memory=1e6,
                programs=("toy",),
            )
            for i in range(3)
        ]

    return Benchmark("toy@1", "toy", "?", "f1", "", {"smoke": {}}, cells, ("sae",), ("f1",))


def test_a_run_leaves_rows_manifest_and_config(tmp_path):
    result = runner.execute(toy([]), "smoke", tmp_path / "out", quiet=True)
    assert [row["run_id"] for row in result.rows()] == ["r0", "r1", "r2"]
    manifest = result.manifest
    assert manifest["state"] == "completed"
    assert manifest["canaries"] == CANARIES
    assert manifest["pilot"] is True
    assert (result.folder / "configs" / f"{manifest['spec']}.json").is_file()


def test_interrupted_and_run_again_gives_the_same_table(tmp_path):
    whole = runner.execute(toy([]), "smoke", tmp_path / "whole", quiet=True)
    first, second = [], []
    with pytest.raises(Interrupt):
        runner.execute(toy(first, stop_at=1), "smoke", tmp_path / "out", quiet=True)
    state = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert state["state"] == "interrupted"
    assert state["cells_done"] == ["cell0"]
    resumed = runner.execute(toy(second), "smoke", tmp_path / "out", quiet=True)
    assert (first, second) == ([0], [1, 2])
    assert resumed.rows() == whole.rows()
    assert resumed.manifest["state"] == "completed"


def test_a_finished_folder_is_only_read(tmp_path):
    calls = []
    runner.execute(toy(calls), "smoke", tmp_path / "out", quiet=True)
    before = (tmp_path / "out" / "manifest.json").read_bytes()
    runner.execute(toy(calls), "smoke", tmp_path / "out", quiet=True)
    assert calls == [0, 1, 2]
    assert (tmp_path / "out" / "manifest.json").read_bytes() == before


@pytest.mark.parametrize(
    "other",
    [
        lambda out: runner.execute(toy([], value=2.0), "smoke", out, quiet=True),
        lambda out: runner.execute(toy([]), "small", out, quiet=True),
        lambda out: runner.execute(toy([]), "smoke", out, salt="ab", quiet=True),
    ],
    ids=["settings", "scale", "salt"],
)
def test_a_folder_with_other_results_is_refused_and_unharmed(tmp_path, other):
    runner.execute(toy([]), "smoke", tmp_path, quiet=True)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()}
    with pytest.raises(ConfigError, match="other settings") as error:
        other(tmp_path)
    assert "\n" not in str(error.value)
    assert before == {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()}


def test_a_folder_with_anything_else_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ConfigError, match="not empty"):
        runner.execute(toy([]), "smoke", tmp_path, quiet=True)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_broken_table_stops_the_run_and_stays_as_it_is(tmp_path):
    with pytest.raises(Interrupt):
        runner.execute(toy([], stop_at=2), "smoke", tmp_path, quiet=True)
    table = tmp_path / "results.jsonl"
    table.write_text("not a row\n" + table.read_text())
    broken = table.read_bytes()
    calls = []
    with pytest.raises(ConfigError, match="line 1"):
        runner.execute(toy(calls), "smoke", tmp_path, quiet=True)
    assert calls == []
    assert table.read_bytes() == broken


def test_half_a_row_left_by_an_interrupt_is_dropped(tmp_path):
    with pytest.raises(Interrupt):
        runner.execute(toy([], stop_at=1), "smoke", tmp_path, quiet=True)
    with open(tmp_path / "results.jsonl", "a") as file:
        file.write('{"benchmark": "toy@1", "run')
    with pytest.warns(UserWarning, match="cut off"):
        result = runner.execute(toy([]), "smoke", tmp_path, quiet=True)
    assert [row["run_id"] for row in result.rows()] == ["r0", "r1", "r2"]


def test_plain_progress_lines_name_the_cell(tmp_path, capsys):
    runner.execute(toy([]), "smoke", tmp_path)
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("toy@1: 100 %")
    assert any("cell0" in line for line in lines)


@pytest.mark.parametrize("name", suite.names())
class TestEveryBenchmark:
    def test_every_scale_can_be_planned_and_described(self, name):
        for scale in suite.SCALES:
            text = suite.plan(name, scale)
            assert "compiles" in text
            assert "memory" in text
            assert ("pilot" in text) == (scale in ("smoke", "small"))
        assert "primary number" in suite.describe(name)

    def test_cells_are_distinct_and_change_with_the_salt(self, name):
        benchmark = suite.benchmarks[name]
        cells = benchmark.cells("small", "")
        assert len({cell.name for cell in cells}) == len(cells)
        fresh = benchmark.cells("small", "c0ffee")
        assert [c.name for c in fresh] == [c.name for c in cells]
        assert all(a.spec["world_seed"] != b.spec["world_seed"] for a, b in zip(cells, fresh))

    def test_the_id_carries_a_version(self, name):
        assert name.rpartition("@")[2].isdigit()


def test_unknown_benchmark_and_scale_name_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean 'recovery@1'"):
        suite.run("recovry@1")
    with pytest.raises(ConfigError, match="Did you mean 'small'"):
        suite.plan("recovery@1", "smal")


def test_a_benchmark_is_a_frozen_record():
    with pytest.raises(dataclasses.FrozenInstanceError):
        toy([]).id = "other@1"
