"""The board of validity@1 on planted rows and on the committed ones, and its arms."""

import json
from pathlib import Path

import numpy as np
import pytest

from synthsae_jax.experiments import validity
from synthsae_jax.experiments.validity.arms import FEW, GRID, TURNED
from synthsae_jax.experiments.validity.board import board, tier
from synthsae_jax.experiments.validity.page import PAGE, inversion
from synthsae_jax.experiments.validity.quantities import (
    COMPARED,
    MOVED,
    R_RULE,
    SCORES,
    ZEROS,
    at_zero,
    false_positives,
    on_compared_pairs,
    ordering,
    passed,
    spearman,
    threshold,
)
from synthsae_jax.io.rows import check_row, make_row
from synthsae_jax.report.blocks import Reader
from synthsae_jax.suite.quantity import Observed
from synthsae_jax.worlds.family import Condition

COMMITTED = Path(__file__).parents[2] / "benchmarks/results/validity@1/small/results.jsonl"
ALIGNED = "decoder_cosine_0.7_aligned"
WHY = "fewer than 32 pairs correlate above .1"


def scores_of(condition: Condition, true: float, rng) -> dict[tuple[str, str], float]:
    """What is planted: good and bad scores, one that is blind above half, one that is constant."""
    # a relational measure says nothing of models with little in common
    relational = 1 - true if condition.shared >= 0.5 else np.nan
    return {
        ("truth", "true_universality"): true,
        ("planted_truth", "score"): true,
        ("planted_geometry", "score"): condition.sharing,
        ("planted_constant", "score"): 0.5,
        ("ours@1", "score"): true,
        ("mppc2024", "score"): true + 0.3 * rng.normal(),
        ("stability", "score"): true,
        (R_RULE, "declared"): true if condition.shared < 0.5 else 0.9 + 0.1 * rng.random(),
        (ALIGNED, "declared"): 0.0,
        **{(name, "score"): relational for name in COMPARED},
    }


P = {"ours@1": 0.5, "mppc2024": 0.5, "stability": 0.01}


def planted_rows(n_worlds=5):
    rng = np.random.default_rng(0)
    rows = []
    for world in range(n_worlds):
        for i, condition in enumerate(GRID):
            true = 0.9 * condition.shared + 0.02 * rng.random()
            numbers = scores_of(condition, true, rng)
            if condition.shared == 0:
                numbers |= {(name, "p"): p for name, p in P.items()}
            for (variant, metric), value in numbers.items():
                rows.append(
                    make_row(
                        benchmark=validity.DESIGN.id,
                        run_id="a",
                        run_id_b=f"b{i}",
                        step=1,
                        world_seed=world,
                        condition=condition.name,
                        variant=variant,
                        metric=metric,
                        value=value,
                        status="ok" if np.isfinite(value) else "undefined",
                        reason="" if np.isfinite(value) else WHY,
                        factor_arm="random",
                        factor_shared=condition.shared,
                        factor_t=condition.sharing,
                        factor_gram_correlation=condition.sharing,
                    )
                )
    return rows


@pytest.fixture(scope="module")
def observed():
    return Observed(planted_rows())


@pytest.fixture(scope="module")
def committed():
    lines = COMMITTED.read_text(encoding="utf-8").splitlines()
    return Observed(check_row(json.loads(line)) for line in lines)


def test_scores_rank_by_their_test_and_then_on_the_same_pairs(observed):
    standings = board(observed)
    names = [s.name for s in standings]
    ranked = [s.name for s in standings if s.rank]
    # tests that hold, then scores without one, then a test that calls chance a finding
    assert ranked[:2] == ["ours@1", "mppc2024"]
    assert ranked[2] == R_RULE
    assert set(ranked[3:-1]) == set(COMPARED)
    assert ranked[-1] == "stability"
    # the truth itself by its Spearman, and yet last: its test finds it where nothing is
    assert standings[names.index("stability")].compared.value == pytest.approx(1)
    # what is constant has no rank, and says why; controls stand below
    constant = standings[names.index(ALIGNED)]
    assert constant.rank is None
    assert "all scores or all levels are equal" in constant.compared.reason
    assert names[-3:] == ["planted_truth", "planted_geometry", "planted_constant"]


def test_numbers_that_are_compared_rest_on_the_same_pairs(observed):
    pairs = 5 * sum(c.shared >= 0.5 for c in GRID)
    for standing in board(observed):
        if standing.compared.known:
            assert (standing.compared.defined, standing.compared.total) == (pairs, 5 * len(GRID))
    rule = next(s for s in board(observed) if s.name == R_RULE)
    # over its own pairs it tells sharing from none, on the others it says next to nothing
    assert rule.answered.value > 0.8
    assert rule.answered.defined == 5 * len(GRID)
    assert rule.compared.value < rule.answered.value - 0.3


def test_a_test_that_hardly_answers_says_nothing(observed):
    rows = planted_rows()
    zeros = [r for r in rows if r["metric"] == "p" and r["variant"] == "ours@1"]
    for row in zeros[: 2 * len(zeros) // 3]:
        row |= {"value": None, "status": "undefined", "reason": "too few latents"}
    partly, whole = (o.estimate(false_positives("ours@1")) for o in (Observed(rows), observed))
    assert (partly.defined, partly.total) == (4, 10)
    assert (
        tier(whole)
        < tier(partly)
        == tier(None)
        < tier(observed.estimate(false_positives("stability")))
    )


def test_on_the_committed_rows_the_board_compares_alike(committed):
    """What two scores were said to differ by was mostly the pairs that one of them leaves out."""
    on_same = lambda name: committed.estimate(on_compared_pairs(spearman(name)))
    expected = {R_RULE: 0.44, ALIGNED: 0.26, "ours@1": 0.88, "cka_debiased": -0.15}
    for name, value in expected.items():
        assert on_same(name).value == pytest.approx(value, abs=0.005)
        assert on_same(name).defined == 5 * 15
    of_all = {R_RULE: 0.88, ALIGNED: 0.87, "ours@1": 0.98}
    for name, value in of_all.items():
        assert committed.estimate(spearman(name)).value == pytest.approx(value, abs=0.005)
        assert committed.estimate(spearman(name)).defined == 5 * 28
    lead = PAGE.contents(committed.rows).lead
    assert "On the 75 of 140 pairs" in lead
    assert "0.88 for ours@1, 0.44 for best correlation > .1" in lead
    assert "0.98 for ours@1, 0.88 for best correlation > .1" in lead


def test_a_floor_is_what_is_reached_where_nothing_is_shared(observed):
    zeros = [
        row["value"]
        for row in observed.rows
        if row["variant"] == "mppc2024" and row["metric"] == "score" and row["condition"] in ZEROS
    ]
    # fewer than 20 pairs: nothing below the largest keeps 5 % with certainty
    assert observed.estimate(threshold("mppc2024")).value == max(zeros)
    each = [observed.estimate(at_zero("mppc2024", zero)).value for zero in ZEROS]
    assert np.mean(each) == pytest.approx(np.mean(zeros), abs=1e-6)
    # the truth itself parts the two without error; a measure that never answers has no floor
    for t in (0.0, 1.0):
        assert observed.estimate(passed("ours@1", t)).value == 1
    assert observed.estimate(threshold("rsa")).reason == WHY


def test_the_boards_columns_are_the_planted_ones(observed):
    value = lambda quantity: observed.estimate(quantity).value
    assert value(ordering("planted_truth")) == value(spearman("planted_truth")) == 1
    assert value(MOVED["geometry"]("planted_geometry")) == pytest.approx(1)
    assert value(MOVED["geometry"]("planted_truth")) == pytest.approx(0, abs=0.02)
    assert value(false_positives("stability")) == 1
    noisy = observed.estimate(spearman("mppc2024"))
    assert noisy.interval.lo < noisy.value < noisy.interval.hi


def test_a_pair_seen_otherwise_is_held_against_itself():
    rows = [r for r in planted_rows(1) if r["condition"] == "shared 1, t 1"]
    for suffix, change in ((TURNED, 0.1), (FEW, 0.25)):
        rows += [
            {**r, "condition": r["condition"] + suffix, "value": r["value"] + change}
            for r in rows
            if r["metric"] == "score" and r["condition"] == "shared 1, t 1"
        ]
    seen = Observed(rows)
    assert seen.estimate(MOVED["turned"]("ours@1")).value == pytest.approx(0.1)
    assert seen.estimate(MOVED["tokens"]("ours@1")).value == pytest.approx(0.25)
    # views are no pairs of their own
    assert seen.estimate(SCORES["ours@1"]).total == 1


def test_inversion_names_what_lay_behind_a_score(observed):
    table = inversion(Reader(observed, (), {}, "page"), "planted_truth")
    column = lambda name: [row[table.header.index(name)] for row in table.rows]
    assert column("features in common")[0].startswith("0.00")
    assert column("features in common")[-1].endswith("1.00")
    assert sum(map(int, column("pairs"))) == 5 * len(GRID)


def test_no_two_arms_train_alike_and_levels_name_all_conditions():
    scale = validity.DESIGN.scales["standard"]
    arms = validity.DESIGN.arms_of(scale)
    assert len({json.dumps(arm.spec(), sort_keys=True) for arm in arms}) == len(arms) == 12
    assert set(ZEROS) <= set(validity.DESIGN.levels(scale)["condition"])
    # B's SAEs of another width are a training of their own, in the space of their arm
    by_name = {c.arm.name: c for c in validity.DESIGN.contexts("standard", "dev")}
    assert [t.d_sae for t in validity.DESIGN.train(by_name["wide"])] == [
        scale.d_sae,
        2 * scale.d_sae,
    ]
    assert [t.d_in for t in validity.DESIGN.train(by_name["crowded"])] == [scale.d_in // 2]
