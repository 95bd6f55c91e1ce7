"""matching@1: counts against `match_report`, planted rows to claims and page, the smallest cell."""

import numpy as np
import pytest

from synthsae_jax import matching
from synthsae_jax.experiments.matching import experiment
from synthsae_jax.experiments.matching.claims import CLAIMS
from synthsae_jax.experiments.matching.grid import FROM_CODES, SOLVERS, Setting
from synthsae_jax.experiments.matching.quality import Quality, common, pairs_of, quality
from synthsae_jax.experiments.matching.rungs import LinearEncoder
from synthsae_jax.io.rows import make_row
from synthsae_jax.report.folder_page import pages
from synthsae_jax.report.views import summary  # noqa: F401  registers the pages
from synthsae_jax.suite.claims import judge


def test_counts_are_those_of_the_match_report():
    rng = np.random.default_rng(0)
    parent = np.where(np.arange(20) < 5, -1, np.arange(20) // 5)
    truth_a, truth_b = (rng.integers(-1, 20, 30).astype(np.int32) for _ in range(2))
    found = matching.solve("assignment", rng.normal(size=(30, 30)).astype(np.float32), 0.2)

    class World:
        class forest:
            pass

    World.forest.parent = parent
    report = matching.match_report(found, truth_a, truth_b, world=World)
    counts = quality(pairs_of(found), truth_a, truth_b, parent)
    for name in ("precision", "recall", "f1", "accuracy_given_recovery"):
        assert counts.numbers[name] == pytest.approx(report[name])
    kin = report["false_universality_kin"] / report["false_universality"]
    assert counts.numbers["kin_share_of_wrong"] == pytest.approx(kin)
    # split by latent of A and pooled again, pairs are counted once
    left = rng.random(30) < 0.5
    parts = [quality(pairs_of(found), truth_a, truth_b, parent, half) for half in (left, ~left)]
    pooled = parts[0] + parts[1]
    assert (pooled.matched, pooled.right, pooled.wrong) == (
        counts.matched,
        counts.right,
        counts.wrong,
    )


def test_pairs_in_common_are_those_of_both():
    scores = np.eye(4, dtype=np.float32)
    other = scores[[0, 1, 3, 2]]
    one, two = (matching.solve("assignment", s, 0.5) for s in (scores, other))
    rows, cols = common(one, two)
    np.testing.assert_array_equal([rows, cols], [[0, 1], [0, 1]])


def test_the_untrained_encoder_keeps_the_largest():
    x = np.array([[3.0, 1.0, -2.0, 2.0]], np.float32)
    run = np.eye(4, dtype=np.float32), np.zeros(4, np.float32), np.zeros(4, np.float32)
    dense, _ = LinearEncoder(None)(run, None, x)
    kept, _ = LinearEncoder(2)(run, None, x)
    np.testing.assert_array_equal(dense, [[3, 1, 0, 2]])
    np.testing.assert_array_equal(kept, [[3, 0, 0, 2]])


def planted_rows(n_worlds=5):
    """Codes beat directions only where geometry is not shared; relatives are most of the errors."""
    rng = np.random.default_rng(0)
    right = {"decoder_cosine_aligned/1": 0.95, "decoder_cosine_aligned/0": 0.4}
    rows = []
    for world in range(n_worlds):
        for arm in experiment.ARMS:
            for rung in ("oracle", "encoder", "trained"):
                settings = []
                for n in (1_000, 50_000):
                    for stratum in ("all", "q1", "q2", "q3", "q4"):
                        settings += [
                            Setting(score, "mutual_nearest", n, stratum=stratum)
                            for score in (*FROM_CODES, "preactivation_pearson")
                        ]
                    settings.append(
                        Setting("activation_pearson", "argmax", n, "all", "few", "published")
                    )
                for solver in SOLVERS:
                    settings.append(Setting("activation_pearson", solver, 50_000))
                    settings += [
                        Setting(score, solver, 50_000, t)
                        for score in ("decoder_cosine_aligned", "pearson_and_cosine")
                        for t in ("1", "0")
                    ]
                settings += [
                    Setting("activation_pearson", "mutual_nearest", 50_000, t) for t in ("1", "0")
                ]
                settings += [
                    Setting(score, "argmax", 50_000, threshold="published")
                    for score in ("activation_pearson", "preactivation_pearson")
                ]
                for setting in dict.fromkeys(settings):
                    value = right.get(f"{setting.score}/{setting.t}", 0.85)
                    if setting.score == "pearson_and_cosine":
                        value = 1.0
                    if setting.stratum == "few":
                        value = 0.2
                    if setting.stratum == "q1" and setting.tokens > 1_000:
                        value = 0.99
                    if setting.score == "phi" and setting.tokens == 1_000:
                        value = 0.95
                    if setting.solver == "assignment_forced":
                        value = 0.5
                    if rung == "encoder":
                        value = 0.99
                    value += 0.001 * rng.normal()
                    numbers = {"precision": value, "recall": value, "kin_share_of_wrong": 0.8}
                    for metric, number in numbers.items():
                        rows.append(
                            make_row(
                                benchmark=experiment.ID,
                                run_id=f"{rung}-{arm.name}-{world}",
                                step=1,
                                world_seed=world,
                                condition=rung,
                                metric=metric,
                                variant=setting.variant,
                                value=number,
                                factor_arm=arm.name,
                                factor_score=setting.score,
                                factor_solver=setting.solver,
                                factor_tokens=setting.tokens,
                                factor_t=setting.t,
                                factor_stratum=setting.stratum,
                                factor_threshold=setting.threshold,
                                factor_truth=setting.truth,
                            )
                        )
    return rows


@pytest.fixture(scope="module")
def rows():
    return planted_rows()


def test_claims_say_what_was_planted(rows):
    verdicts = {r["hypothesis"]: r["verdict"] for r in judge(CLAIMS, rows)}
    for name in ("H6a few", "H6a many", "H6b phi", "H6b decoder", "H6b activation", "H6b both"):
        assert verdicts[name] == "supported", name
    assert verdicts["H6b z"] == "refuted"
    assert verdicts["H6c recall"] == verdicts["H6c junk"] == "supported"
    # no loss was planted for pre-activations
    assert verdicts["H6d crowding"] == verdicts["H6d published"] == "refuted"
    assert verdicts["H6e"] == verdicts["ladder"] == "supported"


def test_the_page_shows_ladder_board_and_verdicts(rows):
    made = pages["matching"](rows, "page")
    assert "0.99 behind an untrained encoder" in made.lead
    assert [s.title for s in made.sections][-1] == "Verdicts"
    assert sum(len(s.figures) for s in made.sections) == 3


def test_variants_tell_settings_apart(rows):
    keys = [(r["run_id"], r["variant"], r["metric"]) for r in rows]
    assert len(set(keys)) == len(keys)
    assert Quality().numbers["precision"] != Quality().numbers["precision"]  # NaN: nothing matched


def test_true_codes_are_matched_without_error_in_the_smallest_cell(monkeypatch):
    size = {**experiment.SIZES["smoke"], "n_train": 12_800, "tokens": (1_000, 4_096)}
    monkeypatch.setattr(experiment, "SIZES", {"smoke": size})
    (cell,) = experiment.cells("smoke", "test")
    rows = cell.compute(lambda done, what: None)
    found = {(r["condition"], r["variant"], r["metric"]): r["value"] for r in rows}
    assert len(found) == len(rows)
    for metric in ("precision", "recall"):
        assert found["oracle", "activation_pearson/mutual_nearest/n=4096", metric] == 1
        aligned = "decoder_cosine_aligned/mutual_nearest/n=4096/t=1"
        assert found["oracle", aligned, metric] == 1
    # a quarter of the features has no partner, and an assignment without a threshold pairs them
    forced = found["oracle", "activation_pearson/assignment_forced/n=4096", "precision"]
    assert forced == pytest.approx(0.75, abs=0.05)
