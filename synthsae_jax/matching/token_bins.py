"""Bins of tokens on which two models are equally busy, within which a null may move tokens.

Two models that read the same text are busy on the same tokens, so latents that have nothing to do
with each other fire together. A null that moves tokens anywhere takes this away with the rest and
calls it a match; one that moves them among equally busy tokens leaves it where it is. Unlike the
strata of the counts, whose width is fixed, these bins hold about equally many tokens each: a token
alone in its bin could not be moved.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from scipy.sparse import issparse, spmatrix

from synthsae_jax.errors import require
from synthsae_jax.matching.records import SideInputs

Array = jax.Array

FEWEST_TOKENS = 16
LOUD = 0.5  # of the mean size of a side's firings: at least that much counts where counts are even
EVEN = 0.1  # counts whose sd is below this share of their mean tell nothing


def tokens_per_bin_for(n: int) -> int:
    """How many of n tokens go into a bin unless told: `max(16, .7 sqrt(n))`.

    Within wide bins activity still varies, which makes unrelated latents correlate all the more
    visibly the more tokens there are; of m tokens in a bin a share 1/m stays in place, and with it
    that share of a true match. Both shrink with n. Unrelated sides of 16 latents each under one
    common factor (loading .4), matched by Pearson correlation as mutual nearest, tested at 5 % by
    their mean score: 512 tokens 5.3 % (16 to a bin; 5.9 % with 32) of 3000, where a shift across
    all tokens calls 95 %; 32 latents, 8192 tokens: 6.7 % of 150; 20,000, plain z: 1.7 % of 60.
    Bins by B's activity alone are biased the other way (mean z -.4 and -.7 at the last two).
    """
    return max(FEWEST_TOKENS, round(0.7 * math.sqrt(n)))


def token_bins(*latents: Array | spmatrix, tokens_per_bin: int | None = None) -> Array:
    """The bin of each token, int32 `[n]`, by its activity in each of the codes `[n, L]` given.

    With two sides, tokens are split by A's activity and within that by B's, into as many parts
    each, so that about `tokens_per_bin` are left in a bin (None: `tokens_per_bin_for`). A token's
    activity is the number of latents that fire, then the sum of their sizes, then its place.
    Codes may be scipy sparse matrices.

    Where counts of a side hardly vary (TopK), firings of less than half the mean size do not count,
    and bins are by the sum of both sides' ranks, so that the noise of one evens out the other's.
    Tokens without any firing that counts have bins of their own, since on each of them TopK fires
    the same few latents, faintly, and those of two models would match. Trained SAEs that
    share nothing but the number of active features on each token, 1,024 tokens, 192 sets, at 5 %
    by the mean z of mutual nearest latents: BatchTopK 5 %, TopK with BatchTopK 5 %, TopK 11 % (9 %
    on the worlds that this was chosen on, where the sum of sizes alone gave 34 % and bins of the
    true number 8 %, on as many sets or fewer).
    """
    require(len(latents) > 0, "token_bins needs the codes of at least one side.")
    shapes = [np.shape(cast(Any, codes)) for codes in latents]
    require(
        all(len(shape) == 2 and shape[0] == shapes[0][0] for shape in shapes),
        f"token_bins takes codes [n, L] on the same samples; given {', '.join(map(str, shapes))}.",
    )
    n = shapes[0][0]
    if tokens_per_bin is None:
        tokens_per_bin = tokens_per_bin_for(n)
    require(tokens_per_bin > 0, f"tokens_per_bin must be > 0; given {tokens_per_bin}.")
    parts = max(1, int((n / tokens_per_bin) ** (1 / len(latents))))
    sides = [_activity(codes) for codes in latents]
    even = jnp.any(jnp.stack([side.even for side in sides]))
    return jnp.where(even, _by_sum(sides, parts ** len(sides)), _nested(sides, parts))


class _Activity(NamedTuple):
    count: Array  # int [n]: how many latents fire; where counts are even, how many loudly
    amount: Array  # float [n]: the sum of their sizes
    even: Array  # bool []


def _activity(codes: Array | spmatrix) -> _Activity:
    if issparse(codes):
        # one entry per firing, as the readers of codes leave them
        sizes = abs(codes).tocsr()
        amount, fires = np.asarray(sizes.sum(1), np.float32).ravel(), np.diff(sizes.indptr)
        # `>=` of a sparse matrix with a positive number keeps it sparse
        loud = np.diff((sizes >= max(_loud(amount, fires), 1e-30)).tocsr().indptr)
    else:
        sizes = jnp.abs(jnp.asarray(codes))
        amount, fires = sizes.sum(1), (sizes != 0).sum(1)
        # 1e-30: a side without any firing has loudness 0, which every silent latent would reach.
        loud = (sizes >= jnp.maximum(_loud(amount, fires), 1e-30)).sum(1)
    fires, loud, amount = (jnp.asarray(v) for v in (fires, loud, amount))
    even = fires.std() < EVEN * fires.mean()
    return _Activity(jnp.where(even, loud, fires), amount, even)


def _loud(amount: Any, fires: Any) -> Any:
    total = fires.sum()
    return LOUD * amount.sum() / (total + (total == 0))


def _nested(sides: list[_Activity], parts: int) -> Array:
    """Bins of equal size by the first side, each cut again by the next."""
    size = sides[0].count.shape[0]
    bins = jnp.zeros(size, jnp.int32)
    for side in sides:
        size = math.ceil(size / parts)
        order = jnp.lexsort((side.amount, side.count, bins))
        position, _, _ = places_within(bins[order])
        bins = bins.at[order].set(bins[order] * parts + position // size)
    return bins


def _by_sum(sides: list[_Activity], parts: int) -> Array:
    """Bins of equal size by the sum of the sides' ranks; tokens silent on a side are apart."""
    n = sides[0].count.shape[0]
    silent = sum((side.count == 0) * 2**i for i, side in enumerate(sides))
    rank = lambda *by: jnp.zeros(n, jnp.int32).at[jnp.lexsort(by)].set(jnp.arange(n))
    total = sum(rank(side.amount, side.count) for side in sides)
    # silent ones last
    position = rank(total, silent)
    return jnp.where(silent > 0, parts + silent, position // math.ceil(n / parts)).astype(jnp.int32)


def with_token_bins(
    a: SideInputs, b: SideInputs, tokens_per_bin: int | None = None
) -> tuple[SideInputs, SideInputs]:
    """Both sides with the bins of their tokens by the activity of both."""
    require(
        a.latents is not None and b.latents is not None,
        "bins of token activity need the latents of both sides.",
    )
    bins = token_bins(a.latents, b.latents, tokens_per_bin=tokens_per_bin)
    return dataclasses.replace(a, token_bins=bins), dataclasses.replace(b, token_bins=bins)


def shift_within(key: Array, bins: Array) -> Array:
    """Which token comes to each place, int `[n]`: every bin is rolled by a number of its own.

    A bin of m tokens is rolled by 0 to m - 1: 0 belongs to it, since the arrangement that was
    observed is one of those that chance could have made, and in small bins one of few.
    """
    order = jnp.argsort(bins, stable=True)
    position, start, size = places_within(bins[order])
    # one draw per bin: that of its first token
    drawn = jax.random.uniform(key, order.shape)[start]
    shift = jnp.minimum((drawn * size).astype(position.dtype), size - 1)
    source = order[start + (position - shift) % size]
    return jnp.zeros_like(order).at[order].set(source)


def places_within(sorted_bins: Array) -> tuple[Array, Array, Array]:
    """For sorted bins: each entry's place in its bin, where that begins, and its size."""
    start = jnp.searchsorted(sorted_bins, sorted_bins, side="left")
    end = jnp.searchsorted(sorted_bins, sorted_bins, side="right")
    return jnp.arange(sorted_bins.shape[0]) - start, start, end - start
