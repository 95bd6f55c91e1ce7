"""Types of arguments, and checks of places made before the work rather than after it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import arg

from synthsae_jax.errors import require

PROGRAM = "synthsae"
Scale = Literal["smoke", "small", "standard", "full"]
Folder = Annotated[Path | None, arg(metavar="DIR")]
File = Annotated[Path | None, arg(metavar="FILE")]


def existing_folder(folder: Path) -> None:
    """Raise unless the folder is there."""
    require(folder.is_dir(), f"There is no folder '{folder}'.")


def writable_folder(folder: Path) -> None:
    """Raise unless `folder` is, or could become, a folder that results can be written to."""
    nearest = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    require(nearest.is_dir(), f"--out needs a folder, but '{nearest}' is a file.")
    require(os.access(nearest, os.W_OK), f"--out: no right to write in '{nearest}'.")


def writable_file(path: Path | None) -> None:
    """Raise unless `path` is, or could become, a file that a result can be written to."""
    if path is not None:
        from synthsae_jax.io import atomic

        atomic.check_file(path)
