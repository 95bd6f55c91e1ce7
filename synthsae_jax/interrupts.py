"""Being asked to end: Ctrl-C, SIGTERM of a scheduler, SIGHUP of a terminal that was closed.

Python raises an exception for Ctrl-C alone, and only between two of its own steps: a compiled
program of minutes runs on, and in an import it may be swallowed or abort the process. Schedulers
kill after 10 to 30 seconds.
"""

from __future__ import annotations

import _thread
import contextlib
import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any

_PATIENCE = 5.0  # seconds to end by an exception: Docker kills after 10, Slurm after 30
_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
_last_words: list[Callable[[], None]] = []
_requested: int | None = None
_watching = False


class Terminated(SystemExit):
    """Raised where a signal other than Ctrl-C asked the process to end."""

    def __init__(self, number: int):
        super().__init__(exit_status(number))
        self.number = number


def exit_status(number: int) -> int:
    """The exit status of a process that a signal ended, as shells have it: 130 is Ctrl-C."""
    return 128 + number


def number_of(end: KeyboardInterrupt | Terminated) -> int:
    """The signal behind an exception."""
    return end.number if isinstance(end, Terminated) else signal.SIGINT


def message(number: int) -> str:
    """What to print on ending."""
    return "interrupted." if number == signal.SIGINT else f"ended by {signal.Signals(number).name}."


@contextlib.contextmanager
def last_words(speak: Callable[[], None]) -> Iterator[None]:
    """Context in which `speak` is called, by another thread, before the process ends at once."""
    _last_words.append(speak)
    try:
        yield
    finally:
        _last_words.remove(speak)


@contextlib.contextmanager
def as_exceptions() -> Iterator[None]:
    """Context in which SIGTERM and SIGHUP unwind the work as Ctrl-C does, and then end the process.

    For a library: signals that somebody handles or ignores are left alone, and what unwinds goes on
    as the signal would have without this.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ours = [n for n in _SIGNALS if signal.getsignal(n) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, _raise)
    ended_by = None
    try:
        yield
    except Terminated as end:
        ended_by = end.number
        raise
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)
        if ended_by in ours:
            os.kill(os.getpid(), ended_by)


@contextlib.contextmanager
def program(name: str) -> Iterator[None]:
    """Context of a whole program: one line and an exit status within seconds of any of the signals.

    They raise. If the exception is swallowed, or its turn does not come (a compiled program of
    minutes), a thread calls the last words, prints the line, and ends the process. No file is
    harmed by that: each is written whole or not at all.
    """
    global _watching
    if _watching or threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {n: signal.getsignal(n) for n in _SIGNALS}
    ours = [n for n in _SIGNALS if previous[n] in (signal.SIG_DFL, signal.default_int_handler)]
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    # the interpreter's C handler writes a signal's number here at once, whatever Python does
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    watcher = threading.Thread(target=_watch, args=(name, reading, ours), daemon=True)
    unraisable = sys.unraisablehook
    _watching = True
    try:
        # inside, since what they raise from now on has to be caught below
        sys.unraisablehook = functools.partial(_not_raised, unraisable)
        for number in ours:
            signal.signal(number, functools.partial(_raise_or_end, name))
        watcher.start()
        yield
    except (KeyboardInterrupt, Terminated) as end:
        number = number_of(end)
        with contextlib.suppress(OSError):  # the terminal may be closed
            print(f"{name}: {message(number)}", file=sys.stderr)
        raise SystemExit(exit_status(number)) from None
    finally:
        # what was asked to end does: also if a thread of somebody's keeps it from it
        if requested() is None:
            _watching = False
            for number in ours:
                signal.signal(number, previous[number])
            sys.unraisablehook = unraisable
            signal.set_wakeup_fd(before)
            os.close(writing)  # the watcher reads the end of the pipe
            watcher.join(timeout=1.0)


def requested() -> int | None:
    """The signal that asked the process to end, if one did, whatever became of its exception."""
    return _requested


def _raise(number: int, frame: FrameType | None) -> None:
    """Unwind, but not out of an import: what it leaves of a C++ module aborts the process."""
    global _requested
    _requested = number
    if _is_importing(frame):
        # a thread of `threading` would take a lock that the interrupted code may have
        _thread.start_new_thread(_send_again, (number,))
    else:
        raise KeyboardInterrupt if number == signal.SIGINT else Terminated(number)


def _raise_or_end(name: str, number: int, frame: FrameType | None) -> None:
    """The same in a program, which may end at once."""
    if _is_importing(frame):
        _end_now(name, number)
    _raise(number, frame)


def _not_raised(otherwise: Callable[[Any], object], failure: Any) -> None:
    """Raise again, a moment later, what was dropped in a destructor or a callback."""
    if (number := requested()) is not None and issubclass(
        failure.exc_type, KeyboardInterrupt | Terminated
    ):
        _thread.start_new_thread(_send_again, (number,))
    else:
        otherwise(failure)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


def _send_again(number: int) -> None:
    time.sleep(0.05)
    os.kill(os.getpid(), number)


def _watch(name: str, reading: int, numbers: Sequence[int]) -> None:
    with open(reading, "rb", buffering=0) as pipe:
        while byte := pipe.read(1):
            if byte[0] in numbers:
                time.sleep(_PATIENCE)
                _end_now(name, byte[0])


def _end_now(name: str, number: int) -> None:
    for speak in list(_last_words):
        with contextlib.suppress(Exception):
            speak()
    with contextlib.suppress(Exception):
        show_cursor = "\x1b[?25h\n" if sys.stderr.isatty() else ""  # a progress bar hides it
        os.write(2, f"{show_cursor}{name}: {message(number)}\n".encode())
    os._exit(exit_status(number))
