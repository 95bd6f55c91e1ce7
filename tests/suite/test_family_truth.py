"""Truth and protocols over a family: identity on oracles, shares that add up, rows for all."""

import jax.numpy as jnp
import numpy as np
import pytest

from synthsae_jax import matching, worlds
from synthsae_jax.protocols import protocol_names, protocols
from synthsae_jax.suite import family_rows, sharing, table
from synthsae_jax.suite.family_protocols import ProtocolPlan, declares_share, score_protocols
from synthsae_jax.suite.family_truth import SETTINGS, every_truth
from synthsae_jax.suite.study import Subject
from synthsae_jax.training import TrainConfig
from synthsae_jax.worlds import family

F, D, N = 24, 32, 8192
CONDITIONS = (family.ROTATED, family.DISJOINT_INDEPENDENT)


def read_linearly(run, codes, x):
    """An SAE that knows the dictionary: codes by its inverse, down to what rounding leaves."""
    inverse, rows, bias = run
    latents = (x - bias[None]) @ inverse
    latents = jnp.where(latents > 1e-2, latents, 0.0)
    return latents, latents @ rows + bias[None]


@pytest.fixture(scope="module")
def members():
    parents = np.full(F, -1)
    parents[4:8] = np.arange(4)
    rates = np.linspace(0.3, 0.08, F)
    world = worlds.make_world(rates, parents, std=0.1, slots=(12, 24, 12, 24))
    config = worlds.InstanceConfig(hidden_dim=D, bias_norm=0.5)
    return family.init_family(world, config, CONDITIONS, seed=1)


@pytest.fixture(scope="module")
def oracles(members):
    """One oracle per member, its latents in an order of their own."""
    rng = np.random.default_rng(0)
    made = []
    for instance in members.instances:
        ids = rng.permutation(np.flatnonzero(instance.present))
        rows = np.asarray(instance.dictionary)[ids]
        inverse = np.linalg.pinv(rows).astype(np.float32)
        run = (inverse, rows, np.asarray(instance.bias))
        made.append((ids, [Subject("oracle", read_linearly, run, instance, rows, inverse.T)]))
    return made


@pytest.fixture(scope="module")
def truth(members, oracles):
    return every_truth([row for _, row in oracles], members.registry("factors"), N, seed=3)


def test_settings_are_the_default_and_every_method_at_every_threshold():
    first, *rest = SETTINGS
    assert (first[0], first[1].cosine, first[1].f1) == ("agree", 0.7, 0.5)
    expected = {(m, t) for m in matching.TRUTH_METHODS for t in (0.5, 0.6, 0.7, 0.8, 0.9)}
    assert {(method, rule.cosine) for method, rule in rest} == expected
    assert all(rule.f1 == rule.r2 == rule.switch == rule.cosine for _, rule in rest)


def test_oracles_are_the_identity_under_every_method_and_threshold(oracles, truth):
    for i, (ids, _) in enumerate(oracles):
        expected = np.broadcast_to(ids, (len(SETTINGS), F))
        np.testing.assert_array_equal(truth[:, i, 0], expected)


@pytest.fixture(scope="module")
def scores(members, oracles, truth):
    plan = ProtocolPlan(n_tokens=1024, draws=2, level_draws=2)
    rows = [row for _, row in oracles]
    return score_protocols(members, rows, truth[0], plan, 3, lambda done, what: None)


@pytest.mark.parametrize("name", protocol_names())
def test_every_protocol_says_something_of_every_pair(name, scores):
    rotated, disjoint = (s for s in scores if s.protocol == name)
    assert [rotated.condition, disjoint.condition] == [c.name for c in CONDITIONS]
    for score in (rotated, disjoint):
        numbers = score.numbers
        for metric in ("protocol_number", "protocol_p"):
            # nearly nothing is matched between strangers: some measures need three pairs
            assert np.isfinite(numbers[metric]) or score.reasons[metric]
        assert score.stated_use == (not protocols[name].same_space)
        assert ("declared_shared" in numbers) == declares_share(name)
        parts = [numbers[p] for p in ("precision", "false_universality", "artefact_rate")]
        # all three undefined where nothing is matched, else shares of one whole
        assert np.isnan(parts).all() or sum(parts) == pytest.approx(1)
    assert np.isfinite(rotated.numbers["protocol_number"])
    assert 0 < rotated.numbers["protocol_p"] <= 1
    assert disjoint.numbers["true_universality"] == 0
    assert rotated.numbers["true_universality"] == 1
    assert not disjoint.numbers["precision"] > 0


def test_oracles_are_matched_through_codes_and_not_through_directions_as_they_are(scores):
    (ours, raw) = (
        next(s for s in scores if s.protocol == name and s.condition == "rotated")
        for name in ("ours@1", "song2025")
    )
    assert ours.numbers["declared_shared"] == ours.numbers["precision"] == 1
    assert ours.numbers["sharing_error"] == 0
    assert raw.numbers["precision"] < 0.5


def test_rows_carry_the_chance_level_and_reasons(scores):
    shared = table.Shared("test@1", "micro", 0, TrainConfig(n_samples=64, batch_size=64))
    sides = lambda s: ({"run_id": "a", "instance": 0}, {"run_id": s.condition, "instance": 1})
    rows = family_rows.protocol_rows(shared, scores, sides)
    found = {(r["condition"], r["variant"], r["metric"]) for r in rows}
    assert len(found) == len(rows)
    for name in protocol_names():
        for variant in (name, f"{name}/chance"):
            assert ("rotated", variant, "protocol_number") in found
    assert all(r["reason"] for r in rows if r["value"] is None)
    assert {r["n_eval"] for r in rows} == {1024}


def test_a_run_that_diverged_takes_only_its_own_pairs(members, oracles, truth, scores):
    lost = np.zeros((3, 1), bool)
    lost[1] = True
    plan = ProtocolPlan(n_tokens=1024, draws=0, level_draws=2)
    rows = [row for _, row in oracles]
    left = score_protocols(members, rows, truth[0], plan, 3, lambda done, what: None, lost)
    assert {s.condition for s in left} == {"disjoint_independent"}
    # without draws a protocol says the same and gives no p
    before = {s.protocol: s for s in scores if s.condition == "disjoint_independent"}
    for score in left:
        number = score.numbers["protocol_number"]
        expected = before[score.protocol].numbers["protocol_number"]
        assert number == pytest.approx(expected, nan_ok=True)
        assert np.isnan(score.numbers["protocol_p"])
        assert score.reasons["protocol_p"]


@pytest.mark.parametrize("name", matching.solver_names())
def test_shares_of_every_solvers_pairs_add_up_to_one(name):
    rng = np.random.default_rng(5)
    # correlations of strangers, and a few of the same
    s = (0.2 * rng.random((9, 12)) + np.eye(9, 12)).astype(np.float32)
    report = matching.match_report(
        matching.solve(name, s), rng.integers(-1, 6, 9), rng.integers(-1, 6, 12)
    )
    assert report["n_matched"] > 0
    parts = [report[p] for p in ("precision", "false_universality", "artefact_rate")]
    assert sum(parts) == pytest.approx(1)
    empty = matching.solve(name, np.full((9, 12), np.nan, np.float32))
    silent = matching.match_report(empty, np.zeros(9, int), np.zeros(12, int))
    assert silent["n_matched"] == 0
    assert np.isnan(silent["precision"])
    assert matching.why_undefined(silent)["precision"]


def test_oracles_of_the_suite_know_their_features(members):
    runs = sharing.oracle(members, F)
    subjects = sharing.oracle_subjects(members, runs)
    assert [len(row) for row in subjects] == [1, 1, 1]
    for row, instance, ids in zip(subjects, members.instances, runs.truth[0, :, 0]):
        np.testing.assert_array_equal(row[0].decoder, np.asarray(instance.dictionary)[ids])
        assert row[0].encoder is None
