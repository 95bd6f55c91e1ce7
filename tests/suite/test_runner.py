"""Running a benchmark: resumed, refused, never damaging what is there, never short of rows."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import stat

import pytest
import toy_benchmark
from toy_benchmark import NAMES, computed, toy

from synthsae_jax import suite
from synthsae_jax.errors import ConfigError
from synthsae_jax.io import manifest, provenance, results
from synthsae_jax.suite import run_folder, runner

ROWS = [row for number in range(len(NAMES)) for row in toy_benchmark.rows_of(number, 1.0)]


@pytest.fixture(autouse=True)
def cheap_manifests(monkeypatch):
    toy_benchmark.without_jax(monkeypatch.setattr)


class Interrupt(KeyboardInterrupt):
    pass


def stop_at(cell):
    def during(number):
        if number == cell:
            raise Interrupt

    return during


def execute(out, **more):
    return runner.execute(toy(**more), "smoke", out, quiet=True)


def interrupted(out, cell=2, **more):
    with pytest.raises(Interrupt):
        execute(out, during=stop_at(cell), **more)
    return out


def contents(folder):
    """Every file with its bytes and the time of its last change."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def test_a_run_leaves_rows_manifest_config_and_a_file_per_cell(tmp_path):
    result = execute(tmp_path / "out")
    assert result.rows() == ROWS
    made = result.manifest
    assert made["state"] == "completed"
    assert made["canaries"] == toy_benchmark.CANARIES
    assert made["pilot"] is True
    assert "provenances" not in made
    assert list(made["cells"]) == list(NAMES)
    assert [cell["rows"] for cell in made["cells"].values()] == [2] * len(NAMES)
    assert (result.folder / "configs" / f"{made['spec']}.json").is_file()
    files = {path.stem for path in (result.folder / "cells").iterdir()}
    assert files == {cell["id"] for cell in made["cells"].values()}
    assert made["cells"]["a/b"]["id"].startswith("a-b-")
    verdicts = json.loads((result.folder / "verdicts.json").read_text())
    assert [verdict["hypothesis"] for verdict in verdicts] == ["T1"]


def test_a_cells_file_is_named_by_all_that_its_rows_depend_on(tmp_path):
    ids = set()
    for i, more in enumerate(({}, {"value": 2.0}, {"names": (*NAMES[:-1], "final")})):
        ids |= {
            cell["id"] for cell in execute(tmp_path / str(i), **more).manifest["cells"].values()
        }
    assert len(ids) == 2 * len(NAMES) + 1
    same = execute(tmp_path / "again").manifest["cells"].values()
    assert {cell["id"] for cell in same} <= ids


@pytest.mark.parametrize("cell", range(len(NAMES)))
def test_interrupted_and_run_again_gives_the_same_table(tmp_path, cell):
    log = tmp_path / "log"
    out = interrupted(tmp_path / "out", cell, log=log)
    state = json.loads((out / "manifest.json").read_text())
    assert state["state"] == "interrupted"
    assert list(state["cells"]) == list(NAMES[:cell])
    assert suite.Result(out).rows() == ROWS[: 2 * cell]
    resumed = execute(out, log=log)
    assert computed(log) == [*range(cell), cell, *range(cell, len(NAMES))]
    assert resumed.rows() == results.read_rows(out / "results.jsonl") == ROWS
    assert resumed.manifest["state"] == "completed"


def test_a_finished_folder_is_only_read(tmp_path):
    log = tmp_path / "log"
    out = execute(tmp_path / "out", log=log).folder
    before = contents(out)
    execute(out, log=log)
    assert computed(log) == list(range(len(NAMES)))
    assert contents(out) == before


def test_a_folder_that_is_left_running_says_interrupted(tmp_path):
    out = interrupted(tmp_path / "out")
    path = out / "manifest.json"
    path.write_text(path.read_text().replace('"interrupted"', '"running"'))
    assert suite.Result(out).manifest["state"] == "interrupted"
    seen = []
    execute(out, during=lambda number: seen.append(suite.Result(out).manifest["state"]))
    assert seen == ["running"] * 2


# --- what is refused ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "other",
    [
        lambda out: execute(out, value=2.0),
        lambda out: runner.execute(toy(), "small", out, quiet=True),
        lambda out: runner.execute(toy(), "smoke", out, salt="ab", quiet=True),
    ],
    ids=["settings", "scale", "salt"],
)
@pytest.mark.parametrize("start", [execute, interrupted])
def test_a_folder_with_other_results_is_refused_and_unharmed(tmp_path, start, other):
    start(tmp_path)
    before = contents(tmp_path)
    with pytest.raises(ConfigError, match="other settings") as error:
        other(tmp_path)
    assert "\n" not in str(error.value)
    assert contents(tmp_path) == before


def test_a_folder_with_anything_else_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ConfigError, match="not empty"):
        execute(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(ConfigError, match="not a directory"):
        execute(tmp_path / "thesis.tex")
    with pytest.raises(ConfigError, match="Cannot write"):
        execute(tmp_path / "thesis.tex" / "out")


def test_what_a_start_leaves_is_no_reason_to_refuse(tmp_path):
    for name in ("configs", "cells"):
        (tmp_path / name).mkdir()
    for name in (".running", ".lock", "results.jsonl", ".manifest.json.0123abcd-1-0123abcd.tmp"):
        (tmp_path / name).touch()
    assert execute(tmp_path).rows() == ROWS


def test_cells_need_names_of_their_own(tmp_path):
    with pytest.raises(ConfigError, match="cells need names of their own"):
        execute(tmp_path / "out", names=("a", "a"))
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_refused_before_the_work_but_a_finished_one_is_read(tmp_path):
    log, out = tmp_path / "log", tmp_path / "out"
    out.mkdir(mode=0o555)
    with pytest.raises(ConfigError, match="Cannot write"):
        execute(out, log=log)
    assert computed(log) == []
    out.chmod(0o755)
    execute(out)
    out.chmod(0o555)
    assert execute(out, log=log).rows() == ROWS
    assert computed(log) == []


# --- rows that are lost ---------------------------------------------------------------------


def cut(path, share=0.5):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def without_a_line(path):
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:1] + lines[2:]))


def one_digit(path):
    data = path.read_bytes()
    path.write_bytes(data.replace(b'"r0"', b'"r9"', 1))


TABLE_DAMAGE = {
    "deleted": lambda out: (out / "results.jsonl").unlink(),
    "emptied": lambda out: (out / "results.jsonl").write_bytes(b""),
    "cut": lambda out: cut(out / "results.jsonl"),
    "cut by a byte": lambda out: cut(out / "results.jsonl", 1 - 1e-9),
    "a line less": lambda out: without_a_line(out / "results.jsonl"),
    "a line twice": lambda out: (out / "results.jsonl").write_bytes(
        2 * (out / "results.jsonl").read_bytes()
    ),
    "another digit": lambda out: one_digit(out / "results.jsonl"),
    "foreign": lambda out: (out / "results.jsonl").write_text("hello\n"),
    "verdicts": lambda out: (out / "verdicts.json").unlink(),
}


@pytest.mark.parametrize("damage", TABLE_DAMAGE)
@pytest.mark.parametrize("with_cells", [True, False])
def test_a_finished_folder_never_passes_with_rows_missing(tmp_path, damage, with_cells):
    log = tmp_path / "log"
    out = execute(tmp_path / "out").folder
    if not with_cells:
        shutil.rmtree(out / "cells")
    TABLE_DAMAGE[damage](out)
    is_lost = not with_cells and damage != "verdicts"
    if is_lost:
        with pytest.raises(ConfigError, match=r"results.jsonl is not as it was written \(\d+ of 8"):
            suite.Result(out)
    else:
        assert suite.Result(out).rows() == ROWS
    again = execute(out, log=log)
    if with_cells:
        assert computed(log) == []
    elif is_lost:
        assert computed(log) == list(range(len(NAMES)))
    assert again.rows() == results.read_rows(out / "results.jsonl") == ROWS
    assert again.manifest["state"] == "completed"
    assert (out / "verdicts.json").is_file()


def test_files_of_cells_may_go_when_the_table_is_whole(tmp_path):
    out = execute(tmp_path / "out").folder
    shutil.rmtree(out / "cells")
    before = contents(out)
    assert execute(out).rows() == ROWS
    assert contents(out) == before


CELL_DAMAGE = {
    "emptied": lambda path: path.write_bytes(b""),
    "cut": cut,
    "a line less": without_a_line,
    "another digit": one_digit,
    "foreign": lambda path: path.write_text("[[1]]\n"),
    "another header": lambda path: path.write_text('{"id": 3}\n'),
}


@pytest.mark.parametrize("damage", CELL_DAMAGE)
def test_a_damaged_cell_is_named_and_computed_again_once_it_is_removed(tmp_path, damage):
    log, out = tmp_path / "log", interrupted(tmp_path / "out")
    path = next((out / "cells").glob("first-*.jsonl"))
    CELL_DAMAGE[damage](path)
    before = contents(out)
    for action in (lambda: execute(out, log=log), lambda: suite.Result(out)):
        with pytest.raises(ConfigError, match=f"{path.name} is not as it was written") as error:
            action()
        assert "\n" not in str(error.value)
    assert computed(log) == []
    assert contents(out) == before
    path.unlink()
    assert execute(out, log=log).rows() == ROWS
    assert computed(log) == [0, 2, 3]


LOSSES = {
    "the folder": shutil.rmtree,
    "the manifest": lambda out: (out / "manifest.json").unlink(),
    "the files of cells": lambda out: shutil.rmtree(out / "cells"),
    "one file": lambda out: next((out / "cells").glob("a-b-*.jsonl")).unlink(),
    "one file, cut": lambda out: cut(next((out / "cells").glob("a-b-*.jsonl"))),
    "another manifest": lambda out: (out / "manifest.json").write_text(
        (out / "manifest.json").read_text().replace('"spec_hash": "', '"spec_hash": "00')
    ),
    "a broken manifest": lambda out: cut(out / "manifest.json"),
    "everything in it": lambda out: [shutil.rmtree(out), out.mkdir()],
    "its name": lambda out: out.rename(out.with_name("elsewhere")),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_what_is_lost_in_mid_run_is_computed_again_or_said(tmp_path, loss):
    out = tmp_path / "out"
    once = []

    def during(number):
        if number == 2 and not once:
            once.append(number)
            LOSSES[loss](out)

    if loss in ("one file", "the files of cells"):
        assert execute(out, during=during).rows() == ROWS
        return
    with pytest.raises((OSError, ConfigError)) as error:
        execute(out, during=during)
    assert str(out) in str(error.value)
    assert "\n" not in str(error.value)


# --- folders of earlier versions ------------------------------------------------------------


def old_folder(path, state="completed", done=NAMES):
    """As an earlier version left it: one table, and the names of the finished cells."""
    out = execute(path).folder
    shutil.rmtree(out / "cells")
    made = json.loads((out / "manifest.json").read_text())
    del made["cells"]
    made |= {"cells_done": list(done), "state": state}
    (out / "manifest.json").write_text(json.dumps(made))
    return out


def test_a_finished_folder_of_an_earlier_version_is_read(tmp_path):
    out = old_folder(tmp_path / "out")
    before = contents(out)
    assert suite.Result(out).rows() == execute(out).rows() == ROWS
    assert contents(out) == before


def test_an_earlier_versions_folder_without_rows_is_not_finished(tmp_path):
    out = old_folder(tmp_path / "out")
    (out / "results.jsonl").write_bytes(b"")
    for action in (execute, suite.Result):
        with pytest.raises(ConfigError, match="is empty, but"):
            action(out)


@pytest.mark.parametrize(("state", "done"), [("interrupted", NAMES[:2]), ("running", NAMES)])
def test_an_unfinished_folder_of_an_earlier_version_is_refused(tmp_path, state, done):
    out = old_folder(tmp_path / "out", state, done)
    assert suite.Result(out).manifest["state"] == "interrupted"
    with pytest.raises(ConfigError, match="left unfinished by an earlier version"):
        execute(out)


@pytest.mark.parametrize("layout", ["cells", "cells_done"])
def test_a_finished_cell_that_the_benchmark_has_not_is_one_line(tmp_path, layout):
    out = execute(tmp_path / "out").folder if layout == "cells" else old_folder(tmp_path / "out")
    path = out / "manifest.json"
    made = json.loads(path.read_text())
    made[layout] = made[layout] | {"more": made[layout]["first"]} if layout == "cells" else ["more"]
    path.write_text(json.dumps(made))
    with pytest.raises(ConfigError, match="toy@1 has no cell 'more' at scale smoke"):
        execute(out)


# --- what made the cells --------------------------------------------------------------------


def changed(monkeypatch, what):
    """A later process that differs from the first in one respect."""
    versions, state = provenance.versions(), provenance.git_state()
    if what == "canaries":
        monkeypatch.setattr(run_folder, "canaries", lambda: {"codes": [1.0, 2.1]})
    elif what in versions:
        monkeypatch.setattr(provenance, "versions", lambda: versions | {what: "2"})
    elif what == "commit":
        monkeypatch.setattr(provenance, "git_state", lambda: state | {"commit": "f00d"})
    else:
        monkeypatch.setattr(provenance, "machine", lambda: {"platform": "other", "threads": 1})


DECISIVE = ("canaries", "synthsae_jax", "jax", "jaxlib")


@pytest.mark.parametrize("what", DECISIVE)
def test_cells_of_two_versions_are_not_mixed_without_a_word(tmp_path, monkeypatch, what):
    log, out = tmp_path / "log", interrupted(tmp_path / "out")
    before = contents(out)
    changed(monkeypatch, what)
    with pytest.raises(ConfigError, match=f"begun with other numbers or versions.*{what}") as error:
        execute(out, log=log)
    assert "\n" not in str(error.value)
    assert "--accept-mixed" in str(error.value)
    assert computed(log) == []
    assert contents(out) == before


@pytest.mark.parametrize("what", [*DECISIVE, "commit", "machine"])
def test_both_makers_are_in_the_manifest(tmp_path, monkeypatch, what):
    out = interrupted(tmp_path / "out")
    first = provenance.of(manifest.read_manifest(out))
    changed(monkeypatch, what)
    is_decisive = what in DECISIVE
    mixed = runner.execute(toy(), "smoke", out, quiet=True, accept_mixed=is_decisive)
    assert mixed.rows() == ROWS
    one, other = mixed.manifest["provenances"]
    assert provenance.of(mixed.manifest) == provenance.of(one) == first
    assert (one["cells"], other["cells"]) == (list(NAMES[:2]), list(NAMES[2:]))
    difference = provenance.compare(provenance.of(one), provenance.of(other))
    assert [what in d.field for d in difference] == [True]


def test_a_mixed_folder_goes_on_with_either_maker_but_not_with_a_third(tmp_path, monkeypatch):
    out = interrupted(tmp_path / "out", 1)
    with monkeypatch.context() as patch:
        changed(patch, "jax")
        with pytest.raises(Interrupt):
            runner.execute(toy(during=stop_at(2)), "smoke", out, quiet=True, accept_mixed=True)
        interrupted(out, 3)
    with monkeypatch.context() as patch:
        changed(patch, "canaries")
        with pytest.raises(ConfigError, match="begun with other numbers"):
            execute(out)
    assert [m["cells"] for m in execute(out).manifest["provenances"]] == [
        ["first", "last"],
        ["a/b", "a b"],
    ]


def test_a_finished_folder_is_read_by_any_version(tmp_path, monkeypatch):
    out = execute(tmp_path / "out").folder
    (out / "results.jsonl").unlink()
    changed(monkeypatch, "synthsae_jax")
    assert execute(out).rows() == ROWS


# --- what is said ---------------------------------------------------------------------------


def test_plain_progress_lines_name_the_cell(tmp_path, capsys):
    runner.execute(toy(), "smoke", tmp_path)
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("toy@1: 100 %")
    assert any("first" in line for line in lines)


def test_files_have_the_usual_mode(tmp_path):
    out = execute(tmp_path / "out").folder
    (tmp_path / "usual").touch()
    usual = (tmp_path / "usual").stat().st_mode
    assert {stat.S_IMODE(p.stat().st_mode) for p in out.rglob("*") if p.is_file()} == {
        stat.S_IMODE(usual)
    }


# --- registered benchmarks ------------------------------------------------------------------


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
        toy().id = "other@1"
