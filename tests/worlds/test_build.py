"""Worlds from configs and from a user's numbers."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from synthsae_jax.errors import ConfigError
from synthsae_jax.worlds.build import WorldConfig, init_world, make_world
from synthsae_jax.worlds.copula import threshold_of
from synthsae_jax.worlds.correlation import DenseCopula, LowRank
from synthsae_jax.worlds.firing import Constant, Zipfian
from synthsae_jax.worlds.forest import HierarchyConfig
from synthsae_jax.worlds.laws import magnitudes
from synthsae_jax.worlds.magnitude import FoldedNormal, LinearMagnitude
from synthsae_jax.worlds.nodes import from_parents, node

SMALL = WorldConfig(
    n_features=40,
    firing=Zipfian(0.5, 0.4, 0.01),
    hierarchy=HierarchyConfig(2, 3, 2, 0.5, compensation="saelens", scale_children_by_parent=True),
    correlation=LowRank(3, 0.2),
    mean=LinearMagnitude(5.0, 4.0),
    std=FoldedNormal(0.5, 0.5),
)
SLOTS = (8, 8, 8, 8, 8)


def test_numbers_are_those_of_saelens(golden):
    stored = load_file(golden / "saelens-1k" / "synthetic_model.safetensors")
    config = WorldConfig(
        1024,
        Zipfian(0.5, 0.4, 5e-4),
        HierarchyConfig(8, 4, 3, 1.0, compensation="saelens"),
        LowRank(25, 0.1),
        LinearMagnitude(5.0, 4.0),
        FoldedNormal(0.5, 0.5),
    )
    world = init_world(jax.random.key(9), config, seed=42, slots=(8,) * 6)
    # they compute in float32, in another order
    np.testing.assert_allclose(world.probabilities, stored["firing_probabilities"], rtol=1e-5)
    np.testing.assert_allclose(world.factor, stored["correlation_factor"], atol=1e-7)
    np.testing.assert_allclose(world.std, magnitudes(FoldedNormal(0.5, 0.5), 1024, 43), rtol=1e-6)
    np.testing.assert_allclose(world.mean, np.linspace(5, 4, 1024), rtol=1e-6)
    np.testing.assert_allclose(
        world.threshold, threshold_of(np.asarray(world.probabilities)), rtol=1e-5, atol=1e-6
    )
    assert world.seed == 42
    assert world.config == config
    assert world.levels == 3


def test_the_key_alone_decides():
    a, b = (init_world(jax.random.key(5), SMALL, slots=SLOTS) for _ in range(2))
    c = init_world(jax.random.key(6), SMALL, slots=SLOTS)
    assert a.seed == b.seed != c.seed
    assert 0 <= a.seed < 2**31
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b)):
        np.testing.assert_array_equal(x, y)
    assert not np.array_equal(a.geometry_key, c.geometry_key)
    same_numbers = init_world(jax.random.key(6), SMALL, seed=a.seed, slots=SLOTS)
    np.testing.assert_array_equal(same_numbers.factor, a.factor)
    np.testing.assert_array_equal(same_numbers.geometry_key, c.geometry_key)


def test_a_world_crosses_jit_with_its_config():
    world = init_world(jax.random.key(5), SMALL, slots=SLOTS)
    again = jax.jit(lambda w: w.replace(mean=2 * w.mean))(world)
    np.testing.assert_allclose(again.mean, 2 * world.mean)
    assert again.config == SMALL
    assert again.n_features == 40


def test_pilot_slots_are_used_where_none_are_given():
    world = init_world(jax.random.key(5), SMALL)
    assert len(world.slots) == 5
    assert min(world.slots) >= 8


def test_dense_config_has_a_cholesky_and_no_factor():
    config = WorldConfig(12, Constant(0.2), None, DenseCopula())
    world = init_world(jax.random.key(0), config, slots=(8, 8, 8))
    assert world.factor.shape == (12, 0)
    assert world.cholesky.shape == (12, 12)
    np.testing.assert_allclose((world.cholesky**2).sum(1), 1, atol=1e-5)


def test_make_world_takes_numbers_as_they_are():
    p = [0.0, 0.25, 1.0]
    world = make_world(p, [-1, 0, 0], mean=[1, 2, 3], std=0.5, slots=(8, 8, 8, 8))
    np.testing.assert_array_equal(world.probabilities, np.float32(p))
    np.testing.assert_allclose(world.threshold, [np.inf, 0.6744898, -np.inf], rtol=1e-6)
    np.testing.assert_array_equal(world.mean, [1, 2, 3])
    np.testing.assert_array_equal(world.std, [0.5] * 3)
    np.testing.assert_array_equal(world.forest.parent, [-1, 0, 0])
    assert world.config is None


def test_ways_to_give_a_hierarchy_agree():
    roots = [node(0, node(1), node(2))]
    for hierarchy in ({"roots": roots}, roots, [-1, 0, 0, -1], from_parents(np.array([-1, 0, 0]))):
        world = make_world(np.full(4, 0.5), hierarchy, slots=(8, 8, 8, 8))
        np.testing.assert_array_equal(world.forest.parent, [-1, 0, 0, -1])
    assert make_world(np.full(4, 0.5), slots=(8, 8, 8)).levels == 0


SCALED = [node(0, node(1), scaled=True)]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: WorldConfig(0), "n_features must be a whole number >= 1; got 0"),
        (lambda: WorldConfig(5, "zipf"), "firing: expected a firing law"),
        (lambda: WorldConfig(5, mean=Zipfian()), "mean: expected a number or a magnitude law"),
        (lambda: WorldConfig(5, std=None), "std: expected a number"),
        (lambda: WorldConfig(5, hierarchy=3), "hierarchy must be None or"),
        (lambda: WorldConfig(5, correlation=0.1), "correlation must be None or"),
        (
            lambda: WorldConfig(5, hierarchy=HierarchyConfig(6, 2, 1)),
            "6 total_root_nodes cannot fit into 5 features",
        ),
        (
            lambda: init_world(jax.random.key(0), WorldConfig(5, std=-1.0), slots=(8, 8, 8)),
            "std must be >= 0; got -1 at feature 0 and 4 more",
        ),
        (
            lambda: init_world(jax.random.key(0), WorldConfig(5), slots=(8, 8)),
            "this world needs 3 numbers",
        ),
        (lambda: make_world([0.5, 1.5]), r"must lie in \[0, 1\]; got 1.5 at feature 1"),
        (lambda: make_world([0.5, float("nan")]), "got nan at feature 1"),
        (lambda: make_world([[0.5]]), r"must have shape \[F\]; got \[1, 1\]"),
        (lambda: make_world([]), "must have shape"),
        (lambda: make_world([0.5], mean=[1, 2]), r"mean must be a number or have shape \[1\]"),
        (lambda: make_world([0.5], mean=float("inf")), "mean must be finite"),
        (lambda: make_world([0.5, 0.5], SCALED, mean=0.0), "need a parent with mean > 0"),
        (lambda: make_world([0.5], [0, 0]), "SAELens' hierarchy JSON, Nodes, or parents"),
        (lambda: make_world([0.5], from_parents(np.array([-1, 0]))), "names feature 1"),
        (lambda: make_world([0.5], [node(1)]), r"make_world: hierarchy: roots\[0\]"),
        (lambda: make_world([0.5, 0.5], correlation=np.ones((2, 2))), "positive definite"),
    ],
)
def test_refusals(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_a_trace_is_refused():
    with pytest.raises(ConfigError, match="outside jit and vmap"):
        jax.vmap(lambda key: init_world(key, WorldConfig(5)).mean)(
            jax.random.split(jax.random.key(0))
        )


def test_scaled_children_need_only_their_parents_mean():
    world = make_world([0.5, 0.5], SCALED, mean=jnp.array([1.0, 0.0]), slots=(8, 8, 8, 8))
    np.testing.assert_array_equal(world.forest.scaled, [False, True, False])
