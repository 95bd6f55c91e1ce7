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
    from synthsae_jax.report.blocks import (
        Curve,
        Dots,
        Every,
        Figure,
        Finding,
        Grid,
        Listing,
        Mark,
        Matrix,
        Own,
        Reader,
        Telling,
        across,
        along,
        table_of,
    )
    from synthsae_jax.report.design_page import Page, Section

_BLOCKS = (
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
    "Reader",
    "Telling",
    "across",
    "along",
    "table_of",
)
_PAGES = ("Page", "Section")


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
    if name in _BLOCKS:
        return getattr(importlib.import_module(f"{__name__}.blocks"), name)
    if name in _PAGES:
        return getattr(importlib.import_module(f"{__name__}.design_page"), name)
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
