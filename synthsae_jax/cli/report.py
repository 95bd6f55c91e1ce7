"""`synthsae report`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from synthsae_jax.cli.arguments import Folder, existing_folder, writable_folder
from synthsae_jax.cli.output import say
from synthsae_jax.errors import check_choice

FIGURE_FORMATS = ("pdf", "svg", "png")


@dataclasses.dataclass(frozen=True)
class Report:
    """Draw the page of a result folder again, and its figures as files with their numbers."""

    folder: Positional[Annotated[Path, arg(metavar="DIR")]]
    """The result folder."""
    figures: str = ""
    """Also write each figure as pdf, svg or png (several: pdf,svg), with a CSV behind it."""
    width: Literal["column", "page"] = "column"
    """How wide the figure files are: one column of a paper, or the page."""
    out: Folder = None
    """Where page and figures go; the result folder if not given."""

    def run(self) -> None:
        formats = tuple(word for word in self.figures.replace(" ", "").split(",") if word)
        for word in formats:
            check_choice("value of --figures", word, FIGURE_FORMATS)
        existing_folder(self.folder)
        out = self.out or self.folder
        writable_folder(out)
        from synthsae_jax import report

        report.build(self.folder, figures=formats, width=self.width, out=out)
        say(f"The page: {out / 'report.html'}")
