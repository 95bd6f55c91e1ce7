"""Every design keeps its contract on a real cell, and planted faults are caught."""

import dataclasses
import functools

import pytest

from synthsae_jax.experiments import contract, quick
from synthsae_jax.suite.base import benchmarks
from synthsae_jax.suite.quantity import Observed, number

DESIGNS = {name: benchmarks[name].design for name in benchmarks if benchmarks[name].design}
DESIGNS[quick.DESIGN.id] = quick.DESIGN  # no listed benchmark
# fields of the scale for those of which each arm compiles long; oracles are the main job's
SMALLER = {
    "quick@1": {
        "arms": ("artefact topk", "family oracle"),
        "seeds": 1,
        "n_eval": 4_096,
        "n_match": 8_192,
    },
    "universality@1": {"arms": ("topk",), "n_match": 8_192, "protocol_tokens": 512},
}


@pytest.mark.parametrize("name", DESIGNS)
def test_a_real_cell_keeps_the_contract(name):
    design = DESIGNS[name]
    contexts = contract.smallest(design, **SMALLER.get(name, {}))
    assert contract.faults_of(design, contexts) == []


@pytest.mark.parametrize("name", DESIGNS)
def test_diverged_runs_are_rows_with_a_status(name):
    design = DESIGNS[name]
    context = contract.smallest(design, lr=1e30, **SMALLER.get(name, {}))[0]
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


def recorded(design):
    """The design on one real cell of each arm, its observations measured once and kept."""
    contexts = contract.smallest(design)
    kept = {}
    for context in contexts:
        observations = []
        for observation in design.measure(context, context.arm):
            numbers = list(observation.measure())
            again = functools.partial(list, numbers)
            observations.append(dataclasses.replace(observation, measure=again))
        kept[context.arm.name] = observations, context.ledger

    def measure(context, arm):
        observations, ledger = kept[arm.name]
        context.ledger.trainings[:] = ledger.trainings
        yield from observations

    return dataclasses.replace(design, measure=measure), contexts


def claiming(design, quantity):
    claim = dataclasses.replace(design.claims[0], quantity=quantity)
    return dataclasses.replace(design, claims=(claim, *design.claims[1:]))


def first_need(design):
    """What the first claim reads, wherever it is: the smallest cells need not have its arm."""
    return dataclasses.replace(design.claims[0].quantity.needs[0], where=(), beside=())


def measuring(design, change):
    def measure(context, arm):
        yield from change(list(design.measure(context, arm)))

    return dataclasses.replace(design, measure=measure)


def renamed(observations):
    """The first number that only this experiment has is misspelt where it is measured."""
    for observation in observations:
        numbers = list(observation.measure())
        mine = next((n for n in numbers if not n.standard), numbers[0])
        changed = [
            dataclasses.replace(n, metric=n.metric + "e") if n is mine else n for n in numbers
        ]
        yield dataclasses.replace(observation, measure=lambda changed=changed: changed)


PLANTED = {
    "a claim reads a misspelt number": lambda design: claiming(
        design, number(first_need(design).metric + "e", first_need(design).variant)
    ),
    "a claim reads a value that no arm has": lambda design: claiming(
        design,
        number(first_need(design).metric, first_need(design).variant, condition="rotatde"),
    ),
    "a number is misspelt where it is measured": lambda design: measuring(design, renamed),
    "an observation of a level is lost": lambda design: measuring(
        design,
        lambda observations: [o for o in observations if o.columns != observations[-1].columns],
    ),
    "a training is not in the plan": lambda design: dataclasses.replace(
        design, train=lambda context: [*design.train(context), *design.train(context)]
    ),
}


@pytest.mark.parametrize("name", ["linearity@1", "partial@1", "leakage@1"])
def test_five_planted_faults_are_caught(name):
    design, contexts = recorded(DESIGNS[name])
    assert contract.faults_of(design, contexts) == []
    for fault, plant in PLANTED.items():
        planted = plant(design)
        assert contract.faults_of(planted, contexts) != [], fault
