"""The engine on a small design of its own: rows by construction, the contract, planted faults."""

import dataclasses

import pytest

from synthsae_jax.errors import ConfigError
from synthsae_jax.experiments import contract
from synthsae_jax.registry import Explanation
from synthsae_jax.report.block_tables import Grid
from synthsae_jax.report.blocks import Finding
from synthsae_jax.report.design_page import Page, Section
from synthsae_jax.suite.claims import Claim
from synthsae_jax.suite.cost import Training, cost_of
from synthsae_jax.suite.design import Arm, Design
from synthsae_jax.suite.observation import Number, Observation, Side, rows_of
from synthsae_jax.suite.quantity import number, reads
from synthsae_jax.suite.scale import NAMES, Scale, scales_of

SHARED = {"benchmark": "toy@1", "world": "micro", "world_seed": 0, "step": 1}
A, B = (Side({"run_id": name, "sae": "topk", "instance": i}) for i, name in enumerate("ab"))
GOOD = number("good", "mean", title="good", unit="share of latents")


def measured(*numbers):
    return lambda: list(numbers)


def test_a_diverged_side_gives_rows_for_every_reader_and_is_never_measured():
    lost = dataclasses.replace(B, status="diverged")
    read = reads([GOOD.at(condition="x"), number("other", "mean", condition="y"), number("all")])

    def never():
        raise AssertionError("measured")

    rows = rows_of(Observation((A, lost), never, {"condition": "x"}, 8), SHARED, read)
    assert [(r["metric"], r["status"], r["value"]) for r in rows] == [
        ("good", "diverged", None),
        ("all", "diverged", None),
    ]
    assert {r["run_id_b"] for r in rows} == {"b"}
    assert all("not finite" in r["reason"] for r in rows)


def test_an_undefined_number_keeps_its_reason_and_needs_one():
    read = reads([GOOD])
    why = Number("mean", "good", float("nan"), "no latent is alive")
    (row,) = rows_of(Observation((A,), measured(why)), SHARED, read)
    assert (row["status"], row["reason"], row["value"]) == ("undefined", "no latent is alive", None)
    with pytest.raises(ValueError, match="'good' of 'mean' is undefined without a reason"):
        rows_of(Observation((A,), measured(Number("mean", "good", float("nan")))), SHARED, read)


def test_what_nobody_reads_is_not_stored_and_is_told():
    unread = set()
    numbers = (
        Number("mean", "good", 1.0),
        Number("mean", "godo", 2.0),
        Number("t", "s", 3.0, standard=True),
    )
    rows = rows_of(Observation((A, B), measured(*numbers)), SHARED, reads([GOOD]), unread)
    assert [r["metric"] for r in rows] == ["good"]
    assert unread == {("godo", "mean")}


def test_a_group_has_its_own_name_and_its_lost_members_have_rows():
    lost = dataclasses.replace(B, status="diverged")
    read = reads([GOOD.at(condition="x"), number("good", "other", condition="x")])
    group = {"run_id": "three", "condition": "x"}
    together = Observation((A, lost, A), measured(), group, names=(("good", "mean"),))
    (row,) = rows_of(together, SHARED, read)
    # of the names that this observation has: "other" is another group's
    assert (row["run_id"], row["run_id_b"], row["variant"]) == ("three", "", "mean")
    assert (row["status"], row["instance"], row["sae"]) == ("diverged", None, None)

    def measure(context, arm):
        context.ledger.sides += [A, lost]
        yield together

    design = toy(measure=measure)
    rows = [row for context in design.contexts("smoke", "dev") for row in design.rows(context)]
    assert {r["run_id"] for r in rows if r["variant"] == "run"} == {"b"}


def test_an_arm_may_run_at_sizes_of_its_own():
    sizes = lambda scale, arm: dataclasses.replace(scale, preset="mini") if arm.level else scale
    contexts = toy(sizes=sizes).contexts("smoke", "dev")
    presets = {(c.arm.name, c.shared.columns()["world"]) for c in contexts}
    assert presets == {("none", "micro"), ("some", "mini")}


def test_scales_override_by_name():
    scales = scales_of(Scale, every={"seeds": 3}, small={"worlds": 7, "width": 32})
    assert tuple(scales) == NAMES
    assert {s.seeds for s in scales.values()} == {3}
    assert (scales["small"].worlds, scales["small"].d_sae) == (7, 32)
    assert scales["smoke"].worlds == 1
    assert scales["full"].d_in == 256
    assert scales["smoke"].pilot
    assert not scales["standard"].pilot
    with pytest.raises(ConfigError, match=r"n_trian.*n_train"):
        scales_of(Scale, small={"n_trian": 5})
    with pytest.raises(ConfigError, match=r"smal.*small"):
        scales_of(Scale, smal={})


def test_cost_counts_every_sae():
    once = Training("topk", models=2, samples=100, batch_size=10, d_in=4, d_sae=8, runs=3)
    cost = cost_of([once, dataclasses.replace(once, samples=50), once])
    assert (cost.saes, cost.samples) == (18, 6 * 250)
    assert cost.flops == 6.0 * 2 * 4 * 8 * 6 * 250
    assert len(cost.programs) == 1
    assert cost.memory == cost_of([once]).memory > 4 * 4 * 6 * 2 * 4 * 8
    assert cost_of([]).saes == 0


@dataclasses.dataclass(frozen=True)
class Noise(Arm):
    level: float = 0.0

    def columns(self):
        return {"noise": self.level}


ARMS = (Noise("none"), Noise("some", 0.5))


def toy(**changes):
    """A design without SAEs: a number that falls with the noise, in two conditions."""

    def measure(context, arm):
        for condition, shift in (("x", 0.0), ("y", 0.25)):
            side = Side({"run_id": f"{arm.name}{condition}", "sae": "topk", "instance": 0})
            value = 1.0 - arm.level - shift
            yield Observation(
                (side,), measured(Number("mean", "good", value)), {"condition": condition}
            )

    loss = GOOD.at(noise=0.5) - GOOD.at(noise=0.0)
    fields = {
        "id": "toy@1",
        "title": "Toy",
        "question": "Does it fall?",
        "explanation": Explanation("a toy"),
        "scales": scales_of(Scale, every={"worlds": 5}),
        "arms": lambda scale: ARMS,
        "train": lambda context: [],
        "measure": measure,
        "quantities": (GOOD,),
        "claims": (
            Claim(
                "T1", "It falls.", loss, smallest_effect=-0.1, margin=0.05, changes="More noise."
            ),
        ),
        "page": Page(
            "Toy",
            "Does it fall?",
            (Finding("It falls by {loss}.", loss=loss),),
            "No more.",
            (
                Section(
                    "All",
                    "",
                    Grid(
                        "noise",
                        {"none": {"noise": 0.0}, "some": {"noise": 0.5}},
                        (GOOD, GOOD.at("in x", condition="x")),
                    ),
                ),
            ),
        ),
        "levels": lambda scale: {"condition": ("x", "y")},
    }
    return Design(**{**fields, **changes})


def rows_of_design(design, scale="smoke"):
    return [row for context in design.contexts(scale, "") for row in design.rows(context)]


def test_cells_take_turns_over_worlds_and_share_no_number():
    cells = toy().cells("small", "")
    assert [c.name for c in cells[:6]] == [*(f"world{w}/none" for w in range(5)), "world0/some"]
    contexts = toy().contexts("small", "")
    assert len({c.cell for c in contexts}) == len(contexts) == 10
    assert len({c.world_seed for c in contexts}) == 5
    with pytest.raises(ConfigError, match=r"arm of toy@1.*som.*some"):
        toy(scales=scales_of(Scale, every={"arms": ("som",)})).cells("smoke", "")


def test_a_design_becomes_rows_verdicts_and_a_page():
    design = toy()
    rows = rows_of_design(design, "small")
    assert len(rows) == 20
    page = design.page.contents(rows, claims=design.claims)
    assert page.lead.startswith("Does it fall? It falls by -50 % [-50, -50].")
    grid = page.sections[0].tables[0]
    assert grid.header == ("noise", "good", "in x")
    assert grid.rows == (
        ("none", "88 % [88, 88]", "100 % [100, 100]"),
        ("some", "38 % [38, 38]", "50 % [50, 50]"),
    )
    assert "5 to 10 observations" in grid.note
    verdict = page.sections[-1].tables[0]
    assert verdict.rows[0][1] == "supported"
    assert verdict.rows[0][4] == "20 of 20 observations, 5 worlds"
    assert contract.faults_of(design, design.contexts("smoke", "")) == []


FAULTS = {
    "a misspelt number": (
        {"quantities": (number("godo", "mean"),)},
        "'godo' of 'mean' is read and never measured",
    ),
    "a misspelt condition": (
        {"quantities": (GOOD.at(condition="z"),)},
        "'z'",
    ),
    "a misspelt factor": ({"quantities": (GOOD.at(niose=0.5),)}, "niose"),
    "a level without rows": (
        {"levels": lambda scale: {"condition": ("x", "y", "w")}},
        "condition = 'w' reaches no row",
    ),
    "an undeclared level": (
        {"levels": lambda scale: {"condition": ("x",)}},
        "condition = 'y' is in no arm and no level",
    ),
    "training off the plan": (
        {"train": lambda context: [Training("topk", 1, 10, 10, 4, 8)]},
        "0 SAEs trained, 1 planned",
    ),
    "a claim twice": ({"claims": toy().claims * 2}, "claim 'T1' stands 2 times"),
    "no page": ({"page": None}, "has no page"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_contract_catches_a_planted_fault(fault):
    changes, message = FAULTS[fault]
    design = toy(**changes)
    faults = contract.faults_of(design, design.contexts("smoke", ""))
    assert any(message in text for text in faults), faults


def test_a_number_that_nobody_reads_is_a_fault():
    read, measure = toy(), toy().measure

    def more(context, arm):
        for observation in measure(context, arm):
            extra = [*observation.measure(), Number("mean", "goodd", 1.0)]
            yield dataclasses.replace(observation, measure=lambda extra=extra: extra)

    faults = contract.faults_of(toy(measure=more), read.contexts("smoke", ""))
    assert faults == ["number 'goodd' of 'mean' is read by nobody"]
