"""The sampler: word for word what drawing every feature gives, and the law it should follow."""

from __future__ import annotations

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import world_oracles
from scipy.stats import multivariate_normal
from world_reference import (
    SIGMA,
    TAIL,
    WORLDS,
    correlation,
    count_p,
    dense_codes,
    densify,
    draw,
    mean_z,
    oracle_codes,
    rate_p,
    sample,
    sd_z,
    tree_world,
)

from synthsae_jax import worlds
from synthsae_jax.errors import ConfigError
from synthsae_jax.worlds.capacity import pilot_slots
from synthsae_jax.worlds.forest import feature_levels, nodes_from
from synthsae_jax.worlds.nodes import node, write
from synthsae_jax.worlds.sample import _draw
from synthsae_jax.worlds.tree import factor_draw

N = 4096
every_world = pytest.mark.parametrize("name", WORLDS)


@functools.cache
def world_of(name):
    return WORLDS[name]()


@functools.cache
def many(name):
    """65,536 dense codes of the sampler."""
    keys = jax.random.split(jax.random.key(100), 16)
    return np.concatenate([draw(k, world_of(name), N) for k in keys])


@functools.cache
def many_by_definition(name):
    """As many from numpy's randomness."""
    rng = np.random.default_rng(200)
    return np.concatenate([oracle_codes(rng, world_of(name), N) for _ in range(16)])


@every_world
def test_gating_gives_what_drawing_everything_gives(name, key):
    world = world_of(name)
    found, expected = draw(key, world, N), dense_codes(key, world, N)
    # a probability from a normal CDF is rounded, so once in 1e7 a word falls between the two
    same = ((found > 0) == (expected > 0)).all(axis=1)
    assert (~same).sum() <= (2 if name == "low rank" else 0)
    np.testing.assert_allclose(found[same], expected[same], rtol=1e-4, atol=1e-5)
    assert (found > 0).sum() > N


@every_world
def test_rates_and_cofiring_agree_with_the_definition(name):
    x, y = ((codes > 0).astype(np.float32) for codes in (many(name), many_by_definition(name)))
    assert count_p(x.T @ x, len(x), y.T @ y, len(y)).min() > TAIL  # its diagonal: the rates
    l0 = [a.sum(1, dtype=np.float64) for a in (x, y)]
    assert abs(mean_z(*l0)) < SIGMA
    assert abs(sd_z(*l0)) < SIGMA


@every_world
def test_magnitudes_agree_with_the_definition(name):
    x, y = many(name).astype(np.float64), many_by_definition(name)
    compared = 0
    for i in range(x.shape[1]):
        a, b = x[x[:, i] > 0, i], y[y[:, i] > 0, i]
        if min(len(a), len(b)) < 500 or a.std() < 1e-5:
            continue
        assert abs(mean_z(a, b)) < SIGMA
        assert abs(sd_z(a, b)) < SIGMA
        compared += 1
    assert compared > 20
    varies = x.std(0) > 1e-5
    assert abs(mean_z(x[:, varies], y[:, varies])).max() < SIGMA


@every_world
def test_hierarchy_and_exclusion_hold_on_every_token(name):
    world, active = world_of(name), many(name) > 0
    for feature, above, rivals in world_oracles.walk(write(nodes_from(world.forest))):
        if above:
            assert active[~active[:, above[-1]], feature].sum() == 0
        assert active[:, rivals].sum(1).max() <= 1


@every_world
def test_rates_agree_with_their_expectation(name):
    world, active = world_of(name), many(name) > 0
    if world.cholesky.shape[-1] == 0:  # a dense copula's expectation is a sample itself
        rates = np.clip(worlds.expected_rates(world), 0, 1)
        assert rate_p(active.sum(0), len(active), rates).min() > TAIL
    always, never = world.probabilities == 1, world.probabilities == 0
    top = (world.forest.parent < 0) & (world.forest.group[:-1] < 0) & (world.std == 0)
    assert active[:, always & top & (world.mean > 0)].all()
    assert not active[:, never].any()


@pytest.mark.parametrize("name", ["low rank", "dense"])
def test_free_features_cofire_as_the_copula_says(name):
    world, active = world_of(name), many(name) > 0
    threshold, latent = np.asarray(world.threshold, np.float64), correlation(world)
    # a fired magnitude is cut to 0 independently of all else
    positive = active[:, 31:].mean(0) / np.asarray(world.probabilities[31:])
    assert positive.min() > 0.5
    spread = np.asarray(world.std) == 0
    world = world.replace(std=jnp.zeros(48), mean=jnp.ones(48))
    keys = jax.random.split(jax.random.key(101), 16)
    active = np.concatenate([draw(k, world, N) for k in keys]) > 0
    for i in range(31, 40):
        for j in range(i + 1, 40):
            rate = multivariate_normal(cov=[[1, latent[i, j]], [latent[i, j], 1]]).cdf(
                -threshold[[i, j]]
            )
            assert rate_p((active[:, i] & active[:, j]).sum(), len(active), rate) > TAIL
    assert spread.sum() < 10


def test_factors_are_standard_normal_and_dense_gaussians_correlate_as_asked(key):
    low, dense = world_of("low rank"), world_of("dense")
    factors = np.asarray(factor_draw(key, low, 50_000), np.float64)
    # the sd of a covariance of unit normals is sqrt(1 + [i = j]) / sqrt(n)
    assert np.abs(np.cov(factors.T) - np.eye(3)).max() < SIGMA * np.sqrt(2 / 50_000)
    assert np.abs(factors.mean(0)).max() < SIGMA / np.sqrt(50_000)
    gaussian = np.asarray(factor_draw(key, dense, 50_000), np.float64)
    assert np.abs(np.cov(gaussian.T) - correlation(dense)).max() < SIGMA * np.sqrt(2 / 50_000)


def free_world(n_features):
    """No trees; features from rare to frequent, none but the given slots can overflow."""
    probability = np.linspace(0.3, 0.9, n_features)[::-1]
    return worlds.make_world(probability, mean=2.0, std=0.5, slots=(1, n_features, n_features))


def correlated_free_world():
    factor = np.random.default_rng(12).normal(0, 0.3, (9, 4))
    pair = factor, 1 - (factor**2).sum(1)
    return worlds.make_world(np.full(9, 0.5), correlation=pair, slots=(1, 9, 9))


# ---- purity --------------------------------------------------------------------------------------


def test_a_token_does_not_depend_on_how_many_follow(key):
    world = correlated_free_world()
    few, more = sample(key, world, 100), sample(key, world, N)
    for a, b in zip(jax.tree.leaves(few), jax.tree.leaves(more)):
        np.testing.assert_array_equal(a, b[:100])


def test_a_token_in_a_tree_does_not_depend_on_its_batch(key):
    # 37 tokens are worked on in one piece and 4,096 in many
    world = world_of("low rank")
    few, more = sample(key, world, 37), sample(key, world, N)
    for a, b in zip(jax.tree.leaves(few), jax.tree.leaves(more)):
        np.testing.assert_array_equal(a, b[:37])


def test_same_key_same_codes_other_key_other_codes(key):
    world = world_of("low rank")
    a, b, c = sample(key, world, N), sample(key, world, N), sample(jax.random.key(1), world, N)
    np.testing.assert_array_equal(a.values, b.values)
    assert (np.asarray(a.indices) != np.asarray(c.indices)).any(axis=1).mean() > 0.95


def test_slots_hold_features_once_and_padding_at_the_end(key):
    for name in WORLDS:
        world = world_of(name)
        codes = sample(key, world, N)
        indices, values = np.asarray(codes.indices), np.asarray(codes.values)
        empty = indices == world.n_features
        assert (values[empty] == 0).all()
        assert (values[~empty] > 0).all()
        assert (np.diff(empty.astype(int), axis=1) >= 0).all()
        ordered = np.sort(np.where(empty, -1 - np.arange(indices.shape[1])[None], indices), axis=1)
        assert (np.diff(ordered, axis=1) > 0).all()


# ---- capacity ------------------------------------------------------------------------------------


def test_overflow_is_flagged_exactly_and_slots_matter_nowhere_else(key):
    world = world_of("organised")
    codes = sample(key, world, N)
    active = np.asarray(densify(codes, 30)) > 0
    level, roots = feature_levels(world.forest), np.asarray(world.forest.roots)
    stages = [active[:, roots], active[:, level == 1], active[:, level == 2], active]
    needed = np.stack([stage.sum(1) for stage in stages])
    assert (needed.max(1) <= [4, 12, 1, 30]).all()

    tight = sample(key, world.replace(slots=(2, 16, 5, 1, 13)), N)
    over = needed > np.array([[2], [5], [1], [13]])
    np.testing.assert_array_equal(tight.overflow, over.any(0))
    alone = over & (over.sum(0) == 1)
    assert (alone[[0, 1, 3]].sum(1) > 0).all()  # each tight stage is the only culprit somewhere
    fits = ~over.any(0)
    assert 0.1 < fits.mean() < 0.95
    np.testing.assert_array_equal(tight.indices[fits], codes.indices[fits, :13])
    np.testing.assert_array_equal(tight.values[fits], codes.values[fits, :13])


def test_too_many_candidates_at_the_top_are_flagged(key):
    world = free_world(9)
    codes = sample(key, world, N)
    tight = sample(key, world.replace(slots=(1, 6, 9)), N)
    lost = np.asarray(tight.overflow)
    assert 0 < lost.sum() < N
    np.testing.assert_array_equal(tight.indices[~lost], codes.indices[~lost])
    full, kept = ((np.asarray(c.values) > 0).sum(1) for c in (codes, tight))
    assert (kept <= full).all()
    assert (full > 6)[lost].any()
    assert not (full > 6)[~lost].any()


def test_an_eager_call_raises_and_names_slots_that_suffice(key):
    world = free_world(9).replace(slots=(1, 4, 4))
    with pytest.raises(ConfigError, match=r"\d+ of 64 samples .* \(1, 4, 4\)") as info:
        worlds.sample_codes(key, world, 64)
    wanted = re.search(r"slots=\(([\d, ]+)\)", str(info.value)).group(1)
    slots = tuple(int(s) for s in wanted.split(","))
    assert not worlds.sample_codes(key, world.replace(slots=slots), 64).overflow.any()


def test_pilot_slots_are_enough_and_not_wasteful():
    world = world_of("organised")
    slots = pilot_slots(world)
    assert slots == pilot_slots(world.replace(slots=(1,) * 5, seed=3))
    most = (many("organised") > 0).sum(1).max()
    assert most <= slots[-1] <= 2 * most + 8
    assert all(s % 8 == 0 for s in slots)


# ---- odd shapes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("n_features", [1, 9])
def test_worlds_without_trees(n_features, key):
    world = free_world(n_features)
    found, expected = draw(key, world, N), dense_codes(key, world, N)
    np.testing.assert_array_equal(found > 0, expected > 0)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert rate_p((found > 0).sum(0), N, worlds.expected_rates(world)).min() > TAIL


def chain(depth):
    item = node(depth)
    for feature in reversed(range(depth)):
        item = node(feature, item, scaled=True)
    return {"roots": [item]}


def fan(n_children):
    return {"roots": [node(0, *map(node, range(1, n_children + 1)), exclusive=True)]}


@pytest.mark.parametrize(
    ("hierarchy", "n_features", "slots"),
    [(chain(5), 6, (1, 1, 1, 1, 1, 1, 1, 6)), (fan(100), 101, (1, 1, 1, 2))],
    ids=["a chain of depth 5, no free features", "a hundred exclusive children"],
)
def test_extreme_trees(hierarchy, n_features, slots, key):
    world = worlds.make_world(np.full(n_features, 0.8), hierarchy, mean=1.0, std=0.3, slots=slots)
    found, expected = draw(key, world, N), dense_codes(key, world, N)
    np.testing.assert_array_equal(found > 0, expected > 0)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    rates = worlds.expected_rates(world)
    assert rate_p((found > 0).sum(0), N, rates).min() > TAIL


def test_scaled_children_keep_their_mean_and_spread_down_the_tree(key):
    # by hand: mean 2 and sd .2 at every level, never cut to 0. The product over parents of
    # value / mean has mean 1, so a child's mean is 2 and its relative variance is 1.01^k - 1.
    world = worlds.make_world(np.ones(6), chain(5), mean=2.0, std=0.2, slots=(1,) * 7 + (6,))
    values = np.concatenate([draw(k, world, N) for k in jax.random.split(key, 8)]).astype(float)
    n = len(values)
    for level in range(6):
        variance = 4 * (1.01 ** (level + 1) - 1)
        x = values[:, level]
        assert abs(x.mean() - 2) < SIGMA * np.sqrt(variance / n)
        error = np.sqrt((((x - x.mean()) ** 4).mean() - variance**2) / n)
        assert abs(x.var() - variance) < SIGMA * error


def test_exclusion_is_fair_whatever_the_magnitudes(key):
    # three siblings always fire under a root that always fires: each stays a third of the time
    probability, mean = np.zeros(101), np.ones(101)
    probability[:4], mean[[1, 3]] = 1.0, [9.0, 0.1]
    world = worlds.make_world(probability, fan(100), mean=mean, slots=(1, 1, 1, 2))
    counts, n = np.zeros(101), 0
    for k in jax.random.split(key, 8):
        active = draw(k, world, N) > 0
        assert (active.sum(1) == 2).all()
        counts, n = counts + active.sum(0), n + N
    assert rate_p(counts[1:4], n, 1 / 3).min() > TAIL


def test_exclusion_is_fair_whatever_the_probabilities(key):
    # by hand: rivals of .9 and .1 that both fire stay half of the time each
    probability = np.zeros(101)
    probability[:3] = 1.0, 0.9, 0.1
    world = worlds.make_world(probability, fan(100), slots=(1, 1, 1, 2))
    active = np.concatenate([draw(k, world, N) for k in jax.random.split(key, 8)]) > 0
    rates = np.array([0.9 * (0.9 + 0.1 / 2), 0.1 * (0.1 + 0.9 / 2)])
    assert rate_p(active[:, 1:3].sum(0), len(active), rates).min() > TAIL


def test_worlds_of_one_shape_share_a_program(key):
    sample(key, world_of("scaled children"), N)
    before = sample._cache_size()
    for world in (tree_world(portion=0.5), tree_world(portion=0.0, scaled=True, sure=True)):
        sample(key, world, N)
    assert sample._cache_size() == before


def test_seed_and_config_of_a_world_cost_an_eager_call_no_trace(key):
    world = free_world(9)
    a = worlds.sample_codes(key, world.replace(seed=1), N)
    before = _draw._cache_size()
    b = worlds.sample_codes(key, world.replace(seed=2, config="another"), N)
    assert _draw._cache_size() == before
    within = sample(key, world, N)  # part of a larger program
    for codes in (a, b):
        np.testing.assert_array_equal(codes.indices, within.indices)
        np.testing.assert_array_equal(codes.values, within.values)
