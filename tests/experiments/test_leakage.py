"""leakage@1 on planted rows and dictionaries, and its smallest real cell."""

import numpy as np
import pytest

from synthsae_jax.experiments.leakage import claims as leakage_claims
from synthsae_jax.experiments.leakage import experiment as leakage
from synthsae_jax.experiments.leakage.rows import cosine_numbers, groups
from synthsae_jax.io.rows import make_row
from synthsae_jax.report.leakage_page import leakage as leakage_page
from synthsae_jax.suite.claims import judge


def planted_rows(leak, n_worlds=5, order=0.0):
    """Five worlds in which a common start fakes `leak`, and more of it in the worst arm."""
    rng = np.random.default_rng(0)
    rows = []

    def add(world, arm, condition, stage, metric, variant, value):
        rows.append(
            make_row(
                benchmark=leakage.ID,
                run_id=f"{arm}, {condition}",
                step=round(1000 * stage),
                world_seed=world,
                condition=condition,
                metric=metric,
                variant=variant,
                value=value + 0.001 * rng.random(),
                factor_arm=arm,
                factor_stage=stage,
            )
        )

    for world in range(n_worlds):
        for arm in leakage.ARMS:
            start = leak + 0.3 * (arm == "topk, worst")
            adds = {
                leakage_claims.FRESH: 0.0,
                leakage_claims.SAME_INIT: start,
                leakage_claims.SAME_ORDER: order,
                leakage_claims.BOTH: start + order,
            }
            for condition, added in adds.items():
                for stage in leakage.STAGES:
                    share = 0.05 + (added if stage else 0.9)
                    add(world, arm, condition, stage, "above_0.7", "all", share)
                add(world, arm, condition, 1.0, "declared", "best_correlation_0.1", 0.2)
                for group in ("dead", "q1", "q2", "q3", "q4"):
                    rare = added * (3 if group in ("dead", "q1") else 1)
                    add(world, arm, condition, 1.0, "above_0.7", group, rare)
            add(world, arm, "", 1.0, "near_start", "q1", leak)
    return rows


def verdicts(rows):
    return {r["hypothesis"]: r["verdict"] for r in judge(leakage_claims.CLAIMS, rows)}


def test_a_planted_leak_is_found():
    found = verdicts(planted_rows(0.25))
    assert found["H8a"] == found["H8a standard"] == found["H8a rare"] == "supported"
    assert found["H8b"] == found["H8 order"] == found["H8 together"] == "supported"


def test_no_leak_is_refuted_and_a_leaking_order_too():
    found = verdicts(planted_rows(0.0, order=0.2))
    assert found["H8a"] == found["H8a rare"] == found["H8 order"] == "refuted"
    assert found["H8b"] == "supported"
    assert set(verdicts(planted_rows(0.25, n_worlds=3)).values()) == {"undecided"}


def test_the_page_says_what_was_planted():
    made = leakage_page(planted_rows(0.25), "page")
    assert "0.25 [0.25, 0.25] (topk)" in made.lead
    assert "0.55 [0.55, 0.55] (topk, worst)" in made.lead
    table = made.sections[0].tables[0]
    assert [row[0] for row in table.rows] == list(leakage.ARMS)
    assert len(made.sections[1].figures) == len(made.sections[2].figures) == 1


def test_cosines_count_what_is_alike():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 40, 64))
    b[:10] = 2 * a[:10]  # alike in place
    b[10:20] = a[10:20][::-1]  # alike elsewhere
    fired = np.arange(40) - 4  # five are dead: -4 to 0
    by_metric = {(n.variant, n.metric): n.value for n in cosine_numbers(a, b, np.maximum(fired, 0))}
    assert by_metric["all", "above_0.7"] == pytest.approx(0.5)
    assert by_metric["in place", "above_0.7"] == pytest.approx(0.25)
    assert by_metric["dead", "above_0.7"] == 1
    assert by_metric["q4", "above_0.7"] == 0
    assert by_metric["all", "matched_cosine"] > 0.5


def test_groups_part_the_latents():
    found = groups(np.array([0, 5, 1, 0, 9, 2, 7]))
    np.testing.assert_array_equal(sum(found.values()), 1)
    assert found["dead"].nonzero()[0].tolist() == [0, 3]
    assert found["q1"].nonzero()[0].tolist() == [2, 5]
    assert found["q4"].nonzero()[0].tolist() == [4]


def test_the_smallest_cell_starts_alike_and_says_what_is_shared():
    (cell,) = leakage.cells("smoke", "dev")
    rows = cell.compute(lambda done, what: None)
    value = {
        (r["condition"], r["factor_stage"], r["variant"]): r["value"]
        for r in rows
        if r["metric"] == "above_0.7"
    }
    # before training: the same rows from the same start, unrelated ones otherwise
    for condition in (leakage_claims.SAME_INIT, leakage_claims.BOTH):
        assert value[condition, 0.0, "all"] == value[condition, 0.0, "in place"] == 1
    assert value[leakage_claims.FRESH, 0.0, "all"] < 0.05
    conditions = {condition for condition, _, _ in value}
    # all but the run beside itself
    assert len(conditions) == 7
    true = [r for r in rows if r["metric"] == "true_universality"]
    assert [r["condition"].split(",")[0] for r in true] == ["shared"] * 3
    assert all(0 < r["value"] <= 1 for r in true)
    keys = {(r["run_id"], r["run_id_b"], r["step"], r["metric"], r["variant"]) for r in rows}
    assert len(keys) == len(rows)
