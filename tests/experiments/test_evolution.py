"""evolution@1 on planted curves, and its real cells beside those of the contract test."""

import math

import numpy as np
import pytest

from synthsae_jax.experiments import contract, evolution
from synthsae_jax.experiments.evolution.measure import (
    DISJOINT,
    MATURITY,
    SHARED,
    TRAINING,
    frequency_edges,
    quarter,
)
from synthsae_jax.experiments.evolution.quantities import (
    BEST_R,
    CURVES,
    FROM_THE_START,
    STILL_RISING,
    TRUTH,
    reached,
    step_of,
)
from synthsae_jax.io.rows import make_row
from synthsae_jax.suite.claims import judge
from synthsae_jax.suite.quantity import Observed

STEPS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


def planted_rows(ahead=2.0, rare=1.0, n_worlds=5):
    """Curves that rise around a step: scores `ahead` doublings before the truth, cosine with it."""
    rng = np.random.default_rng(0)
    rows = []
    for world in range(n_worlds):
        for arm in (TRAINING, MATURITY):
            for name, (metric, variant, _) in CURVES.items():
                follows = name in (TRUTH, "aligned cosine > .7") or arm == MATURITY
                for suffix, later in (("", 0.0), ("_q1", rare), ("_q4", -rare)):
                    centre = 5 + later - (0 if follows else ahead) + 0.01 * rng.normal()
                    for step in STEPS:
                        value = 0.8 / (1 + math.exp(-4 * (math.log2(step) - centre)))
                        rows.append(
                            make_row(
                                benchmark=evolution.DESIGN.id,
                                run_id=f"{arm}{step}",
                                step=step,
                                world_seed=world,
                                condition=SHARED,
                                metric=metric + suffix,
                                variant=variant,
                                value=value,
                                factor_arm=arm,
                                factor_age=step,
                                factor_features=200.0,
                            )
                        )
    return rows


def verdicts(rows):
    return {r["hypothesis"]: r["verdict"] for r in judge(evolution.CLAIMS, rows)}


def test_reached_reads_the_step_off_the_logarithm():
    assert reached([1, 10, 100], [0, 0.9, 1.0]) == pytest.approx(10)
    assert reached([1, 10, 100], [0, 0.45, 1.0]) == pytest.approx(10 * 10 ** (0.45 / 0.55))
    # there from the start, never above 0, nothing known
    assert reached([2, 4], [1.0, 1.0]) == 2
    assert math.isnan(reached([2, 4], [0.5, 0.0]))
    assert math.isnan(reached([2, 4], [math.nan, math.nan]))


def test_planted_curves_come_out_as_planted():
    assert set(verdicts(planted_rows()).values()) == {"supported"}
    late = verdicts(planted_rows(ahead=-1.0, rare=0.0))
    assert late["E10a"] == late["E10c"] == late["E10d"] == "refuted"
    assert late["E10b"] == late["E10e"] == "supported"
    assert set(verdicts(planted_rows(n_worlds=3)).values()) == {"undecided"}


def test_a_curve_that_never_leaves_0_has_no_step_and_says_so():
    flat = [{**row, "value": 0.0} for row in planted_rows(n_worlds=1)]
    estimate = Observed(flat).estimate(step_of(TRUTH, TRAINING))
    assert not estimate.known
    assert estimate.reason == "the curve does not end above 0"


def test_the_page_says_what_was_planted():
    rows = planted_rows()
    made = evolution.PAGE.contents(rows, claims=evolution.CLAIMS)
    settled, training, maturity = made.sections[:3]
    table = {row[0]: row[1:] for row in settled.tables[0].rows}
    truth, early = (float(table[name][0].split()[0]) for name in (TRUTH, "RSA"))
    assert truth == pytest.approx(4 * early, rel=0.1)
    assert f"nine tenths of its end at step {table[TRUTH][0]}" in made.lead
    assert table["RSA"][1:] == ("\u2013",) * 4
    (figure,) = training.figures
    drawn = {(r["metric"], r["series"]) for r in figure.plot.data.rows}
    assert ("RSA", "all") in drawn
    assert ("RSA", "rarest quarter") not in drawn
    assert {r["steps"] for r in figure.plot.data.rows} == set(STEPS)
    assert len(maturity.figures) == 1
    one = Observed(row for row in rows if row["world_seed"] == 2)
    curve = {r["step"]: r["value"] for r in rows if r["world_seed"] == 2 and _is(r, TRUTH)}
    rise = one.estimate(STILL_RISING).value
    assert rise == pytest.approx(curve[1024] - curve[512])
    first = next(r["value"] for r in rows if r["world_seed"] == 2 and _is(r, BEST_R))
    assert one.estimate(FROM_THE_START).value == first


def _is(row, name):
    metric, variant, _ = CURVES[name]
    at = (row["metric"], row["variant"], row["factor_arm"])
    return at == (metric, variant, TRAINING)


def test_quarters_part_the_most_frequent_features():
    rates = np.array([0.4, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 0.0005])
    edges = frequency_edges(rates, 8)
    place = quarter(rates, edges)
    # what is beyond the width is as rare as the rarest
    assert place.tolist() == [3, 3, 2, 2, 1, 1, 0, 0, 0, 0]
    assert quarter(np.zeros(2), edges).tolist() == [-1, -1]


def test_maturing_models_keep_the_contract():
    # the smallest scale has no ages; few enough, and few steps, that models lack features
    cells = contract.smallest(evolution.DESIGN, arms=(MATURITY,), ages=(14, 32))
    assert contract.faults_of(evolution.DESIGN, cells) == []


def test_the_smallest_cell_follows_a_training():
    (cell,) = evolution.DESIGN.cells("smoke", "dev")
    rows = cell.compute(lambda done, what: None)
    keys = {(r["run_id"], r["run_id_b"], r["step"], r["metric"], r["variant"]) for r in rows}
    assert len(keys) == len(rows)
    assert sorted({r["step"] for r in rows}) == sorted({r["factor_age"] for r in rows})
    metric, variant, _ = CURVES[TRUTH]
    true = [r for r in rows if (r["metric"], r["variant"]) == (metric, variant)]
    by_step = {r["step"]: r["value"] for r in true if r["condition"] == SHARED}
    assert list(by_step) == [1, 20, 400]
    assert by_step[1] < by_step[400]
    assert {r["value"] for r in true if r["condition"] == DISJOINT} == {0.0}
    # relational measures where nothing is shared: too few pairs, and the rows say so
    lost = {r["reason"] for r in rows if r["value"] is None}
    assert all("pairs correlate above" in reason for reason in lost)
