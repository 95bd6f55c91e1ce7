"""Truth, protocols and shares on SAEs that know their features: identity, and sums to one."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synthsae_jax import matching, worlds
from synthsae_jax.experiments.universality.measure import SCALES, protocol_context
from synthsae_jax.protocols import protocol_names
from synthsae_jax.suite.oracles import known_truth, oracles_of
from synthsae_jax.suite.pair import Pair, protocol_numbers
from synthsae_jax.suite.reading import DEFAULT_TRUTH, METHODS, Subject, read, read_truth
from synthsae_jax.worlds import family

F, D, N = 24, 32, 8192
SCALE = dataclasses.replace(SCALES["smoke"], protocol_tokens=1024, level_draws=2)
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
    world = members.registry("factors")
    return [read_truth(row[0], world, N, seed=3) for _, row in oracles]


def test_truth_is_the_default_and_every_method_at_every_threshold(truth):
    first, *rest = truth[0].settings
    assert first == DEFAULT_TRUTH
    assert set(METHODS) == set(matching.TRUTH_METHODS)
    assert set(rest) == {(m, t) for m in METHODS for t in (0.5, 0.6, 0.7, 0.8, 0.9)}


def test_oracles_are_the_identity_under_every_method_and_threshold(oracles, truth):
    for (ids, _), sweep in zip(oracles, truth):
        np.testing.assert_array_equal(sweep.maps, np.tile(ids, (len(sweep.settings), 1)))


def test_fewer_methods_read_the_same_of_less(members, oracles, truth):
    (_, (subject,)) = oracles[0]
    world = members.registry("factors")
    few = read_truth(subject, world, N, 3, methods=("functional",), thresholds=(0.7,))
    assert few.settings == (DEFAULT_TRUTH, ("functional", 0.7))
    for setting in few.settings:
        np.testing.assert_array_equal(few.of(*setting), truth[0].of(*setting))


@pytest.fixture(scope="module")
def said(members, oracles, truth):
    """What protocols say of A beside each B: condition -> (variant, metric) -> number."""
    found = {}
    for i, condition in enumerate(CONDITIONS, start=1):
        world = members.registry(condition.coupling)
        a, b = (read(oracles[j][1][0], world, N, 3, truth=truth[j]) for j in (0, i))
        pair = Pair(a, b, members.base)
        numbers = protocol_numbers(
            pair,
            protocol_names(),
            key=jax.random.key(3),
            draws=SCALE.draws,
            n_tokens=SCALE.protocol_tokens,
            context=protocol_context(pair, world, SCALE, 3),
        )
        found[condition.name] = {(n.variant, n.metric): n for n in numbers}
    return found


@pytest.mark.parametrize("name", protocol_names())
def test_every_protocol_says_something_of_every_pair(name, said):
    for numbers in said.values():
        of_protocol = {metric: n for (variant, metric), n in numbers.items() if variant == name}
        # nearly nothing is matched between strangers: some measures need three pairs
        assert all(np.isfinite(n.value) or n.reason for n in of_protocol.values())
        parts = [of_protocol[p].value for p in ("precision", "false_universality", "artefact_rate")]
        # all three undefined where nothing is matched, else shares of one whole
        assert np.isnan(parts).all() or sum(parts) == pytest.approx(1)
    rotated, disjoint = said.values()
    assert np.isfinite(rotated[name, "score"].value)
    assert 0 < rotated[name, "p"].value <= 1
    assert (f"{name}/chance", "score") in rotated
    assert not disjoint[name, "precision"].value > 0


def test_oracles_are_matched_through_codes_and_not_through_directions_as_they_are(said):
    value = {at: n.value for at, n in said["rotated"].items()}
    assert value["ours@1", "score"] == value["ours@1", "precision"] == 1
    assert value["song2025", "precision"] < 0.5


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
    made = oracles_of(members, F, world_seed=5, first=6)
    for i, (row, instance) in enumerate(zip(made.subjects, members.instances, strict=True)):
        (ids,) = known_truth(row[0]).maps
        assert sorted(ids) == list(np.flatnonzero(instance.present))
        np.testing.assert_array_equal(row[0].decoder, np.asarray(instance.dictionary)[ids])
        assert row[0].encoder is None
        assert made.side(i).columns["instance"] == 6 + i
