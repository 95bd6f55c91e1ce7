"""partial@1 on planted rows and decoders, and its smallest real cells."""

import dataclasses

import numpy as np
import pytest

from synthsae_jax.experiments.partial import claims as partial_claims
from synthsae_jax.experiments.partial import experiment as partial
from synthsae_jax.experiments.partial.joint import JOINT_TRUTH, calls, joint_numbers
from synthsae_jax.io.rows import make_row
from synthsae_jax.matching import TruthSweep
from synthsae_jax.report.partial_page import partial as partial_page
from synthsae_jax.saes import SAEParams
from synthsae_jax.suite.claims import judge
from synthsae_jax.suite.study import Subject


def planted_rows(excess=0.3, forced=0.5, n_worlds=5):
    """A rule that overstates by `excess`, a universal SAE that calls `forced` of all shared."""
    rng = np.random.default_rng(0)
    rows = []
    for world in range(n_worlds):
        for level in partial.LEVELS:
            numbers = []
            for arm in partial.GEOMETRIES:
                numbers += [
                    (arm, partial_claims.R_RULE, "declared", level + excess),
                    (arm, partial_claims.COSINE_RULE, "declared", level),
                    (arm, "truth", "true_universality", 0.8 * level),
                ]
                for group, auroc in (("", 0.95), ("_q1", 0.7), ("_q4", 0.99)):
                    metric = f"sharedness_auroc{group}"
                    numbers.append((arm, "activation_pearson", metric, auroc))
            for name, exclusive, shared, declared in (
                ("crosscoder", 0.05, 0.1, level),
                ("crosscoder_l1", 0.35, 0.1, level),
                ("universal", 0.05, 0.1 + forced, max(level, forced)),
            ):
                numbers += [
                    (name, name, "false_exclusive", exclusive),
                    (name, name, "false_shared", shared),
                    (name, name, "declared", declared),
                ]
            for arm, variant, metric, value in numbers:
                rows.append(
                    make_row(
                        benchmark=partial.ID,
                        run_id=f"{arm}{level}",
                        step=1,
                        world_seed=world,
                        metric=metric,
                        variant=variant,
                        value=value + 0.001 * rng.random(),
                        factor_arm=arm,
                        factor_shared=level,
                    )
                )
    return rows


def verdicts(rows):
    return {r["hypothesis"]: r["verdict"] for r in judge(partial_claims.CLAIMS, rows)}


def test_planted_errors_are_found_and_a_right_rule_is_not_blamed():
    found = verdicts(planted_rows())
    assert found["H9 correlation"] == found["H9 zero"] == "supported"
    assert found["H9 cosine"] == found["H9 crosscoder"] == "refuted"
    assert found["H9 detection"] == found["H9 rare"] == "supported"
    assert found["H9 false exclusive"] == found["H9 false shared"] == "supported"


def test_other_rows_come_out_otherwise():
    found = verdicts(planted_rows(excess=0.0, forced=0.0))
    assert found["H9 correlation"] == found["H9 zero"] == found["H9 false shared"] == "refuted"
    assert set(verdicts(planted_rows(n_worlds=3)).values()) == {"undecided"}


def test_the_page_says_what_was_planted():
    made = partial_page(planted_rows(), "page")
    assert "r > .1 (rotated) 0.80" in made.lead
    assert "AUROC of 0.95" in made.lead
    assert "universal SAE" in str(made.sections[2].tables[0])
    assert len(made.sections[0].figures) == len(made.sections[1].figures) == 1


def test_relative_norms_are_read_as_planted():
    share = np.array([0.5, 0.5, 0.05, 0.98, 0.3, 0.5])
    rng = np.random.default_rng(0)
    halves = rng.normal(size=(2, 6, 8))
    halves /= np.linalg.norm(halves, axis=-1, keepdims=True)
    rows = np.concatenate([(1 - share)[:, None] * halves[0], share[:, None] * halves[1]], 1)
    run = (SAEParams(W_dec=rows.astype(np.float32)),)
    subject = Subject("joint", None, run, None, rows, None)
    # features 0 and 1 are of both, 2 of A, 3 of B
    present = np.array([True, True, True, False]), np.array([True, True, False, True])
    truth = TruthSweep((JOINT_TRUTH,), np.array([[0, 2, 1, 3, 1, -1]]))
    alive = np.ones(6, bool)
    found = {n.metric: n.value for n in joint_numbers(subject, truth, alive, present)}
    assert found["false_exclusive"] == pytest.approx(1 / 3)
    assert found["false_shared"] == pytest.approx(1 / 2)
    assert found["declared"] == pytest.approx(3 / (3 + 2 / 2))
    assert calls(np.array([np.nan]))["shared"].tolist() == [False]
    dead = dataclasses.replace(subject, label="dead")
    nothing = joint_numbers(dead, truth, ~alive, present)
    assert np.isnan([n.value for n in nothing if n.metric == "declared"]).all()


def test_the_smallest_cells_count_and_detect():
    pairs, joint = partial.cells("smoke", "dev")
    rows = pairs.compute(lambda done, what: None)
    value = {(r["variant"], r["metric"]): r["value"] for r in rows}
    assert value["truth", "features_shared"] == pytest.approx(0.5, abs=0.02)
    assert value["activation_pearson", "sharedness_auroc"] > 0.6
    rows = joint.compute(lambda done, what: None)
    value = {r["metric"]: r["value"] for r in rows}
    assert {r["variant"] for r in rows} == {"crosscoder"}
    assert 0 <= value["declared"] <= 1
    assert value["tracked"] > 0
