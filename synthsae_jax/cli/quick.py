"""`synthsae quick`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from synthsae_jax.cli.arguments import writable_folder
from synthsae_jax.cli.output import show_result


@dataclasses.dataclass(frozen=True)
class Quick:
    """Train SAEs on several synthetic models at once: a table here, a page in the folder."""

    out: Annotated[Path, arg(metavar="DIR")] = Path("runs/quick")
    """Folder of the results."""

    def run(self) -> None:
        from synthsae_jax.experiments import quick

        writable_folder(self.out)
        show_result(quick.run(out=self.out), self.out)
