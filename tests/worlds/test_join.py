"""A joined instance is its members side by side, feature by feature and token by token."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from synthsae_jax import metrics, worlds
from synthsae_jax.errors import ConfigError
from synthsae_jax.training import TrainConfig, train

N = 256
WORLD = tiny.world()


def instance_of(world, seed, dim=16, **options):
    given = {"orthogonalize_steps": 0, "bias_norm": 0.5, **options}
    return worlds.init_instance(jax.random.key(seed), world, worlds.InstanceConfig(dim, **given))


def plain(seed, dim=16):
    """A model without departures, drawn on the host."""
    rng = np.random.default_rng(seed)
    return worlds.make_instance(WORLD, rng.normal(size=(tiny.F, dim)), rng.normal(size=dim))


@pytest.fixture(scope="module")
def codes():
    return worlds.sample_codes(jax.random.key(1), WORLD, N)


def side_by_side(members, codes):
    return np.concatenate([worlds.embed(m, worlds.observe(m, codes)) for m in members], axis=-1)


def test_activations_are_those_of_the_members_in_order(codes):
    members = [plain(2), plain(3, dim=10)]
    joined = worlds.join(members)
    assert joined.hidden_dim == 26
    x = worlds.embed(joined, codes)
    # the same sums in the same order
    np.testing.assert_array_equal(x, side_by_side(members, codes))
    np.testing.assert_array_equal(
        x, np.concatenate([worlds.embed(m, codes) for m in members], axis=-1)
    )
    own, seen = worlds.see(jax.random.key(5), joined, codes)
    np.testing.assert_array_equal(own.values, codes.values)
    np.testing.assert_array_equal(seen, x)


def test_gains_move_into_the_rows(codes):
    members = [instance_of(WORLD, s, magnitude_jitter=0.3) for s in (2, 3)]
    joined = worlds.join(members)
    own = worlds.observe(joined, codes)
    np.testing.assert_array_equal(own.values, codes.values)
    expected = side_by_side(members, codes)
    np.testing.assert_allclose(worlds.embed(joined, own), expected, rtol=1e-5, atol=1e-5)


def test_what_a_model_lacks_is_zero_in_its_block():
    twins = worlds.twin(WORLD, "independent")
    members = [instance_of(twins, 2, shared=1.0), instance_of(twins, 3, shared=0.5)]
    joined = worlds.join(members)
    a, b = (np.asarray(m.present) for m in members)
    assert (a & b).any()
    assert (a & ~b).any()
    assert (b & ~a).any()
    np.testing.assert_array_equal(joined.present, a | b)
    blocks = np.split(np.asarray(joined.dictionary), 2, axis=1)
    for present, block, member in zip((a, b), blocks, members):
        np.testing.assert_array_equal(block[present], np.asarray(member.dictionary)[present])
        assert not block[~present].any()
    codes = worlds.sample_codes(jax.random.key(4), twins, N)
    x = worlds.embed(joined, worlds.observe(joined, codes))
    np.testing.assert_array_equal(x, side_by_side(members, codes))


def test_registries_with_nothing_in_common():
    twins = worlds.twin(WORLD, "independent")
    members = [instance_of(twins, 2, shared=1.0), instance_of(twins, 3, shared=0.0)]
    joined = worlds.join(members)
    assert joined.present.all()
    blocks = np.split(np.asarray(joined.dictionary), 2, axis=1)
    norms = np.stack([np.linalg.norm(block, axis=1) for block in blocks])
    expected = np.repeat([[1.0, 0.0], [0.0, 1.0]], tiny.F, axis=1)
    np.testing.assert_allclose(norms, expected, atol=1e-6)


def test_stacks_are_joined_one_by_one(codes):
    pairs = [[plain(2 * i), plain(2 * i + 1)] for i in range(2)]
    joined = worlds.join([worlds.stack([pair[m] for pair in pairs]) for m in range(2)])
    for i, pair in enumerate(pairs):
        one = jax.tree.map(lambda leaf, i=i: leaf[i], joined)
        np.testing.assert_array_equal(worlds.embed(one, codes), side_by_side(pair, codes))
    again = worlds.stack([worlds.join(pair) for pair in pairs])
    for a, b in zip(jax.tree.leaves(joined), jax.tree.leaves(again)):
        np.testing.assert_array_equal(a, b)


def test_noise_keeps_its_law(codes):
    members = [instance_of(WORLD, s, noise=0.1) for s in (2, 3)]
    joined = worlds.join(members)
    with pytest.raises(ConfigError, match="additive noise"):
        worlds.embed(joined, codes)
    bare = [m.replace(config=None) for m in members]
    noise = worlds.embed(joined, codes, jax.random.key(6)) - side_by_side(bare, codes)
    blocks = np.split(np.asarray(noise), 2, axis=1)
    # each variance is that of N * 16 normals, within 4.5 of its standard deviations
    error = 4.5 * np.sqrt(2 / blocks[0].size)
    for block, member in zip(blocks, members):
        assert block.var() / float(member.noise) ** 2 == pytest.approx(1, abs=error)
    correlation = np.corrcoef(blocks[0].ravel(), blocks[1].ravel())[0, 1]
    assert abs(correlation) < 4.5 / np.sqrt(blocks[0].size)
    assert int(worlds.join(members[::-1]).stream) != int(joined.stream)


def test_training_and_evaluation_run_on_it():
    joined = worlds.join([plain(2), plain(3)])
    config = TrainConfig(n_samples=2 * tiny.BATCH, batch_size=tiny.BATCH)
    result = train(WORLD, joined, tiny.sae(), config)
    assert result.status.tolist() == ["ok"]
    params = tiny.pick(result.params, 0)
    rows = np.resize(np.asarray(joined.dictionary), (tiny.L, tiny.D))
    params = params.replace(W_dec=jnp.asarray(rows))
    found = metrics.evaluate(WORLD, joined, tiny.sae(), params, 200, batch_size=128)
    # a decoder of the true directions, of which the first L - F come twice
    assert found["mcc"] == pytest.approx(1, abs=1e-6)
    assert found["uniqueness"] == tiny.F / tiny.L
    ids = metrics.most_frequent(worlds.expected_rates(WORLD), joined, 10)
    ceiling = metrics.oracle_levels(WORLD, joined, ids, 200, 3, batch_size=128)
    assert 0.3 < ceiling["explained_variance"] < 0.95
    assert ceiling["f1"] == pytest.approx(1, abs=1e-6)


def test_what_cannot_be_joined_is_refused():
    with pytest.raises(ConfigError, match="at least one"):
        worlds.join([])
    for option in ({"drop": 0.1}, {"rate_jitter": 0.1}):
        with pytest.raises(ConfigError, match="instance 1 drops firings"):
            worlds.join([plain(2), instance_of(WORLD, 3, **option)])
    with pytest.raises(ConfigError, match="noise must be equal"):
        worlds.join([plain(2), instance_of(WORLD, 3, noise=0.1)])
    other = worlds.make_world(np.full(5, 0.1))
    with pytest.raises(ConfigError, match=r"features \[5\]"):
        worlds.join([plain(2), instance_of(other, 3)])
