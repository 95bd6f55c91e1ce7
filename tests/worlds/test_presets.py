"""Named worlds: the table of the documentation, and the published numbers of the largest."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from synthsae_jax import worlds
from synthsae_jax.errors import ConfigError
from synthsae_jax.worlds.forest import feature_levels, grow, tables

# name -> features, dimensions, trees, width
TABLE = {
    "micro": (256, 64, 0, 128),
    "1k": (1024, 128, 8, 256),
    "4k": (4096, 256, 32, 1024),
    "synthsaebench-16k": (16_384, 768, 128, 4096),
    "synthsaebench-16k-v1": (16_384, 768, 128, 4096),
    "1m": (1_054_064, 512, 48, 16_384),
}
# enough for all tokens drawn here, so that no pilot is needed
SLOTS = {"4k": (24, 48, 24, 24, 24, 88), "synthsaebench-16k": (40, 88, 40, 40, 40, 144)}


def test_the_table():
    assert set(TABLE) <= set(worlds.preset_names())
    for name, (n_features, dim, trees, width) in TABLE.items():
        preset = worlds.preset(name)
        tree = preset.world.hierarchy
        roots = 0 if tree is None else tree.total_root_nodes
        assert (preset.name, preset.world.n_features, preset.instance.hidden_dim) == (
            name,
            n_features,
            dim,
        )
        assert (roots, preset.d_sae) == (trees, width)
        assert worlds.presets.explanation(name).what
    assert worlds.preset("synthsaebench-16k").k == 25


def test_children_are_scaled_where_the_table_says():
    scaled = {
        name: worlds.preset(name).world.hierarchy.scale_children_by_parent
        for name in TABLE
        if name != "micro"
    }
    assert {name for name, flag in scaled.items() if flag} == {
        "4k",
        "synthsaebench-16k",
        "1m",
    }


def test_an_unknown_name():
    with pytest.raises(ConfigError, match="Did you mean 'micro'"):
        worlds.preset("micr")


def test_micro_has_the_l0_it_was_scaled_to():
    world = worlds.init_world(jax.random.key(0), worlds.preset("micro").world, slots=(1, 32, 32))
    # magnitudes have mean 4 to 5 and sds up to 2: few are cut to 0
    np.testing.assert_allclose(worlds.expected_l0(world), 6, rtol=1e-3)


def test_the_published_world_has_its_published_sparsity():
    # SynthSAEBench-16k: L0 34.4, of the first 4,096 features 25.1, by level 8.19 7.31 7.31 7.11
    # and 4.51 of free ones, each +- the spread between seeds of magnitudes and factors
    name = "synthsaebench-16k"
    world = worlds.init_world(
        jax.random.key(0), worlds.preset(name).world, seed=42, slots=SLOTS[name]
    )
    level = feature_levels(world.forest)
    assert list(np.bincount(level)) == [128 + 5504, 512, 2048, 8192]
    assert world.forest.free.shape == (5504,)
    n = 8 * 4096
    found = worlds.measured_l0(world, n)
    published = {"roots": 8.19, "level_1": 7.31, "level_2": 7.31, "level_3": 7.11, "free": 4.51}
    for part, value in published.items():
        assert abs(found[part] - value) < 0.15, part
    assert abs(found["total"] - 34.44) < 0.2  # noise: 11.7 / sqrt(n) = .065
    assert abs(found["sd"] - 11.7) < 0.3


def test_a_million_features_are_as_many_trees_as_fit():
    config = worlds.preset("1m").world
    n = config.n_features
    forest = tables(grow(config.hierarchy, n, 3), n)
    np.testing.assert_array_equal(
        np.bincount(feature_levels(forest)), [48 + 5504, *(48 * 4**i for i in range(1, 8))]
    )
    assert forest.children.shape == (48 * 5461 + 1, 4)
    assert len(config.slots) == 3 + 7
    # a child's place is where its parent's row says, and every child is exclusive with its siblings
    child = np.flatnonzero(np.asarray(forest.parent) >= 0)
    row = np.asarray(forest.children_row)[np.asarray(forest.parent)[child]]
    assert (np.asarray(forest.children)[row] == child[:, None]).sum() == len(child)
    assert np.bincount(np.asarray(forest.group)[child]).tolist() == [4] * (48 * 5461)


@pytest.mark.slow
def test_a_million_features_at_the_sparsity_of_sixteen_thousand():
    world = worlds.init_world(jax.random.key(0), worlds.preset("1m").world, seed=42)
    found = worlds.measured_l0(world, 8 * 4096)
    assert abs(found["total"] - 34.0) < 0.5  # noise: 15.6 / sqrt(n) = .09, and magnitudes
    # magnitudes are never cut to 0 and compensation saturates: a family always has one active child
    for level in range(2, 8):
        np.testing.assert_allclose(found[f"level_{level}"], found["level_1"], rtol=1e-9)


@pytest.mark.slow
def test_the_published_model_has_its_published_geometry_and_norms():
    name = "synthsaebench-16k"
    preset = worlds.preset(name)
    world = worlds.init_world(jax.random.key(0), preset.world, seed=42, slots=SLOTS[name])
    instance = worlds.init_instance(jax.random.key(0), world, preset.instance)
    overlap = worlds.superposition_statistics(instance.dictionary)
    assert abs(overlap.mean_max - 0.145) < 0.003
    assert abs(overlap.mean - 0.0281) < 0.001

    @jax.jit
    def batch(key):
        codes = worlds.sample_codes(key, world, 2048)
        l0 = (codes.indices < 4096).sum(axis=1)
        return codes.overflow.any(), l0, worlds.embed(instance, codes)

    parts = [batch(k) for k in jax.random.split(jax.random.key(1), 12)]
    assert not any(bool(part[0]) for part in parts)
    l0 = np.concatenate([part[1] for part in parts])
    assert abs(l0.mean() - 25.12) < 0.2
    x = np.concatenate([part[2] for part in parts]).astype(np.float64)
    assert abs(np.linalg.norm(x, axis=1).mean() - 28.33) < 0.2
    assert abs(x.var(axis=0).sum() - 807.1) < 0.02 * 807.1
    # the mean is made of rates, magnitudes and directions: |E x| about 5 with the bias of .5
    assert abs(np.linalg.norm(x.mean(axis=0)) - 4.96) < 0.3
