"""How the program ends: interrupts, full disks, and where compiled programs are kept."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from synthsae_jax import cli
from synthsae_jax.experiments import quick


def ends_with(monkeypatch, error):
    def stops(**options):
        raise error

    monkeypatch.setattr(quick, "run", stops)
    return cli.main(["quick"])


def test_interrupt_is_130_and_one_line(bench, monkeypatch, only_line):
    assert ends_with(monkeypatch, KeyboardInterrupt()) == 130
    assert only_line() == "synthsae: interrupted.\n"


def test_a_full_disk_is_1_and_one_line(bench, monkeypatch, only_line):
    assert ends_with(monkeypatch, OSError(28, "No space left on device", "rows.jsonl")) == 1
    assert "No space left on device: 'rows.jsonl'" in only_line()


def test_a_mistake_of_ours_keeps_its_traceback(bench, monkeypatch):
    # Python ends such a program with status 1 and shows where it happened
    with pytest.raises(ZeroDivisionError):
        ends_with(monkeypatch, ZeroDivisionError("ours"))


def synthsae(*words, **options):
    command = [sys.executable, "-m", "synthsae_jax", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def test_the_module_is_the_command():
    done = synthsae("rnu")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "synthsae: Unknown command 'rnu'. Did you mean 'run'? "
        "Known: explain, list, match, quick, report, run, score.\n"
    )


def test_compiled_programs_are_kept_where_the_user_says(bench, tmp_path, monkeypatch):
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert cli.main(["run", "probe@1", "--dry-run"]) == 0
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == str(tmp_path / "cache/synthsae_jax/xla")
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "mine")
    assert cli.main(["run", "probe@1", "--dry-run"]) == 0
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == "mine"


def test_a_home_that_cannot_be_written_to_is_no_reason_to_stop(bench, tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("a file, where a folder would have to be made")
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert cli.main(["run", "probe@1", "--dry-run"]) == 0
    assert "JAX_COMPILATION_CACHE_DIR" not in os.environ
