"""Readings and pairs of experiments: evidence against dense sums, oracles, equivalent forms."""

import dataclasses

import jax
import numpy as np
import pytest
from scipy import sparse

from synthsae_jax import matching, worlds
from synthsae_jax.experiments.validity.measure import turned
from synthsae_jax.matching import CoMoments
from synthsae_jax.matching.latent_types import TypeCounts
from synthsae_jax.metrics.reference import OracleCodes
from synthsae_jax.suite.evidence import code_evidence, firing_evidence
from synthsae_jax.suite.pair import Pair, rule_numbers, truth_numbers
from synthsae_jax.suite.reading import METHODS, Subject, read, read_codes, read_latents
from synthsae_jax.worlds import family

N_TOKENS = 8192
CONDITIONS = (family.ROTATED, family.DISJOINT_INDEPENDENT)


@pytest.fixture(scope="module")
def members():
    parents = np.full(40, -1)
    parents[8:24] = np.repeat(np.arange(8), 2)
    world = worlds.make_world(np.linspace(0.3, 0.05, 40), parents, slots=(16, 40, 24, 40))
    config = worlds.InstanceConfig(hidden_dim=48, orthogonalize_steps=5)
    return family.init_family(world, config, CONDITIONS, seed=3)


def oracle(instance, ids):
    """A subject whose latents are the true codes of some features."""
    rows = np.asarray(instance.dictionary)[ids]
    run = (np.asarray(ids), rows, np.asarray(instance.bias))
    return Subject("oracle", OracleCodes(80), run, instance, rows, rows)


@pytest.fixture(scope="module")
def pairs(members):
    """Oracle SAEs on A and on each B, each for the features that the model has."""
    found = []
    for i, condition in enumerate(CONDITIONS):
        world = members.registry(condition.coupling)
        sides = [
            oracle(instance, np.flatnonzero(np.asarray(instance.present)))
            for instance in (members.reference, members.partner(i))
        ]
        a, b = (read(side, world, N_TOKENS, 0) for side in sides)
        found.append(Pair(a, b, members.base, np.eye(48, dtype=np.float32)))
    return found


def test_readings_are_the_true_codes_of_an_oracle(members):
    instance = members.partner(1)
    ids = np.flatnonzero(np.asarray(instance.present))
    world = members.registry("factors")
    codes = read_codes(instance, world, N_TOKENS, 0, "match")
    latents = read_latents(oracle(instance, ids), world, N_TOKENS, 0, "match")
    np.testing.assert_allclose(latents.toarray(), codes.toarray()[:, ids], atol=1e-6)
    assert codes[:, np.flatnonzero(~np.asarray(instance.present))].nnz == 0
    other = read_codes(instance, world, N_TOKENS, 0, "truth")
    assert (codes != other).nnz > 0


def test_evidence_equals_dense_sums():
    rng = np.random.default_rng(0)
    parent = np.array([-1, 0, 0, -1])
    latents = rng.random((300, 5)) * (rng.random((300, 5)) < 0.3)
    acts = rng.random((300, 8)) * (rng.random((300, 8)) < 0.4)
    latents, acts = latents.astype(np.float32), acts.astype(np.float32)
    sides = sparse.csr_matrix(latents), sparse.csr_matrix(acts)
    dense = TypeCounts.init(5, 8).update(latents, acts, parent)
    plain, child = firing_evidence(*sides, parent)
    for found, expected in ((plain, dense.plain), (child, dense.with_child)):
        for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected)):
            np.testing.assert_array_equal(one, other)
    moments, among = code_evidence(*sides)
    expected = CoMoments.init(5, 8).update(latents, acts)
    for one, other in zip(jax.tree.leaves(moments), jax.tree.leaves(expected)):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=1e-4)
    np.testing.assert_allclose(among, np.corrcoef(acts.T), atol=1e-5)


def test_every_truth_method_names_an_oracles_features(pairs):
    reading = pairs[0].b
    ids = np.flatnonzero(np.asarray(reading.subject.instance.present))
    for method in METHODS:
        np.testing.assert_array_equal(reading.truth.of(method, 0.7), ids, err_msg=method)


def test_rules_are_right_on_oracles(pairs):
    shared, disjoint = ({(n.variant, n.metric): n.value for n in rule_numbers(p)} for p in pairs)
    for rule in ("best_correlation_0.1", "decoder_cosine_0.7_raw"):
        assert disjoint[rule, "declared"] == 0
    assert shared["best_correlation_0.1", "declared"] == pytest.approx(1)
    assert shared["best_correlation_0.1", "precision"] == pytest.approx(1)
    true = [{n.metric: n.value for n in truth_numbers(p)} for p in pairs]
    assert true[0]["true_universality"] == true[0]["true_universality_least"] == 1
    assert true[1]["true_universality_most"] == true[1]["features_shared"] == 0


def test_an_equivalent_sae_scores_the_same(pairs):
    otherwise = turned(pairs[0], seed=1)
    # the permuted SAE's latents are worth the same to every rule; cosines up to rounding
    for one, other in zip(rule_numbers(pairs[0]), rule_numbers(otherwise)):
        assert one.variant == other.variant
        if one.variant != "decoder_cosine_0.7_raw":
            assert other.value == pytest.approx(one.value, nan_ok=True, abs=1e-6)


def test_an_undefined_number_says_why(pairs):
    (number,) = (
        n
        for n in rule_numbers(pairs[1])
        if (n.variant, n.metric) == ("best_correlation_0.1", "precision")
    )
    assert np.isnan(number.value)
    assert number.reason == "nothing is matched"


def test_a_diverged_pair_has_no_true_band(pairs):
    pair = pairs[0]
    silent = dataclasses.replace(pair.b, latents=0 * pair.b.latents)
    least, most = dataclasses.replace(pair, b=silent).true_band()
    assert np.isnan(least)
    assert np.isnan(most)
    assert matching.largest_true_matching(pair.a.tracked, pair.b.tracked) == 40
