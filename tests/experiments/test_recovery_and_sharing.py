"""The registered benchmarks at their smallest: real rows, and what must hold of them."""

import dataclasses

import numpy as np
import pytest

from synthsae_jax import suite
from synthsae_jax.errors import ConfigError
from synthsae_jax.experiments import contract, quick, recovery
from synthsae_jax.experiments.universality import page
from synthsae_jax.io.rows import make_row
from synthsae_jax.metrics.baselines import MissingLibrary
from synthsae_jax.report.blocks import Reader
from synthsae_jax.suite.quantity import Observed


@pytest.fixture(scope="module")
def recovered():
    """recovery@1 on a tenth of a smoke run, one architecture."""
    context = contract.smallest(recovery.DESIGN, steps=20, n_eval=4_096)[0]
    assert context.arm.name == "topk"
    return recovery.DESIGN.rows(context)


def values(rows, metric, variant=""):
    return [r["value"] for r in rows if (r["metric"], r["variant"]) == (metric, variant)]


def test_recovery_rows_cover_instances_seeds_and_rules(recovered):
    runs = {(r["instance"], r["init_seed"]) for r in recovered if r["variant"] == ""}
    assert runs == {(0, 0), (0, 1), (1, 1000), (1, 1001)}
    assert len(values(recovered, "f1")) == len(values(recovered, "f1", "train")) == 4
    assert all(r["target_l0"] == 4.7 for r in recovered)
    assert {r["status"] for r in recovered} == {"ok"}


def test_recovery_scores_lie_between_chance_and_ceiling(recovered):
    (ceiling,), (floor,) = (values(recovered, "mcc", v) for v in ("ceiling", "chance"))
    assert ceiling == pytest.approx(1, abs=1e-4)
    assert values(recovered, "f1", "ceiling") == pytest.approx([1], abs=1e-6)
    scores = values(recovered, "mcc")
    # 200 steps from random directions: past chance, far from solved
    assert all(floor < score < ceiling for score in scores)


def test_topk_has_its_k_and_the_same_latents_under_both_rules(recovered):
    assert values(recovered, "l0") == pytest.approx([5] * 4, abs=0.05)
    np.testing.assert_allclose(values(recovered, "f1"), values(recovered, "f1", "train"), atol=1e-4)


def bounds(monkeypatch, *levels):
    monkeypatch.setattr(recovery, "_bound_levels", lambda *context: iter(levels))
    design = recovery.DESIGN
    size = dataclasses.replace(design.scales["small"], preset="micro", arms=("bounds",))
    (context,) = dataclasses.replace(design, scales={"small": size}).contexts("small", "")
    return design.rows(context)


def test_bounds_are_rows_also_where_a_library_is_missing(monkeypatch):
    def missing():
        raise MissingLibrary(
            "logistic probes need scikit-learn: pip install 'synthsae-jax[baselines]'."
        )

    known = ("known", lambda: {"f1": 0.5, "mcc": float("nan"), "n_eval": 10})
    rows = bounds(monkeypatch, known, ("not", missing))
    of_known = [(r["metric"], r["value"], r["status"]) for r in rows if r["sae"] == "known"]
    assert of_known == [("f1", 0.5, "ok"), ("mcc", None, "undefined")]
    without = [r for r in rows if r["sae"] == "not"]
    assert {r["metric"] for r in without} == set(recovery.SHOWN)
    assert all("scikit-learn" in r["reason"] for r in without)
    assert {r["variant"] for r in rows} == {"bound"}


def test_another_error_in_a_bound_is_not_taken_for_a_missing_library(monkeypatch):
    def broken():
        raise ConfigError("3 evaluation samples had more active features than the slots hold.")

    with pytest.raises(ConfigError, match="3 evaluation samples"):
        bounds(monkeypatch, ("broken", broken))


def test_every_world_has_its_bounds_above_smoke():
    names = [cell.name for cell in recovery.DESIGN.cells("standard", "")]
    assert names[-5:] == [f"world{i}/bounds" for i in range(5)]
    assert not any("bounds" in cell.name for cell in recovery.DESIGN.cells("smoke", ""))


@pytest.fixture(scope="module")
def oracles():
    """Oracle SAEs on the conditions of the main job: no training, all rules."""
    size = dataclasses.replace(quick.SCALE, n_match=16_384, arms=("family oracle",))
    (context,) = dataclasses.replace(quick.DESIGN, scales={"smoke": size}).contexts("smoke", "")
    return quick.DESIGN.rows(context)


def of(rows, condition, metric, variant="truth"):
    (value,) = [
        r["value"]
        for r in rows
        if (r["condition"], r["metric"], r["variant"]) == (condition, metric, variant)
    ]
    return value


RULES = ("best_correlation_0.1", "decoder_cosine_0.7_raw", "decoder_cosine_0.7_aligned")


def test_oracles_on_identical_models_share_everything(oracles):
    assert of(oracles, "identical", "true_universality") == 1
    for rule in RULES:
        assert of(oracles, "identical", "declared", rule) == 1
        assert of(oracles, "identical", "precision", rule) == 1


def test_oracles_on_rotated_models_need_alignment(oracles):
    assert of(oracles, "rotated", "declared", "decoder_cosine_0.7_raw") < 0.05
    assert of(oracles, "rotated", "declared", "decoder_cosine_0.7_aligned") == 1
    assert of(oracles, "rotated", "precision", "best_correlation_0.1") == 1


@pytest.mark.parametrize("condition", ["disjoint_independent", "disjoint_coupled"])
def test_nothing_is_truly_shared_between_disjoint_models(oracles, condition):
    assert of(oracles, condition, "true_universality") == 0
    assert of(oracles, condition, "features_shared") == 0


def test_coupling_alone_makes_unrelated_features_correlate(oracles):
    coupled, apart = (
        of(oracles, f"disjoint_{coupling}", "declared", "best_correlation_0.1")
        for coupling in ("coupled", "independent")
    )
    assert coupled > apart + 0.05


def test_oracles_share_no_seed_and_are_one_on_each_model(oracles):
    assert {(r["same_init"], r["same_data"], r["same_instance"]) for r in oracles} == {
        (False, False, False)
    }
    assert len({r["run_id_b"] for r in oracles}) == len(quick.CONDITIONS)
    same = {r["condition"] for r in oracles if r["same_dictionary"]}
    assert same == {"identical"}


def test_the_main_job_has_two_architectures_three_seeds_and_a_bad_setting():
    cells = quick.DESIGN.cells("smoke", "")
    assert [cell.runs for cell in cells] == [6, 3, 21, 21, 0]
    assert quick.SCALE.seeds == 3
    labels = [label for arm in quick.ON_ARTEFACT for label in arm.settings]
    assert len({arm.sae for arm in quick.ON_ARTEFACT}) == 2
    assert any("badly tuned" in label for label in labels)


def test_quick_is_no_listed_benchmark():
    assert {"recovery@1", "universality@1"} <= set(suite.names())
    assert quick.DESIGN.id not in suite.names()


def test_a_protocols_share_counts_where_it_was_meant_to_be_used():
    listing = page.PAGE.sections[0].blocks[0]
    stated, whole = listing.rows["topk: paulo2025"]
    assert dict(stated.needs[0].where)["condition"] == ("identical",)
    assert "condition" not in dict(whole.needs[0].where)
    assert stated.needs[0].metric == "sharing_error"


def test_tables_of_sharing_print_number_chance_and_what_is_right():
    def row(variant, metric, value, condition="rotated"):
        why = {} if value is not None else {"status": "undefined", "reason": "no pair"}
        about = {"benchmark": "universality@1", "run_id": "a", "run_id_b": condition, "step": 1}
        names = {"metric": metric, "variant": variant, "condition": condition}
        return make_row(**about, **names, value=value, world_seed=1, factor_arm="topk", **why)

    rows = [
        row("ours@1", "score", 0.6),
        row("ours@1/chance", "score", 0.01),
        row("ours@1", "precision", 0.9),
        row("song2025", "score", 0.4),
        row("song2025", "precision", None),
        row("song2025", "score", None, "half"),
        *(row("truth", "features_shared", 1.0, c) for c in ("rotated", "half")),
    ]
    shown = page.Sharing("topk", {"arm": "topk"}, page.GRID, protocols=("ours@1", "song2025"))
    table = shown.section().blocks[1].table(Reader(Observed(rows), (), {}, "page"))
    assert table.header == ("protocol", "rotated", "half shared, independent")
    assert table.rows == (
        ("ours@1", "0.60 [0.01], 90 % right", "undef."),
        ("song2025", "(0.40)", "(undef.)"),
    )
