"""The set-up scripts: what they refuse and what counts as a change. No environment is made here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]
SCRIPTS = ("scripts/setup", "scripts/test", "scripts/quickstart", ".ci/run")


def run(script, *words, **variables):
    environment = {**os.environ, **{name: str(value) for name, value in variables.items()}}
    return subprocess.run(
        ["bash", str(CHECKOUT / script), *words],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd="/",
    )


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_parse_and_can_be_run(script):
    assert os.access(CHECKOUT / script, os.X_OK)
    subprocess.run(["bash", "-n", str(CHECKOUT / script)], check=True)


@pytest.mark.parametrize("script", SCRIPTS[:3])
def test_help_is_the_opening_comment(script):
    done = run(script, "--help")
    assert done.returncode == 0
    assert done.stderr == ""
    first = (CHECKOUT / script).read_text().splitlines()[1]
    assert done.stdout.splitlines()[0] == first.removeprefix("# ")


def fake_python(path: Path, status: int) -> Path:
    """An interpreter that only says how it is unsuitable, as the probe's exit status."""
    path.write_text(f"#!/bin/sh\nexit {status}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("status", "said"), [(1, "not a CPython 3.11 to 3.13"), (2, "apt-get install python3-venv")]
)
def test_an_unsuitable_python_is_one_line(status, said, tmp_path):
    place = tmp_path / "a place" / "venv"
    python = fake_python(tmp_path / "python", status)
    done = run("scripts/setup", PYTHON=python, SYNTHSAE_VENV=place)
    assert done.returncode == 1
    assert done.stdout == ""
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert not place.exists()


def test_a_folder_with_other_things_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    done = run("scripts/setup", PYTHON=sys.executable, SYNTHSAE_VENV=tmp_path)
    assert done.returncode == 1
    assert "holds other things than a virtual environment" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_quickstart_takes_no_other_words():
    done = run("scripts/quickstart", "--scale")
    assert done.returncode == 1
    assert "'--scale'" in done.stderr


def test_any_change_of_name_or_content_changes_the_hash(tmp_path):
    def tree_hash():
        script = CHECKOUT / "scripts" / "tree_hash.py"
        command = [sys.executable, str(script), "tree", "absent"]
        return subprocess.run(
            command, capture_output=True, text=True, check=True, cwd=tmp_path
        ).stdout

    folder = tmp_path / "tree" / "below"
    (folder / "__pycache__").mkdir(parents=True)
    file = folder / "a.py"
    file.write_text("x = 1\n")
    seen = [tree_hash()]
    (folder / "__pycache__" / "a.pyc").write_text("compiled")
    assert tree_hash() == seen[0]
    file.write_text("x = 2\n")
    seen.append(tree_hash())
    file.rename(folder / "b.py")
    seen.append(tree_hash())
    (folder / "c.py").write_text("")
    seen.append(tree_hash())
    assert len(set(seen)) == len(seen)
