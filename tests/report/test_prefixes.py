"""A page is made of whatever rows there are: none, one, or those of a run that was interrupted."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from synthsae_jax.io import manifest
from synthsae_jax.report import folder_page, page
from synthsae_jax.suite.base import benchmarks

RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results"
FOLDERS = sorted(path.parent for path in RESULTS.glob("*@*/small/manifest.json"))
benchmarks.load()  # which makes the pages known


@functools.cache
def folder(path: Path) -> manifest.Folder:
    return manifest.read_folder(path)


def text_of(path: Path, n_rows: int) -> str:
    """The page of the first rows of a published result."""
    whole = folder(path)
    some = manifest.Folder(path, whole.rows[:n_rows], whole.manifest)
    made = folder_page.contents(some)
    return page.render(made.title, made.sections, notes=made.notes, lead=made.lead)


@pytest.mark.parametrize("path", FOLDERS, ids=lambda path: path.parent.name)
@pytest.mark.parametrize("n_rows", [0, 1, 12])
def test_every_page_is_made_of_a_prefix_of_its_rows(path, n_rows):
    text = text_of(path, n_rows)
    assert text.startswith("<!DOCTYPE html>")
    assert text.endswith("</html>\n")
    # without rows there is the name alone
    assert text.count("<h2") >= (1 if n_rows else 0)
    if not n_rows:
        assert f"<h1>{path.parent.name}</h1>" in text
    assert ">nan<" not in text


@pytest.mark.slow
@pytest.mark.parametrize("path", FOLDERS, ids=lambda path: path.parent.name)
def test_every_page_is_made_of_a_third_of_its_rows(path):
    assert text_of(path, len(folder(path).rows) // 3).endswith("</html>\n")
