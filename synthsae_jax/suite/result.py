"""What a finished (or interrupted) run of a benchmark is to its caller."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from synthsae_jax.io import manifest as manifests
from synthsae_jax.io.rows import Row


class Result:
    """A result folder: rows, summary table, figures. Shows itself in a notebook."""

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        self._read = manifests.read_folder(self.folder)

    @property
    def manifest(self) -> dict[str, Any]:
        """The manifest: versions, seeds, device, state."""
        return self._read.manifest

    def rows(self) -> list[Row]:
        """The tidy table: a dict per run or pair and metric."""
        return list(self._read.rows)

    def summary(self) -> Any:
        """The benchmark's table: means with intervals, chance and ceiling beside each score."""
        return _report().summary(self._read)

    def tables(self) -> list[Any]:
        """Every table of the benchmark's page."""
        return _report().all_tables(self._read)

    def figure(self, name: str | None = None) -> Any:
        """A figure of the benchmark's page by name (None: the first)."""
        return _report().figure(self._read, name)

    def figure_names(self) -> tuple[str, ...]:
        """Names that `figure` knows."""
        return _report().figure_names(self._read)

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()

    def __str__(self) -> str:
        return str(self.summary())

    def __repr__(self) -> str:
        state = self.manifest["state"]
        return f"Result({str(self.folder)!r}, {len(self._read.rows)} rows, {state})"


def _report() -> Any:
    # report stands above this folder and draws what is here; it is looked up when a picture is
    # asked for, so that computing never loads a plotting library
    return importlib.import_module("synthsae_jax.report.folder_page")
