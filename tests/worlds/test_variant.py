"""Variants: the same rates under another law, and tokens that stay paired."""

from __future__ import annotations

import functools

import jax
import numpy as np
import pytest
from world_reference import SIGMA

from synthsae_jax import worlds
from synthsae_jax.errors import ConfigError
from synthsae_jax.worlds.nodes import node, parse

F, N = 32, 4096
TREES = worlds.HierarchyConfig(total_root_nodes=2, branching_factor=3, max_depth=2)
densify = jax.jit(worlds.densify, static_argnums=1)


@functools.cache
def base():
    config = worlds.WorldConfig(
        F,
        worlds.Zipfian(0.5, 0.4, 0.02),
        worlds.HierarchyConfig(2, 3, 1, mutually_exclusive_portion=1.0, compensation="saelens"),
        worlds.LowRank(3, 0.2),
        mean=3.0,
        std=0.5,
        slots=(8, 32, 16, 32),
    )
    return worlds.init_world(jax.random.key(0), config, seed=1)


@functools.cache
def variants():
    deep, same = (8, 32, 16, 16, 32), base().slots
    return {
        "free": worlds.variant(base(), hierarchy=None, slots=(8, 32, 32)),
        "deeper": worlds.variant(base(), hierarchy=TREES, slots=deep),
        "uncorrelated": worlds.variant(base(), correlation=None, slots=same),
        "other_rank": worlds.variant(
            base(), correlation=worlds.LowRank(5, 0.2), slots=base().slots
        ),
        "weaker": worlds.variant(base(), mean=1.0, std=0.2, slots=same),
    }


@functools.cache
def pair(name):
    """Dense codes of the base and of a variant on the same tokens."""
    codes = worlds.sample_pair(jax.random.key(4), base(), variants()[name], N)
    return tuple(np.asarray(densify(c, F)) for c in codes)


@pytest.mark.parametrize("name", ["free", "deeper", "uncorrelated", "other_rank", "weaker"])
def test_rates_are_the_same_and_the_pair_has_them(name):
    made = variants()[name]
    match = worlds.rate_match(made, base())
    assert match.missed == 0
    assert match.largest < 0.02
    rates = worlds.expected_rates(made)
    for world, dense in zip((base(), made), pair(name)):
        z = ((dense > 0).mean(0) - rates) / np.sqrt(rates * (1 - rates) / N)
        # the rates themselves may be 2 % apart
        slack = 0.02 * rates / np.sqrt(rates * (1 - rates) / N)
        assert (np.abs(z) < SIGMA + slack).all()
        parent = np.asarray(world.forest.parent)
        child = np.flatnonzero(parent >= 0)
        assert not ((dense[:, child] > 0) & (dense[:, parent[child]] == 0)).any()
    group = np.asarray(base().forest.group)[:-1]
    together = (pair(name)[0] > 0) @ np.eye(group.max() + 2)[group][:, :-1]
    assert together.max() == 1


def test_the_pair_follows_each_worlds_own_law():
    """Pairs of features fire together as often as in `sample_codes`."""
    own = np.asarray(densify(worlds.sample_codes(jax.random.key(9), base(), N), F)) > 0
    paired = pair("free")[0] > 0
    a, b = (x.T.astype(float) @ x / N for x in (own, paired))
    z = (a - b) / np.sqrt(np.maximum((a + b) / N, 1e-12))
    assert np.abs(z[(a + b) * N > 20]).max() < SIGMA + 0.5  # 500 pairs
    means = [x.sum(0) / (x > 0).sum(0) for x in pair("weaker")]
    np.testing.assert_allclose(means[0], 3.0, atol=SIGMA * 0.5 / np.sqrt(60))
    np.testing.assert_allclose(means[1], 1.0, atol=SIGMA * 0.2 / np.sqrt(60))


def test_magnitudes_alone_leave_the_firings():
    a, b = pair("weaker")
    np.testing.assert_array_equal(a > 0, b > 0)
    on = a > 0
    # relu(3 + .5 z) and relu(1 + .2 z) of the same z
    np.testing.assert_allclose((a[on] - 3) / 0.5, (b[on] - 1) / 0.2, atol=1e-4)


def test_features_that_stay_free_keep_their_tokens():
    free = np.intersect1d(*(np.asarray(w.forest.free) for w in (base(), variants()["deeper"])))
    assert len(free) >= 3
    a, b = pair("deeper")
    # their raw probabilities may differ in the last digits
    assert ((a > 0)[:, free] == (b > 0)[:, free]).mean() > 0.999


def test_the_ceiling_of_a_child_that_is_set_free():
    """Without copula: phi = (p_parent - p) / (1 - p) where a child's chance is p / p_parent."""
    p_parent, p = 0.5, 0.2
    tied = worlds.make_world([p_parent, p / p_parent], [-1, 0], slots=(8, 8, 8, 8))
    free = worlds.make_world([p_parent, p], slots=(8, 8, 8))
    found = worlds.code_ceiling(tied, free, n=16_384, seed=2)
    np.testing.assert_allclose(found.firing[0], 1, atol=1e-9)
    expected = (p_parent - p) / (1 - p)
    assert abs(found.firing[1] - expected) < SIGMA / np.sqrt(16_384)
    np.testing.assert_allclose(found.value, found.firing, atol=1e-6)  # magnitudes are all 1
    assert found.n == 16_384
    assert found.firings.shape == (2, 2)


def test_the_ceiling_is_that_of_the_codes_and_undefined_without_firings():
    found = worlds.code_ceiling(base(), variants()["uncorrelated"], n=4096)
    a, b = pair("uncorrelated")
    expected = np.array([np.corrcoef(a[:, i], b[:, i])[0, 1] for i in range(F)])
    often = np.asarray(worlds.expected_rates(base())) > 0.03
    # two samples of 4,096 tokens with some 120 firings or more
    assert np.abs(found.value - expected)[often].max() < 0.45
    assert abs((found.value - expected)[often].mean()) < 0.09
    silent = worlds.make_world([0.5, 0.0], slots=(8, 8, 8))
    never = worlds.code_ceiling(silent, silent, n=1024)
    assert never.value[0] == pytest.approx(1)
    assert np.isnan(never.value[1])


def test_another_firing_law_has_its_own_rates():
    law = worlds.ScaledZipf(1.0, 2.0)
    made = worlds.variant(base(), firing=law, hierarchy=None, slots=(8, 32, 32))
    np.testing.assert_allclose(worlds.expected_rates(made), law.values(F, None), rtol=0.01)
    flat = worlds.variant(base(), firing=worlds.Constant(0.1), hierarchy=None, slots=(8, 32, 32))
    np.testing.assert_allclose(worlds.expected_rates(flat), 0.1, rtol=0.01)


def test_geometry_is_kept_and_tokens_are_pure_in_the_key():
    made = variants()["free"]
    np.testing.assert_array_equal(made.geometry_key, base().geometry_key)
    config = worlds.InstanceConfig(8, sharing=1.0, rotate=False, orthogonalize_steps=0)
    a, b = (worlds.init_instance(jax.random.key(1), w, config) for w in (base(), made))
    np.testing.assert_array_equal(a.dictionary, b.dictionary)
    again = worlds.sample_pair(jax.random.key(4), base(), made, N)
    np.testing.assert_array_equal(densify(again[0], F), pair("free")[0])


def test_what_cannot_be_had_is_said():
    crowded = worlds.make_world(np.full(8, 0.3), slots=(8, 16, 16))
    tree = parse([node(0, *[node(i) for i in range(1, 8)], exclusive=True)], 8)
    slots = (8, 16, 16, 16)
    with pytest.warns(UserWarning, match=r"7 of 8 features miss their rate.*at most 8\d"):
        worlds.variant(crowded, hierarchy=tree, slots=slots)
    with pytest.raises(ConfigError, match="7 of 8 features miss"):
        worlds.variant(crowded, hierarchy=tree, slots=slots, on_miss="raise")
    for options, message in (
        ({"on_miss": "cry"}, "variant: on_miss"),
        ({"hierarchy": 3}, "must be a HierarchyConfig"),
        ({"mean": np.ones(3)}, r"shape \[8\]"),
    ):
        with pytest.raises(ConfigError, match=message):
            worlds.variant(crowded, slots=slots, **options)
    with pytest.raises(ConfigError, match="one plain world"):
        worlds.variant(worlds.twin(crowded))
    with pytest.raises(ConfigError, match="plain worlds"):
        worlds.sample_pair(jax.random.key(0), crowded, worlds.twin(crowded), 8)
    with pytest.raises(ConfigError, match="the same ids"):
        worlds.sample_pair(jax.random.key(0), crowded, base(), 8)
