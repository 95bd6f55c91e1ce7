"""Names of what is being written, and what becomes of it when its writer is killed.

A temporary name carries the process that made it. A process that was killed leaves its files
behind; the next one that writes into the folder removes them.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import shutil
import socket
import time
import uuid
from pathlib import Path

_FOREIGN_SECONDS = 86_400.0  # after which temporary files of other machines count as left behind
_NAME_CHARACTERS = 40  # of the goal in a temporary name, which adds some 40 bytes of its own
# .NAME.HOST-PID-RANDOM.tmp, and .old for a folder that steps aside for its successor
_TEMPORARY = re.compile(
    r"\.(?P<name>.+)\.(?P<host>[0-9a-f]{8})-(?P<pid>\d+)-[0-9a-f]{8}\.(tmp|old)", re.DOTALL
)

_cleaned: set[str] = set()  # folders


def name_beside(path: Path, suffix: str = "tmp") -> Path:
    """A new name beside `path`: for what will replace it, or (`old`) for what it replaces."""
    # an old folder is found again by its whole name; others are only to be recognised
    name = path.name if suffix == "old" else path.name[:_NAME_CHARACTERS]
    return path.with_name(f".{name}.{_host()}-{os.getpid()}-{uuid.uuid4().hex[:8]}.{suffix}")


def is_temporary(name: str) -> bool:
    """Whether a file or folder of this name is one that is being written, or was."""
    return _TEMPORARY.fullmatch(name) is not None


def clean(folder: str | os.PathLike[str], again: bool = False) -> None:
    """Remove what processes that are gone left unfinished in a folder.

    Looked for once per folder and process unless `again`. A folder that had stepped aside comes
    back if its successor never arrived.
    """
    real = os.path.realpath(folder)
    if real in _cleaned and not again:
        return
    _cleaned.add(real)
    with contextlib.suppress(OSError), os.scandir(real) as entries:
        for entry in list(entries):
            parts = _TEMPORARY.fullmatch(entry.name)
            if parts and _left_behind(entry, parts["host"], int(parts["pid"])):
                _remove(Path(entry.path), Path(real) / parts["name"])


@functools.cache
def _host() -> str:
    """Eight digits for who shares our process numbers: the machine, and the container in it."""
    try:
        space = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        space = 0
    return hashlib.sha256(f"{socket.gethostname()}/{space}".encode()).hexdigest()[:8]


def _left_behind(entry: os.DirEntry[str], host: str, pid: int) -> bool:
    if host != _host():
        return time.time() - entry.stat(follow_symlinks=False).st_mtime > _FOREIGN_SECONDS
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        pass
    return False


def _remove(path: Path, goal: Path) -> None:
    if path.suffix == ".old" and not os.path.lexists(goal):
        os.rename(path, goal)
    elif path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
