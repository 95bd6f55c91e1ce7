"""The registered benchmarks at their smallest: real rows, and what must hold of them."""

import dataclasses

import numpy as np
import pytest

from synthsae_jax import suite
from synthsae_jax.errors import ConfigError
from synthsae_jax.experiments import contract, quick, recovery, universality
from synthsae_jax.metrics.baselines import MissingLibrary


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
    size = {**quick.FAMILY_SIZE, "n_match": 16_384}
    conditions = [c.name for c in quick.CONDITIONS]
    size |= {"conditions": conditions, "architectures": ()}
    (cell,) = universality.family_cells("universality@1", size, 5, 0)
    return cell.compute(lambda share, what: None)


def of(rows, condition, metric, rule):
    (value,) = [
        r["value"]
        for r in rows
        if (r["condition"], r["metric"], r["variant"]) == (condition, metric, rule)
    ]
    return value


def test_oracles_on_identical_models_share_everything(oracles):
    for rule in ("best_correlation_0.1", "decoder_cosine_0.7_raw", "decoder_cosine_0.7_aligned"):
        assert of(oracles, "identical", "declared_shared", rule) == 1
        assert of(oracles, "identical", "precision", rule) == 1
        assert of(oracles, "identical", "true_universality", rule) == 1


def test_oracles_on_rotated_models_need_alignment(oracles):
    assert of(oracles, "rotated", "declared_shared", "decoder_cosine_0.7_raw") < 0.05
    assert of(oracles, "rotated", "declared_shared", "decoder_cosine_0.7_aligned") == 1
    assert of(oracles, "rotated", "precision", "best_correlation_0.1") == 1


@pytest.mark.parametrize("condition", ["disjoint_independent", "disjoint_coupled"])
def test_nothing_is_truly_shared_between_disjoint_models(oracles, condition):
    for rule in ("best_correlation_0.1", "decoder_cosine_0.7_aligned"):
        assert of(oracles, condition, "true_universality", rule) == 0
        assert of(oracles, condition, "features_shared", rule) == 0


def test_coupling_alone_makes_unrelated_features_correlate(oracles):
    rule = "best_correlation_0.1"
    coupled = of(oracles, "disjoint_coupled", "declared_shared", rule)
    assert coupled > of(oracles, "disjoint_independent", "declared_shared", rule) + 0.05


def test_the_main_job_has_two_architectures_three_seeds_and_a_bad_setting():
    cells = quick.cells("smoke", "")
    assert {c.name.split("/")[0] for c in cells} == {"artefact", "family"}
    assert quick.ARTEFACT_SIZE["seeds"] == quick.FAMILY_SIZE["seeds"] == 3
    assert len(quick.ON_ARTEFACT) >= 2
    assert any("badly tuned" in label for s in quick.ON_ARTEFACT.values() for label in s)


def test_quick_is_no_listed_benchmark():
    assert {"recovery@1", "universality@1"} <= set(suite.names())
    assert quick.ID not in suite.names()
