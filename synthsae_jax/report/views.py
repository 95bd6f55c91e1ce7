"""What `suite.Result` shows of its folder: the table and the figures of its page."""

from __future__ import annotations

# imported for the pages they register
from synthsae_jax.report import recovery_page, sharing_page  # noqa: F401
from synthsae_jax.report.folder_page import all_tables, figure, figure_names, summary, write_report

__all__ = ["all_tables", "figure", "figure_names", "summary", "write_report"]
