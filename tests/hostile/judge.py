"""What became of an input: read, refused in one line, or something that must not happen."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax

from synthsae_jax.errors import ConfigError

SECONDS = 5.0  # of this process's time for one input; compiling is not counted
HANG_SECONDS = 60.0  # by the clock, for what does not use any time at all
LONGEST = 20_000  # characters of a line, which may hold a path of any length
SLACK = 64 << 20  # bytes of memory besides twice what the input declares
COMPILING = 128 << 20  # and besides that for what an input makes JAX compile
GOOD = ("read", "refused")

_compiled = [0.0]


def _note_compiling(event: str, seconds: float, **_: Any) -> None:
    if event.startswith("/jax/core/compile"):
        _compiled[0] += seconds


jax.monitoring.register_event_duration_secs_listener(_note_compiling)


class Hung(BaseException):
    """An input that was not done in `HANG_SECONDS`."""


@dataclasses.dataclass(frozen=True)
class Verdict:
    """`kind`: read, refused, raw (another error, or another line), slow, memory or wrote."""

    kind: str
    text: str = ""  # the line, or the traceback
    seconds: float = 0.0
    growth: int = 0  # bytes of memory above what was in use before


def judge(act: Callable[[], Any], declared: int, homes: Sequence[Path] = ()) -> Verdict:
    """What `act` came to. It may write below these folders alone; none: no one looks."""
    before, compiled, start = _resident(reset=True), _compiled[0], time.process_time()
    try:
        with _alarm(), warnings.catch_warnings(), _only_below(homes):
            warnings.simplefilter("ignore")
            act()
        kind, text = "read", ""
    except ConfigError as error:
        text = str(error)
        kind = "refused" if text and text.isprintable() and len(text) < LONGEST else "raw"
    except Hung:
        kind, text = "slow", traceback.format_exc(limit=-4)
    except WroteElsewhere as error:
        kind, text = "wrote", str(error)
    except BaseException:
        kind, text = "raw", traceback.format_exc(limit=-4)
    compiled = _compiled[0] - compiled
    seconds = time.process_time() - start - compiled
    growth = max(0, _resident() - before)
    if kind in GOOD and seconds > SECONDS:
        kind = "slow"
    if kind in GOOD and growth > 2 * declared + SLACK + COMPILING * (compiled > 0):
        kind = "memory"
    return Verdict(kind, text, max(0.0, seconds), growth)


@contextmanager
def _alarm() -> Iterator[None]:
    def ring(*_: Any) -> None:
        raise Hung

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, HANG_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class WroteElsewhere(Exception):
    """A file outside of the folders of the input was about to be written, made or removed."""


_homes: list[str] = []
_CHANGES = (
    "os.mkdir",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.truncate",
    "os.link",
    "os.symlink",
)
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def _watch(event: str, arguments: tuple) -> None:
    if not _homes:
        return
    paths: tuple = ()
    if event == "open":
        path, mode, flags = arguments
        writes = bool(set(mode or "") & set("wax+")) or (not mode and bool((flags or 0) & _WRITING))
        paths = (path,) if writes else ()
    elif event in _CHANGES:
        paths = tuple(p for p in arguments[:2] if isinstance(p, str | bytes))
    for path in paths:
        if not isinstance(path, str | bytes):
            continue  # a file that is open already
        try:
            full = os.path.realpath(os.fsdecode(path))
        except ValueError:
            continue
        if not full.startswith((*_homes, "/dev/null")):
            raise WroteElsewhere(f"{event} {full!r}")


_watching = [False]


@contextmanager
def _only_below(homes: Sequence[Path]) -> Iterator[None]:
    if homes and not _watching[0]:
        sys.addaudithook(_watch)
        _watching[0] = True
    _homes.extend(os.path.realpath(home) for home in homes)
    try:
        yield
    finally:
        _homes.clear()


def _resident(reset: bool = False) -> int:
    """The most memory this process has had since the last reset, in bytes; 0 but on Linux."""
    if not os.path.exists("/proc/self/clear_refs"):
        return 0
    if reset:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    with open("/proc/self/status") as file:
        line = next(line for line in file if line.startswith("VmHWM"))
    return 1024 * int(line.split()[1])
