"""Left-justified positions against numpy's, over sizes around a word and all fillings."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synthsae_jax.worlds.compact import compact, first_above, marks, pack


def mask_of(size):
    rng = np.random.default_rng(size)
    mask = rng.random((64, size)) < rng.choice([0.0, 0.02, 0.5, 1.0], (64, 1))
    mask[0], mask[1] = False, True
    return mask


@pytest.mark.parametrize("size", [1, 32, 33, 300])
@pytest.mark.parametrize("slots", [1, 40])
def test_positions_are_the_first_true_ones(size, slots):
    mask = mask_of(size)
    positions, count = jax.jit(compact, static_argnums=1)(jnp.asarray(mask), slots)
    np.testing.assert_array_equal(count, mask.sum(1))
    assert positions.shape == (64, slots)
    for row, found in zip(mask, np.asarray(positions)):
        expected = np.full(slots, size)
        first = np.flatnonzero(row)[:slots]
        expected[: len(first)] = first
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("size", [1, 32, 33, 300])
def test_marks_find_any_entry_of_any_row(size):
    mask = mask_of(size)
    words = pack(jnp.asarray(mask))
    padded = np.pad(mask, ((0, 0), (0, -size % 32)))
    expected = np.packbits(padded, axis=1, bitorder="little").view("<u4")
    np.testing.assert_array_equal(words, expected)
    found = marks(words)
    np.testing.assert_array_equal(found.count, mask.sum(1))
    row, place = np.nonzero(mask)
    rank = np.cumsum(mask, axis=1)[row, place] - 1
    order = np.random.default_rng(1).permutation(len(row))
    places = jax.jit(lambda row, rank: found.position(row, rank))(row[order], rank[order])
    np.testing.assert_array_equal(places, place[order])


def test_first_above_is_a_sorted_search():
    ascending = np.sort(np.random.default_rng(2).integers(0, 50, 37))
    rank = np.arange(-1, 52)
    found = first_above(lambda i: jnp.asarray(ascending)[i], 37, jnp.asarray(rank))
    np.testing.assert_array_equal(found, np.searchsorted(ascending, rank, side="right"))


def test_maps_over_a_leading_axis():
    mask = jnp.asarray(np.random.default_rng(0).random((3, 5, 40)) < 0.3)
    positions, count = jax.vmap(lambda m: compact(m, 7))(mask)
    for i in range(3):
        alone = compact(mask[i], 7)
        np.testing.assert_array_equal(positions[i], alone[0])
        np.testing.assert_array_equal(count[i], alone[1])
