"""A peer in a process and an environment of its own, asked to work in turn with us: A B A B.

One JSON line per question and answer. Who waits does not compute: the peer blocks on its input.
Its threads are left as its libraries set them up, but for their number.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from harness import Times

from synthsae_jax.errors import ConfigError, require

HERE = Path(__file__).resolve().parent
SERVER = HERE / "peer" / "serve.py"
VARIABLE = "SYNTHSAE_PEER_PYTHON"
DEFAULT = HERE.parents[1] / ".venv-peer" / "bin" / "python"
THREADS = (1, 2)
_KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES")


def peer_python() -> Path:
    """The interpreter with SAELens: that of the variable, or of `scripts/setup_peer`."""
    named = os.environ.get(VARIABLE)
    python = Path(named) if named else DEFAULT
    require(
        python.is_file(),
        f"--peer needs an environment with SAELens and there is none at {python}: run "
        f"scripts/setup_peer, or name its interpreter with {VARIABLE}.",
    )
    return python


class Peer:
    """`with Peer() as peer: peer.ask("sample", ...)`; `peer/tasks.py` lists what can be asked."""

    def __init__(self, python: Path | None = None, server: Path = SERVER) -> None:
        self.python, self.server = python or peer_python(), server
        self.threads = 1
        self.tried: dict[str, dict[int, float]] = {}

    def __enter__(self) -> Peer:
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
        most = str(max(THREADS))
        environment |= {"OMP_NUM_THREADS": most, "MKL_NUM_THREADS": most}
        environment["HF_HUB_OFFLINE"] = "1"  # it reads what we saved, and asks nobody
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [self.python, self.server],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env=environment,
        )
        self.about = self.ask("about")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self.process.kill()
        self.process.communicate()  # closes its input, at which it ends
        self.log.close()

    def ask(self, what: str, **words: Any) -> dict[str, Any]:
        """The answer to one question; `ConfigError` with what the peer said last if it breaks."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        line = json.dumps({"task": what, "threads": self.threads, **words})
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise ConfigError(f"the peer ended before {what!r}: {self._last_words()}") from None
        answer = self.process.stdout.readline()
        if not answer:
            raise ConfigError(f"the peer broke at {what!r}: {self._last_words()}")
        return json.loads(answer)

    def best_threads(self, what: str, **words: Any) -> dict[str, Any]:
        """Warm the task up, try each number of threads, keep the fastest; its answer."""
        self.threads = THREADS[-1]
        self.ask(what, **words)
        answers = {}
        for self.threads in THREADS:
            answers[self.threads] = self.ask(what, **words)
        seconds = {threads: answer["seconds"] for threads, answer in answers.items()}
        self.threads = min(seconds, key=lambda threads: seconds[threads])
        self.tried[what] = seconds
        return answers[self.threads]

    def record(self) -> dict[str, Any]:
        """Who it is and what it ran on."""
        return {**self.about, "threads_tried": list(THREADS)}

    def _last_words(self) -> str:
        self.process.wait()
        self.log.seek(0)
        return " ".join(self.log.read().split())[-500:] or "it said nothing."


def alternate(
    ours: Callable[[], float], theirs: Callable[[], float], turns: int
) -> tuple[Times, Times]:
    """Seconds of both sides, taken in turn so that a change of the machine meets both."""
    pairs = [(ours(), theirs()) for _ in range(turns)]
    a, b = zip(*pairs, strict=True)
    return Times(a), Times(b)
