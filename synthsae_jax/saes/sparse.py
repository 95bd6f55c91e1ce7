"""Products over the active latents of a batch alone, with gradients that touch nothing else.

Only the encoder's product has to look at every latent. What follows has k terms where a dense
product has L: one weighted sum of rows per sample to decode, one per latent for each gradient.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax import lax

from synthsae_jax.numerics import product
from synthsae_jax.saes.places import Groups, Places, by_sample, grouped

Array = jax.Array

_TILE = 256  # groups summed side by side: few enough that their sums stay in the cache
_BLOCK = 1024  # places whose inner products are taken at once


def encode_at(
    places: Places, product: Array, x: Array, W_enc: Array, b_enc: Array, b_dec: Array
) -> Array:
    """Pre-activations `(x - b_dec) W_enc + b_enc` at the places, `[E]`; 0 where not active.

    `product` `[n, L]` is `(x - b_dec) W_enc` as already computed; it takes no gradient, the
    others do.
    """
    # a rule of our own has to return the gradient of x in the type of x: the cast sees to that
    x = x.astype(W_enc.dtype)
    return _encode_at(places, lax.stop_gradient(product), x, W_enc, b_enc, b_dec)


@jax.custom_vjp
def _encode_at(places, product, x, W_enc, b_enc, b_dec):
    at = product.reshape(-1)[_flat(places, product.shape[1])] + b_enc[places.latent]
    return jnp.where(places.active, at, 0.0)


def _encode_forward(places, product, x, W_enc, b_enc, b_dec):
    return _encode_at(places, product, x, W_enc, b_enc, b_dec), (places, x, W_enc, b_enc, b_dec)


def _encode_backward(saved, slope):
    places, x, W_enc, b_enc, b_dec = saved
    slope = jnp.where(places.active, slope, 0.0)
    from_b_enc = jnp.zeros_like(b_enc).at[places.latent].add(slope)
    from_W_enc = by_latent(places, slope, places.sample, x - b_dec[None], W_enc.shape[1]).T
    # nobody trains x: what is not used is not computed
    from_x = sums(by_sample(places), places.latent, slope, W_enc.T)
    return None, None, from_x, from_W_enc, from_b_enc, -product(W_enc, from_b_enc)


_encode_at.defvjp(_encode_forward, _encode_backward)


def decode_at(places: Places, values: Array, W_dec: Array) -> Array:
    """`latents W_dec` for latents that have `values` `[E]` at the places and are 0 elsewhere."""
    return decode_levels(places, values, W_dec, ())[0]


def decode_levels(
    places: Places, values: Array, W_dec: Array, inner: tuple[int, ...]
) -> tuple[Array, ...]:
    """As `decode_at`, for each block of latents on its own; `inner` are the blocks' borders.

    With borders the places of a sample must come by growing latent.
    """
    return _decode_levels(tuple(inner), places, values, W_dec)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _decode_levels(inner, places, values, W_dec):
    n = places.start.size
    levels = sums(_by_level(places, inner), places.latent, values, W_dec)
    return tuple(levels.reshape(len(inner) + 1, n, -1))


def _decode_forward(inner, places, values, W_dec):
    return _decode_levels(inner, places, values, W_dec), (places, values, W_dec)


def _decode_backward(inner, saved, slopes):
    places, values, W_dec = saved
    slopes = jnp.concatenate(slopes)  # [levels * n, D]
    row = _level(places, inner) * places.start.size + places.sample
    from_values = inner_products(jnp.sum(places.count), row, slopes, places.latent, W_dec)
    from_W_dec = by_latent(places, values, row, slopes, W_dec.shape[0])
    return None, jnp.where(places.active, from_values, 0.0), from_W_dec


_decode_levels.defvjp(_decode_forward, _decode_backward)


def by_latent(places: Places, weight: Array, row: Array, rows: Array, n_latents: int) -> Array:
    """For each latent the sum of `weight * rows[row]` over its active places, `[L, D]`.

    The latents that fire most often share a dense product: of all others, sorted by how often they
    fire, no tile has more than one of its latents' worth of idle rounds.
    """
    groups = grouped(places.latent, places.active, n_latents)
    often = jnp.argsort(-groups.count).astype(jnp.int32)
    rank = jnp.zeros(n_latents, jnp.int32).at[often].set(jnp.arange(n_latents, dtype=jnp.int32))
    first = min(_TILE, n_latents)
    at = jnp.where(places.active, jnp.minimum(rank[places.latent], first), first)
    crowded = jnp.zeros((first + 1, rows.shape[0]), rows.dtype).at[at, row].add(weight)[:first]
    return _tiled(groups, often, rank, row, weight, rows, head=product(crowded, rows))


def sums(groups: Groups, row: Array, weight: Array, rows: Array) -> Array:
    """For each group the sum of `weight * rows[row]` over its places, `[G, D]`."""
    often = jnp.argsort(-groups.count).astype(jnp.int32)
    size = often.size
    rank = jnp.zeros(size, jnp.int32).at[often].set(jnp.arange(size, dtype=jnp.int32))
    return _tiled(groups, often, rank, row, weight, rows)


def _tiled(groups, often, rank, row, weight, rows, head=None):
    """The sums by tiles of groups of similar size; `head`: those of the first tile, if known."""
    size = often.size
    tile = min(_TILE, size)
    tiles = -(-size // tile)
    pad = (0, tiles * tile - size)
    start = jnp.pad(groups.start[often], pad).reshape(tiles, tile)
    count = jnp.pad(groups.count[often], pad).reshape(tiles, tile)
    row, weight = row[groups.order], weight[groups.order]

    def one_tile(i, totals):
        def one_round(r, total):
            exists = r < count[i]
            at = jnp.where(exists, start[i] + r, 0)
            return total + jnp.where(exists, weight[at], 0.0)[:, None] * rows[row[at]]

        nothing = jnp.zeros((tile, rows.shape[1]), rows.dtype)
        total = lax.fori_loop(0, jnp.max(count[i]), one_round, nothing)
        return lax.dynamic_update_slice(totals, total, (i * tile, 0))

    totals = jnp.zeros((tiles * tile, rows.shape[1]), rows.dtype)
    if head is not None:
        totals = lax.dynamic_update_slice(totals, head, (0, 0))
    totals = lax.fori_loop(0 if head is None else 1, tiles, one_tile, totals)
    return totals[rank]


def inner_products(used: Array, i: Array, a: Array, j: Array, b: Array) -> Array:
    """`a[i] . b[j]` for the first `used` pairs of int32 `[E]`, 0 or more of the rest."""
    size = i.size
    block = min(_BLOCK, size)
    blocks = -(-size // block)
    pad = (0, blocks * block - size)
    i, j = (jnp.pad(rows, pad).reshape(blocks, block) for rows in (i, j))
    ones = jnp.ones(a.shape[1], a.dtype)

    def one_block(t, products):
        # as a product, since a plain sum along a row is taken one by one
        return products.at[t].set(product(a[i[t]] * b[j[t]], ones))

    rounds = (used + block - 1) // block
    products = lax.fori_loop(0, rounds, one_block, jnp.zeros((blocks, block), a.dtype))
    return products.reshape(-1)[:size]


def _flat(places: Places, width: int) -> Array:
    return places.sample * width + places.latent


def _level(places: Places, inner: tuple[int, ...]) -> Array:
    borders = jnp.asarray(inner, jnp.int32)
    return jnp.sum(places.latent[:, None] >= borders[None], axis=1, dtype=jnp.int32)


def _by_level(places: Places, inner: tuple[int, ...]) -> Groups:
    """Places by (block, sample)."""
    if not inner:
        return by_sample(places)
    n = places.start.size
    size = places.sample.size
    exists = jnp.arange(size) < jnp.sum(places.count)
    group = _level(places, inner) * n + places.sample
    return grouped(group, exists, (len(inner) + 1) * n)
