"""evolution@1 on planted curves, and its smallest real cells."""

import math

import numpy as np
import pytest

from synthsae_jax.experiments.evolution import claims as evolution_claims
from synthsae_jax.experiments.evolution import experiment as evolution
from synthsae_jax.experiments.evolution.claims import CURVES, reached
from synthsae_jax.experiments.evolution.scores import frequency_edges, quarter
from synthsae_jax.io.rows import make_row
from synthsae_jax.report.evolution_page import evolution as evolution_page
from synthsae_jax.suite.claims import judge

STEPS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


def planted_rows(ahead=2.0, rare=1.0, n_worlds=5):
    """Curves that rise around a step: scores `ahead` doublings before the truth, cosine with it."""
    rng = np.random.default_rng(0)
    rows = []
    for world in range(n_worlds):
        for arm in (evolution_claims.TRAINING, evolution_claims.MATURITY):
            for name, (variant, metric) in CURVES.items():
                follows = name in ("truth", "aligned cosine > .7")
                follows |= arm == evolution_claims.MATURITY
                for suffix, later in (("", 0.0), ("_q1", rare), ("_q4", -rare)):
                    centre = 5 + later - (0 if follows else ahead) + 0.01 * rng.normal()
                    for step in STEPS:
                        value = 0.8 / (1 + math.exp(-4 * (math.log2(step) - centre)))
                        rows.append(
                            make_row(
                                benchmark=evolution.ID,
                                run_id=f"{arm}{step}",
                                step=step,
                                world_seed=world,
                                condition=evolution_claims.SHARED,
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
    return {r["hypothesis"]: r["verdict"] for r in judge(evolution_claims.CLAIMS, rows)}


def test_reached_reads_the_step_off_the_logarithm():
    assert reached([1, 10, 100], [0, 0.9, 1.0]) == pytest.approx(10)
    assert reached([1, 10, 100], [0, 0.45, 1.0]) == pytest.approx(10 * 10 ** (0.45 / 0.55))
    # there from the start, never above 0, nothing known
    assert reached([2, 4], [1.0, 1.0]) == 2
    assert math.isnan(reached([2, 4], [0.5, 0.0]))
    assert math.isnan(reached([2, 4], [math.nan, math.nan]))


def test_planted_curves_come_out_as_planted():
    found = verdicts(planted_rows())
    assert set(found.values()) == {"supported"}
    late = verdicts(planted_rows(ahead=-1.0, rare=0.0))
    assert late["E10a"] == late["E10c"] == late["E10d"] == "refuted"
    assert late["E10b"] == late["E10e"] == "supported"
    assert set(verdicts(planted_rows(n_worlds=3)).values()) == {"undecided"}


def test_the_page_says_what_was_planted():
    made = evolution_page(planted_rows(), "page")
    table = {row[0]: row[1] for row in made.sections[0].tables[0].rows}
    truth, early = (float(table[name].split()[0]) for name in ("truly shared", "RSA"))
    assert truth == pytest.approx(4 * early, rel=0.1)
    assert f"truly shared {table['truly shared']}" in made.lead
    assert len(made.sections[1].figures) == len(made.sections[2].figures) == 1


def test_quarters_part_the_most_frequent_features():
    rates = np.array([0.4, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 0.0005])
    edges = frequency_edges(rates, 8)
    place = quarter(rates, edges)
    # what is beyond the width is as rare as the rarest
    assert place.tolist() == [3, 3, 2, 2, 1, 1, 0, 0, 0, 0]
    assert quarter(np.zeros(2), edges).tolist() == [-1, -1]


def test_the_smallest_cell_follows_a_training():
    (cell,) = evolution.cells("smoke", "dev")
    rows = cell.compute(lambda done, what: None)
    keys = {(r["run_id"], r["run_id_b"], r["step"], r["metric"], r["variant"]) for r in rows}
    assert len(keys) == len(rows)
    assert sorted({r["step"] for r in rows}) == sorted({r["factor_age"] for r in rows})
    shared = [r for r in rows if r["condition"] == evolution_claims.SHARED]
    true = evolution_claims.curve(shared, evolution_claims.TRAINING, "truth")
    assert list(true) == [1, 20, 400]
    assert true[1] < true[400]
    floor = [r for r in rows if r["condition"] != evolution_claims.SHARED]
    assert {r["value"] for r in floor if r["variant"] == "truth"} == {0.0}
