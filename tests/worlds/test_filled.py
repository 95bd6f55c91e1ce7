"""Work on filled slots: the same in pieces and at once, and nothing where nothing is filled."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synthsae_jax.worlds import filled

SLOTS = 7


def work(table):
    """A scalar and a pair for each slot, that say where they were computed."""
    return lambda token, rank: (table[token] + rank, jnp.stack([token, rank], axis=-1))


def by_hand(table, count):
    n = len(count)
    scalar, pair = np.zeros((n, SLOTS), np.int32), np.zeros((n, SLOTS, 2), np.int32)
    for token, most in enumerate(count):
        for rank in range(min(most, SLOTS)):
            scalar[token, rank] = table[token] + rank
            pair[token, rank] = token, rank
    return scalar, pair


# 1 and 5 tokens fit into one piece, 2,000 tokens take up to seven
@pytest.mark.parametrize("n", [1, 5, 2000])
@pytest.mark.parametrize("way", ["on_filled", "_in_pieces", "_at_once"])
def test_every_way_gives_the_results_in_place(n, way):
    rng = np.random.default_rng(n)
    table = rng.integers(1, 1000, n).astype(np.int32)
    width = {"width": 8} if way == "_in_pieces" else {}
    run = jax.jit(
        lambda table, count: getattr(filled, way)(
            work(table), jnp.minimum(count, SLOTS), SLOTS, **width
        )
    )
    # nothing, everything, much, little, and more than the slots hold
    for count in (
        np.zeros(n, np.int32),
        np.full(n, SLOTS, np.int32),
        rng.integers(0, SLOTS + 1, n).astype(np.int32),
        rng.binomial(1, 0.01, n).astype(np.int32),
        rng.integers(0, 3 * SLOTS, n).astype(np.int32),
    ):
        for found, expected in zip(run(table, count), by_hand(table, count)):
            np.testing.assert_array_equal(found, expected)


def test_more_than_the_slots_are_cut():
    count = jnp.array([3 * SLOTS, 1, 0])
    found = filled.on_filled(lambda token, rank: rank + 1, count, SLOTS)
    np.testing.assert_array_equal(found[:, 0], [1, 1, 0])
    np.testing.assert_array_equal(found[0], np.arange(1, SLOTS + 1))
    assert (found[1:, 1:] == 0).all()


def test_maps_over_a_leading_axis_of_different_lengths():
    count = jnp.array([[7, 7, 7], [0, 0, 0], [0, 2, 9]])
    table = jnp.arange(9, dtype=jnp.int32).reshape(3, 3) + 1
    found = jax.vmap(lambda t, c: filled.on_filled(work(t), c, SLOTS))(table, count)
    for i in range(3):
        for one, expected in zip(found, by_hand(np.asarray(table[i]), np.asarray(count[i]))):
            np.testing.assert_array_equal(one[i], expected)


def test_a_function_is_passed_over_where_all_weights_are_zero():
    calls = []

    def count_and_add(x):
        jax.debug.callback(lambda: calls.append(1))
        return x + 1

    run = jax.jit(lambda w, x: filled.unless_zero(w, count_and_add, x))
    assert run(jnp.array([0.0, 2.0]), jnp.float32(3)) == 4
    jax.effects_barrier()
    assert len(calls) == 1
    assert run(jnp.zeros(2), jnp.float32(3)) == 3
    jax.effects_barrier()
    assert len(calls) == (1 if jax.default_backend() == "cpu" else 2)
