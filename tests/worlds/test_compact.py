"""Left-justified positions against numpy's, over sizes around a word and all fillings."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synthsae_jax.worlds.compact import compact


@pytest.mark.parametrize("size", [1, 32, 33, 300])
@pytest.mark.parametrize("slots", [1, 40])
def test_positions_are_the_first_true_ones(size, slots):
    rng = np.random.default_rng(size)
    mask = rng.random((64, size)) < rng.choice([0.0, 0.02, 0.5, 1.0], (64, 1))
    mask[0], mask[1] = False, True
    positions, count = jax.jit(compact, static_argnums=1)(jnp.asarray(mask), slots)
    np.testing.assert_array_equal(count, mask.sum(1))
    assert positions.shape == (64, slots)
    for row, found in zip(mask, np.asarray(positions)):
        expected = np.full(slots, size)
        first = np.flatnonzero(row)[:slots]
        expected[: len(first)] = first
        np.testing.assert_array_equal(found, expected)


def test_maps_over_a_leading_axis():
    mask = jnp.asarray(np.random.default_rng(0).random((3, 5, 40)) < 0.3)
    positions, count = jax.vmap(lambda m: compact(m, 7))(mask)
    for i in range(3):
        alone = compact(mask[i], 7)
        np.testing.assert_array_equal(positions[i], alone[0])
        np.testing.assert_array_equal(count[i], alone[1])
