"""Whatever stops a run, and however often: the table in the end is whole, and the state is true."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

DRIVER = Path(__file__).parents[1] / "crash_driver.py"
KINDS = ("kill", "full", "ctrl_c", "signals", "writers", "stuck", "library")


def drive(folder: Path, step: int, *kinds: str) -> dict:
    """What the driver says; it forks, which the process of the tests with its threads cannot."""
    command = [sys.executable, str(DRIVER), str(folder), str(step), *kinds]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def driven(tmp_path_factory):
    return drive(tmp_path_factory.mktemp("crashes"), 2, *KINDS)


@pytest.mark.parametrize("kind", ["kill", "full", "ctrl_c"])
def test_a_run_that_fails_at_any_file_operation_is_finished_by_the_next(kind, driven):
    assert driven[kind]["operations"] > 100
    assert driven[kind]["problems"] == {}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["kill", "full", "ctrl_c"])
def test_every_single_file_operation_may_fail(kind, tmp_path):
    assert drive(tmp_path, 1, kind)[kind]["problems"] == {}


def test_signals_at_random_moments_end_with_their_status_and_nothing_is_lost(driven):
    assert driven["signals"]["signals"] >= 30
    assert driven["signals"]["problems"] == {}


def test_several_writers_share_the_cells_and_survive_a_killed_one(driven):
    assert driven["writers"] == {"trials": 8, "problems": {}}


def test_a_program_that_swallows_the_signal_ends_all_the_same(driven):
    assert driven["stuck"] == {
        "SIGINT": [130, "toy: interrupted.\n", "interrupted", True],
        "SIGTERM": [143, "toy: ended by SIGTERM.\n", "interrupted", True],
    }


def test_a_script_that_runs_a_benchmark_dies_of_sigterm_and_says_so(driven):
    assert driven["library"] == {"status": -15, "state": "interrupted", "problems": []}


@pytest.mark.parametrize("moment", [0.3, 1.2])
def test_ctrl_c_while_modules_are_imported_is_heard(moment, tmp_path):
    command = [sys.executable, "-m", "synthsae_jax", "quick", "--out", str(tmp_path / "out")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=dict(os.environ))
    time.sleep(moment)
    process.send_signal(2)
    start = time.monotonic()
    _, errors = process.communicate(timeout=60)
    assert process.returncode in (130, -2)  # -2: Python itself, before the program had begun
    if process.returncode == 130:
        assert errors.splitlines()[-1] == "synthsae: interrupted."
        assert "Traceback" not in errors
    assert time.monotonic() - start < 30


START = f"""
import sys; sys.path.insert(0, {str(DRIVER.parent)!r})
import light
import os, signal, threading, time
from synthsae_jax import interrupts
"""
# moments at which a signal used to be lost, or its line: found by interrupting at random
MOMENTS = {
    "while the program sets itself up": """
start = threading.Thread.start
def start_and_signal(thread):
    start(thread)
    os.kill(os.getpid(), signal.SIGNAL)
threading.Thread.start = start_and_signal
with interrupts.program("toy"):
    time.sleep(20)
""",
    "in a destructor, which drops what is raised": """
class Last:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGNAL)
        time.sleep(0.01)
with interrupts.program("toy"):
    Last()
    time.sleep(20)
""",
    "while the words are parsed": """
from synthsae_jax import cli
import tyro
def parsing(*words, **options):
    os.kill(os.getpid(), signal.SIGNAL)
    time.sleep(20)
tyro.cli = parsing
sys.exit(cli.main(["run", "recovery@1"]))
""",
}


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize(
    ("kind", "line"), [("SIGINT", "interrupted."), ("SIGTERM", "ended by SIGTERM.")]
)
def test_a_signal_is_heard_at_every_moment(moment, kind, line):
    code = START + MOMENTS[moment].replace("SIGNAL", kind)
    begin = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    name = "synthsae" if "parsed" in moment else "toy"
    assert (done.returncode, done.stderr) == (
        {"SIGINT": 130, "SIGTERM": 143}[kind],
        f"{name}: {line}\n",
    )
    assert time.monotonic() - begin < 15


@pytest.mark.slow
def test_the_script_of_many_interruptions_goes_on_where_it_was_stopped(tmp_path):
    script = Path(__file__).parents[2] / "scripts" / "try_interruptions"
    command = [
        sys.executable,
        str(script),
        "--commands",
        "run toy",
        "--home",
        str(tmp_path / "home"),
    ]
    for signals, faults in ((2, 1), (4, 3)):
        out = tmp_path / f"{signals}.json"
        more = ["--signals", str(signals), "--operations", str(faults), "--out", str(out)]
        done = subprocess.run([*command, *more], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        content = json.loads(out.read_text())
        assert (content["signals"], content["faults"]) == (signals, faults)
        assert content["finished"] >= faults
        assert content["problems"] == []
