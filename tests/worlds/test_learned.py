"""Learned geometry: the toy model learns, honestly reports, and shares what nobody set."""

from __future__ import annotations

import functools

import jax
import numpy as np
import pytest

from synthsae_jax import keys, worlds
from synthsae_jax.errors import ConfigError
from synthsae_jax.worlds.dictionary import gram_correlation
from synthsae_jax.worlds.family import HALF, ROTATED, init_family
from synthsae_jax.worlds.learned import learn_once

F, D = 48, 12
CONFIG = worlds.LearnedConfig(
    steps=240, batch_size=128, learning_rate=1e-2, init_norm=0.2, snapshots=(0, 60, 240)
)
SIGMA = 4.5


@functools.cache
def world():
    """Features that fire in four groups, the last ones hardly ever: there are relations to find."""
    factor = 0.9 * np.repeat(np.eye(4), F // 4, axis=0)
    probabilities = np.r_[np.full(F - 4, 0.06), np.full(4, 1e-5)]
    return worlds.make_world(
        probabilities, correlation=(factor, np.full(F, 0.19)), mean=2.0, std=0.2, slots=(1, 48, 48)
    )


@functools.cache
def learned(config=CONFIG, seeds=(0, 1, 2)):
    return worlds.learn_dictionaries(world(), D, config, seeds)


def instance_of(seed, config=CONFIG, **options):
    config = worlds.InstanceConfig(D, geometry="learned", learned=config, **options)
    return worlds.init_instance(keys.instance_key(seed), world(), config)


def test_it_learns():
    found = learned()
    assert found.rows.shape == (3, F, D)
    assert found.loss.shape == (3, CONFIG.steps)
    # relative loss: 1 is what a model that says 0 has
    assert (found.loss[:, :5].mean(1) > 0.7).all()
    assert (found.loss[:, -20:].mean(1) < 0.6 * found.loss[:, :5].mean(1)).all()
    assert np.isfinite(found.rows).all()


def test_features_it_drops_are_absent():
    instances = worlds.learned_instances(world(), learned().rows)
    norms = np.asarray(learned().norms)
    np.testing.assert_array_equal(instances.present, norms >= 0.5)
    np.testing.assert_allclose(np.linalg.norm(instances.dictionary, axis=-1), 1, atol=1e-5)
    # four features that never fired keep the short rows they began with
    assert not instances.present[:, -4:].any()
    assert instances.present[:, :-4].mean() > 0.5
    everything = worlds.learned_instances(world(), learned().rows, least_norm=0.0)
    assert everything.present.all()


def test_the_stored_correlation_is_that_with_the_other_models():
    instances = worlds.learned_instances(world(), learned().rows)
    pairs = [(0, 1), (0, 2), (1, 2)]
    found = [
        float(
            gram_correlation(
                instances.dictionary[i],
                instances.dictionary[j],
                instances.present[i] & instances.present[j],
            )
        )
        for i, j in pairs
    ]
    expected = [np.mean([found[0], found[1]]), np.mean([found[0], found[2]])]
    np.testing.assert_allclose(instances.gram_correlation[:2], expected, atol=1e-4)
    assert np.isnan(worlds.learned_instances(world(), learned().rows[0]).gram_correlation)


def test_a_seed_means_the_same_everywhere():
    one = instance_of(1)
    many = worlds.learned_instances(world(), learned().rows)
    # 240 steps of Adam enlarge rounding, but a seed finds its own solution
    cosine = np.sum(np.asarray(one.dictionary) * np.asarray(many.dictionary[1]), axis=1)
    assert cosine[np.asarray(one.present)].mean() > 0.98
    other = np.sum(np.asarray(one.dictionary) * np.asarray(many.dictionary[0]), axis=1)
    assert abs(other.mean()) < 0.5
    again = instance_of(1)
    np.testing.assert_array_equal(again.dictionary, one.dictionary)
    # the correlation with the world's own reference is stored
    assert np.isfinite(one.gram_correlation)
    assert np.isnan(one.cosine)


def test_snapshots_mature():
    found = learned()
    assert found.snapshots.shape == (3, 3, F, D)
    np.testing.assert_allclose(found.snapshots[:, -1], found.rows, atol=0)
    aged = worlds.learned_instances(world(), found.snapshots)
    assert aged.gram_correlation.shape == (3, 3)
    represented = np.asarray(aged.present).sum(-1)
    assert (represented[:, 0] == 0).all()
    assert (represented[:, 1:] > 0).all()
    assert np.isnan(aged.gram_correlation[:, 0]).all()  # nothing is there yet
    assert worlds.log_spaced(1000, 4) == (1, 10, 100, 1000)
    assert worlds.log_spaced(8, 8) == (1, 2, 3, 4, 6, 8)


def test_sharing_mixes_with_a_learned_reference():
    turned = [instance_of(s, sharing=1.0) for s in (0, 1)]
    np.testing.assert_allclose(gram_correlation(*(a.dictionary for a in turned)), 1, atol=1e-3)
    np.testing.assert_array_equal(turned[0].present, turned[1].present)
    half = instance_of(0, sharing=0.5)
    np.testing.assert_allclose(half.cosine, 0.5, atol=1e-5)


def test_families_of_learned_models():
    config = worlds.InstanceConfig(D, geometry="learned", learned=CONFIG)
    family = init_family(world(), config, (ROTATED, HALF), seed=0)
    a, rotated, half = family.instances
    views = family.training_views()
    assert views.dictionary.shape == (3, F, D)
    assert not views.present[:, -4:].any()
    shared = np.asarray(half.present[:F])
    assert 0 < shared.sum() < F - 4
    assert not (np.asarray(half.present[:F]) & np.asarray(half.present[F:])).any()
    assert gram_correlation(rotated.dictionary[:F], a.dictionary[:F]) > 0.999
    # a feature and its twin are of two models
    twins = np.sum(np.asarray(a.dictionary[:F]) * np.asarray(a.dictionary[F:]), axis=1)
    assert abs(twins.mean()) < SIGMA / np.sqrt(D * 4)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_other_optimisers_find_other_geometry(optimizer):
    rate = {"adamw": 1e-2, "sgd": 2e-2}[optimizer]
    config = worlds.LearnedConfig(
        optimizer, rate, steps=240, batch_size=128, weight_decay=0.3, importance=0.5
    )
    found = learned(config, (0,))
    assert (found.loss[:, -20:].mean(1) < 0.9 * found.loss[:, :5].mean(1)).all()


def test_common_data_and_init_are_common():
    config = worlds.LearnedConfig(steps=1, batch_size=8, common_init=True, common_data=True)
    found = learned(config, (0, 1))
    np.testing.assert_allclose(found.rows[0], found.rows[1], atol=1e-6)
    assert np.abs(np.asarray(learned().snapshots[0, 0] - learned().snapshots[1, 0])).max() > 0.1


def test_overflow_is_not_cut_quietly():
    tight = world().replace(slots=(1, 2, 2))
    config = worlds.LearnedConfig(steps=1, batch_size=128)
    with pytest.raises(ConfigError, match="toy model samples"):
        worlds.learn_dictionaries(tight, D, config, (0,))
    with pytest.raises(ConfigError, match="toy model samples"):
        learn_once(jax.random.key(0), tight, D, config)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": "adamm"}, "Did you mean 'adam'"),
        ({"steps": 0}, "steps must be a whole number >= 1"),
        ({"learning_rate": 0.0}, "learning_rate must be > 0"),
        ({"least_norm": -1.0}, "least_norm"),
        ({"importance": float("nan")}, "importance"),
        ({"snapshots": (5, 3)}, "increasing steps"),
        ({"steps": 5, "snapshots": (6,)}, "increasing steps from 0 to 5"),
    ],
)
def test_what_a_config_refuses(options, message):
    with pytest.raises(ConfigError, match=message):
        worlds.LearnedConfig(**options)
    with pytest.raises(ConfigError, match="must be a LearnedConfig"):
        worlds.InstanceConfig(D, learned="adam")
