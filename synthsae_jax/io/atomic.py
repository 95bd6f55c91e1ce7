"""Writing so that a file or folder is either as before or whole, never half.

A regular file is written under a temporary name beside its goal, synced, and renamed over it; a
symbolic link is followed and its target replaced; a device or a pipe is written into. A place the
user named that cannot be written to is a `ConfigError`; a full disk stays an OSError.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from synthsae_jax.errors import ConfigError
from synthsae_jax.inputs import check_name
from synthsae_jax.io import temporary

PathLike = str | os.PathLike[str]

_READER_SECONDS = 3.0  # how long a named pipe may wait for its reader
_USERS_ERRORS = {errno.ELOOP, errno.ENAMETOOLONG, errno.EROFS, errno.EISDIR, errno.ENOTDIR}


def write_text(path: PathLike, text: str) -> Path:
    """Write `text` as `utf8` with the newlines it has; returns the path."""
    return write_bytes(path, utf8(text))


def utf8(text: str) -> bytes:
    """UTF-8 of any text: halves of a character, as in the names of some files, become U+FFFD."""
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        return re.sub("[\ud800-\udfff]", "\ufffd", text).encode("utf-8")


def write_bytes(path: PathLike, data: bytes) -> Path:
    """Write `data`, making parent folders as needed; returns the path.

    A file that is there keeps its mode and, where we may, its owner.
    """
    with _plain_errors(path):
        goal = _goal(path)
        if goal is None:
            _write_into(path, data)
        else:
            goal.parent.mkdir(parents=True, exist_ok=True)
            with _whole_file(goal, data) as new:
                os.replace(new, goal)
            _sync_folder(goal.parent)
    return Path(path)


def create_text(path: PathLike, text: str) -> bool:
    """Write a file that is not there yet, its folder being there; False where one is.

    Of several processes that try at once exactly one gets True.
    """
    goal = Path(path)
    with _plain_errors(path), _whole_file(goal, utf8(text)) as new:
        try:
            os.link(new, goal)
        except FileExistsError:
            return False
        except OSError:  # a file system without hard links
            if os.path.lexists(goal):
                return False
            os.replace(new, goal)
    _sync_folder(goal.parent)
    return True


def check_file(path: PathLike) -> None:
    """Raise the `ConfigError` of `write_bytes` now, before the work whose result goes there."""
    with _plain_errors(path):
        goal = _goal(path)
        if goal is None:
            return
        nearest = _nearest(goal)
        if not os.access(nearest, os.W_OK | os.X_OK):
            raise ConfigError(f"Cannot write {path}: no right to write in '{nearest}'.")


def make_folder(path: PathLike) -> Path:
    """Make a folder and its parents unless they are there; returns the path."""
    with _plain_errors(path):
        Path(os.path.realpath(path)).mkdir(parents=True, exist_ok=True)
    return Path(path)


@contextlib.contextmanager
def new_folder(path: PathLike, replace: bool = False) -> Iterator[Path]:
    """Context of an empty folder that takes the name `path` when the block ends without error.

    An existing folder is left alone (`ConfigError` before the block starts) unless `replace`,
    and even then it goes only after the new one is whole. A symbolic link to a folder stays one.
    """
    check_name(path)
    if os.path.lexists(path) and not (replace and os.path.isdir(path)):
        raise ConfigError(f"{path} exists already; give another place or remove it first.")
    goal = Path(os.path.realpath(path))
    with _plain_errors(path):
        goal.parent.mkdir(parents=True, exist_ok=True)
        temporary.clean(goal.parent)
        new = temporary.name_beside(goal)
        new.mkdir()
        if goal.exists():
            new.chmod(stat.S_IMODE(goal.stat().st_mode))
    try:
        yield new
        with _plain_errors(path):
            _take_name(new, goal)
            _sync_folder(goal.parent)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _goal(path: PathLike) -> Path | None:
    """The file that a write to `path` replaces, links followed; None for a stream to write into."""
    try:
        now = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        goal = Path(os.path.realpath(path))  # new, or what a dangling link points to
        nearest = _nearest(goal)
        if not nearest.is_dir():
            raise ConfigError(f"Cannot write {path}: '{nearest}' is a file, no folder.") from None
        return goal
    if _open_stream(Path(path)) is not None:
        return None
    if stat.S_ISDIR(now.st_mode):
        raise ConfigError(f"Cannot write {path}: it is a folder.")
    if stat.S_ISBLK(now.st_mode) or stat.S_ISSOCK(now.st_mode):
        kind = "block device" if stat.S_ISBLK(now.st_mode) else "socket"
        raise ConfigError(f"Cannot write {path}: it is a {kind}.")
    if not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(path))
    return Path(os.path.realpath(path)) if stat.S_ISREG(now.st_mode) else None


def _nearest(goal: Path) -> Path:
    """The innermost of a path's parents that is there."""
    return next(parent for parent in goal.parents if os.path.lexists(parent))


def _open_stream(path: Path) -> int | None:
    """The number of the open file of this process that `path` names, such as /dev/stdout.

    A shell's `> file` goes on in the file that it opened, so that file must not be replaced.
    """
    for _ in range(40):  # the kernel's bound on links
        folder = os.path.realpath(path.parent)
        if path.name.isdecimal() and folder in ("/dev/fd", f"/proc/{os.getpid()}/fd"):
            return int(path.name)
        if not path.is_symlink():
            break
        path = path.parent / os.readlink(path)
    return None


def _write_into(path: PathLike, data: bytes) -> None:
    number = _open_stream(Path(path))
    if number is None:
        number = _open_existing(path)
    else:
        sys.stdout.flush()  # what was printed before comes first
        number = os.dup(number)
    try:
        os.set_blocking(number, True)
        _write_all(number, data)
    finally:
        os.close(number)


def _open_existing(path: PathLike) -> int:
    deadline = time.monotonic() + _READER_SECONDS
    while True:
        try:
            # a blocking open of a pipe would wait for its reader for ever
            return os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
        if time.monotonic() > deadline:
            raise ConfigError(f"Cannot write {path}: nobody reads this pipe.")
        time.sleep(0.05)


@contextlib.contextmanager
def _whole_file(goal: Path, data: bytes) -> Iterator[Path]:
    """Context of a temporary file beside `goal` that holds `data` and has the goal's mode."""
    temporary.clean(goal.parent)
    new = temporary.name_beside(goal)
    try:
        number = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            with contextlib.suppress(FileNotFoundError):
                _same_owner_and_mode(number, os.stat(goal))
            _write_all(number, data)
            # a rename may reach the disk before the content does
            os.fsync(number)
        finally:
            os.close(number)
        yield new
    finally:
        new.unlink(missing_ok=True)


def _same_owner_and_mode(number: int, old: os.stat_result) -> None:
    new = os.fstat(number)
    if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
        with contextlib.suppress(OSError):  # only root may give a file away
            os.fchown(number, old.st_uid, old.st_gid)
    os.fchmod(number, stat.S_IMODE(old.st_mode))


def _write_all(number: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(number, view) :]


def _sync_folder(folder: Path) -> None:
    """Bring a rename to the disk, where the file system can."""
    with contextlib.suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def _take_name(new: Path, path: Path) -> None:
    if not path.exists():
        os.rename(new, path)
        return
    # a folder with content cannot be renamed over: the old one steps aside, and back on failure
    aside = temporary.name_beside(path, "old")
    os.rename(path, aside)
    try:
        os.rename(new, path)
    except BaseException:
        os.rename(aside, path)
        raise
    shutil.rmtree(aside, ignore_errors=True)


@contextlib.contextmanager
def _plain_errors(path: PathLike) -> Iterator[None]:
    check_name(path)
    try:
        yield
    except ConfigError:
        raise
    except OSError as error:
        kinds = (PermissionError, NotADirectoryError, IsADirectoryError, FileExistsError)
        if isinstance(error, kinds) or error.errno in _USERS_ERRORS:
            reason = error.strerror or type(error).__name__
            raise ConfigError(f"Cannot write {path}: {reason.lower()}.") from error
        if error.errno is None:
            raise
        # the temporary name would tell nobody what could not be written
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error
