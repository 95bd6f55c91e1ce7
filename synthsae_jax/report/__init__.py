"""Tables, figures and pages made from result folders."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path


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
    from synthsae_jax.report import views

    return views.write_report(folder, figures, width, out)


__all__ = ["build"]
