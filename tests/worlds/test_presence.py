"""Which features two instances share: whole trees, nested, spread over rates, equal statistics."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from world_reference import FOREST, organised_world, tree_world

from synthsae_jax import worlds
from synthsae_jax.worlds.presence import presence, roots_of

SHARES = np.linspace(0, 1, 21)
shared_features = jax.jit(worlds.shared_features)


@pytest.fixture(scope="module", params=["trees", "organised", "grown"])
def world(request):
    if request.param == "grown":
        return worlds.init_world(jax.random.key(0), FOREST, slots=(8, 24, 16, 16, 32))
    return tree_world() if request.param == "trees" else organised_world()


def units_of(world):
    """The top ancestor of each feature, by walking up."""
    parent = np.asarray(world.forest.parent)
    root = np.arange(len(parent))
    for i in range(len(parent)):
        while parent[root[i]] >= 0:
            root[i] = parent[root[i]]
    return root


def test_shares_are_whole_trees_nested_and_near_what_was_asked(world):
    unit, n = units_of(world), world.n_base
    np.testing.assert_array_equal(roots_of(world.forest.parent, world.levels), unit)
    size = np.bincount(unit, minlength=n)
    before = np.zeros(n, bool)
    for share in SHARES:
        shared = np.asarray(shared_features(world, share))
        np.testing.assert_array_equal(shared, shared[unit])
        assert abs(shared.sum() - share * n) <= size.max() / 2 + 1e-3
        assert (shared | ~before).all()
        before = shared
    assert not np.asarray(shared_features(world, 0.0)).any()
    assert before.all()


def test_every_member_has_each_feature_or_its_twin(world):
    twins = worlds.twin(world)
    rates = np.tile(np.asarray(world.probabilities), 2)
    for share in (0.0, 0.3, 1.0):
        present = np.asarray(presence(twins, share))
        np.testing.assert_array_equal(present[: world.n_base], ~present[world.n_base :])
        np.testing.assert_array_equal(present[: world.n_base], shared_features(world, share))
        # so the histogram of rates is the same at every share, feature by feature
        np.testing.assert_array_equal(np.sort(rates[present]), np.sort(world.probabilities))


def test_a_plain_world_is_present_as_a_whole(world):
    assert np.asarray(presence(world, 1.0)).all()


def test_frequent_and_rare_features_are_shared_alike():
    probability = 0.4 * np.arange(1, 201) ** -0.7
    world = worlds.make_world(probability, slots=(1, 8, 8))
    keys = jax.random.split(jax.random.key(0), 2000)
    share = jax.jit(jax.vmap(lambda k: worlds.shared_features(world.replace(geometry_key=k), 0.5)))
    shared = np.asarray(share(jax.random.key_data(keys)))
    assert (shared.sum(1) == 100).all()
    # over worlds every feature is shared half of the time
    assert np.abs(shared.mean(0) - 0.5).max() < 4.5 * 0.5 / np.sqrt(2000)
    # and in each world every stretch of ten ranks has four to six of its features shared
    stretches = shared.reshape(2000, 20, 10).sum(2)
    assert stretches.min() >= 4
    assert stretches.max() <= 6


def test_worlds_differ_in_what_is_shared(world):
    other = world.replace(geometry_key=jax.random.key_data(jax.random.key(8)))
    assert (np.asarray(shared_features(world, 0.5)) != shared_features(other, 0.5)).any()
