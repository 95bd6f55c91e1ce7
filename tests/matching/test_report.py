"""The match report against worked examples and a reference that counts pair by pair."""

import json
from types import SimpleNamespace

import numpy as np
import oracles
import pytest

from synthsae_jax import matching
from synthsae_jax.errors import ConfigError
from synthsae_jax.matching import Matching, match_report, why_undefined
from synthsae_jax.matching.columns import match_metrics
from synthsae_jax.matching.latent_types import ABSORBED, CLEAN
from synthsae_jax.registry import explain

# two trees: 0 -> {1, 2}, 1 -> {3}; 4 -> {5}; 6 and 7 are free
PARENT = np.array([-1, 0, 0, 1, -1, 4, -1, -1])
WORLD = SimpleNamespace(forest=SimpleNamespace(parent=PARENT))


def matched(pairs, invalid=()):
    rows = sorted([(i, j, True) for i, j in pairs] + [(i, j, False) for i, j in invalid])
    row, col, valid = np.array(rows, int).reshape(-1, 3).T
    return Matching(row=row, col=col, score=np.ones(row.size), valid=valid.astype(bool))


def test_worked_example():
    truth_a = np.array([0, 1, 1, 3, 6, -1, -1, -1])
    truth_b = np.array([0, 1, 4, 2, -1, 5, -1])
    alive_a = np.arange(8) != 7
    # right (0), right (1), kin (1-2: siblings is 1's; 1 and 2 share parent 0), unrelated (3-4),
    # artefact (6 with none), shared artefact
    pairs = [(0, 0), (1, 1), (2, 3), (3, 2), (4, 4), (5, 6)]
    present_a = np.isin(np.arange(8), [0, 1, 3, 6])
    present_b = np.isin(np.arange(8), [0, 1, 2, 4, 5])
    report = match_report(
        matched(pairs, invalid=[(6, 5)]),
        truth_a,
        truth_b,
        alive_a=alive_a,
        world=WORLD,
        present_a=present_a,
        present_b=present_b,
        # latent 2 of A (feature 1) matched with 3 of B (feature 2) is absorbed
        types_a=np.where(np.arange(8) == 2, ABSORBED, CLEAN),
        types_b=np.full(7, CLEAN),
        feature_correlation=np.eye(8) + 0.3 * np.eye(8, k=1),
        best_a=np.array([0.9, 0.4, 0.3, 0.6, 0.2, 0.8, 0.8, np.nan]),
    )
    expected = {
        "n_matched": 6,
        "n_alive_a": 7,
        "n_alive_b": 7,
        "n_tracked_a": 4,  # 0, 1, 3, 6
        "n_tracked_b": 5,  # 0, 1, 2, 4, 5
        "n_tracked_both": 2,  # 0, 1
        "precision": 2 / 6,
        "recall": 2 / 2,
        "latent_recall": 4 / 5,  # A's 0, 1, 2 and B's 0, 1 could; A's 2 did not
        "f1": 2 * (1 / 3) / (1 / 3 + 1),
        "accuracy_given_recovery": 2 / 3,  # A's 0, 1, 2
        "false_universality": 2 / 6,
        "false_universality_kin": 1 / 6,
        "false_universality_absorbed": 1 / 6,
        "false_universality_twin": 0,
        "false_universality_correlated": 1 / 6,  # 3 with 4
        "false_universality_unrelated": 0,
        "artefact_rate": 2 / 6,
        "shared_artefact_rate": 1 / 6,
        "missed_universality": 0,
        "observed_universality": 6 / 7,
        "true_universality": 2 / 7,
        "metric_bias": 4 / 7,
        "shared_recovery": 2 / 2,
        "shared_recovery_chance": (2 / 2) * (2 / 2),
        "co_recovery_log_odds": np.nan,  # there is no feature in both that a side misses
        "true_sharing": 2 / 7,
        "n_true_matched": 5 + 4,  # A's 0-4, B's 0-3
        "n_true_unmatched": 0 + 1,  # B's 5
        "n_artefact_matched": 1 + 2,  # A's 5, B's 4 and 6
        "n_artefact_unmatched": 1 + 0,  # A's 6; its 7 is dead
        "stability_precision": 9 / 12,
        "stability_recall": 9 / 10,
        "artefact_reproduction": 3 / 4,
        "sharedness_auroc": 4 / 6,  # .9 .4 .3 (features 0, 1, 1) against .6 .2 (3, 6)
        "sharedness_ap": (1 / 1 + 2 / 3 + 3 / 4) / 3,
    }
    assert report == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("seed", range(30))
def test_equals_counting_pair_by_pair(seed):
    rng = np.random.default_rng(seed)
    n_a, n_b = rng.integers(1, 14, 2)
    truth_a, truth_b = (rng.integers(-1, 8, n) for n in (n_a, n_b))
    chosen = [(i, j) for i in range(n_a) for j in range(n_b) if rng.random() < 0.15]
    correlation = rng.uniform(-0.4, 0.4, (8, 8))
    report = match_report(
        matched(chosen), truth_a, truth_b, world=WORLD, feature_correlation=correlation
    )
    kinds, shown, both, largest = oracles.match_quality(chosen, truth_a, truth_b, PARENT)
    n = len(chosen)
    share = lambda count: count / n if n else np.nan
    recall = shown / both if both else np.nan
    expected = {
        "precision": share(kinds["right"]),
        "false_universality": share(kinds["wrong"]),
        "false_universality_kin": share(kinds["kin"]),
        "artefact_rate": share(kinds["artefact"]),
        "shared_artefact_rate": share(kinds["shared_artefact"]),
        "recall": recall,
        "missed_universality": 1 - recall,
        "observed_universality": n / min(n_a, n_b),
        "true_universality": largest / min(n_a, n_b),
        "metric_bias": (n - largest) / min(n_a, n_b),
    }
    assert {k: report[k] for k in expected} == pytest.approx(expected, nan_ok=True)
    if n:
        kinds_of_pair = ("precision", "false_universality", "artefact_rate")
        assert sum(report[k] for k in kinds_of_pair) == pytest.approx(1.0)
        kinds_of_wrong = ("kin", "twin", "correlated", "unrelated")
        parts = sum(report[f"false_universality_{kind}"] for kind in kinds_of_wrong)
        assert parts == pytest.approx(report["false_universality"])


def test_a_perfect_matching_scores_one():
    order = np.random.default_rng(0).permutation(8)
    perfect = matched(enumerate(np.argsort(order).tolist()))
    everything = np.ones(8, bool)
    report = match_report(
        perfect, np.arange(8), order, world=WORLD, present_a=everything, present_b=everything
    )
    for name in ("precision", "recall", "f1", "true_universality", "observed_universality"):
        assert report[name] == 1.0
    for name in ("false_universality", "artefact_rate", "missed_universality", "metric_bias"):
        assert report[name] == 0.0
    assert report["shared_recovery"] == report["true_sharing"] == 1.0


def test_disjoint_presence_leaves_exactly_no_true_universality():
    # both truth maps claim features 2 and 3, each of which one of the models does not have
    truth_a, truth_b = np.array([0, 1, 2, 3]), np.array([2, 3, 4, 5])
    present_a, present_b = np.arange(8) < 3, np.arange(8) >= 3
    pairs = matched([(2, 0), (3, 1)])
    report = match_report(pairs, truth_a, truth_b, present_a=present_a, present_b=present_b)
    assert report["true_universality"] == 0.0
    assert report["true_sharing"] == 0.0
    assert report["precision"] == 0.0
    # nothing is shared, so nothing can be recalled or recovered
    assert np.isnan(report["recall"])
    assert np.isnan(report["shared_recovery"])


def test_twins_are_told_apart_and_are_no_kin():
    # id 8 + i is the twin of i; 9 and 10 are siblings in the twins' own forest
    truth_a, truth_b = np.array([1, 9, 1]), np.array([9, 10, 10])
    pairs = matched([(0, 0), (1, 1), (2, 2)])
    report = match_report(pairs, truth_a, truth_b, world=WORLD)
    assert report["false_universality"] == 1.0
    assert report["false_universality_twin"] == pytest.approx(1 / 3)  # 1 with 9
    assert report["false_universality_kin"] == pytest.approx(1 / 3)  # 9 with 10, not 1 with 10


def test_silence_is_undefined_where_it_claims_nothing_and_wrong_where_it_misses():
    report = match_report(matched([], invalid=[(0, 0)]), [0, 1], [0, 2], world=WORLD)
    undefined = {name for name, value in report.items() if np.isnan(value)}
    assert undefined == {
        "precision",
        "false_universality",
        "false_universality_kin",
        "false_universality_absorbed",
        "false_universality_twin",
        "false_universality_correlated",
        "false_universality_unrelated",
        "artefact_rate",
        "shared_artefact_rate",
        "accuracy_given_recovery",
        "shared_recovery",
        "shared_recovery_chance",
        "co_recovery_log_odds",
        "true_sharing",
        "stability_precision",
        "artefact_reproduction",
        "sharedness_auroc",
        "sharedness_ap",
    }
    reasons = why_undefined(report)
    assert set(reasons) == undefined
    assert all(reasons.values())
    assert reasons["precision"] == "nothing is matched"
    assert report["recall"] == report["f1"] == report["observed_universality"] == 0.0
    assert report["metric_bias"] == -0.5
    dead = match_report(matched([]), [0, 1], [0, 1], alive_a=[False, False])
    assert np.isnan(dead["observed_universality"])
    assert np.isnan(dead["true_universality"])


def test_a_dead_latent_tracks_nothing():
    report = match_report(matched([(0, 0), (1, 1)]), [0, 1], [0, 1], alive_b=[True, False])
    assert report["precision"] == report["artefact_rate"] == 0.5
    assert report["n_tracked_b"] == 1
    assert report["true_universality"] == 1.0


def test_keys_are_floats_and_each_is_explained():
    report = match_report(matched([(0, 0)]), [0], [0])
    assert tuple(report) == match_metrics.names()
    assert all(type(value) is float for value in report.values())
    json.dumps(report)
    for name in report:
        explanation = dict(explain(name))["match metric"]
        assert explanation.what
        assert explanation.formula
        assert explanation.range
        # what can be NaN says when
        assert explanation.undefined or explanation.range.startswith(">= 0")


def test_wrong_inputs_are_refused():
    one = matched([(1, 1)])
    with pytest.raises(ConfigError, match="latents beyond"):
        match_report(one, [0], [0])
    with pytest.raises(ConfigError, match="alive_a must be bool"):
        match_report(one, [0, 1], [0, 1], alive_a=[True])
    with pytest.raises(ConfigError, match="names feature 9"):
        match_report(one, [0, 9], [0, 1], present_a=np.ones(8, bool))
    with pytest.raises(ConfigError, match="best_a must be"):
        match_report(one, [0, 1], [0, 1], best_a=[0.5])
    with pytest.raises(ConfigError, match="rates must be"):
        match_report(one, [0, 1], [0, 1], present_a=np.ones(4, bool), rates=np.ones(3))
    with pytest.raises(ConfigError, match="feature_correlation has 1 features"):
        match_report(one, [0, 1], [0, 2], world=WORLD, feature_correlation=np.eye(1))
    with pytest.raises(ConfigError, match="bool \\[F\\] alike"):
        match_report(one, [0, 1], [0, 1], present_a=[True] * 3, present_b=[True] * 4)


def test_the_whole_pipeline_on_planted_latents():
    """Two oracles of one world with other directions: codes match, directions do not."""
    rng = np.random.default_rng(0)
    n, n_features, dim = 2000, 24, 48
    codes = (rng.random((n, n_features)) < 0.1) * (1 + rng.random((n, n_features)))
    sides = []
    for seed in (1, 2):
        side = np.random.default_rng(seed)
        dictionary = side.normal(size=(n_features, dim))
        order = side.permutation(n_features)[:20]
        truth = matching.truth_map(dictionary[order], codes[:, order], dictionary, codes)
        np.testing.assert_array_equal(truth, order)
        sides.append((dictionary[order], codes[:, order], truth))
    (w_a, z_a, truth_a), (w_b, z_b, truth_b) = sides
    shared = len(set(truth_a.tolist()) & set(truth_b.tolist()))

    s = matching.score("activation_pearson", z_a, z_b)
    report = match_report(matching.solve("assignment", s, threshold=0.5), truth_a, truth_b)
    assert report["precision"] == report["recall"] == 1.0
    assert report["n_matched"] == shared
    assert report["metric_bias"] == 0.0

    s = matching.score("decoder_cosine", w_a, w_b)
    report = match_report(matching.solve("assignment", s), truth_a, truth_b)
    # 20 forced pairs of unrelated directions: about one in 24 is right by chance
    assert report["observed_universality"] == 1.0
    assert report["precision"] < 0.35
