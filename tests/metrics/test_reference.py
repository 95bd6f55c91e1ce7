"""The ceiling is what true codes reach, the floor what random directions do."""

import jax
import numpy as np
import oracles
import pytest
import tiny

from synthsae_jax import keys, metrics, saes, worlds
from synthsae_jax.errors import ConfigError

WORLD, INSTANCE = tiny.world(), tiny.instance()


ONES = dict.fromkeys(("mcc", "uniqueness", "precision", "recall", "f1", "accuracy"), 1.0)


def top_ten(world):
    """The ten features that fire most often, and the oracle that knows them."""
    ids = metrics.most_frequent(worlds.expected_rates(world), INSTANCE, 10)
    return ids, metrics.oracle_levels(world, INSTANCE, ids, 200, 3, batch_size=128)


def test_an_oracle_of_all_features_that_fire_is_perfect():
    rates = np.zeros(tiny.F)
    rates[::3], rates[1] = 0.2, 0.3
    rates[2] = 0.1
    ids, found = top_ten(worlds.make_world(rates, std=0.1, slots=tiny.SLOTS))
    assert set(ids) == set(np.flatnonzero(rates))
    # float32 sums over some hundred samples
    assert {name: found[name] for name in ONES} == pytest.approx(ONES, abs=1e-6)
    assert found["explained_variance"] == pytest.approx(1, abs=1e-6)
    assert found["shrinkage"] == pytest.approx(1, abs=1e-6)
    assert found["dead_latents"] == 0
    assert found["l0"] == found["true_l0"] > 1
    assert found["n_eval"] == 256


def test_an_oracle_of_the_most_frequent_features_leaves_the_rest_unexplained():
    ids, found = top_ten(WORLD)
    acts, x = [], []
    for step in range(2):
        key = jax.random.fold_in(keys.data_key(3, "evaluate"), step)
        codes, batch = worlds.draw(key, WORLD, INSTANCE, 128)
        acts.append(worlds.densify(codes, tiny.F))
        x.append(batch)
    acts, x = np.concatenate(acts), np.concatenate(x)
    x_hat = acts[:, ids] @ np.asarray(INSTANCE.dictionary)[ids] + np.asarray(INSTANCE.bias)
    expected = oracles.explained_variance(x, x_hat)
    assert found["explained_variance"] == pytest.approx(expected, abs=1e-6)
    assert 0.3 < expected < 0.95
    assert found["l0"] == pytest.approx((acts[:, ids] > 0).sum(1).mean())
    assert found["l0"] < found["true_l0"]
    assert {name: found[name] for name in ONES} == pytest.approx(ONES, abs=1e-6)


def test_most_frequent_orders_by_what_the_instance_sees():
    twins = worlds.twin(WORLD)
    config = worlds.InstanceConfig(hidden_dim=tiny.D, orthogonalize_steps=0)
    one = worlds.init_instance(keys.instance_key(0), twins, config)
    present = np.zeros(48, bool)
    present[[0, 3, 5, 24 + 7, 24 + 3]] = True
    keep = np.ones(48)
    keep[0] = 0.1
    one = one.replace(present=present, keep=keep)
    rates = np.zeros(24)
    rates[[0, 3, 7, 8]] = 0.9, 0.2, 0.5, 0.99
    # by rate .5, .2 twice (the lower id first), .09, 0; id 8 is absent however often it fires, and
    # so are the many that fire no less often than id 5
    assert metrics.most_frequent(rates, one, 10).tolist() == [31, 3, 27, 0, 5]
    assert metrics.most_frequent(rates, one, 2).tolist() == [31, 3]


def chance(seed):
    return metrics.chance_levels(WORLD, INSTANCE, tiny.sae("topk"), n_samples=1000, seed=seed)


def test_an_untrained_sae_scores_at_chance():
    found = chance(1)
    features = np.asarray(INSTANCE.dictionary)
    rng = np.random.default_rng(0)
    random = [rng.normal(size=(tiny.L, tiny.D)).astype(np.float32) for _ in range(60)]
    for metric in (metrics.mcc, metrics.uniqueness):
        values = [metric(rows, features) for rows in random]
        # the mean of its 3 draws against the mean of 60, at 4.5 sigma
        error = 4.5 * np.std(values) * np.sqrt(1 / 3 + 1 / 60)
        assert abs(found[metric.__name__] - np.mean(values)) < error
    simulated = metrics.random_mcc(tiny.L, tiny.F, tiny.D, jax.random.key(0), draws=10)
    assert found["mcc"] == pytest.approx(simulated, abs=0.03)  # three draws differ by about .01
    # k latents in each sample, fewer where no feature is active
    assert 2.8 < found["l0"] <= 3
    assert found["f1"] < 0.5
    assert found["n_eval"] == 1000


def test_chance_has_draws_of_its_own_for_each_seed():
    first, again, other = (chance(seed) for seed in (1, 1, 2))
    assert first == again
    assert first["mcc"] != other["mcc"]


def test_what_has_no_levels_is_refused():
    with pytest.raises(ConfigError, match="at least one feature id"):
        metrics.oracle_levels(WORLD, INSTANCE, np.array([], int))
    wrapped = saes.wrap(lambda x: x, lambda z: z, np.eye(tiny.D))
    with pytest.raises(ConfigError, match="not initialised or trained"):
        metrics.chance_levels(WORLD, INSTANCE, wrapped)
