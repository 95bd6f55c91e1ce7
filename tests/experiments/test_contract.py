"""Every design keeps its contract on a real cell, and planted faults are caught."""

import pytest

from synthsae_jax.experiments import contract
from synthsae_jax.suite.base import benchmarks
from synthsae_jax.suite.quantity import Observed

DESIGNS = {name: benchmarks[name].design for name in benchmarks if benchmarks[name].design}


@pytest.mark.parametrize("name", DESIGNS)
def test_a_real_cell_keeps_the_contract(name):
    design = DESIGNS[name]
    assert contract.faults_of(design, contract.smallest(design)) == []


@pytest.mark.parametrize("name", DESIGNS)
def test_diverged_runs_are_rows_with_a_status(name):
    design = DESIGNS[name]
    context = contract.smallest(design, lr=1e30)[0]
    rows = design.rows(context)
    lost = {side.columns["run_id"] for side in context.ledger.sides if side.status == "diverged"}
    assert lost
    reported = {r["run_id"] for r in rows if r["status"] == "diverged"}
    reported |= {r["run_id_b"] for r in rows if r["status"] == "diverged"}
    assert lost <= reported
    assert all(r["reason"] for r in rows if r["status"] != "ok")
    page = design.page.contents(rows, claims=design.claims)
    assert "Diverged" in [section.title for section in page.sections]


@pytest.mark.parametrize("name", DESIGNS)
def test_the_page_builds_from_nothing(name):
    design = DESIGNS[name]
    page = design.page.contents([], claims=design.claims)
    assert page.title
    assert "No world has been observed" in page.lead
    assert all(
        not e.known and e.reason for e in map(Observed([]).estimate, design.all_quantities())
    )
