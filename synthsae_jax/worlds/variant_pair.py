"""Tokens of two worlds of the same ids, paired by common random numbers per (token, feature)."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr

from synthsae_jax.errors import require
from synthsae_jax.keys import data_key
from synthsae_jax.modes import fixed
from synthsae_jax.worlds import bits
from synthsae_jax.worlds.capacity import raise_on_overflow
from synthsae_jax.worlds.codes import densify
from synthsae_jax.worlds.compact import compact
from synthsae_jax.worlds.inputs import bare
from synthsae_jax.worlds.records import Codes, World

Array = jax.Array
_BATCH = 1024
_EXACT = jax.lax.Precision.HIGHEST


class CodeCeiling(NamedTuple):
    """Correlation of each feature's code in one world with its own code in the other, [F]."""

    value: np.ndarray  # Pearson of the values; NaN where a side never fires in the sample
    firing: np.ndarray  # the same of active or not (phi)
    firings: np.ndarray  # tokens on which each is active, int [2, F]
    n: int


@fixed
def sample_pair(key: Array, world_a: World, world_b: World, n: int) -> tuple[Codes, Codes]:
    """Codes of `n` tokens in each of two worlds; each world's own law, coupled as far as it goes.

    Both `[n, K]`. A (token, feature) has one lot for firing, one for its magnitude and one among
    exclusive siblings, and a token one state of each copula factor, common to both worlds. What
    differs between the codes is then what the worlds make of the same chances. `sample_codes` with
    one key does not do that: it draws features without parent by their place among them, which
    another forest moves. Every feature of every token is drawn, so a token costs F rather than its
    L0. The laws are those of `sample_codes`, the draws are not. Plain worlds with low-rank copulas.
    """
    for world in (world_a, world_b):
        require(
            world.copies == 1 and world.probabilities.ndim == 1 and world.cholesky.shape[-1] == 0,
            "sample_pair takes two plain worlds without dense copulas.",
        )
    require(
        world_a.n_base == world_b.n_base,
        f"sample_pair needs worlds of the same ids, got {world_a.n_base} and {world_b.n_base} "
        "features.",
    )
    both = _draw_both(key, bare(world_a), bare(world_b), n)
    for codes, world in zip(both, (world_a, world_b)):
        if not isinstance(codes.overflow, jax.core.Tracer):
            raise_on_overflow(codes, world)
    return both


@fixed
def code_ceiling(world_a: World, world_b: World, n: int = 65_536, seed: int = 0) -> CodeCeiling:
    """The correlation that two perfect readers of the codes would find for each feature, [F].

    By `sample_pair` over `n` tokens (rounded up to whole batches of 1,024) of a stream of their
    own; the standard error of a correlation is below 1 / sqrt(firings). Between worlds of different
    forests it can be far below 1: a child fires only with its parent, another world's free feature
    whenever it likes. A match can't be expected to show more.
    """
    n_batches = -(-n // _BATCH)
    key = data_key(seed, "pilot")
    sums = np.zeros((8, world_a.n_base))
    for i in range(n_batches):
        part = _moments(jax.random.fold_in(key, i), bare(world_a), bare(world_b))
        sums += np.asarray(part, np.float64)
    n = n_batches * _BATCH
    a, b, aa, bb, ab, fa, fb, fab = sums
    return CodeCeiling(
        value=_correlation(a, b, aa, bb, ab, n),
        firing=_correlation(fa, fb, fa, fb, fab, n),
        firings=np.stack([fa, fb]).astype(np.int64),
        n=n,
    )


def _correlation(a, b, aa, bb, ab, n: int) -> np.ndarray:
    # Raw moments, unlike `CoMoments`: codes are mostly 0, so that a mean hardly outweighs its
    # spread. Of a feature that is nearly always on some four digits are left.
    spread = (aa / n - (a / n) ** 2) * (bb / n - (b / n) ** 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(spread > 0, (ab / n - a * b / n**2) / np.sqrt(spread), np.nan)


@jax.jit
def _moments(key: Array, world_a: World, world_b: World) -> Array:
    a, b = (densify(c, world_a.n_base) for c in _draw_both(key, world_a, world_b, _BATCH))
    fa, fb = (a > 0).astype(a.dtype), (b > 0).astype(b.dtype)
    moments = (a, b, a * a, b * b, a * b, fa, fb, fa * fb)
    return jnp.stack([jnp.sum(x, axis=0) for x in moments])


@functools.partial(jax.jit, static_argnums=3)
def _draw_both(key: Array, world_a: World, world_b: World, n: int) -> tuple[Codes, Codes]:
    key_factors, key_words = jax.random.split(key)
    token = jnp.arange(n, dtype=jnp.uint32)[:, None]
    ids = jnp.arange(world_a.n_base, dtype=jnp.uint32)[None]
    word, strength = bits.words(key_words, token, ids)
    normal = bits.normal(strength)
    codes = [_codes(key_factors, world, word, normal) for world in (world_a, world_b)]
    return codes[0], codes[1]


def _codes(key_factors: Array, world: World, word: Array, normal: Array) -> Codes:
    """Codes of one world from the words and normals of every (token, feature), [n, F]."""
    n, size = word.shape
    forest = world.forest
    probability = world.probabilities[None]
    if world.factor.shape[-1]:
        # factor by factor, so that worlds of different rank have the first ones in common
        factors = jax.vmap(
            lambda i: jax.random.normal(jax.random.fold_in(key_factors, i), (n,)), out_axes=1
        )(jnp.arange(world.factor.shape[-1]))
        pull = jnp.matmul(factors, world.factor.T, precision=_EXACT)
        probability = ndtr((pull - world.threshold[None]) / jnp.sqrt(world.residual)[None])
    fired = bits.below(word, probability)
    raw = jnp.where(fired, jnp.maximum(world.mean[None] + world.std[None] * normal, 0.0), 0.0)

    # Of exclusive siblings that fired the one stays whose lot, uniform given that, is the lowest:
    # who that is does not change where all of them become more frequent.
    group = jnp.where(forest.group[:size] >= 0, forest.group[:size], size)
    lot = jnp.where(raw > 0, word.astype(jnp.float32) / jnp.maximum(probability, 1e-30), jnp.inf)
    best = jax.ops.segment_min(lot.T, group, num_segments=size + 1).T[:, group]
    position = jnp.where(lot == best, jnp.arange(size)[None], size)  # the first among equals
    first = jax.ops.segment_min(position.T, group, num_segments=size + 1).T[:, group]
    raw = jnp.where((group < size)[None] & (position != first), 0.0, raw)

    parent = forest.parent
    above = jnp.maximum(parent, 0)
    scaled = forest.scaled[:size][None]
    mean = jnp.where(world.mean > 0, world.mean, 1.0)[above][None]
    values = raw
    for _ in range(world.levels):  # each pass settles one more level below the roots
        of_parent = values[:, above]
        gate = jnp.where(scaled, of_parent / mean, (of_parent > 0).astype(raw.dtype))
        values = jnp.where((parent >= 0)[None], raw * gate, raw)

    slots = world.slots[-1]
    slot, count = compact(values > 0, slots)
    filled = slot < size
    slot = jnp.minimum(slot, size - 1)
    return Codes(
        indices=jnp.where(filled, slot, size),
        values=jnp.where(filled, jnp.take_along_axis(values, slot, axis=-1), 0.0),
        overflow=count > slots,
    )
