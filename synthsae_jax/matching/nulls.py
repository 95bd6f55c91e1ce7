"""Nulls: transformations of one side's inputs under which the right answer is known to be chance.

A null acts before scoring, matching and filtering, so the whole pipeline runs on its output
unchanged. Entries are called as `nulls[name](key, side) -> side`; fields that are None stay None.
Labels N0 to N7 are those of the list of nulls in `Explanation.what`. What stands for shuffling
pairs that were already chosen (N2, N3) is in `pair_nulls`; positive controls are in `controls`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from scipy.sparse import spmatrix

from synthsae_jax.errors import require
from synthsae_jax.matching.records import SideInputs
from synthsae_jax.matching.token_bins import shift_within, token_bins
from synthsae_jax.modes import fixed
from synthsae_jax.numerics import firings, row_norms, unit_rows
from synthsae_jax.registry import Explanation, Registry

Array = jax.Array
Draw = Callable[[Array, SideInputs], SideInputs]

FREQUENCY_BINS = 10  # deciles, as in the calibration; fewer where that leaves under eight to a bin


@dataclasses.dataclass(frozen=True)
class Null:
    """A null, `null(key, side) -> side`, and what there is to know before it is drawn."""

    draw: Draw
    label: str = ""  # "N0" to "N7"
    needs: tuple[str, ...] = ()  # what a side must bring, in words, beyond what it is scored by
    by_activity: bool = False  # does it move tokens within `token_bins`?
    # where there are only so many different draws: how many, and the i-th of them
    count: Callable[[SideInputs], int] | None = None
    nth: Callable[[SideInputs, int], SideInputs] | None = None

    def __call__(self, key: Array, side: SideInputs) -> SideInputs:
        return self.draw(key, side)


nulls: Registry[Null] = Registry("null")


def register_null(name: str, label: str, explanation: Explanation, **traits):
    """Decorator: register `draw(key, side) -> side` under a name; `traits` are fields of `Null`."""

    def add(draw: Draw) -> Draw:
        nulls.register(name, explanation)(Null(fixed(draw), label, **traits))
        return draw

    return add


@register_null(
    "random_dictionary",
    "N0",
    Explanation(
        what="Every direction is replaced by a fresh random one (N0): what dimension and width "
        "alone give. Norms of rows, and each latent's angle between encoder and decoder row, stay: "
        "tied weights stay tied. Codes are left as they are.",
        formula="w_i -> |w_i| g_i / |g_i|, g_i ~ N(0, I_D); e_i at the same length and at the same "
        "angle to w_i, otherwise random",
    ),
)
def random_dictionary(key: Array, side: SideInputs) -> SideInputs:
    """The side with the directions of its latents redrawn, independently of each other."""
    return redrawn(key, side, lambda key, rows: jax.random.normal(key, rows.shape, jnp.float32))


@register_null(
    "random_rotation",
    "N0",
    Explanation(
        what="The side's space is turned by one random orthogonal map (N0): all that its latents "
        "have among themselves stays (tied weights, norms, a direction that all rows share, "
        "clusters), and only how they lie to the other side's is lost. Codes are left as they are.",
        formula="w_i -> R w_i, e_i -> R e_i, R uniform among orthogonal matrices",
        chance="Exact for any two dictionaries of which one could as well lie turned: in one "
        "dimension R is 1 or -1, so that half of the draws change nothing.",
    ),
)
def random_rotation(key: Array, side: SideInputs) -> SideInputs:
    """The side with decoder and encoder rows under one rotation (or reflection)."""
    rows = side.encoder if side.decoder is None else side.decoder
    if rows is None:
        return side
    rotation = jax.random.orthogonal(key, rows.shape[1], dtype=jnp.float32)

    def turn(rows: Array | None) -> Array | None:
        if rows is None:
            return None
        return jnp.matmul(jnp.asarray(rows), rotation, precision=jax.lax.Precision.HIGHEST)

    return dataclasses.replace(side, decoder=turn(side.decoder), encoder=turn(side.encoder))


@register_null(
    "random_dictionary_covariance",
    "N0",
    Explanation(
        what="As random_dictionary, with the mean and covariance of the side's own unit rows (N0): "
        "an offset or a few strong dimensions that all rows share raise every cosine.",
        formula="w_i -> |w_i| g_i / |g_i|, g_i ~ N(mean, cov of w / |w|); e_i as there",
    ),
)
def random_dictionary_covariance(key: Array, side: SideInputs) -> SideInputs:
    """The side with rows redrawn from a normal law like its own."""

    def like(key: Array, rows: Array) -> Array:
        unit = unit_rows(jnp.asarray(rows, jnp.float32))
        centred = unit - unit.mean(0)[None, :]
        exact = jax.lax.Precision.HIGHEST
        covariance = jnp.matmul(centred.T, centred, precision=exact) / rows.shape[0]
        # A root of the covariance by eigenvalues: Cholesky would refuse one that is singular.
        values, vectors = jnp.linalg.eigh(covariance)
        # fewer rows than dimensions leave eigenvalues that are 0 but for rounding
        spread = vectors * jnp.sqrt(jnp.maximum(values, 0.0))[None, :]
        normal = jax.random.normal(key, rows.shape, jnp.float32)
        return unit.mean(0)[None, :] + jnp.matmul(normal, spread.T, precision=exact)

    return redrawn(key, side, like)


def _rolled(side: SideInputs, shift: int | Array) -> SideInputs:
    latents = jnp.asarray(side.latents)
    # not jnp.roll: outside of a trace that is compiled anew for every shift
    source = (jnp.arange(latents.shape[0]) - shift) % latents.shape[0]
    return dataclasses.replace(side, latents=latents[source])


def _shifts(side: SideInputs) -> int:
    return 0 if side.latents is None else side.latents.shape[0] - 1


@register_null(
    "token_shift",
    "N4",
    Explanation(
        what="The codes are rolled along the tokens (N4): each latent keeps its rate and its "
        "magnitudes and loses its pairing. Directions are left as they are.",
        formula="f_i(t) -> f_i((t - shift) mod n), shift uniform in 1..n-1, one for all latents",
        chance="Where both models are busy on the same tokens it finds unrelated latents too "
        "often: see activity_shift.",
        source="circular-shift surrogates",
    ),
    count=_shifts,
    nth=lambda side, i: _rolled(side, i + 1),
)
def token_shift(key: Array, side: SideInputs) -> SideInputs:
    """The side with its codes `[n, L]` rolled by a random number of tokens, never by 0."""
    if side.latents is None:
        return side
    n = side.latents.shape[0]
    require(n > 1, f"token_shift needs more than one token; given {n}.")
    return _rolled(side, jax.random.randint(key, (), 1, n))


@register_null(
    "activity_shift",
    "N4",
    Explanation(
        what="The codes are rolled within bins of tokens that are equally busy (N4 for the coupled "
        "zero): beside rates and magnitudes, what both models have in common by being busy on the "
        "same tokens stays. Directions are left as they are.",
        formula="as token_shift, in each bin of side.token_bins (see token_bins) by a shift of its "
        "own in 0..size-1; without token_bins the side's own activity makes the bins, which is "
        "worse than both sides' (with_token_bins)",
        chance="In bins of size m a share 1/m of tokens stays in place, and so does that share of "
        "a true match. It holds its level where what both models have in common shows in how many "
        "latents fire; a topic that wakes some and silences others does not: bring bins of it.",
        source="circular-shift surrogates; bins as in Mantel and Haenszel 1959",
    ),
    by_activity=True,
)
def activity_shift(key: Array, side: SideInputs) -> SideInputs:
    """The side with its codes `[n, L]` rolled within bins of token activity."""
    if side.latents is None:
        return side
    sparse = isinstance(side.latents, spmatrix)
    latents = side.latents if sparse else jnp.asarray(side.latents)
    bins = token_bins(latents) if side.token_bins is None else jnp.asarray(side.token_bins)
    require(
        bins.shape == latents.shape[:1],
        f"token_bins must be [{latents.shape[0]}], one per token; given {bins.shape}.",
    )
    source = shift_within(key, bins)
    return dataclasses.replace(side, latents=latents[np.asarray(source) if sparse else source])


@register_null(
    "frequency_permuted",
    "N7",
    Explanation(
        what="Directions change owners among latents of like frequency, codes stay (N7): what a "
        "measure of directions gives for partners that agree in how often they fire and in "
        "nothing else. With all features recovered this is the world in which features of like "
        "rate swap their ids; for trained SAEs see permuted_ids.",
        formula="w_i -> w_pi(i), pi uniform within ten bins of equal size by n_i",
        undefined="needs latents: without them frequencies are unknown",
    ),
    needs=("latents",),
)
def frequency_permuted(key: Array, side: SideInputs) -> SideInputs:
    """The side with decoder and encoder rows permuted together within bins of frequency."""
    if side.decoder is None and side.encoder is None:
        return side
    require(side.latents is not None, "frequency_permuted needs latents: how often each fires.")
    fired = jnp.asarray(firings(side.latents))
    width = fired.shape[0]
    # at least eight to a bin: alone in it, a latent keeps its own direction
    size = -(-width // max(1, min(FREQUENCY_BINS, width // 8)))
    by_frequency = jnp.argsort(fired, stable=True)
    mixed = jnp.lexsort((jax.random.uniform(key, (width,)), jnp.arange(width) // size))
    partner = jnp.zeros(width, jnp.int32).at[by_frequency].set(by_frequency[mixed])
    moved = lambda rows: None if rows is None else jnp.asarray(rows)[partner]
    return dataclasses.replace(side, decoder=moved(side.decoder), encoder=moved(side.encoder))


def redrawn(key: Array, side: SideInputs, fresh: Callable[[Array, Array], Array]) -> SideInputs:
    """The side with new directions by `fresh(key, rows [L, D]) -> [L, D]`.

    Every row keeps its norm, and every encoder row its angle to the latent's decoder row: a
    dictionary with tied weights has half the freedom of one without, so an untied one is no
    measure of it.
    """
    drawn = []
    for i, rows in enumerate((side.decoder, side.encoder)):
        new = None if rows is None else unit_rows(fresh(jax.random.fold_in(key, i), rows))
        drawn.append(new)
    decoder, encoder = drawn
    if decoder is not None and encoder is not None:
        w, e = unit_rows(jnp.asarray(side.decoder)), unit_rows(jnp.asarray(side.encoder))
        along = (w * e).sum(1)[:, None]
        # not sqrt(1 - along^2), which makes 3e-4 of a tied row's rounding
        across = row_norms(e - along * w)[:, None]
        aside = unit_rows(encoder - (encoder * decoder).sum(1)[:, None] * decoder)
        encoder = along * decoder + across * aside
    size = lambda rows: row_norms(jnp.asarray(rows))[:, None]
    return dataclasses.replace(
        side,
        decoder=None if decoder is None else size(side.decoder) * decoder,
        encoder=None if encoder is None else size(side.encoder) * encoder,
    )
