"""matching@1: counts against `match_report`, planted rows to claims and page, true codes."""

import numpy as np
import pytest

from synthsae_jax import matching
from synthsae_jax.experiments.contract import smallest
from synthsae_jax.experiments.matching import CLAIMS, DESIGN, PAGE, PRIMARY
from synthsae_jax.experiments.matching.quality import KIN, Quality, common, pairs_of, quality
from synthsae_jax.experiments.matching.rungs import LinearEncoder
from synthsae_jax.experiments.matching.setting import (
    ALIGNED,
    ARMS,
    BOTH,
    COUNTS,
    PHI,
    RUNGS,
    settings,
)
from synthsae_jax.io.rows import make_row
from synthsae_jax.suite.claims import judge
from synthsae_jax.suite.quantity import Observed

TOKENS = DESIGN.scales["small"].tokens


def test_counts_are_those_of_the_match_report():
    rng = np.random.default_rng(0)
    parent = np.where(np.arange(20) < 5, -1, np.arange(20) // 5)
    truth_a, truth_b = (rng.integers(-1, 20, 30).astype(np.int32) for _ in range(2))
    m = matching.solve("assignment", rng.normal(size=(30, 30)).astype(np.float32), 0.2)

    class World:
        class forest:
            pass

    World.forest.parent = parent
    report = matching.match_report(m, truth_a, truth_b, world=World)
    counts = quality(pairs_of(m), truth_a, truth_b, parent)
    for name in ("precision", "recall", "accuracy_given_recovery"):
        assert counts.numbers[name] == pytest.approx(report[name])
    kin = report["false_universality_kin"] / report["false_universality"]
    assert counts.numbers[KIN] == pytest.approx(kin)
    # split by latent of A and pooled again, pairs are counted once
    left = rng.random(30) < 0.5
    parts = [quality(pairs_of(m), truth_a, truth_b, parent, half) for half in (left, ~left)]
    pooled = parts[0] + parts[1]
    assert (pooled.matched, pooled.right, pooled.wrong) == (
        counts.matched,
        counts.right,
        counts.wrong,
    )
    assert all(np.isnan(value) for value in Quality().numbers.values())


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
    sparse, _ = LinearEncoder(2)(run, None, x)
    np.testing.assert_array_equal(dense, [[3, 1, 0, 2]])
    np.testing.assert_array_equal(sparse, [[3, 0, 0, 2]])


def test_variants_tell_settings_apart():
    asked = [s for arm in ARMS for rung in RUNGS for s in settings(arm, rung, COUNTS)]
    distinct = set(asked)
    assert len({s.variant for s in distinct}) == len(distinct)


def planted(setting, rung):
    """Precision: codes beat directions only where geometry is not shared, phi where few tokens."""
    if rung == "encoder":
        return 0.99
    if setting.score == BOTH:
        return 1.0
    if setting.score == ALIGNED:
        return 0.95 if setting.t == "1" else 0.4
    if setting.stratum == "few":
        return 0.2
    if setting.stratum == "q1" and setting.tokens > TOKENS[0]:
        return 0.99
    if setting.score == PHI and setting.tokens == TOKENS[0]:
        return 0.95
    return 0.5 if setting.solver == "assignment_forced" else 0.85


def planted_rows(n_worlds=5):
    """Relatives are most of the errors."""
    rng = np.random.default_rng(0)
    places = [(arm, rung, world) for world in range(n_worlds) for arm in ARMS for rung in RUNGS]
    rows = []
    for arm, rung, world in places:
        for setting in settings(arm, rung, TOKENS):
            value = planted(setting, rung) + 0.001 * rng.normal()
            for metric, number in {"precision": value, "recall": value, KIN: 0.8}.items():
                row = make_row(
                    benchmark=DESIGN.id,
                    run_id=f"{rung}-{arm.name}-{world}",
                    step=1,
                    world_seed=world,
                    condition=rung,
                    metric=metric,
                    variant=setting.variant,
                    value=number,
                    factor_arm=arm.name,
                    factor_tokens=setting.tokens,
                )
                rows.append(row)
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


def test_the_tokens_are_those_of_the_rows_scale(rows):
    estimate = Observed(rows).estimate(PRIMARY)
    assert estimate.value == pytest.approx(0.85, abs=0.002)
    assert (estimate.interval.n, estimate.absent) == (5, False)
    without = [r for r in rows if r["metric"] != "recall"]
    assert Observed(without).estimate(PRIMARY).absent


def test_the_page_says_what_was_planted(rows):
    made = PAGE.contents(rows, claims=CLAIMS)
    assert "99 % behind an encoder that nobody trained and 85 % on trained SAEs" in made.lead
    assert sum(len(s.figures) for s in made.sections) == 3
    others = next(s for s in made.sections if s.title == "Claims on the other rungs")
    (line,) = (r for r in others.tables[0].rows if r[0].startswith("H6a few"))
    # wrong on the trained and on the true codes alike, not behind the encoder
    assert [cell.split(" ")[0] for cell in line[1:]] == ["0.80", "0.01", "0.80"]


def test_true_codes_are_matched_without_error():
    rows = DESIGN.rows(smallest(DESIGN)[0])
    values = {(r["condition"], r["variant"], r["metric"]): r["value"] for r in rows}
    assert len(values) == len(rows)
    for variant in ("activation_pearson/mutual_nearest/n=8192", f"{ALIGNED}/{{}}/t=1"):
        at = "oracle", variant.format("mutual_nearest/n=8192")
        assert (values[*at, "precision"], values[*at, "recall"]) == (1, 1)
    # a quarter of the features has no partner, and an assignment without a threshold pairs them
    forced = values["oracle", "activation_pearson/assignment_forced/n=8192", "precision"]
    assert forced == pytest.approx(0.75, abs=0.05)
    why = {r["reason"] for r in rows if r["variant"].startswith("preact") and r["value"] is None}
    assert "true codes have no pre-activations" in why


def test_lost_runs_leave_the_other_rungs():
    rows = DESIGN.rows(smallest(DESIGN, lr=1e30)[0])
    status = {rung: {r["status"] for r in rows if r["condition"] == rung} for rung in RUNGS}
    assert status["trained"] == {"diverged"}
    assert "ok" in status["oracle"]
    keys = [(r["run_id"], r["condition"], r["variant"], r["metric"]) for r in rows]
    assert len(set(keys)) == len(keys)
    # every setting of the trained rung, as often as where it was measured
    (arm,) = DESIGN.arms_of(DESIGN.scales["smoke"])
    variants = {s.variant for s in settings(arm, "trained", DESIGN.scales["smoke"].tokens)}
    assert variants <= {r["variant"] for r in rows if r["condition"] == "trained"}
