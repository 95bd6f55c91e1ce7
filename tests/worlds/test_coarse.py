"""Candidates: never one too few, hardly one too many, each by the byte that is read again later."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import ndtr
from world_reference import conditional_probability, factor_pair, random_correlation, tree_world

from synthsae_jax import worlds
from synthsae_jax.worlds import coarse
from synthsae_jax.worlds.tree import factor_draw

N = 4096


@functools.cache
def world_of(name):
    if name == "wide":  # 300 free features: places in ten words, and bytes in 38 blocks
        pair = (np.full((300, 1), 0.5), np.full(300, 0.75))
        return worlds.make_world(
            np.geomspace(1e-5, 0.9, 300), correlation=pair, slots=(1, 300, 300)
        )
    correlation = {"independent": None, "low rank": factor_pair(), "dense": random_correlation()}
    return tree_world(sure=True, correlation=correlation[name])


@functools.cache
def seen(name):
    """Bits of all places bool [n, 32 W], and of the real ones the chances and the bytes [n, N0]."""
    world, key = world_of(name), jax.random.key(3)
    factors = factor_draw(jax.random.key(4), world, N)
    packed = np.asarray(jax.jit(coarse.candidates)(key, world, factors))
    bits = (packed[..., None] >> np.arange(32, dtype=np.uint32)) & 1
    ids = np.asarray(coarse.top_features(world))
    chance = conditional_probability(world, np.asarray(factors, np.float64))[:, ids]
    token, place = jnp.arange(N)[:, None], jnp.arange(len(ids))[None]
    byte = np.asarray(jax.jit(coarse.coarse_byte)(key, token, place))
    return bits.reshape(N, -1).astype(bool), chance, byte


every_kind = pytest.mark.parametrize("name", ["independent", "low rank", "dense", "wide"])


@every_kind
def test_nobody_who_could_fire_is_missed(name):
    bits, chance, byte = seen(name)
    n_tops = chance.shape[1]
    assert not bits[:, n_tops:].any()
    # a word with this high byte lies below 2^32 p, for a p above 1e-9 less what rounding moves
    could = byte < 256 * chance * (1 - 1e-6)
    assert not (could & (chance > 2.0**-31) & ~bits[:, :n_tops]).any()


@every_kind
def test_hardly_anybody_is_looked_at_in_vain(name):
    bits, chance, byte = seen(name)
    found = bits[:, : chance.shape[1]]
    assert not found[chance == 0].any()
    if name == "dense":
        np.testing.assert_array_equal(found, chance == 1)
        return
    # .06 of a byte of slack, and twice .036 by which the logistic curve is off
    assert (byte[found] < 256 * chance[found] + 0.15).all()


def test_bytes_are_uniform_and_each_place_has_its_own():
    _, _, byte = seen("wide")
    # 4096 x 300 bytes: the sd of a frequency is .0625 / sqrt(1.2e6) = 5.6e-5
    share = np.bincount(byte.ravel(), minlength=256) / byte.size
    assert np.abs(share - 1 / 256).max() < 4.5 * 5.7e-5
    centred = (byte - 127.5) / np.sqrt((256**2 - 1) / 12)
    together = centred.T @ centred / N - np.eye(300)
    assert np.abs(together).max() < 5.5 / np.sqrt(N)  # of 45,000 pairs


def test_the_logistic_curve_keeps_every_byte():
    z = np.linspace(-6.49, 40, 20_001, dtype=np.float32)
    exact = 256 * ndtr(z.astype(np.float64))
    for byte in range(256):
        kept = np.asarray(coarse._below_normal_cdf(jnp.float32(byte), jnp.asarray(z)))
        assert kept[byte < exact].all()
        assert not kept[byte > exact + 0.1].any()
    far = jnp.array([-1e30, -50.0, 50.0, 1e30], jnp.float32)
    for byte in (0, 255):
        kept = coarse._below_normal_cdf(jnp.float32(byte), far)
        np.testing.assert_array_equal(kept, [False, False, True, True])
