"""Departures: nothing at strength 0, what each says elsewhere, and a truth that is what it says."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm
from world_reference import tree_world

from synthsae_jax import worlds
from synthsae_jax.errors import ConfigError
from synthsae_jax.worlds import departures
from synthsae_jax.worlds.codes import embed
from synthsae_jax.worlds.family import plain_view
from synthsae_jax.worlds.records import Codes
from synthsae_jax.worlds.stream import draw, see

D, N = 24, 256
SIGMA = 4.5
NAMES = worlds.departure_names()
PLANAR = ("circle", "plane", "turning")


@functools.cache
def world():
    return tree_world()


@functools.cache
def instance_of(name=None, strength=0.0, **options):
    config = worlds.InstanceConfig(
        D, orthogonalize_steps=0, bias_norm=1.0, departure=name, strength=strength, **options
    )
    return worlds.init_instance(jax.random.key(1), world(), config)


@functools.cache
def codes():
    return worlds.sample_codes(jax.random.key(2), world(), N)


# the strength is traced: one program per kind
embedded = jax.jit(lambda i, c, key: embed(i.replace(config=None), c, None, key))


def look(instance, own=None):
    return np.asarray(embedded(instance, codes() if own is None else own, jax.random.key(3)))


def firings(feature, sizes):
    """Codes in which a token holds this feature alone."""
    sizes = jnp.asarray(sizes, jnp.float32)
    return Codes(jnp.full((len(sizes), 1), feature), sizes[:, None], jnp.zeros(len(sizes), bool))


@pytest.mark.parametrize("name", NAMES)
def test_strength_0_is_embed_to_the_last_bit(name):
    plain, bent = instance_of(), instance_of(name, 0.0)
    np.testing.assert_array_equal(bent.dictionary, plain.dictionary)
    np.testing.assert_array_equal(look(bent), look(plain))
    np.testing.assert_array_equal(
        worlds.embed(bent, codes(), token_key=jax.random.key(3)), worlds.embed(plain, codes())
    )
    share = np.asarray(worlds.linear_share(bent))
    assert np.isnan(share).all() if name == "squash" else np.allclose(share, 1, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_strength_moves_and_can_be_set_later(name):
    once, later = instance_of(name, 0.6), worlds.with_strength(instance_of(name, 0.0), 0.6)
    np.testing.assert_array_equal(look(once), look(later))
    np.testing.assert_allclose(once.dictionary, later.dictionary, atol=1e-6)
    assert np.abs(look(once) - look(instance_of())).max() > 0.1
    np.testing.assert_allclose(np.linalg.norm(once.dictionary, axis=1), 1, atol=1e-5)
    back = worlds.with_strength(once, 0.0)
    np.testing.assert_array_equal(look(back), look(instance_of()))


# the kinds in a plane share everything but two lines
@pytest.mark.parametrize("name", ["circle", "family", "squash"])
def test_maps_over_strengths_and_instances(name):
    strengths = (0.0, 0.4, 1.0)
    members = [instance_of(name, s) for s in strengths]
    many = jax.vmap(lambda s: worlds.with_strength(members[0], s))(jnp.array(strengths))
    np.testing.assert_allclose(worlds.stack(members).dictionary, many.dictionary, atol=1e-5)
    x = jax.vmap(lambda i: embedded(i, codes(), jax.random.key(3)))(many)
    for i, member in enumerate(members):
        np.testing.assert_allclose(x[i], look(member), atol=1e-4)


@pytest.mark.parametrize("name", PLANAR)
@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_effective_direction_and_linear_share_are_those_of_many_firings(name, strength):
    a = instance_of(name, strength)
    feature, n = 3, 20_000
    mean, std = float(world().mean[feature]), float(world().std[feature])
    sizes = np.maximum(mean + std * np.random.default_rng(0).normal(size=n), 0)
    y = look(a, firings(feature, sizes)) - np.asarray(a.bias)
    found = y.mean(0)
    row = np.asarray(a.dictionary[feature], np.float64)
    share = ((y @ row) ** 2).sum() / (y**2).sum()
    # a share of bounded terms around its mean: sd below .5 of it
    assert abs(share - float(worlds.linear_share(a)[feature])) < SIGMA * 0.8 / np.sqrt(n) + 2e-3
    if name == "circle" and strength == 1:  # no mean direction is left: the middle stands for it
        assert np.linalg.norm(found) < SIGMA * mean / np.sqrt(n)
        np.testing.assert_allclose(row, a.departure.rows[feature], atol=1e-6)
    else:
        assert found @ row / np.linalg.norm(found) > 0.999
    # a firing keeps its length on a circle and on the way of a turn, its mean square in a plane
    length = np.linalg.norm(y, axis=1)
    if name == "plane":
        np.testing.assert_allclose((length**2).mean(), (sizes**2).mean(), rtol=0.06)
    else:
        np.testing.assert_allclose(length, sizes, rtol=1e-3, atol=1e-4)


def test_a_turning_direction_follows_the_magnitude():
    a = instance_of("turning", 1.0)
    feature = 3
    mean, std = float(world().mean[feature]), float(world().std[feature])
    z = np.array([-0.4, 0.0, 0.4])
    y = look(a, firings(feature, mean + z * std)) - np.asarray(a.bias)
    y /= np.linalg.norm(y, axis=1, keepdims=True)
    angle = np.pi * (norm.cdf(z) - 0.5)[:, None]
    rows, across = (np.asarray(x[feature])[None] for x in (a.departure.rows, a.departure.across))
    np.testing.assert_allclose(y, np.cos(angle) * rows + np.sin(angle) * across, atol=1e-4)
    np.testing.assert_allclose(rows @ across.T, 0, atol=1e-6)


def test_children_move_towards_their_parents():
    parent = np.asarray(world().forest.parent)
    child = np.flatnonzero(parent >= 0)
    cosines = []
    for strength in (0.0, 0.3, 0.7, 1.0):
        rows = np.asarray(instance_of("family", strength).dictionary)
        cosines.append(np.sum(rows[child] * rows[parent[child]], axis=1))
    assert (np.diff(cosines, axis=0) > -1e-5).all()
    np.testing.assert_allclose(cosines[-1], 1, atol=1e-5)
    a = instance_of("family", 0.7)
    dense = np.asarray(worlds.densify(codes(), world().n_base))
    np.testing.assert_allclose(
        look(a), dense @ np.asarray(a.dictionary) + np.asarray(a.bias), atol=1e-3
    )


def test_squashing_keeps_lengths_and_nearly_the_directions():
    a = instance_of("squash", 1.0)
    x, y = look(instance_of()) - np.asarray(a.bias), look(a) - np.asarray(a.bias)
    np.testing.assert_allclose(np.linalg.norm(y, axis=1), np.linalg.norm(x, axis=1), rtol=1e-4)
    assert (np.sign(x) == np.sign(y))[np.abs(x) > 1e-4].all()
    # what one feature adds among the others points along its row
    dense = np.asarray(worlds.densify(codes(), world().n_base))
    feature = int(np.argmax((dense > 0).sum(0)))
    own = codes()
    off = own.replace(values=jnp.where(own.indices == feature, 0.0, own.values))
    moved = (look(a) - look(a, off))[dense[:, feature] > 0].mean(0)
    row = np.asarray(a.dictionary[feature])
    assert moved @ row / np.linalg.norm(moved) > 0.9


def test_angles_belong_to_tokens_and_planes_to_the_geometry():
    options = {"departure": "circle", "strength": 0.5, "sharing": 1.0, "orthogonalize_steps": 0}
    config = worlds.InstanceConfig(D, rotate=False, **options)
    a, b = (worlds.init_instance(jax.random.key(s), world(), config) for s in (1, 2))
    key = jax.random.key(5)
    np.testing.assert_allclose(see(key, a, codes())[1], see(key, b, codes())[1], atol=1e-5)
    other = see(jax.random.key(6), a, codes())[1]
    assert np.abs(np.asarray(other) - np.asarray(see(key, a, codes())[1])).max() > 0.5
    # a rotated copy departs by the rotated second directions
    turned = worlds.init_instance(jax.random.key(3), world(), worlds.InstanceConfig(D, **options))
    seen = [np.asarray(see(key, i, codes())[1]) for i in (a, turned)]
    grams = [x @ x.T for x in seen]
    np.testing.assert_allclose(*grams, atol=5e-3)
    with pytest.raises(ConfigError, match="embed needs a key: with departure 'circle'"):
        worlds.embed(a, codes())


def test_a_stream_is_a_pure_function_of_its_key():
    a = instance_of("plane", 0.5)
    (one, x), (two, y) = (draw(jax.random.key(9), world(), a, N) for _ in range(2))
    np.testing.assert_array_equal(one.values, two.values)
    np.testing.assert_array_equal(x, y)


def test_any_linear_instance_can_depart_once():
    plain = worlds.make_instance(world(), np.random.default_rng(0).normal(size=(48, D)))
    bent = worlds.depart(jax.random.key(4), world(), plain, "turning", 0.5)
    rows, across = np.asarray(bent.departure.rows), np.asarray(bent.departure.across)
    np.testing.assert_array_equal(rows, plain.dictionary)
    np.testing.assert_allclose(np.sum(rows * across, axis=1), 0, atol=1e-6)
    with pytest.raises(ConfigError, match="takes a linear instance"):
        worlds.depart(jax.random.key(4), world(), bent, "turning", 0.5)
    with pytest.raises(ConfigError, match="this instance has no departure"):
        worlds.with_strength(plain, 0.5)
    with pytest.raises(ConfigError, match="Did you mean 'circle'"):
        worlds.depart(jax.random.key(4), world(), plain, "circles", 0.5)
    with pytest.raises(ConfigError, match="instance 0 departs from linearity"):
        worlds.join([bent])
    with pytest.raises(ConfigError, match="strength needs a departure"):
        worlds.InstanceConfig(D, strength=0.5)
    with pytest.raises(ConfigError, match="Did you mean 'plane'"):
        worlds.InstanceConfig(D, departure="planes")


@pytest.mark.parametrize("name", ["circle", "family"])
def test_twins_depart_like_their_firsts_and_a_plain_view_keeps_it(name):
    twins = worlds.twin(world())
    config = worlds.InstanceConfig(
        D, orthogonalize_steps=0, departure=name, strength=0.5, sharing=0.5, shared=0.5
    )
    a = worlds.init_instance(jax.random.key(1), twins, config)
    plain = plain_view(a)
    ids = np.where(np.asarray(a.present[:48]), np.arange(48), np.arange(48) + 48)
    np.testing.assert_array_equal(plain.departure.rows, a.departure.rows[ids])
    np.testing.assert_array_equal(plain.departure.parent, world().forest.parent)
    np.testing.assert_allclose(
        worlds.with_strength(plain, 0.5).dictionary, plain.dictionary, atol=1e-6
    )
    assert departures.pick(None, a.present[:48]) is None
