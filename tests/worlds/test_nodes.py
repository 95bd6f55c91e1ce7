"""Hierarchies as they are written: read, written back, given as parents, refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from synthsae_jax.errors import ConfigError
from synthsae_jax.worlds.forest import nodes_from, tables
from synthsae_jax.worlds.nodes import empty, from_parents, node, parse, write

MIXED = [
    node(
        None,
        node(
            0,
            node(3),
            node(None, node(4), node(5), node(None), exclusive=True, scaled=True),
            node(6),
            exclusive=True,
        ),
        node(1),
        node(2),
        exclusive=True,
        scaled=True,
    ),
    {**node(7, node(8, node(9))), "feature_id": "chain"},
]


def test_mixed_hierarchy_by_hand():
    nodes = parse(MIXED, 12)
    forest = tables(nodes, 12)
    np.testing.assert_array_equal(forest.parent, [-1, -1, -1, 0, 0, 0, 0, -1, 7, 8, -1, -1])
    np.testing.assert_array_equal(forest.roots, [0, 7])
    np.testing.assert_array_equal(forest.free, [1, 2, 10, 11])
    np.testing.assert_array_equal(
        forest.children,
        [[3, 4, 5, 6], [8, 12, 12, 12], [9, 12, 12, 12], [12] * 4],
    )
    np.testing.assert_array_equal(forest.children_row, [0, 3, 3, 3, 3, 3, 3, 1, 2, 3, 3, 3, 3])
    # the groups: {0, 1, 2} under the organising root, {3, 6} under 0, {4, 5} under the inner one
    np.testing.assert_array_equal(forest.group, [0, 0, 0, 1, 2, 2, 1, -1, -1, -1, -1, -1, -1])
    # only 4 and 5 hang from a scaling node and have a feature above
    np.testing.assert_array_equal(np.flatnonzero(forest.scaled), [4, 5])
    assert forest.exclusive_tops
    assert forest.feature_ids == ((1, "chain"),)


def test_json_round_trip_is_identical():
    nodes = parse(MIXED, 12)
    assert write(nodes) == {"roots": MIXED}
    again = nodes_from(tables(nodes, 12))
    assert again == nodes
    assert json.dumps(write(again)) == json.dumps({"roots": MIXED})


def test_missing_keys_have_saelens_defaults():
    short = {"roots": [{"feature_index": 1, "children": [{"feature_index": 0}]}]}
    assert write(parse(short, 2)) == {"roots": [node(1, node(0))]}


def test_no_nodes_are_legal():
    assert len(parse({"roots": []}, 3)) == 0
    forest = tables(empty(), 3)
    assert forest.roots.shape == (0,)
    assert forest.children.shape[0] == 1
    np.testing.assert_array_equal(forest.free, [0, 1, 2])
    np.testing.assert_array_equal(forest.children_row, [0, 0, 0, 0])
    assert write(nodes_from(forest)) == {"roots": []}


def test_parents_give_the_same_forest_as_nodes():
    parent = np.array([-1, 0, 0, -1, 1, -1])
    nodes = from_parents(parent, exclusive=True, scaled=np.array([True] + [False] * 5))
    by_hand = [node(0, node(1, node(4)), node(2), exclusive=True, scaled=True)]
    assert write(nodes) == {"roots": by_hand}  # 3 and 5 are free; one child cannot exclude itself
    assert len(from_parents(np.full(4, -1))) == 0


def test_long_chains_do_not_recurse():
    n = 3000
    nodes = from_parents(np.arange(n) - 1)
    assert len(nodes) == n
    assert parse(write(nodes), n) == nodes


loop = node(0)
loop["children"] = [node(1, loop)]
shared = node(1)


@pytest.mark.parametrize(
    ("trees", "message"),
    [
        ([loop], r"roots\[0\].children\[0\].children\[0\]: a loop"),
        ([node(0, shared), node(2, shared)], r"one parent, but this one is also .*roots\[0\]"),
        ([node(0, node(1)), node(1)], r"children\[0\]: feature 1 is already .*roots\[1\]"),
        ([node(9)], r"roots\[0\]: feature_index must lie in 0..8; got 9"),
        ([node(-1)], "got -1"),
        ([node(1.5)], "whole number or null; got 1.5"),
        ([node(True)], "whole number or null; got True"),
        ([node(0, node(1), exclusive=True)], "two or more children; got 1"),
        ([node(0, exclusive="yes")], "must be true or false; got 'yes'"),
        ([{"feature_indx": 0}], "Did you mean 'feature_index'"),
        ([{"feature_index": 0, "feature_id": 3}], "feature_id must be a string"),
        ([{"feature_index": 0, "children": {}}], "children must be a list"),
        ([3], r"roots\[0\]: expected a node"),
        ({"trees": []}, "the key 'roots'"),
        ({"roots": None}, "roots must be a list"),
    ],
)
def test_broken_hierarchies_name_the_place(trees, message):
    with pytest.raises(ConfigError, match=f"here.json: .*{message}|here.json: {message}"):
        parse(trees, 9, "here.json")


@pytest.mark.parametrize(
    ("parent", "options", "message"),
    [
        ([1, 0, -1], {}, "its own ancestor"),
        ([0, -1], {}, "its own ancestor"),
        ([-1, 5], {}, r"parent\[1\]=5"),
        ([-2, 0], {}, r"parent\[0\]=-2"),
        ([0.5, -1.0], {}, "must be integers"),
        ([[0]], {}, "must be integers"),
        ([-1, 0], {"exclusive": np.ones(3, bool)}, r"exclusive must be .* bool \[2\]"),
        ([-1, 0], {"scaled": 1.0}, "scaled must be"),
    ],
)
def test_broken_parents_are_refused(parent, options, message):
    with pytest.raises(ConfigError, match=message):
        from_parents(np.array(parent), **options)
