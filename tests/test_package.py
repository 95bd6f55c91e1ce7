"""The package's door: folders on demand, one version, and the artefact it brings along."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

import pytest

import synthsae_jax
from synthsae_jax.errors import ConfigError
from synthsae_jax.io import artefacts

CHECKOUT = Path(__file__).resolve().parents[1]


def test_folders_are_attributes():
    for name in synthsae_jax.__all__[1:]:
        assert getattr(synthsae_jax, name).__name__ == f"synthsae_jax.{name}"
        assert name in dir(synthsae_jax)


def test_unknown_attribute_is_an_attribute_error():
    name = "wrolds"
    with pytest.raises(AttributeError, match="no attribute 'wrolds'"):
        getattr(synthsae_jax, name)
    assert not hasattr(synthsae_jax, "numpy")


def test_one_version_everywhere():
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    assert project["version"] == synthsae_jax.__version__
    assert f"## [{synthsae_jax.__version__}]" in (CHECKOUT / "CHANGELOG.md").read_text()
    assert f"version: {synthsae_jax.__version__}\n" in (CHECKOUT / "CITATION.cff").read_text()


def test_reference_artefact_in_a_checkout(golden):
    assert artefacts.reference_artefact() == golden / "saelens-1k"


def test_the_wheel_takes_the_files_that_the_lookup_asks_for():
    build = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    included = build["targets"]["wheel"]["force-include"]
    assert sorted(included.values()) == sorted(
        f"synthsae_jax/_artefacts/saelens-1k/{file}" for file in artefacts._FILES
    )
    assert all((CHECKOUT / source).is_file() for source in included)


def test_reference_artefact_of_an_installed_package_comes_first(tmp_path, golden, monkeypatch):
    monkeypatch.setattr(artefacts, "_PACKAGE", tmp_path / "synthsae_jax")
    with pytest.raises(ConfigError, match=r"neither in .* nor in"):
        artefacts.reference_artefact()
    inside = tmp_path / "synthsae_jax" / "_artefacts" / "saelens-1k"
    shutil.copytree(golden / "saelens-1k", inside)
    assert artefacts.reference_artefact() == inside
    (inside / "hierarchy.json").unlink()
    with pytest.raises(ConfigError, match="neither"):
        artefacts.reference_artefact()
