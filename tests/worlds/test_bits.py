"""Random words against published vectors, and what is made of them at the ends of their range."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import kstest

from synthsae_jax.worlds import bits

LARGEST = 2**32 - 1


def as_words(*values):
    return jnp.array(values, jnp.uint32)


@pytest.mark.parametrize(
    ("key", "count", "expected"),
    [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((LARGEST, LARGEST), (LARGEST, LARGEST), (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_words_are_threefry(key, count, expected):
    # the three known answers for threefry2x32-20 of Salmon et al. 2011 (Random123)
    key = jax.random.wrap_key_data(as_words(*key))
    found = bits.words(key, *(jnp.uint32(c) for c in count))
    assert tuple(int(w) for w in found) == expected


def test_a_word_belongs_to_its_pair(key):
    token, ids = jnp.arange(6, dtype=jnp.uint32)[:, None], jnp.arange(10)[None]
    table = bits.words(key, token, ids)
    some = jnp.array([[7, 2], [2, 9]])
    picked = bits.words(key, token[3:5], some)
    for whole, part in zip(table, picked):
        np.testing.assert_array_equal(
            part, [[whole[3, 7], whole[3, 2]], [whole[4, 2], whole[4, 9]]]
        )
    assert len(np.unique(np.stack(table))) == 2 * 60
    assert not np.array_equal(table[0], bits.words(jax.random.key(1), token, ids)[0])


def test_uniform_and_normal_follow_their_laws(key):
    first, second = bits.words(
        key, jnp.arange(300, dtype=jnp.uint32)[:, None], jnp.arange(300)[None]
    )
    assert kstest(np.asarray(bits.uniform(first)).ravel(), "uniform").pvalue > 1e-5
    assert kstest(np.asarray(bits.normal(second)).ravel(), "norm").pvalue > 1e-5
    # 90,000 pairs: the sd of a correlation is 1/300
    together = np.corrcoef(np.asarray(first).ravel(), np.asarray(second).ravel())[0, 1]
    assert abs(together) < 4.5 / 300


def test_the_ends_of_the_range_are_finite_and_symmetric():
    ends = as_words(0, LARGEST)
    assert (np.array([0, 1]) != np.asarray(bits.uniform(ends))).all()
    low, high = np.asarray(bits.normal(ends), np.float64)
    assert -6 < low < -5
    np.testing.assert_allclose(low, -high, rtol=1e-3)


def test_below_is_exact_at_every_probability():
    below = lambda word, p: bool(bits.below(jnp.uint32(word), jnp.float32(p)))
    assert not below(0, 0.0)
    assert below(LARGEST, 1.0)
    for power in (1, 8, 20, 31):
        edge = 2 ** (32 - power)
        assert below(edge - 1, 2.0**-power)
        assert not below(edge, 2.0**-power)
    # the largest float below 1 leaves 256 of 2^32 words
    almost = np.nextafter(np.float32(1), np.float32(0))
    assert below(2**32 - 257, almost)
    assert not below(LARGEST, almost)
