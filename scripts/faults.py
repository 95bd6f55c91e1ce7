"""Faults at chosen file operations of this process: killed, the disk full, asked to end."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

# what Python tells of the operations on files that it makes, write and fsync apart
_HEARD = {
    "open", "os.rename", "os.link", "os.mkdir", "os.remove", "os.rmdir", "os.chmod", "os.chown",
    "os.listdir", "os.scandir", "os.truncate", "fcntl.flock",
}  # fmt: skip


class Faults:
    """Does something at the n-th operation on files below a folder, counted from `arm` on.

    Operations on open files count whatever they are, since only their number is known.
    """

    def __init__(self) -> None:
        self.count, self._at, self._act, self._root = 0, -1, None, ""
        self._write = os.write
        os.write, os.fsync = self._writing, self._syncing
        sys.addaudithook(self._hear)

    def arm(self, root: Path, at: int = -1, act: Callable[[], None] | None = None) -> None:
        """Count from one, and call `act` before operation `at`; half of a write comes before it."""
        self.count, self._at, self._act, self._root = 0, at, act, str(root)

    def disarm(self) -> None:
        """Count no longer."""
        self._root = ""

    def _hear(self, event: str, arguments: tuple) -> None:
        if self._root and event in _HEARD:
            target = arguments[0]
            is_path = isinstance(target, (str, bytes, os.PathLike))
            if isinstance(target, int) or (is_path and os.fsdecode(target).startswith(self._root)):
                self._step()

    def _step(self) -> None:
        self.count += 1
        if self.count == self._at and self._act is not None:
            self._act()

    def _writing(self, number: int, data: bytes) -> int:
        if self._root:
            self.count += 1
            if self.count == self._at and self._act is not None:
                self._write(number, bytes(data)[: len(data) // 2])
                self._act()
        return self._write(number, data)

    def _syncing(self, number: int) -> None:
        if self._root:
            self._step()  # no waiting for the disk: what a killed process wrote is not lost


def die() -> None:
    """End at once, as by `kill -9` or the lack of memory."""
    os.kill(os.getpid(), signal.SIGKILL)


def full() -> None:
    """No space is left."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def ctrl_c() -> None:
    """Somebody presses Ctrl-C."""
    raise KeyboardInterrupt


def sigterm() -> None:
    """A scheduler wants the process to end."""
    os.kill(os.getpid(), signal.SIGTERM)


ACTS: Mapping[str, Callable[[], None]] = {
    "die": die,
    "full": full,
    "ctrl_c": ctrl_c,
    "sigterm": sigterm,
}
