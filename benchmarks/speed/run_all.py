"""Run every speed benchmark of this machine, one JSON each, into benchmarks/results.

    python benchmarks/speed/run_all.py            # those that are not there yet for this commit
    python benchmarks/speed/run_all.py --peer     # with SAELens beside (scripts/setup_peer first)
    python benchmarks/speed/run_all.py --seconds 540   # start nothing that may pass nine minutes

Files are named speed-PLATFORM-NAME.json. What stands there from this commit is not run again, so a
machine with a limit on each command's time takes as many calls as it needs. Ends with exit status
0 when all stand, 3 when time ran out, 1 when one failed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "results"


class Job(NamedTuple):
    """One call of a script: its options on each platform, and seconds it may take at most there."""

    name: str
    script: str
    cpu: tuple[str, ...]
    cpu_seconds: int
    accelerator: tuple[str, ...] | None = None  # None: not run there
    accelerator_seconds: int = 180
    peer: bool = True


BIG = ("--runs", "1", "8", "64")
JOBS = (
    Job("startup", "bench_startup.py", (), 90, (), 120, peer=False),
    Job("sampling", "bench_sampling.py", (), 120, ()),
    Job("training", "bench_training.py", ("--sae", "batchtopk"), 180, ("--sae", "batchtopk", *BIG)),
    Job(
        "training-bf16",
        "bench_training.py",
        (),
        0,
        ("--sae", "batchtopk", "--dtype", "bfloat16", *BIG),
        peer=False,
    ),
    Job(
        "training-pursuit",
        "bench_training.py",
        ("--sae", "matching_pursuit", "--runs", "1", "--repeats", "3"),
        180,
        ("--sae", "matching_pursuit", *BIG),
    ),
    Job(
        "training-dead",
        "bench_training.py",
        ("--sae", "batchtopk", "--runs", "1", "--dead-window", "1", "--repeats", "3"),
        120,
        ("--sae", "batchtopk", "--runs", "1", "8", "--dead-window", "1"),
        peer=False,
    ),
    Job(
        "parts",
        "bench_parts.py",
        ("--sae", "batchtopk", "--repeats", "3"),
        150,
        ("--sae", "batchtopk", *BIG),
        300,
        peer=False,
    ),
    Job(
        "parts-bf16",
        "bench_parts.py",
        (),
        0,
        ("--sae", "batchtopk", "--dtype", "bfloat16", *BIG),
        300,
        peer=False,
    ),
    Job(
        "parts-pursuit",
        "bench_parts.py",
        ("--sae", "matching_pursuit", "--runs", "1", "--repeats", "3"),
        150,
        # a step is long enough for ten to hide what a call costs
        ("--sae", "matching_pursuit", "--steps", "10", *BIG),
        300,
        peer=False,
    ),
    Job("evaluation", "bench_evaluation.py", ("--repeats", "3"), 900, ()),
    Job("matching", "bench_matching.py", ("--repeats", "3"), 150, ()),
    Job("scaling", "bench_scaling.py", ("--repeats", "3"), 400, ("--most-seconds", "150"), 420,
        peer=False),
)  # fmt: skip


def main(words: Sequence[str] | None = None) -> int:
    """Exit status, see above."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer", action="store_true", help="with SAELens beside, where it can be")
    parser.add_argument("--only", nargs="+", choices=[j.name for j in JOBS], metavar="NAME")
    parser.add_argument("--tiny", action="store_true", help="sizes of a test")
    parser.add_argument("--again", action="store_true", help="also what stands from this commit")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="for this call")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args(words)
    began, late, failed = time.perf_counter(), False, False
    platform, commit = here()
    for job in JOBS:
        on_cpu = platform == "cpu"
        options = (job.cpu if job.cpu_seconds else None) if on_cpu else job.accelerator
        if options is None or (given.only and job.name not in given.only):
            continue
        file = given.out / f"speed-{platform}-{job.name}.json"
        if not given.again and stands(file, commit, given.peer and job.peer):
            print(f"{job.name}: stands in {file}", flush=True)
            continue
        needs = job.cpu_seconds if on_cpu else job.accelerator_seconds
        if time.perf_counter() - began + needs > given.seconds:
            print(f"{job.name}: may take {needs} s, left for the next call", flush=True)
            late = True
            continue
        line = [sys.executable, str(HERE / job.script), *options, "--json", str(file)]
        line += ["--peer"] if given.peer and job.peer else []
        line += ["--tiny"] if given.tiny else []
        started = time.perf_counter()
        done = subprocess.run(line, check=False)
        failed |= done.returncode != 0
        seconds = time.perf_counter() - started
        print(f"{job.name}: exit status {done.returncode}, {seconds:.0f} s", flush=True)
    return 1 if failed else 3 if late else 0


def here() -> tuple[str, str | None]:
    """Platform and commit, asked of another process: a GPU serves one process at its best."""
    code = "import json; from synthsae_jax.io.provenance import git_state, machine; "
    code += "print(json.dumps([machine()['platform'], git_state()['commit']]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    platform, commit = json.loads(done.stdout.splitlines()[-1])
    return platform, commit


def stands(file: Path, commit: str | None, peer: bool) -> bool:
    """Whether the file holds this commit's numbers, with the peer's if they are asked for."""
    if not file.exists():
        return False
    found = json.loads(file.read_text(encoding="utf-8"))
    return found["commit"] == commit and (not peer or "peer_ratio" in found)


if __name__ == "__main__":
    sys.exit(main())
