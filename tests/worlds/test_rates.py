"""Expected rates against enumeration, a plain sampler, and counts that SAELens sampled."""

from __future__ import annotations

import jax
import numpy as np
import pytest
import world_oracles
from scipy.special import ndtr

from synthsae_jax.worlds.build import WorldConfig, init_world, make_world
from synthsae_jax.worlds.compensation import compensate
from synthsae_jax.worlds.copula import positive_share, threshold_of
from synthsae_jax.worlds.correlation import DenseCopula, LowRank
from synthsae_jax.worlds.firing import Zipfian
from synthsae_jax.worlds.forest import HierarchyConfig
from synthsae_jax.worlds.magnitude import FoldedNormal, LinearMagnitude
from synthsae_jax.worlds.nodes import node
from synthsae_jax.worlds.rates import expected_l0, expected_rates, wins

MIXED = {
    "roots": [
        node(
            None,
            node(0, node(3), node(None, node(4), node(5), exclusive=True), node(6), exclusive=True),
            node(1),
            node(2),
            exclusive=True,
        ),
        node(7, node(8, node(9, scaled=True), node(10), exclusive=True)),
    ]
}
N = 12
CHAIN = {"roots": [node(0, node(1, node(2)))]}


def slots(levels):
    """Any capacity: nothing is sampled here."""
    return (8,) * (levels + 3)


def config_16k(n, roots):
    return WorldConfig(
        n_features=n,
        firing=Zipfian(0.5, 0.4, 5e-4),
        hierarchy=HierarchyConfig(roots, 4, 3, 1.0, compensation="saelens"),
        correlation=LowRank(25, 0.1),
        mean=LinearMagnitude(5.0, 4.0),
        std=FoldedNormal(0.5, 0.5),
    )


def test_exclusive_wins_by_enumeration():
    rng = np.random.default_rng(0)
    for size in (1, 2, 3, 4, 7):
        raw = rng.uniform(0, 1, (1, size, 1))
        raw[0, 0] = 1.0  # also where a rival is certain
        hierarchy = {"roots": [node(None, *(node(i) for i in range(size)), exclusive=size > 1)]}
        expected = world_oracles.exact_rates(hierarchy, raw[0, :, 0])
        np.testing.assert_allclose(wins(raw)[0, :, 0], expected, atol=1e-12)


def test_many_equal_rivals_share_what_is_there():
    # one of m rivals stays whenever any is positive: each wins with (1 - (1 - p)^m) / m
    for size, p in ((40, 0.1), (300, 0.9)):
        won = wins(np.full((1, size, 1), p))
        np.testing.assert_allclose(won, (1 - (1 - p) ** size) / size, rtol=1e-9)


def test_independent_worlds_exactly():
    rng = np.random.default_rng(1)
    p = rng.uniform(0.1, 1, N)
    p[7] = 1.0
    mean, std = rng.uniform(0.2, 1, N), np.where(np.arange(N) % 2, 0.5, 0.0)
    world = make_world(p, MIXED, mean=mean, std=std, slots=slots(2))
    positive = np.asarray(world.probabilities) * positive_share(world.mean, world.std)
    expected = world_oracles.exact_rates(MIXED, positive)
    np.testing.assert_allclose(expected_rates(world), expected, atol=1e-12)


@pytest.mark.parametrize("kind", ["low rank", "dense"])
def test_correlated_worlds_against_a_plain_sampler(kind):
    rng = np.random.default_rng(2)
    p = rng.uniform(0.1, 0.9, N)
    factor = rng.normal(size=(N, 3)) * 0.4
    factor /= np.maximum(1, np.linalg.norm(factor, axis=1) / 0.9)[:, None]
    residual = 1 - (factor**2).sum(1)
    correlation = (
        (factor, residual) if kind == "low rank" else factor @ factor.T + np.diag(residual)
    )
    world = make_world(p, MIXED, correlation, mean=1.0, std=0.7, slots=slots(2))
    n = 200_000
    gaussian = rng.standard_normal((n, 3)) @ factor.T + rng.standard_normal((n, N)) * residual**0.5
    codes = world_oracles.sample(rng, n, MIXED, threshold_of(p), np.ones(N), 0.7, gaussian)
    counted, rates = (codes > 0).mean(0), expected_rates(world)
    # the dense average draws 65,536 states of its own
    variance = rates * (1 - rates) * (1 / n + (1 / 65_536 if kind == "dense" else 0))
    assert (np.abs(counted - rates) < 4.5 * np.sqrt(variance)).all()


def test_rates_of_an_artefact_that_saelens_sampled(golden):
    with np.load(golden / "saelens-1k" / "sampled_statistics.npz") as counted:
        observed, n = counted["firing_rate"], int(counted["n"])
    world = init_world(jax.random.key(0), config_16k(1024, 8), seed=42, slots=slots(3))
    rates = expected_rates(world)
    z = (observed - rates) / np.sqrt(rates * (1 - rates) / n)
    assert np.abs(z).max() < 4.5
    assert 0.9 < z.std() < 1.1  # 1,024 features: a standard error of .022
    assert expected_l0(world) == pytest.approx(rates.sum(), rel=1e-12)


def test_levels_of_synthsaebench_16k():
    world = init_world(jax.random.key(0), config_16k(16_384, 128), seed=42, slots=slots(3))
    levels = expected_l0(world, by_level=True, n_factors=2048)
    # realised L0 by level in 100,000 samples of SAELens
    published = {"roots": 8.19, "level_1": 7.31, "level_2": 7.31, "level_3": 7.11, "free": 4.51}
    assert list(levels) == [*published, "total"]
    for name, value in published.items():
        assert levels[name] == pytest.approx(value, rel=0.01), name
    assert levels["total"] == pytest.approx(34.44, rel=0.01)


def test_more_points_change_little():
    world = init_world(jax.random.key(0), config_16k(256, 2), seed=3, slots=slots(3))
    few, many = expected_rates(world, 4096), expected_rates(world, 2**15)
    assert np.abs(few / many - 1).max() < 0.03  # the rarest features are near 1e-3


def test_certain_and_impossible_features():
    world = make_world([1.0, 0.0, 0.5], CHAIN, mean=1.0, slots=slots(2))
    np.testing.assert_array_equal(expected_rates(world), [1, 0, 0])
    world = make_world([1.0, 1.0, 0.5], CHAIN, mean=[1.0, 0.0, 1.0], slots=slots(2))
    # a magnitude that is always 0 makes the feature, and all below it, inactive
    np.testing.assert_array_equal(expected_rates(world), [1, 0, 0])


def test_positive_share_is_that_of_a_normal():
    shares = positive_share([1.0, 1.0, -1.0, 0.0, 2.0], [0.5, 0.0, 0.0, 0.0, 4.0])
    np.testing.assert_allclose(shares, [ndtr(2), 1, 0, 0, ndtr(0.5)])


def test_dense_config_is_sampled_too():
    config = WorldConfig(20, Zipfian(0.5, 0.4, 0.05), None, DenseCopula())
    world = init_world(jax.random.key(1), config, slots=slots(0))
    p = np.asarray(world.probabilities)
    assert (np.abs(expected_rates(world) - p) < 4.5 * np.sqrt(p * (1 - p) / 65_536)).all()


def test_forest_alone_does_not_change_uncompensated_roots():
    config = WorldConfig(30, Zipfian(0.5, 0.4, 0.05), HierarchyConfig(3, 2, 2))
    world = init_world(jax.random.key(1), config, seed=0, slots=slots(2))
    tops = np.asarray(world.forest.parent) < 0
    p = np.asarray(world.probabilities, np.float64)
    rates = expected_rates(world)
    np.testing.assert_allclose(rates[tops], p[tops])
    np.testing.assert_allclose(rates[~tops], p[~tops] * rates[world.forest.parent[~tops]])
    np.testing.assert_array_equal(compensate(world.forest, p, "none"), p)
