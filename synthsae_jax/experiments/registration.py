"""Make an experiment known: to the runner by its design, to the reports by its page."""

from __future__ import annotations

from synthsae_jax import suite
from synthsae_jax.report.folder_page import pages
from synthsae_jax.suite.design import Design


def register(design: Design) -> Design:
    """Register a design, from this package or from outside, under its id.

    From then on `suite.run`, `list`, `describe`, `explain` and `report` know it.
    """
    suite.register(design)
    return register_page(design)


def register_page(design: Design) -> Design:
    """Let reports know the page of a design, which need not be a listed benchmark."""
    page = design.page
    if page is not None:
        name = design.id.split("@")[0]
        pages.register(name)(lambda rows, width: page.contents(rows, width, design.claims))
    return design
