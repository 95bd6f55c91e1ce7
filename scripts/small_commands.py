"""Commands of the package at a size of seconds, in processes that may be interrupted.

A cold process is a new interpreter. A warm one is a fork of this process, which has imported what
the command imports, but has not started JAX: it does the same work without the seconds of imports.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from faults import ACTS, Faults

PACKAGE = "synthsae_jax.experiments"
STEPS, TOKENS, ARMS = 12, 2048, 2  # of what runs here
TOY_SECONDS = 0.3  # that each of four cells sleeps


def shrink(benchmark: str) -> None:
    """Let `run BENCHMARK` and `quick` take seconds, and `run toy@1` exist, once imported."""
    if PACKAGE in sys.modules:
        _shrink(benchmark)
    else:
        sys.meta_path.insert(0, _Shrinking(benchmark))


class _Shrinking:
    """Finds the package of experiments as ever, and changes it once it is imported."""

    def __init__(self, benchmark: str):
        self.benchmark = benchmark

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != PACKAGE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.loader is not None
        execute = spec.loader.exec_module

        def exec_module(module: Any) -> None:
            execute(module)
            _shrink(self.benchmark)

        spec.loader.exec_module = exec_module
        return spec


@functools.cache
def _shrink(benchmark: str) -> None:
    from synthsae_jax.experiments import quick
    from synthsae_jax.suite.base import benchmarks

    small = _small(benchmarks[benchmark].design, worlds=2)
    benchmarks.unregister(benchmark)
    benchmarks.register(benchmark, small.explanation)(small.benchmark())
    quick.DESIGN = _small(quick.DESIGN, worlds=1)
    sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
    toys = importlib.import_module("toy_benchmark")
    benchmarks.register("toy@1")(toys.toy(seconds=TOY_SECONDS))


def _small(design: Any, worlds: int) -> Any:
    """The design with few worlds, arms and steps at its smallest scale."""
    scale = design.scales["smoke"]
    sizes = {"n_train": STEPS * scale.batch_size, "n_match": TOKENS, "n_eval": TOKENS}
    sizes |= {"worlds": worlds, "seeds": min(2, scale.seeds)}
    known = {field.name for field in dataclasses.fields(scale)}
    arms = tuple(arm.name for arm in design.arms_of(scale))[:ARMS]
    changes = {name: size for name, size in sizes.items() if name in known}
    return dataclasses.replace(
        design, scales={"smoke": dataclasses.replace(scale, arms=arms, **changes)}
    )


@dataclasses.dataclass(frozen=True)
class Fault:
    """What happens before file operation `at` below `root`; nothing where `kind` is empty."""

    root: Path
    at: int = -1
    kind: str = ""


def work(benchmark: str, words: Sequence[str], fault: Fault | None, tell: Path) -> int:
    """The command's exit status; with a fault, how many operations there were goes to `tell`."""
    shrink(benchmark)
    from synthsae_jax.__main__ import main

    sys.argv = ["synthsae", *words]
    if fault is None:
        return main()
    faults = Faults()

    def act() -> None:
        tell.write_text(json.dumps({"reached": fault.at}))
        ACTS[fault.kind]()

    faults.arm(fault.root, fault.at, act)
    status = main()
    faults.disarm()
    reached = tell.exists() and "reached" in json.loads(tell.read_text())
    modules = [name for name in sys.modules if not name.startswith("_")]
    if not reached:
        tell.write_text(json.dumps({"operations": faults.count, "modules": modules}))
    return status


def warm_up(benchmark: str, modules: Sequence[str]) -> None:
    """Import here what a command had imported when it ended."""
    shrink(benchmark)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in modules:
            with contextlib.suppress(Exception):
                importlib.import_module(name)


COLD = """
import sys, pathlib
sys.path[:0] = {paths!r}
import small_commands
fault = {fault!r}
fault = fault and small_commands.Fault(pathlib.Path(fault[0]), *fault[1:])
sys.exit(small_commands.work({benchmark!r}, {words!r}, fault, pathlib.Path({tell!r})))
"""


class Process:
    """A command that runs; its errors go to a file in `folder`."""

    def __init__(
        self,
        benchmark: str,
        words: Sequence[str],
        folder: Path,
        cold: bool = False,
        fault: Fault | None = None,
    ):
        self.errors_file, self.tell = folder / "stderr", folder / "outcome.json"
        self.tell.unlink(missing_ok=True)
        self.began, self.status = time.monotonic(), None
        with open(self.errors_file, "wb") as errors:
            if cold:
                self.pid = self._cold(benchmark, words, fault, errors)
            else:
                self.pid = self._warm(benchmark, words, fault, errors)

    def _cold(self, benchmark: str, words: Sequence[str], fault: Fault | None, errors: Any) -> int:
        code = COLD.format(
            paths=[str(Path(__file__).parent)],
            benchmark=benchmark,
            words=list(words),
            fault=fault and (str(fault.root), fault.at, fault.kind),
            tell=str(self.tell),
        )
        self._popen = subprocess.Popen(
            [sys.executable, "-c", code],
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
        )
        return self._popen.pid

    def _warm(self, benchmark: str, words: Sequence[str], fault: Fault | None, errors: Any) -> int:
        sys.stdout.flush()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # JAX warns of forks, which harm it once it is started
            if pid := os.fork():
                return pid
        try:
            os.setsid()
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.dup2(errors.fileno(), 2)
            from synthsae_jax.io import temporary

            temporary._cleaned.clear()
            status = work(benchmark, words, fault, self.tell)
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
        except KeyboardInterrupt:
            # as Python ends where nothing catches it
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
            status = 1
        except BaseException:
            traceback.print_exc()
            status = 1
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)

    def wait(self, seconds: float = float("inf")) -> int | None:
        """The exit status as soon as there is one; None where it runs on."""
        deadline = time.monotonic() + seconds
        while self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > deadline:
                return None
            else:
                time.sleep(0.005)
        return self.status

    def send(self, number: int) -> None:
        os.kill(self.pid, number)

    def errors(self) -> list[str]:
        """Lines on stderr that are no progress."""
        text = self.errors_file.read_text(encoding="utf-8", errors="replace")
        return [line for line in text.splitlines() if " %  " not in line]
