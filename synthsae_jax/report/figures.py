"""The figures of this package by name: plain records in, a `Plot` (figure and its numbers) out."""

from __future__ import annotations

from synthsae_jax.report.canvas import FORMATS, FigureData, Plot, save, to_svg
from synthsae_jax.report.dots import dot_plot
from synthsae_jax.report.lines import line_plot
from synthsae_jax.report.matrix import matrix_plot
from synthsae_jax.report.sharing import sharing_plot

__all__ = [
    "FORMATS",
    "FigureData",
    "Plot",
    "dot_plot",
    "line_plot",
    "matrix_plot",
    "save",
    "sharing_plot",
    "to_svg",
]
