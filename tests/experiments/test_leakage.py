"""leakage@1 on planted rows and dictionaries, and a short real cell."""

import numpy as np
import pytest

from synthsae_jax.experiments import contract, leakage
from synthsae_jax.experiments.leakage.claims import CLAIMS, FAKED, RARE
from synthsae_jax.experiments.leakage.measure import cosine_numbers, displacement_numbers, groups
from synthsae_jax.experiments.leakage.setting import (
    ARMS,
    BOTH,
    FRESH,
    GROUPS,
    ON_ONE,
    SAME_INIT,
    SAME_ORDER,
    SHARED,
    STAGES,
)
from synthsae_jax.io.rows import key, make_row
from synthsae_jax.suite.claims import judge
from synthsae_jax.suite.quantity import Observed


def planted_rows(leak, n_worlds=5, order=0.0):
    """Five worlds in which a common start fakes `leak`, and more of it in the worst arm."""
    rng = np.random.default_rng(0)
    rows = []

    def add(world, arm, condition, stage, metric, variant, value):
        rows.append(
            make_row(
                benchmark=leakage.DESIGN.id,
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
        for arm in (arm.name for arm in ARMS):
            start = leak + 0.3 * (arm == "topk, worst")
            adds = {FRESH: 0.0, SAME_INIT: start, SAME_ORDER: order, BOTH: start + order}
            for condition, added in adds.items():
                for stage in STAGES:
                    share = 0.05 + (added if stage else 0.9)
                    add(world, arm, condition, stage, "above_0.7", "all", share)
                add(world, arm, condition, 1.0, "declared", "best_correlation_0.1", 0.2)
                for group in GROUPS:
                    rare = added * (3 if group in ("dead", "q1") else 1)
                    add(world, arm, condition, 1.0, "above_0.7", group, rare)
            add(world, arm, SHARED, 1.0, "above_0.7", "all", 0.8)
            add(world, arm, "", 1.0, "near_start", "q1", leak)
    return rows


def verdicts(rows):
    return {r["hypothesis"]: r["verdict"] for r in judge(CLAIMS, rows)}


def test_a_planted_leak_is_detected():
    judged = verdicts(planted_rows(0.25))
    assert judged["H8a"] == judged["H8a standard"] == judged["H8a rare"] == "supported"
    assert judged["H8b"] == judged["H8 order"] == judged["H8 together"] == "supported"


def test_no_leak_is_refuted_and_a_leaking_order_too():
    judged = verdicts(planted_rows(0.0, order=0.2))
    assert judged["H8a"] == judged["H8a rare"] == judged["H8 order"] == "refuted"
    assert judged["H8b"] == "supported"
    assert set(verdicts(planted_rows(0.25, n_worlds=3)).values()) == {"undecided"}


def test_rare_latents_count_where_none_is_dead():
    rows = [r for r in planted_rows(0.25) if r["variant"] != "dead"]
    # three times the leak in the rarest quarter, the leak in the three others
    assert Observed(rows).estimate(RARE).value == pytest.approx(0.5, abs=0.002)
    assert not Observed(r for r in rows if r["variant"] != "q1").estimate(RARE).known


def test_the_page_says_what_was_planted():
    rows = planted_rows(0.25)
    made = leakage.PAGE.contents(rows, claims=CLAIMS)
    assert (
        "at the end of 9 of 9 kinds of training, the most 55 % [55, 55] (topk, worst)" in made.lead
    )
    assert "adds 0 % [0, 0] (topk)" in made.lead
    assert "have 80 % [80, 80] of their latents alike" in made.lead
    table = made.sections[0].tables[0]
    assert [row[0] for row in table.rows] == [arm.name for arm in ARMS]
    assert table.rows[0][1:] == ("0 % [0, 0]", *["25 % [25, 25]"] * 3)
    assert len(made.sections[1].figures) == len(made.sections[2].figures) == 1
    slow = leakage.PAGE.contents(planted_rows(0.02), claims=CLAIMS).lead
    assert "at the end of 1 of 9 kinds of training, the most 32 % [32, 32] (topk, worst)" in slow
    assert "the most that any other keeps is 2 %" in slow


def by_name(numbers):
    return {(n.variant, n.metric): n.value for n in numbers}


def test_cosines_count_what_is_alike():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 40, 64))
    b[:10] = 2 * a[:10]  # alike in place
    b[10:20] = a[10:20][::-1]  # alike elsewhere
    firings = np.maximum(np.arange(40) - 4, 0)  # five are dead
    values = by_name(cosine_numbers(a, b, firings))
    assert values["all", "above_0.7"] == pytest.approx(0.5)
    assert values["in place", "above_0.7"] == pytest.approx(0.25)
    assert values["dead", "above_0.7"] == 1
    assert values["q4", "above_0.7"] == 0
    near = by_name(displacement_numbers(a, b, firings))
    assert near["all", "near_start"] == pytest.approx(0.25)
    assert near["dead", "near_start"] == 1


def test_groups_part_the_latents():
    masks = groups(np.array([0, 5, 1, 0, 9, 2, 7]))
    np.testing.assert_array_equal(sum(masks.values()), 1)
    assert masks["dead"].nonzero()[0].tolist() == [0, 3]
    assert masks["q1"].nonzero()[0].tolist() == [2, 5]
    assert masks["q4"].nonzero()[0].tolist() == [4]


def test_the_arms_train_as_they_say():
    contexts = leakage.DESIGN.contexts("standard", "dev")
    config = {c.arm.name: c.config for c in contexts}
    assert config["topk"].n_samples == 8 * config["topk, short"].n_samples == 4_096_000
    # a short run has a decay of its own
    assert config["topk, short"].lr_decay_steps == config["topk, short"].n_steps // 3 == 166
    assert config["topk, short"].snapshots == (0, 5, 50, 500)
    assert config["topk, short, slow"].lr == pytest.approx(0.03 * config["topk, short"].lr)


def test_a_short_cell_starts_alike_and_says_what_is_shared():
    # 20 steps of a short training: stages are steps of their own
    (context,) = contract.smallest(leakage.DESIGN, steps=160)
    rows = leakage.DESIGN.rows(context)
    start = {
        (r["condition"], r["variant"]): r["value"]
        for r in rows
        if r["metric"] == "above_0.7" and r["factor_stage"] == 0
    }
    # before training: the same rows from the same start, unrelated ones otherwise
    for condition in (SAME_INIT, BOTH):
        assert start[condition, "all"] == start[condition, "in place"] == 1
    assert start[FRESH, "all"] < 0.05
    assert Observed(rows).estimate(FAKED).value < 1
    assert {r["step"] for r in rows} == {0, 1, 2, 20}
    near = [r["value"] for r in rows if r["metric"] == "near_start" and r["variant"] == "all"]
    assert near[:2] == [1, 1]
    true = [r for r in rows if r["metric"] == "true_universality"]
    assert {r["condition"] for r in true} == set(ON_ONE)
    assert len(true) == 3
    assert len({key(row) for row in rows}) == len(rows)
