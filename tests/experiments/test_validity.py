"""The board of validity@1 on planted rows, and its smallest real cell."""

import numpy as np
import pytest

from synthsae_jax.experiments.validity import experiment as validity
from synthsae_jax.experiments.validity.board import board, inversion
from synthsae_jax.experiments.validity.floors import floors
from synthsae_jax.io.rows import make_row


def planted_rows(n_worlds=5):
    """Pairs of five worlds: a score that is the truth with noise, and the three controls."""
    rng = np.random.default_rng(0)
    rows = []
    for world in range(n_worlds):
        for place, condition in enumerate(validity.GRID):
            true = 0.9 * condition.shared + 0.02 * rng.random()
            scores = {
                "planted_truth": true,
                "planted_geometry": condition.sharing,
                "planted_constant": 0.5,
                "noisy": true + 0.3 * rng.normal(),
                "eager": true,
            }
            numbers = [(name, "score", value) for name, value in scores.items()]
            numbers += [("truth", name, true) for name in ("true_universality",)]
            if condition.shared == 0:
                numbers.append(("eager", "p", 0.01))
            for variant, metric, value in numbers:
                rows.append(
                    make_row(
                        benchmark=validity.ID,
                        run_id="a",
                        run_id_b=f"b{place}",
                        step=1,
                        world_seed=world,
                        condition=condition.name,
                        variant=variant,
                        metric=metric,
                        value=value,
                        factor_arm="random",
                        factor_shared=condition.shared,
                        factor_t=condition.sharing,
                        factor_gram_correlation=condition.sharing,
                    )
                )
    return rows


@pytest.fixture(scope="module")
def found():
    return board(planted_rows())


def test_the_truth_ranks_first_and_controls_last(found):
    order = [record["score"] for record in found]
    assert order[0] == "planted_truth"
    assert order[1] == "noisy"
    # the knob says nothing about features, a constant nothing at all
    assert order.index("planted_geometry") < order.index("planted_constant")
    # the truth itself, with a test that finds it where nothing is: behind all of these
    assert order[-1] == "eager"


def test_a_floor_is_what_is_reached_where_nothing_is_shared():
    by_name = {record["score"]: record for record in floors(planted_rows())}
    assert not any(name.startswith("planted") for name in by_name)
    zeros = [
        row["value"]
        for row in planted_rows()
        if row["variant"] == "noisy" and row["metric"] == "score" and row["factor_shared"] == 0
    ]
    noisy = by_name["noisy"]
    assert noisy["pairs"] == len(zeros)
    # fewer than 20 pairs: nothing below the largest keeps 5 % with certainty
    assert noisy["threshold"] == max(zeros) if len(zeros) < 20 else noisy["threshold"] < max(zeros)
    both = [noisy[zero].estimate for zero in ("disjoint_independent", "disjoint_coupled")]
    assert np.nanmean(both) == pytest.approx(np.mean(zeros), abs=1e-6)
    # the truth itself parts the two without error
    assert by_name["eager"]["passed, t 1"] == by_name["eager"]["passed, t 0"] == 1


def test_the_boards_columns_are_the_planted_ones(found):
    by_name = {record["score"]: record for record in found}
    assert by_name["planted_truth"]["spearman"] == pytest.approx(1)
    assert by_name["planted_truth"]["ordering"] == 1
    assert by_name["planted_geometry"]["geometry"] == pytest.approx(1)
    assert by_name["planted_truth"]["geometry"] == pytest.approx(0, abs=0.02)
    assert by_name["eager"]["false_positives"] == 1
    assert np.isnan(by_name["planted_constant"]["spearman"])
    low, high = by_name["noisy"]["spearman_interval"]
    assert low < by_name["noisy"]["spearman"] < high


def test_inversion_names_what_lay_behind_a_score():
    table = inversion(planted_rows(), "planted_truth")
    assert table[0]["shared"][0] == 0
    assert table[-1]["shared"][2] == 1
    assert sum(record["n"] for record in table) == 5 * 8
