"""partial@1 on planted rows and decoders."""

import dataclasses

import numpy as np
import pytest

from synthsae_jax.experiments import partial
from synthsae_jax.experiments.partial.claims import CLAIMS
from synthsae_jax.experiments.partial.joint import JOINT_TRUTH, joint_numbers
from synthsae_jax.experiments.partial.measure import COSINE_RULE, R_RULE, PartialScale, auroc_of
from synthsae_jax.experiments.partial.page import PAGE
from synthsae_jax.io.rows import make_row
from synthsae_jax.matching import TruthSweep
from synthsae_jax.saes import SAEParams
from synthsae_jax.suite.claims import judge
from synthsae_jax.suite.joint import calls
from synthsae_jax.suite.reading import Subject

# of the best correlation, by arm and quarter of frequency (0: all)
AUROC = {
    "rotated": {0: 0.91, 1: 0.65, 4: 0.99},
    "independent": {0: 0.95, 1: 0.7, 4: 0.99},
}


def planted_rows(excess=0.3, forced=0.5, n_worlds=5):
    """A rule that overstates by `excess`, a universal SAE that calls `forced` of all shared."""
    rng = np.random.default_rng(0)
    rows = []
    for world in range(n_worlds):
        for level in PartialScale.levels:
            numbers = []
            for arm, aurocs in AUROC.items():
                numbers += [
                    (arm, R_RULE, "declared", level + excess),
                    (arm, COSINE_RULE, "declared", level),
                    (arm, "truth", "true_universality", 0.8 * level),
                ]
                numbers += [
                    (arm, "activation_pearson", auroc_of(quarter), auroc)
                    for quarter, auroc in aurocs.items()
                ]
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
                        benchmark=partial.DESIGN.id,
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
    return {r["hypothesis"]: r["verdict"] for r in judge(CLAIMS, rows)}


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
    made = PAGE.contents(planted_rows(), claims=CLAIMS)
    assert "r > .1 80 %" in made.lead
    assert "universal SAE" in str(made.sections[2].tables[0])
    assert len(made.sections[0].figures) == 1


def test_arms_are_told_apart_in_sentence_figure_and_claim():
    """What differs between rotated and independent directions is not averaged over the two."""
    rows = planted_rows()
    made = PAGE.contents(rows, claims=CLAIMS)
    assert "0.91 [0.91, 0.91] with rotated directions (0.65" in made.lead
    assert "0.95 [0.95, 0.95] with directions of their own (0.70" in made.lead
    each = [f.plot.data.rows for f in made.sections[1].figures]
    assert [round(float(rows[0]["estimate"]), 2) for rows in each] == [0.91, 0.95]
    estimates = {r["hypothesis"]: r["estimate"] for r in judge(CLAIMS, rows)}
    assert estimates["H9 detection"] == pytest.approx(0.45, abs=0.002)
    assert estimates["H9 rare"] == pytest.approx(0.29, abs=0.002)


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
    assert np.isnan([n.value for n in nothing]).all()
    # each number says what it lacks
    assert len({n.reason for n in nothing}) == 4
