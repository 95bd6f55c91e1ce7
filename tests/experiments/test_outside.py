"""The README's experiment, from outside of the package: it keeps the contract, makes a page."""

import re
from pathlib import Path

import pytest

from synthsae_jax import registry, suite
from synthsae_jax.experiments import contract

README = Path(__file__).resolve().parents[2] / "README.md"


@pytest.fixture
def design():
    every = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    (code,) = (block for block in every if "experiments.register" in block)
    assert code.count("\n") <= 60
    scope = {"__name__": "example"}
    with registry.temporary():
        exec(compile(code, "README.md", "exec"), scope)
        yield scope["design"]


def test_it_keeps_the_contract(design):
    ends = ("batchtopk, depth 0", "matryoshka, depth 3")
    assert contract.faults_of(design, contract.smallest(design, arms=ends)) == []
    assert len(design.cells("small", "")) == 8 * 5


@pytest.mark.slow
def test_it_runs_to_a_page(design, tmp_path):
    result = suite.run(design.id, scale="smoke", out=tmp_path, quiet=True)
    assert result.manifest["state"] == "completed"
    assert {row["factor_depth"] for row in result.rows()} == {0, 1, 2, 3}
    assert result.figure_names() == ("depth",)
    assert (tmp_path / "verdicts.json").is_file()
