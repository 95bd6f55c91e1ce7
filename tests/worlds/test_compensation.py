"""Compensated probabilities: SAELens' formula in its numbers, and exact ones that reach the law."""

from __future__ import annotations

import json
import warnings

import jax
import numpy as np
import pytest
import world_oracles

from synthsae_jax.errors import ConfigError
from synthsae_jax.worlds.build import WorldConfig, init_world, make_world
from synthsae_jax.worlds.compensation import compensate
from synthsae_jax.worlds.copula import positive_share
from synthsae_jax.worlds.correlation import DenseCopula, LowRank
from synthsae_jax.worlds.firing import Zipfian
from synthsae_jax.worlds.forest import HierarchyConfig, nodes_from, tables
from synthsae_jax.worlds.laws import probabilities
from synthsae_jax.worlds.magnitude import FoldedNormal, LinearMagnitude
from synthsae_jax.worlds.nodes import node, parse, write
from synthsae_jax.worlds.rates import expected_rates

FAMILY = {"roots": [node(0, *(node(i) for i in (1, 2, 3)), exclusive=True), node(4, node(5))]}
STEEP = Zipfian(1.2, 0.4, 1e-3)


def exact(config, seed=0):
    levels = config.hierarchy.max_depth
    world = init_world(jax.random.key(0), config, seed=seed, slots=(8,) * (levels + 3))
    return world, probabilities(config.firing, config.n_features, seed)


def test_formula_by_hand():
    base = np.array([0.5, 0.2, 0.1, 0.05, 0.3, 0.15, 0.02])
    p = compensate(tables(parse(FAMILY, 7), 7), base, "saelens")
    # .2 / .5 (1 + (.1 + .05) / .5) and so on; 5 only has its parent; 6 is free
    expected = [0.5, 0.4 * 1.3, 0.2 * 1.5, 0.1 * 1.6, 0.3, 0.5, 0.02]
    np.testing.assert_allclose(p, expected, rtol=1e-12)
    # never above 1, and nothing raised under a parent that never fires
    p = compensate(tables(parse(FAMILY, 7), 7), np.array([0.1, 0.3, 0, 0, 0, 0.2, 0.3]), "saelens")
    np.testing.assert_allclose(p, [0.1, 1, 0, 0, 0, 0.2, 0.3])


def test_formula_on_a_mixed_hierarchy_of_saelens(golden):
    case = json.loads((golden / "saelens-laws.json").read_text())["compensation"]
    base = np.array(case["base"])
    forest = tables(parse(case["hierarchy"], len(base)), len(base))
    ours = compensate(forest, base, "saelens")
    np.testing.assert_allclose(ours, case["compensated"], rtol=1e-6)  # theirs is float32


def test_exact_without_correlation_by_enumeration():
    base = np.array([0.5, 0.2, 0.1, 0.05, 0.3, 0.15, 0.02])
    mean, std = np.full(7, 1.0), np.full(7, 0.6)
    forest = tables(parse(FAMILY, 7), 7)
    p = compensate(forest, base, "exact", mean=mean, std=std)
    rates = world_oracles.exact_rates(FAMILY, p * positive_share(mean, std))
    np.testing.assert_allclose(rates, base, rtol=3e-3)


@pytest.mark.parametrize("portion", [0.0, 1.0])
def test_exact_reaches_the_law_within_two_per_cent(portion):
    config = WorldConfig(
        n_features=300,
        firing=STEEP,
        hierarchy=HierarchyConfig(4, 4, 2, portion, compensation="exact"),
        correlation=LowRank(25, 0.1),
        mean=LinearMagnitude(5.0, 4.0),
        std=FoldedNormal(0.5, 0.5),
    )
    world, base = exact(config)
    assert np.abs(expected_rates(world) / base - 1).max() < 0.02
    # and by another road: other points, drawn at random and counted
    rng = np.random.default_rng(0)
    n = 100_000
    factor, residual = np.asarray(world.factor), np.asarray(world.residual)
    counts = np.zeros(300)
    for _ in range(10):
        shared = rng.standard_normal((n // 10, 25)) @ factor.T
        gaussian = shared + rng.standard_normal(shared.shape) * np.sqrt(residual)
        codes = world_oracles.sample(
            rng, len(shared), written(world.forest), np.asarray(world.threshold),
            np.asarray(world.mean), np.asarray(world.std), gaussian,
        )  # fmt: skip
        counts += (codes > 0).sum(0)
    error = np.abs(counts / n - base)
    assert (error < 0.02 * base + 4.5 * np.sqrt(base / n)).all()


def test_where_a_law_cannot_be_had_it_is_approached_and_counted():
    # four children of .2 each exclude one another under a parent of .4: half is the most
    base = np.array([0.4, 0.2, 0.2, 0.2, 0.2, 0.1])
    hierarchy = {"roots": [node(0, *(node(i) for i in range(1, 5)), exclusive=True)]}
    with pytest.warns(UserWarning, match="4 of 6 features cannot reach"):
        p = compensate(tables(parse(hierarchy, 6), 6), base, "exact")
    rates = world_oracles.exact_rates(hierarchy, p)
    np.testing.assert_allclose(rates, [0.4, 0.1, 0.1, 0.1, 0.1, 0.1], rtol=0.01)


def test_unequal_children_keep_their_proportions():
    base = np.array([0.4, 0.3, 0.15])
    hierarchy = {"roots": [node(0, node(1), node(2), exclusive=True)]}
    with pytest.warns(UserWarning, match="2 of 3 features"):
        p = compensate(tables(parse(hierarchy, 3), 3), base, "exact")
    rates = world_oracles.exact_rates(hierarchy, p)
    assert rates[1:].sum() == pytest.approx(0.4, rel=0.01)
    assert rates[1] / rates[2] == pytest.approx(2.0, rel=0.02)


def test_exact_equals_the_formula_where_that_is_right():
    # a chain without rivals, correlation or magnitudes cut at 0
    hierarchy = {"roots": [node(0, node(1, node(2)))]}
    base = np.array([0.5, 0.2, 0.1])
    forest = tables(parse(hierarchy, 3), 3)
    np.testing.assert_allclose(
        compensate(forest, base, "exact"), compensate(forest, base, "saelens"), rtol=1e-6
    )


def test_formula_misses_the_law_where_exact_does_not():
    tree = HierarchyConfig(4, 4, 2, 1.0)
    forest = tables(parse(written(exact(WorldConfig(84, STEEP, tree))[0].forest), 84), 84)
    base = probabilities(STEEP, 84, 0)
    leaves = np.arange(20, 84)
    ratios = {}
    for method in ("saelens", "exact"):
        world = make_world(compensate(forest, base, method), written(forest), slots=(8,) * 5)
        ratios[method] = (expected_rates(world)[leaves] / base[leaves]).mean()
    # rare siblings are over-compensated: they meet less often than the formula supposes
    assert ratios["saelens"] > 1.05
    assert ratios["exact"] == pytest.approx(1, abs=0.01)


def test_wide_families_and_features_that_never_fire():
    base = np.full(42, 0.008)
    base[0], base[41] = 0.5, 0.0
    hierarchy = {"roots": [node(0, *(node(i) for i in range(1, 42)), exclusive=True)]}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        p = compensate(tables(parse(hierarchy, 42), 42), base, "exact")
    world = make_world(p, hierarchy, slots=(8,) * 4)
    np.testing.assert_allclose(expected_rates(world), base, rtol=5e-3)


def test_refusals():
    forest = tables(parse(FAMILY, 7), 7)
    with pytest.raises(ConfigError, match="Did you mean 'saelens'"):
        compensate(forest, np.full(7, 0.1), "saelense")
    config = WorldConfig(7, STEEP, HierarchyConfig(2, 2, 1, compensation="exact"), DenseCopula())
    with pytest.raises(ConfigError, match="needs a low-rank correlation or none"):
        exact(config)


def written(forest):
    return write(nodes_from(forest))
