"""Stacks: vmap over worlds and instances gives what a loop gives; what does not fit is refused."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from world_reference import sample

from synthsae_jax import worlds
from synthsae_jax.errors import ConfigError
from synthsae_jax.worlds.nodes import node
from synthsae_jax.worlds.stream import see

N, F = 256, 12
TREE = {"roots": [node(0, node(2), node(3), exclusive=True), node(1, node(4))]}


def world_of(seed, slots=(2, 9, 3, 12), n_features=F, hierarchy=TREE, **options):
    rng = np.random.default_rng(seed)
    factor = rng.normal(0, 0.3, (n_features, 2))
    return worlds.make_world(
        rng.uniform(0.1, 0.9, n_features),
        hierarchy,
        (factor, 1 - (factor**2).sum(1)),
        mean=2.0,
        std=0.3,
        slots=slots,
        **options,
    )


def instance_of(world, seed, **options):
    config = worlds.InstanceConfig(8, **{"orthogonalize_steps": 0, "bias_norm": 1.0, **options})
    return worlds.init_instance(jax.random.key(seed), world, config)


def same_tokens(stacked, i, one, n_features=F):
    """Row i of stacked codes and codes of its own have the same features and values."""
    many = jax.tree.map(lambda a: a[i], stacked)
    dense = [worlds.densify(codes, n_features) for codes in (many, one)]
    np.testing.assert_allclose(*dense, rtol=1e-6)


def test_stacked_worlds_sample_as_each_does_alone(key):
    members = [world_of(0), world_of(1, slots=(1, 9, 2, 8)), world_of(2)]
    stacked = worlds.stack(members)
    assert stacked.slots == (2, 9, 3, 12)
    assert stacked.n_base == F
    many = jax.jit(jax.vmap(lambda w: worlds.sample_codes(key, w, N)))(stacked)
    for i in (0, 2):
        same_tokens(many, i, sample(key, members[i], N))
    same_tokens(many, 1, sample(key, members[1].replace(slots=(2, 9, 3, 12)), N))
    # the member with fewer slots would overflow alone, and does not among others
    assert not many.overflow.any()
    assert sample(key, members[1], N).overflow.any()


def test_stacked_instances_see_as_each_does_alone(key):
    world = world_of(0)
    members = [instance_of(world, s, drop=0.2, noise=d) for s, d in ((1, 0.1), (2, 0.0))]
    members.append(worlds.make_instance(world, np.random.default_rng(0).normal(size=(F, 8))))
    stacked = worlds.stack(members)
    assert stacked.hidden_dim == 8
    codes = sample(key, world, N)
    own, x = jax.jit(jax.vmap(lambda i: see(key, i, codes)))(stacked)
    for i, member in enumerate(members):
        own_alone, x_alone = see(key, member, codes)
        same_tokens(own, i, own_alone)
        np.testing.assert_allclose(x[i], x_alone, atol=1e-5)
    with pytest.raises(ConfigError, match="observe needs a key"):
        jax.vmap(lambda i: worlds.observe(i, codes).values)(stacked)
    with pytest.raises(ConfigError, match="embed needs a key"):
        jax.vmap(lambda i: worlds.embed(i, codes))(stacked)


def test_equal_configs_are_kept_and_others_dropped():
    world = world_of(0)
    a, b, c = instance_of(world, 1), instance_of(world, 2), instance_of(world, 3, bias_norm=2.0)
    assert worlds.stack([a, b]).config == a.config
    mixed = worlds.stack([a, c])
    assert mixed.config.drop == mixed.config.noise == 0
    codes = sample(jax.random.key(0), world, N)
    jax.vmap(lambda i: worlds.embed(i, worlds.observe(i, codes)))(mixed)  # needs no key


def test_worlds_of_other_seeds_and_configs_stack():
    a, b = world_of(0).replace(config="one", seed=1), world_of(1).replace(config="two", seed=2)
    stacked = worlds.stack([a, b])
    assert stacked.config is None
    assert stacked.seed is None


def test_twins_of_a_stack_are_a_stack_of_twins(key):
    members = [world_of(0), world_of(1)]
    a = worlds.twin(worlds.stack(members), "independent")
    b = worlds.stack([worlds.twin(w, "independent") for w in members])
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b)):
        np.testing.assert_array_equal(x, y)


def test_what_does_not_stack():
    world = world_of(0)
    flat = worlds.make_world(np.full(F, 0.5), slots=(1, 8, 8))
    for records, message in (
        ([], "at least one"),
        ([world, instance_of(world, 1)], "not a mixture"),
        ([world, flat], "differ in depth"),
        ([world, world_of(1, n_features=F + 1)], "differ in shape"),
        ([world, worlds.twin(world)], "record 1 differs"),
        ([worlds.twin(world, "factors"), worlds.twin(world, "counts")], "record 1 differs"),
    ):
        with pytest.raises(ConfigError, match=message):
            worlds.stack(records)
