"""A progress bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

_EVERY = 10.0  # seconds between plain lines


class Reporter(Protocol):
    """Told what share of all work is done, and what is being done."""

    def __call__(self, done: float, what: str) -> None: ...


@contextmanager
def progress(title: str, quiet: bool = False) -> Iterator[Reporter]:
    """A reporter for a piece of work; `quiet` says nothing at all."""
    if quiet:
        yield lambda done, what: None
    elif sys.stderr.isatty():
        with _bar(title) as reporter:
            yield reporter
    else:
        yield _Lines(title)


@contextmanager
def _bar(title: str) -> Iterator[Reporter]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.fields[title]}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=1.0, title=title)
        yield lambda done, what: bar.update(task, completed=done, description=what)


class _Lines:
    def __init__(self, title: str):
        self._title = title
        self._last = float("-inf")
        self._what = ""

    def __call__(self, done: float, what: str) -> None:
        now = time.monotonic()
        if what == self._what and now - self._last < _EVERY and done < 1:
            return
        if now - self._last < 1 and done < 1:
            return
        self._last, self._what = now, what
        print(f"{self._title}: {100 * done:3.0f} %  {what}", file=sys.stderr, flush=True)
