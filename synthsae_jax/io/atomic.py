"""Writing so that a file or folder is either as before or whole, never half.

Everything is written under a temporary name beside its goal and renamed when it is complete.
A place the user named that cannot be written to is a `ConfigError`; a full disk stays an OSError.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from synthsae_jax.errors import ConfigError

PathLike = str | os.PathLike[str]


def write_text(path: PathLike, text: str) -> Path:
    """Write `text` as UTF-8 with the newlines it has; returns the path."""
    return write_bytes(path, text.encode("utf-8"))


def write_bytes(path: PathLike, data: bytes) -> Path:
    """Write `data`, making parent folders as needed; returns the path."""
    path = Path(path)
    temporary = _temporary(path)
    with _plain_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "xb") as file:
                file.write(data)
                file.flush()
                # a rename may reach the disk before the content does
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    return path


@contextlib.contextmanager
def new_folder(path: PathLike, replace: bool = False) -> Iterator[Path]:
    """Context of an empty folder that takes the name `path` when the block ends without error.

    An existing folder is left alone (`ConfigError` before the block starts) unless `replace`,
    and even then it goes only after the new one is whole.
    """
    path = Path(path)
    if os.path.lexists(path) and not (replace and path.is_dir()):
        raise ConfigError(f"{path} exists already; give another place or remove it first.")
    temporary = _temporary(path)
    with _plain_errors(path):
        temporary.mkdir(parents=True)
    try:
        yield temporary
        with _plain_errors(path):
            _take_name(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _take_name(temporary: Path, path: Path) -> None:
    if not path.exists():
        os.rename(temporary, path)
        return
    # a folder with content cannot be renamed over: the old one steps aside, and back on failure
    aside = _temporary(path)
    os.rename(path, aside)
    try:
        os.rename(temporary, path)
    except OSError:
        os.rename(aside, path)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")


@contextlib.contextmanager
def _plain_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (PermissionError, NotADirectoryError, IsADirectoryError, FileExistsError) as error:
        reason = error.strerror or type(error).__name__
        raise ConfigError(f"Cannot write {path}: {reason.lower()}.") from error
