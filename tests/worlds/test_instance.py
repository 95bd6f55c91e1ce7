"""Instances: each axis does what it says, has a key of its own, and maps over keys."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from world_reference import tree_world

from synthsae_jax import worlds
from synthsae_jax.errors import ConfigError
from synthsae_jax.worlds.dictionary import gram_correlation
from synthsae_jax.worlds.instance_config import GEOMETRIES
from synthsae_jax.worlds.records import Codes
from synthsae_jax.worlds.structure import embedding

SIGMA = 4.5
D = 24
DRAWN = [name for name in GEOMETRIES if name != "learned"]  # that one is in `test_learned`


@pytest.fixture(scope="module")
def world():
    return tree_world()


def config_of(hidden_dim=D, **options):
    return worlds.InstanceConfig(hidden_dim, **{"orthogonalize_steps": 0, **options})


def instance_of(world, seed=1, hidden_dim=D, **options):
    return worlds.init_instance(jax.random.key(seed), world, config_of(hidden_dim, **options))


def cosines(a, b):
    return np.sum(np.asarray(a.dictionary) * np.asarray(b.dictionary), axis=1)


@pytest.mark.parametrize("geometry", DRAWN)
@pytest.mark.parametrize("sharing", [0.0, 0.5, 1.0])
def test_rows_are_unit_and_everything_is_present(world, geometry, sharing):
    a = instance_of(world, geometry=geometry, sharing=sharing, bias_norm=1.5)
    assert a.dictionary.shape == (48, D)
    np.testing.assert_allclose(np.linalg.norm(a.dictionary, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(a.bias), 1.5, rtol=1e-5)
    assert a.present.all()
    assert (a.keep == 1).all()
    assert (a.gain == 1).all()
    assert a.hidden_dim == D


@pytest.mark.parametrize("geometry", DRAWN)
@pytest.mark.parametrize("t", [0.25, 0.8, 1.0])
def test_the_realised_cosine_is_t(world, geometry, t):
    # without rotation the reference is what every instance with t = 1 has
    reference = instance_of(world, seed=9, geometry=geometry, sharing=1.0, rotate=False)
    for rotate in (False, True):
        a = instance_of(world, geometry=geometry, sharing=t, rotate=rotate)
        np.testing.assert_allclose(a.cosine, t, atol=1e-5)
        np.testing.assert_allclose(
            a.gram_correlation, gram_correlation(a.dictionary, reference.dictionary), atol=1e-5
        )
        if not rotate:
            np.testing.assert_allclose(cosines(a, reference), t, atol=1e-5)


def test_t_0_has_no_reference(world):
    a = instance_of(world)
    assert np.isnan(a.cosine)
    assert np.isnan(a.gram_correlation)


def test_identical_and_rotated_copies(world):
    same = [instance_of(world, seed=s, sharing=1.0, rotate=False) for s in (1, 2)]
    np.testing.assert_array_equal(same[0].dictionary, same[1].dictionary)
    turned = [instance_of(world, seed=s, sharing=1.0) for s in (1, 2)]
    grams = [np.asarray(a.dictionary @ a.dictionary.T) for a in (*turned, same[0])]
    np.testing.assert_allclose(grams[0], grams[1], atol=1e-5)
    np.testing.assert_allclose(grams[0], grams[2], atol=1e-5)
    # a rotation leaves no direction where it was: cosines are chance, sd 1 / sqrt(D)
    assert abs(cosines(*turned).mean()) < SIGMA / np.sqrt(D * 8)
    np.testing.assert_allclose(turned[0].gram_correlation, 1, atol=1e-4)


def test_another_width_embeds_the_reference(world):
    reference = instance_of(world, sharing=1.0, rotate=False)
    wide = instance_of(world, hidden_dim=40, reference_dim=D, sharing=1.0)
    gram = lambda a: np.asarray(a.dictionary @ a.dictionary.T)
    np.testing.assert_allclose(gram(wide), gram(reference), atol=1e-5)
    narrow = instance_of(world, hidden_dim=12, reference_dim=D, sharing=0.9)
    np.testing.assert_allclose(narrow.cosine, 0.9, atol=1e-5)
    assert 0.1 < narrow.gram_correlation < 0.95


def test_structured_instances_share_relations_without_sharing_directions(world):
    a, b = (instance_of(world, seed=s, geometry="structured") for s in (1, 2))
    assert gram_correlation(a.dictionary, b.dictionary) > 0.3
    assert abs(cosines(a, b).mean()) < SIGMA / np.sqrt(D * 8)
    plain = [instance_of(world, seed=s) for s in (1, 2)]
    assert abs(gram_correlation(*(p.dictionary for p in plain))) < SIGMA / np.sqrt(48 * 47 / 2)


@pytest.mark.parametrize("correlated", ["factors", "dense"])
def test_the_embedding_puts_relatives_and_cofiring_features_close(correlated):
    angle = np.linspace(0, np.pi, 48)
    factor = 0.9 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    latent = factor @ factor.T + 0.19 * np.eye(48)
    pair = (factor, np.full(48, 0.19)) if correlated == "factors" else latent
    world = tree_world(correlation=pair)
    rows = np.asarray(embedding(world), np.float64)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    cosine, parent = rows @ rows.T, np.asarray(world.forest.parent)
    child = np.flatnonzero(parent >= 0)
    free = np.asarray(world.forest.free)
    near = np.abs(free[:, None] - free) == 1
    far = np.abs(free[:, None] - free) > 18
    # half of a free feature's row is its loadings, so neighbours have a cosine of .4 to .5
    assert cosine[np.ix_(free, free)][near].mean() > 0.25
    assert cosine[np.ix_(free, free)][near].mean() > cosine[np.ix_(free, free)][far].mean() + 0.2
    assert cosine[child, parent[child]].mean() > 0.7


def test_a_feature_and_its_twin_are_not_related(world):
    rows = np.asarray(embedding(worlds.twin(world)))
    assert rows.shape == (96, 32)
    across = np.sum(rows[:48] * rows[48:], axis=1)
    # features of one tree lie together, so there are only some 25 independent cosines
    assert abs(across.mean()) < SIGMA / np.sqrt(32 * 25)


def test_jitters_have_their_statistics():
    world = worlds.make_world(np.full(20_000, 0.1), slots=(1, 8, 8))
    a = instance_of(world, hidden_dim=2, magnitude_jitter=0.4, rate_jitter=0.3, drop=0.2)
    n = 20_000
    log_gain = np.log(np.asarray(a.gain, np.float64))
    # lognormal with mean 1: sd sqrt(exp(.16) - 1) = .417
    assert abs(np.asarray(a.gain, np.float64).mean() - 1) < SIGMA * 0.417 / np.sqrt(n)
    assert abs(log_gain.std() - 0.4) < SIGMA * 0.4 / np.sqrt(2 * n)
    fall = -np.log(np.asarray(a.keep, np.float64) / 0.8)
    assert fall.min() >= 0
    # |.3 z|: mean .3 sqrt(2 / pi), mean square .09
    assert abs(fall.mean() - 0.3 * np.sqrt(2 / np.pi)) < SIGMA * 0.181 / np.sqrt(n)
    assert abs((fall**2).mean() - 0.09) < SIGMA * 0.09 * np.sqrt(2 / n)


def test_noise_is_relative_to_the_mean_magnitude(world):
    a = instance_of(world, noise=0.5)
    np.testing.assert_allclose(a.noise, 0.5 * np.asarray(world.mean).mean(), rtol=1e-6)


def test_every_axis_has_a_key_of_its_own(world):
    config = config_of(
        sharing=0.5, bias_norm=1.0, magnitude_jitter=0.2, rate_jitter=0.2, geometry="structured"
    )
    keys = worlds.instance_keys(jax.random.key(1))
    base = worlds.init_instance(keys, world, config)
    moves = {
        "directions": {"dictionary", "gram_correlation"},
        "rotation": {"dictionary", "gram_correlation"},
        "bias": {"bias"},
        "gain": {"gain"},
        "rate": {"keep"},
        "stream": {"stream"},
    }
    assert set(moves) == {field.name for field in dataclasses.fields(worlds.InstanceKeys)}
    for name, expected in moves.items():
        other = worlds.init_instance(keys.replace(**{name: jax.random.key(77)}), world, config)
        changed = {
            field.name
            for field in dataclasses.fields(other)
            if field.name not in ("config", "cosine")
            and not np.array_equal(getattr(base, field.name), getattr(other, field.name))
        }
        assert changed <= expected, name
        assert changed - {"gram_correlation"} == expected - {"gram_correlation"}, name
    whole = worlds.init_instance(jax.random.key(1), world, config)
    np.testing.assert_array_equal(whole.dictionary, base.dictionary)


def test_maps_over_keys(world):
    config = config_of(sharing=0.5, orthogonalize_steps=5, bias_norm=1.0, magnitude_jitter=0.1)
    keys = jax.random.split(jax.random.key(4), 3)
    many = jax.vmap(lambda k: worlds.init_instance(k, world, config))(keys)
    for i, k in enumerate(keys):
        one = worlds.init_instance(k, world, config)
        for a, b in zip(jax.tree.leaves(many), jax.tree.leaves(one)):
            np.testing.assert_allclose(a[i], b, atol=1e-5)


def test_your_own_dictionary(world):
    rows = np.random.default_rng(0).normal(size=(48, 5))
    a = worlds.make_instance(world, rows, bias=np.arange(5))
    np.testing.assert_allclose(
        a.dictionary, rows / np.linalg.norm(rows, axis=1, keepdims=True), 1e-5
    )
    np.testing.assert_array_equal(a.bias, np.arange(5))
    assert a.present.all()
    codes = Codes(jnp.array([[3, 48]]), jnp.array([[2.0, 0.0]]), jnp.zeros(1, bool))
    np.testing.assert_array_equal(worlds.observe(a, codes).values, codes.values)
    np.testing.assert_allclose(worlds.embed(a, codes)[0], a.bias + 2 * a.dictionary[3], rtol=1e-6)
    assert (worlds.make_instance(world, rows).bias == 0).all()


@pytest.mark.parametrize("size", [1e-300, 1e-30, 1e-9, 1e30, 1e300])
def test_directions_of_any_size_are_directions(world, size):
    rows = np.random.default_rng(4).normal(size=(world.n_features, 7))
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    np.testing.assert_allclose(worlds.make_instance(world, size * rows).dictionary, unit, atol=1e-6)


@pytest.mark.parametrize(
    ("dictionary", "bias", "message"),
    [
        (np.ones((47, 5)), None, r"\[48, D\].*got \[47, 5\]"),
        (np.ones(48), None, r"got \[48\]"),
        (np.zeros((48, 5)), None, "finite and non-zero"),
        (np.full((48, 5), np.nan), None, "finite and non-zero"),
        (np.ones((48, 5)), np.zeros(4), r"\[5\], got \[4\]"),
    ],
)
def test_what_make_instance_refuses(world, dictionary, bias, message):
    with pytest.raises(ConfigError, match=message):
        worlds.make_instance(world, dictionary, bias)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden_dim": 0}, "hidden_dim must be a whole number >= 1, got 0"),
        ({"hidden_dim": 2.5}, "hidden_dim"),
        ({"geometry": "randm"}, "Did you mean 'random'"),
        ({"sharing": 1.2}, r"sharing must lie in \[0, 1\], got 1.2"),
        ({"shared": -0.1}, "shared"),
        ({"shared": "half"}, "shared"),
        ({"structure": float("nan")}, "structure"),
        ({"drop": 1.0}, r"drop must lie in \[0, 1\)"),
        ({"noise": -1.0}, "noise must be a finite number >= 0"),
        ({"bias_norm": float("inf")}, "bias_norm"),
        ({"orthogonalize_steps": 1.5}, "orthogonalize_steps"),
        ({"reference_dim": 0}, "reference_dim"),
        ({"sharing": 1.0, "reference_dim": D + 1}, "needs hidden_dim >= reference_dim"),
        ({"rotate": False, "reference_dim": D + 1}, "rotate=False needs"),
    ],
)
def test_what_a_config_refuses(options, message):
    with pytest.raises(ConfigError, match=message):
        worlds.InstanceConfig(**{"hidden_dim": D, **options})


def test_sharing_less_needs_twins(world):
    with pytest.raises(ConfigError, match=r"worlds.twin\(world\); got shared=0.5"):
        instance_of(world, shared=0.5)
    a = instance_of(worlds.twin(world), shared=0.5)
    np.testing.assert_array_equal(a.present[:48], ~a.present[48:])
    assert isinstance(a.present, jnp.ndarray)
