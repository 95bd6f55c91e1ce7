"""What an instance has of the codes and where it puts them, against dense matrices."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synthsae_jax import worlds
from synthsae_jax.errors import ConfigError
from synthsae_jax.worlds.records import Codes
from synthsae_jax.worlds.stream import draw, see

F, D, N = 40, 16, 2048
SIGMA = 4.5


@pytest.fixture(scope="module")
def world():
    return worlds.make_world(np.linspace(0.5, 0.1, F), mean=2.0, std=0.5, slots=(1, F, F))


@pytest.fixture(scope="module")
def codes(world):
    return worlds.sample_codes(jax.random.key(1), world, N)


def instance_of(world, seed=2, **options):
    config = worlds.InstanceConfig(D, bias_norm=0.5, orthogonalize_steps=0, **options)
    return worlds.init_instance(jax.random.key(seed), world, config)


def dense_of(codes):
    """By hand, slot by slot."""
    out = np.zeros((len(codes.indices), F), np.float32)
    for row, (indices, values) in enumerate(
        zip(np.asarray(codes.indices), np.asarray(codes.values))
    ):
        for index, value in zip(indices, values):
            if index < F:
                assert out[row, index] == 0
                out[row, index] = value
    return out


def test_dense_codes_and_activations(world, codes):
    instance = instance_of(world)
    dense = np.asarray(worlds.densify(codes, F))
    np.testing.assert_array_equal(dense, dense_of(codes))
    rows, bias = (np.asarray(a, np.float64) for a in (instance.dictionary, instance.bias))
    x = dense.astype(np.float64) @ rows + bias
    np.testing.assert_allclose(worlds.embed(instance, codes), x, atol=1e-5)


def test_slots_count_wherever_they_are_filled(world):
    # 50 slots are four pieces; some pieces are empty in every token, one is in all but one
    rng = np.random.default_rng(4)
    indices, values = np.full((8, 50), F), np.zeros((8, 50), np.float32)
    for slots in (range(3), range(17, 30), [49]):
        for slot in slots:
            rows = [5] if slot == 49 else range(8)
            indices[rows, slot] = rng.integers(0, F, len(rows))
            values[rows, slot] = rng.uniform(1, 2, len(rows))
    codes = Codes(jnp.asarray(indices), jnp.asarray(values), jnp.zeros(8, bool))
    instance = instance_of(world)
    rows, bias = (np.asarray(a, np.float64) for a in (instance.dictionary, instance.bias))
    rows = np.concatenate([rows, np.zeros((1, D))])
    expected = (values[..., None] * rows[indices]).sum(axis=1) + bias
    np.testing.assert_allclose(worlds.embed(instance, codes), expected, atol=1e-5)


def test_activations_have_a_gradient(world, codes):
    instance = instance_of(world)
    weight = jax.random.normal(jax.random.key(6), (N, D))
    loss = lambda rows: jnp.sum(weight * worlds.embed(instance.replace(dictionary=rows), codes))
    found = jax.grad(loss)(instance.dictionary)
    dense = np.asarray(worlds.densify(codes, F), np.float64)
    np.testing.assert_allclose(found, dense.T @ np.asarray(weight, np.float64), atol=2e-3)


def test_no_active_feature_leaves_the_bias(world):
    empty = Codes(jnp.full((3, 4), F), jnp.zeros((3, 4)), jnp.zeros(3, bool))
    instance = instance_of(world)
    np.testing.assert_array_equal(worlds.densify(empty, F), np.zeros((3, F)))
    own = worlds.observe(instance, empty)
    np.testing.assert_array_equal(worlds.embed(instance, own), np.tile(instance.bias, (3, 1)))


def test_an_instance_without_departures_has_the_codes_as_they_are(world, codes):
    own = worlds.observe(instance_of(world), codes)
    for a, b in zip(jax.tree.leaves(own), jax.tree.leaves(codes)):
        np.testing.assert_array_equal(a, b)


def test_absent_features_are_gone_and_gains_applied(world, codes):
    instance = instance_of(world, magnitude_jitter=0.3)
    instance = instance.replace(present=jnp.arange(F) % 3 > 0)
    own = worlds.observe(instance, codes)
    expected = dense_of(codes) * np.asarray(instance.gain) * np.asarray(instance.present)
    np.testing.assert_allclose(worlds.densify(own, F), expected, rtol=1e-6)
    gone = (np.asarray(codes.indices) % 3 == 0) & (np.asarray(codes.indices) < F)
    assert (np.asarray(own.indices)[gone] == F).all()
    np.testing.assert_array_equal(own.overflow, codes.overflow)


def test_drops_have_their_rate_and_leave_the_rest(world, codes, key):
    instance = instance_of(world, drop=0.3, rate_jitter=0.5)
    keep = np.asarray(instance.keep)
    assert keep.max() <= 0.7
    before, after = (
        dense_of(codes),
        np.asarray(worlds.densify(worlds.observe(instance, codes, key), F)),
    )
    kept = after > 0
    np.testing.assert_array_equal(after[kept], before[kept])
    n = (before > 0).sum(0)
    z = (kept.sum(0) - n * keep) / np.sqrt(n * keep * (1 - keep))
    assert np.abs(z).max() < SIGMA
    # drops of different features of one token are independent: the count's variance is a sum
    both = (before[:, :2] > 0).all(1)
    rate = keep[0] * keep[1]
    z = (kept[both, :2].all(1).mean() - rate) / np.sqrt(rate * (1 - rate) / both.sum())
    assert abs(z) < SIGMA


def test_a_drop_belongs_to_token_and_feature(world, codes, key):
    instance = instance_of(world, drop=0.5)
    own = worlds.densify(worlds.observe(instance, codes, key), F)
    flipped = codes.replace(indices=codes.indices[:, ::-1], values=codes.values[:, ::-1])
    np.testing.assert_array_equal(own, worlds.densify(worlds.observe(instance, flipped, key), F))
    few = jax.tree.map(lambda a: a[:50], codes)
    np.testing.assert_array_equal(own[:50], worlds.densify(worlds.observe(instance, few, key), F))
    other = worlds.densify(worlds.observe(instance, codes, jax.random.key(9)), F)
    assert (np.asarray(own) != np.asarray(other)).any(1).mean() > 0.9


def test_noise_is_white_with_the_given_size(world, codes, key):
    instance = instance_of(world, noise=0.25)
    np.testing.assert_allclose(instance.noise, 0.25 * 2.0, rtol=1e-6)
    own = worlds.observe(instance, codes)
    quiet = worlds.embed(instance_of(world), own)
    noise = np.asarray(worlds.embed(instance, own, key) - quiet, np.float64) / 0.5
    assert abs(noise.mean()) < SIGMA / np.sqrt(noise.size)
    assert np.abs(np.cov(noise.T) - np.eye(D)).max() < SIGMA * np.sqrt(2 / N)


@pytest.mark.parametrize("option", ["drop", "rate_jitter"])
def test_observe_asks_for_a_key_where_it_needs_one(world, codes, option):
    with pytest.raises(ConfigError, match="observe needs a key"):
        worlds.observe(instance_of(world, **{option: 0.1}), codes)


def test_embed_asks_for_a_key_where_it_needs_one(world, codes):
    with pytest.raises(ConfigError, match="embed needs a key"):
        worlds.embed(instance_of(world, noise=0.1), codes)


def test_instances_see_the_same_parents_and_have_drops_of_their_own(world, key):
    a, b = instance_of(world, seed=3), instance_of(world, seed=4, drop=0.4, noise=0.1)
    c = dataclasses.replace(b, stream=b.stream + 1)
    (own_a, x_a), (own_b, x_b), (own_c, x_c) = (draw(key, world, i, N) for i in (a, b, c))
    parent = worlds.sample_codes(jax.random.fold_in(key, 0), world, N)
    np.testing.assert_array_equal(own_a.indices, parent.indices)
    seen_a, seen_b, seen_c = (np.asarray(worlds.densify(o, F)) for o in (own_a, own_b, own_c))
    assert not ((seen_b > 0) & (seen_a == 0)).any()
    # two instances drop independently: both keep a firing with probability .36
    n = (seen_a > 0).sum()
    both = ((seen_b > 0) & (seen_c > 0)).sum()
    assert abs(both - 0.36 * n) < SIGMA * np.sqrt(n * 0.36 * 0.64)
    noise_b, noise_c = (
        np.asarray(x - worlds.embed(i.replace(config=None), o))
        for x, i, o in ((x_b, b, own_b), (x_c, c, own_c))
    )
    assert abs(np.corrcoef(noise_b.ravel(), noise_c.ravel())[0, 1]) < SIGMA / np.sqrt(N * D)
    np.testing.assert_array_equal(see(jax.random.fold_in(key, 1), a, parent)[1], x_a)
    again = draw(key, world, b, N)
    np.testing.assert_array_equal(again[1], x_b)
