"""Parents of very many children: drawn in bounded memory, or refused before any is taken."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synthsae_jax import worlds
from synthsae_jax.errors import ConfigError
from synthsae_jax.worlds import filled, tree

N, CHILDREN = 64, 70


def family(rate=0.1):
    """A root with 70 children, ten of which have a child of their own."""
    leaf = lambda i: worlds.node(1 + CHILDREN + i)
    children = [worlds.node(1 + i, *([leaf(i)] if i < 10 else [])) for i in range(CHILDREN)]
    root = worlds.node(0, *children, exclusive=True)
    rates = np.full(1 + CHILDREN + 10, rate)
    rates[0] = 0.5
    return worlds.make_world(rates, [root], slots=(8, 8, 24, 8, 40))


def test_many_siblings_are_drawn_as_few_are(key, monkeypatch):
    assert CHILDREN > filled.WIDE
    world = family()
    factors = tree.factor_draw(key, world, N)
    draw = lambda: jax.jit(lambda: tree.draw_tree(key, world, factors)[0])()
    sorted_codes = draw()
    monkeypatch.setattr(filled, "WIDE", 1000)
    monkeypatch.setattr(tree, "WIDE", 1000)
    codes = draw()
    np.testing.assert_array_equal(codes.indices, sorted_codes.indices)
    np.testing.assert_array_equal(codes.values, sorted_codes.values)
    on = np.asarray(worlds.densify(codes, world.n_features)[:, 1 : 1 + CHILDREN] > 0).sum(axis=1)
    assert on.max() == 1


def test_the_first_of_the_best_of_each_group_stays_however_it_is_found(monkeypatch):
    rng = np.random.default_rng(0)
    shape = (50, 70)
    values = jnp.asarray(np.maximum(rng.normal(size=shape), 0), jnp.float32)
    score = jnp.asarray(rng.integers(0, 4, shape), jnp.float32)  # with ties
    group = jnp.asarray(rng.integers(-1, 5, shape), jnp.int32)
    by_sorting = tree._one_per_group(values, score, group)
    monkeypatch.setattr(tree, "WIDE", 1000)
    np.testing.assert_array_equal(by_sorting, tree._one_per_group(values, score, group))
    kept = np.asarray(by_sorting) > 0
    assert all(kept[i][np.asarray(group)[i] == g].sum() <= 1 for i in range(50) for g in range(5))


def test_slots_of_a_wide_family_are_found(key):
    # 2 of 70 children at a time: the pilot works on fewer tokens at once
    world = worlds.make_world(
        np.append(0.3, np.full(300, 0.01)), [worlds.node(0, *map(worlds.node, range(1, 301)))]
    )
    assert 8 <= world.slots[2] <= 32
    assert not worlds.sample_codes(key, world, 256).overflow.any()


def test_more_candidates_than_can_be_drawn_are_refused_at_once(monkeypatch):
    monkeypatch.setattr(jax.lax, "map", lambda *_: pytest.fail("a pilot was drawn"))
    kids = [worlds.node(1 + i, *([worlds.node(1000 + i)] if i < 500 else [])) for i in range(999)]
    with pytest.raises(ConfigError, match=r"a parent with 999 children, .* at most 32,768 are dr"):
        worlds.make_world(np.full(1500, 0.05), [worlds.node(0, *kids)])
