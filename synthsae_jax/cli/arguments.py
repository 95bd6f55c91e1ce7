"""Types of arguments, and checks of places made before the work rather than after it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import arg

from synthsae_jax.errors import ConfigError, require
from synthsae_jax.inputs import check_name, is_folder

PROGRAM = "synthsae"
MOST = 2**31 - 1  # of what is counted in 32 bits: samples, seeds
Scale = Literal["smoke", "small", "standard", "full"]
Folder = Annotated[Path | None, arg(metavar="DIR")]
File = Annotated[Path | None, arg(metavar="FILE")]


def existing_folder(folder: Path) -> None:
    """Raise unless the folder is there."""
    require(is_folder(folder), f"There is no folder '{folder}'.")


def writable_folder(folder: Path) -> None:
    """Raise unless `folder` is, or could become, a folder that results can be written to."""
    check_name(folder)
    try:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            os.lstat(folder)
    except OSError as error:  # such as a name that is too long
        reason = error.strerror or str(error)
        raise ConfigError(f"--out cannot be '{folder}': {reason.lower()}.") from None
    nearest = next(p for p in (folder, *folder.absolute().parents) if os.path.exists(p))
    require(is_folder(nearest), f"--out needs a folder, but '{nearest}' is a file.")
    require(os.access(nearest, os.W_OK), f"--out: no right to write in '{nearest}'.")


def writable_file(path: Path | None) -> None:
    """Raise unless `path` is, or could become, a file that a result can be written to."""
    if path is not None:
        from synthsae_jax.io import atomic

        atomic.check_file(path)
