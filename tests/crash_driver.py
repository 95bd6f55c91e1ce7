"""Kills runs of the toy benchmark in forked processes; a process of its own, without threads.

`python crash_driver.py FOLDER STEP KIND ...` prints one JSON object with a part for each kind; what
it must say is in the tests. Every STEP-th file operation fails.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "scripts"))

import toy_benchmark
from toy_benchmark import computed, toy

from faults import Faults, ctrl_c, die, full
from synthsae_jax import interrupts
from synthsae_jax.io import manifest, temporary
from synthsae_jax.suite import runner

NAMES = ("first", "a/b")
faults = Faults()


def forked(work: Callable[[], None]) -> int:
    """The number of a new process that does the work; its status is 0, or 3 with an error."""
    sys.stdout.flush()
    if pid := os.fork():
        return pid
    try:
        temporary._cleaned.clear()
        work()
        os._exit(0)
    except SystemExit as end:
        os._exit(end.code)
    except BaseException as error:
        os._exit(4 if isinstance(error, (OSError, ValueError, KeyboardInterrupt)) else 3)


def status(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def run(out: Path, log: Path, seconds: float = 0.0) -> None:
    runner.execute(toy(log, seconds, names=NAMES), "smoke", out, quiet=True)


def finish(out: Path, log: Path) -> list[str]:
    """Run again what was interrupted; what is wrong with the end."""
    problems = []
    cells = out / "cells"
    stored = {p.name for p in cells.glob("*.jsonl")} if cells.exists() else set()
    folder = manifest.read_folder(out) if (out / "manifest.json").exists() else None
    if folder is not None and folder.manifest["state"] == "running":
        problems.append("says that it runs")
    before = len(computed(log))
    temporary._cleaned.clear()
    run(out, log)
    if len(computed(log)) - before != len(NAMES) - len(stored):
        problems.append("computed a finished cell again, or left one out")
    return problems + wrong(out)


def wrong(out: Path) -> list[str]:
    """What is wrong with a folder that must be finished."""
    problems = []
    folder = manifest.read_folder(out)
    rows = [row for i in range(len(NAMES)) for row in toy_benchmark.rows_of(i, 1.0)]
    if folder.rows != rows or folder.manifest["state"] != "completed":
        problems.append(f"{folder.manifest['state']} with {len(folder.rows)} rows")
    if not (out / "verdicts.json").exists():
        problems.append("no verdicts")
    files = sorted(p.name for p in out.iterdir())
    if files != ["cells", "configs", "manifest.json", "results.jsonl", "verdicts.json"]:
        problems.append(f"left: {files}")
    if any(p.suffix != ".jsonl" for p in (out / "cells").iterdir()):
        problems.append("left in cells")
    return problems


def operations(folder: Path, act: Callable[[], None], statuses: set[int], step: int) -> dict:
    """Let file operations of a run fail, each in a run of its own: every `step`-th."""
    faults.arm(folder / "whole")
    run(folder / "whole", folder / "whole.log")
    total = faults.count
    faults.disarm()
    problems = {}
    for at in range(1, total + 1, step):
        out, log = folder / str(at), folder / f"{at}.log"

        def work(out=out, log=log, at=at) -> None:
            faults.arm(out, at, act)
            run(out, log)

        ended = status(forked(work))
        now = [] if ended in statuses else [f"status {ended}"]
        if now := now + finish(out, log):
            problems[at] = now
    return {"operations": total, "problems": problems}


def signals(folder: Path, count: int = 30) -> dict:
    """Send signals at random moments to one run after the other, and let some of them end."""
    draw, problems, sent, number = random.Random(0), {}, 0, 0
    interrupts._PATIENCE = 1.0
    while sent < count:
        number += 1
        out, log = folder / f"run{number}", folder / f"run{number}.log"
        while True:
            kind = draw.choice([signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])

            def work(out=out, log=log) -> None:
                os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
                with interrupts.program("toy"):
                    run(out, log, seconds=0.02)

            pid = forked(work)
            time.sleep(draw.uniform(0, 0.12))
            os.kill(pid, kind)
            ended = status(pid)
            sent += 1
            # before the program has its handlers Python and the kernel act as they do
            early = {signal.SIGINT: 4, signal.SIGTERM: -15, signal.SIGHUP: -1}
            allowed = {0, -9} if kind == signal.SIGKILL else {0, 128 + kind, early[kind]}
            if ended not in allowed:
                problems[sent] = f"{kind.name}: status {ended}"
            if ended == 128 + kind and (out / "manifest.json").exists():
                state = manifest.read_folder(out).manifest["state"]
                if state not in ("interrupted", "completed"):
                    problems[sent] = f"{kind.name}: {state}"
            if ended == 0:
                break
        run(out, log)
        if now := wrong(out):
            problems[f"run{number}"] = now
    return {"signals": sent, "runs": number, "problems": problems}


def writers(folder: Path, many: int = 3, trials: int = 8) -> dict:
    """Several processes on one folder, one of which is killed in every other trial."""
    draw, problems = random.Random(1), {}
    for trial in range(trials):
        out, log = folder / f"run{trial}", folder / f"run{trial}.log"
        pids = [forked(lambda out=out, log=log: run(out, log, 0.02)) for _ in range(many)]
        killed = trial % 2
        if killed:
            time.sleep(draw.uniform(0, 0.08))
            os.kill(pids[0], signal.SIGKILL)
        ended = [status(pid) for pid in pids]
        now = [f"status {ended}"] if any(ended[killed:]) else []
        if len(computed(log)) > len(NAMES) + killed:
            now.append(f"computed {computed(log)}")
        run(out, log)  # computes nothing; removes what the killed one had if it was the last
        if now := now + wrong(out):
            problems[trial] = now
    return {"trials": trials, "problems": problems}


def stuck(folder: Path) -> dict:
    """A program that swallows the exception of a signal ends all the same, and says so."""
    interrupts._PATIENCE = 0.3
    ends = {}
    for kind in (signal.SIGINT, signal.SIGTERM):
        out, err = folder / kind.name, folder / f"{kind.name}.err"

        def swallow(number: int) -> None:
            end = time.monotonic() + 20
            while number == 1 and time.monotonic() < end:
                with contextlib.suppress(BaseException):
                    time.sleep(20)

        def work(out=out, err=err) -> None:
            os.dup2(os.open(err, os.O_WRONLY | os.O_CREAT), 2)
            with interrupts.program("toy"):
                runner.execute(toy(during=swallow, names=NAMES), "smoke", out, quiet=True)

        pid = forked(work)
        while len(list((out / "cells").glob("*.jsonl"))) < 1:
            time.sleep(0.01)
        time.sleep(0.1)
        start = time.monotonic()
        os.kill(pid, kind)
        ended = status(pid)
        state = json.loads((out / "manifest.json").read_text())["state"]
        ends[kind.name] = [ended, err.read_text(), state, time.monotonic() - start < 3]
    return ends


def library(folder: Path) -> dict:
    """A script that calls `execute` itself dies of SIGTERM, and the folder says interrupted."""
    out, log = folder / "out", folder / "log"
    pid = forked(lambda: run(out, log, 0.3))
    while not computed(log):
        time.sleep(0.01)
    os.kill(pid, signal.SIGTERM)
    ended = status(pid)
    state = json.loads((out / "manifest.json").read_text())["state"]
    return {"status": ended, "state": state, "problems": finish(out, log)}


KINDS = {
    "kill": lambda folder, step: operations(folder, die, {-9}, step),
    "full": lambda folder, step: operations(folder, full, {0, 4}, 2 * step + 1),
    "ctrl_c": lambda folder, step: operations(folder, ctrl_c, {0, 4}, 2 * step + 1),
    "signals": lambda folder, step: signals(folder),
    "writers": lambda folder, step: writers(folder),
    "stuck": lambda folder, step: stuck(folder),
    "library": lambda folder, step: library(folder),
}


def main() -> None:
    toy_benchmark.without_jax(setattr)
    root, step, kinds = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    for kind in kinds:
        (root / kind).mkdir()
    print(json.dumps({kind: KINDS[kind](root / kind, step) for kind in kinds}))


if __name__ == "__main__":
    main()
