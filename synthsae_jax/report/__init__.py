"""Tables, figures and pages made from result folders.

The blocks that an experiment's page is made of are named here too; a plotting library is loaded
when the first of them is.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from synthsae_jax.report.block_plots import Curve, Dots, Every, Mark, Matrix, across, along
    from synthsae_jax.report.block_tables import Grid, Listing, table_of
    from synthsae_jax.report.blocks import Figure, Finding, Own, Reader, Telling
    from synthsae_jax.report.design_page import Page, Section

# file -> the names that it is asked for here
_FILES = {
    "block_plots": ("Curve", "Dots", "Every", "Mark", "Matrix", "across", "along"),
    "block_tables": ("Grid", "Listing", "table_of"),
    "blocks": ("Figure", "Finding", "Own", "Reader", "Telling"),
    "design_page": ("Page", "Section"),
}


def build(
    folder: str | os.PathLike[str],
    figures: Sequence[str] = (),
    width: str = "page",
    out: str | os.PathLike[str] | None = None,
) -> list[Path]:
    """Write `report.html` of a result folder, and its figures as files where formats are named.

    `figures`: any of "pdf", "svg", "png"; `width`: "column" or "page"; `out`: where to (default:
    into the folder). Returns the paths written.
    """
    # here, so that importing this package does not load a plotting library
    from synthsae_jax.report import folder_page

    return folder_page.write_report(folder, figures, width, out)


def __getattr__(name: str) -> Any:
    # PEP 562: called only for names that the module does not have yet
    for file, names in _FILES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{file}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "Curve",
    "Dots",
    "Every",
    "Figure",
    "Finding",
    "Grid",
    "Listing",
    "Mark",
    "Matrix",
    "Own",
    "Page",
    "Reader",
    "Section",
    "Telling",
    "across",
    "along",
    "build",
    "table_of",
]
