"""Who is working on what: locks that the kernel opens when their process ends, however it ends.

They save work, not data: on a file system without locks everybody gets every lock, and what two
processes then write is whole and equal anyway.
"""

from __future__ import annotations

import datetime
import json
import os
import socket
import time
from pathlib import Path
from types import TracebackType

from synthsae_jax.errors import printable

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None

_POLL_SECONDS = 0.02


class Lock:
    """A lock that this process has; also a context that gives it back at its end."""

    def __init__(self, path: Path, number: int, shared: bool):
        self._path, self._number, self._shared = path, number, shared

    def release(self) -> None:
        """Give it back, and remove its file unless others share it."""
        if not self._shared or _lock(self._number, shared=False):
            self._path.unlink(missing_ok=True)
        os.close(self._number)

    def __enter__(self) -> Lock:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


def acquire(path: Path, shared: bool = False) -> Lock | None:
    """The lock of this name, or None while another process has it (alone, or `shared`).

    Its file, in a folder that must be there, names the owner. One left by a killed process is
    taken over, since the kernel unlocked it.
    """
    while True:
        number = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not _lock(number, shared):
                os.close(number)
                return None
            if _is_at(number, path):
                if not shared:
                    os.ftruncate(number, 0)
                    os.pwrite(number, json.dumps(_self()).encode(), 0)
                return Lock(path, number, shared)
            # its last owner removed the file after it was opened: the lock is on nothing
            os.close(number)
        except BaseException:
            os.close(number)
            raise


def wait_for(path: Path, seconds: float, shared: bool = False) -> Lock | None:
    """The lock of this name as soon as it is free; None if that takes longer than `seconds`."""
    deadline = time.monotonic() + seconds
    while (lock := acquire(path, shared)) is None and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    return lock


def remove_stale(path: Path) -> None:
    """Remove the file of a lock that nobody has, if there is one."""
    if path.exists() and (lock := acquire(path)) is not None:
        lock.release()


def is_held(path: Path) -> bool:
    """Whether a process has the lock of this name now; False where that cannot be known."""
    try:
        number = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        return not _lock(number, shared=False)
    finally:
        os.close(number)


def owner(path: Path) -> str:
    """Who has the lock, for a message: process, machine, since when."""
    try:
        about = json.loads(path.read_bytes()[:1000])
        pid, host, started = int(about["pid"]), str(about["host"]), str(about["started"])
    except (OSError, ValueError, TypeError, LookupError, RecursionError):
        return "another process"
    return printable(f"process {pid} on {host[:60]} since {started[:60]}")


def _self() -> dict[str, str | int]:
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {"host": socket.gethostname(), "pid": os.getpid(), "started": now}


def _lock(number: int, shared: bool) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(number, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # no locks on this file system
        pass
    return True


def _is_at(number: int, path: Path) -> bool:
    try:
        at_path, ours = os.stat(path), os.fstat(number)
    except FileNotFoundError:
        return False
    return (at_path.st_dev, at_path.st_ino) == (ours.st_dev, ours.st_ino)
