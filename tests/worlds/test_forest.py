"""Grown hierarchies: SAELens' own trees, and the tables of any forest against their meaning."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
import world_oracles

from synthsae_jax.errors import ConfigError
from synthsae_jax.worlds.forest import (
    HierarchyConfig,
    feature_levels,
    grow,
    nodes_from,
    tables,
)
from synthsae_jax.worlds.nodes import parse, write


@pytest.fixture(scope="module")
def trees(golden):
    return json.loads((golden / "saelens-laws.json").read_text())["trees"]


def test_grows_the_trees_of_saelens(trees):
    for case in trees:
        config = HierarchyConfig.from_json(case["config"])
        nodes = grow(config, case["n"], case["seed"])
        text = json.dumps(write(nodes), indent=2)
        assert hashlib.sha256(text.encode()).hexdigest() == case["sha256"], case["config"]


def test_regenerates_the_artefact_byte_for_byte(golden):
    folder = golden / "saelens-1k"
    stored = json.loads((folder / "synthetic_model_config.json").read_text())
    config = HierarchyConfig.from_json(stored["hierarchy"])
    nodes = grow(config, stored["num_features"], stored["seed"] + 3)
    assert json.dumps(write(nodes), indent=2) == (folder / "hierarchy.json").read_text()
    assert json.dumps(config.to_json()) == json.dumps(stored["hierarchy"])


def test_tables_say_what_the_trees_say(trees):
    for case in trees:
        n = case["n"]
        nodes = grow(HierarchyConfig.from_json(case["config"]), n, case["seed"])
        forest = tables(nodes, n)
        assert nodes_from(forest) == nodes
        written = write(nodes)
        assert parse(json.loads(json.dumps(written)), n) == nodes

        parent = np.full(n, -1)
        rivals = {f: [f] for f in range(n)}
        for feature, above, others in world_oracles.walk(written):
            parent[feature] = above[-1] if above else -1
            rivals[feature] = others
        np.testing.assert_array_equal(forest.parent, parent)
        has_children = np.isin(np.arange(n), parent)
        np.testing.assert_array_equal(forest.roots, np.flatnonzero((parent < 0) & has_children))
        np.testing.assert_array_equal(forest.free, np.flatnonzero((parent < 0) & ~has_children))
        children, family = np.asarray(forest.children), np.asarray(forest.children_row)
        group = np.asarray(forest.group)
        assert (children[-1] == n).all()
        assert family[n] == len(children) - 1
        assert group[n] == -1
        for f in range(n):
            row = children[family[f]]
            np.testing.assert_array_equal(row[row < n], np.flatnonzero(parent == f))
            same = np.flatnonzero(group == group[f]) if group[f] >= 0 else [f]
            assert sorted(rivals[f]) == list(same)


def test_levels_count_ancestors():
    forest = tables(grow(HierarchyConfig(2, 2, 3), 40, 0), 40)
    counts = np.bincount(feature_levels(forest))
    np.testing.assert_array_equal(counts, [2 + 10, 4, 8, 16])  # 10 features are left free


def test_scaling_needs_a_feature_above():
    config = HierarchyConfig(2, 2, 1, scale_children_by_parent=True)
    forest = tables(grow(config, 9, 0), 9)
    np.testing.assert_array_equal(np.flatnonzero(forest.scaled), [2, 3, 4, 5])


def test_json_of_a_config_comes_back():
    config = HierarchyConfig(3, (2, 5), 4, 0.5, 1, 2, "saelens", True)
    value = json.loads(json.dumps(config.to_json()))
    assert HierarchyConfig.from_json(value) == config
    assert value["branching_factor"] == [2, 5]
    assert value["compensate_probabilities"] is True


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"total_root_nodes": 0}, "total_root_nodes must be a whole number >= 1; got 0"),
        ({"branching_factor": 1}, "branching_factor must be a whole number >= 2; got 1"),
        ({"branching_factor": (4, 3)}, "upper end of branching_factor .* >= 4; got 3"),
        ({"branching_factor": (2, 3, 4)}, r"number or \(low, high\)"),
        ({"branching_factor": 2.5}, "got 2.5"),
        ({"max_depth": 0}, "max_depth must be a whole number >= 1"),
        ({"mutually_exclusive_portion": 1.5}, r"must lie in \[0, 1\]; got 1.5"),
        ({"mutually_exclusive_min_depth": -1}, "min_depth must be a whole number >= 0"),
        (
            {"mutually_exclusive_min_depth": 2, "mutually_exclusive_max_depth": 1},
            "max_depth must be a whole number >= 2; got 1",
        ),
        ({"compensation": "exakt"}, "Did you mean 'exact'"),
        ({"scale_children_by_parent": 1}, "must be True or False"),
    ],
)
def test_configs_check_themselves(options, message):
    with pytest.raises(ConfigError, match=message):
        HierarchyConfig(**options)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "h.json: expected an object"),
        ({"max_dpth": 1}, "h.json: .*Did you mean 'max_depth'"),
        ({"compensate_probabilities": "yes"}, "h.json: compensate_probabilities must be true"),
        ({"compensation": "exact"}, "h.json: unknown field 'compensation'"),
        ({"max_depth": 0}, "h.json: HierarchyConfig: max_depth"),
    ],
)
def test_json_errors_name_the_file(value, message):
    with pytest.raises(ConfigError, match=message):
        HierarchyConfig.from_json(value, "h.json")
