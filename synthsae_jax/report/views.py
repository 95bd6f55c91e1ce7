"""What `suite.Result` shows of its folder: the table and the figures of its page."""

from __future__ import annotations

import importlib
import pkgutil

import synthsae_jax.report
from synthsae_jax.report.folder_page import all_tables, figure, figure_names, summary, write_report

__all__ = ["all_tables", "figure", "figure_names", "summary", "write_report"]

# for the pages that they register
for _file in pkgutil.iter_modules(synthsae_jax.report.__path__):
    if _file.name.endswith("_page"):
        importlib.import_module(f"synthsae_jax.report.{_file.name}")
