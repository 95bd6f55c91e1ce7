"""Numbers on a pairing of latents: arrays of partners in, one number out.

`partner [L_a]` holds for each latent of A the index of its partner in B, -1 for none. None of
these needs the truth, and none says by itself that a feature is real. What takes matchings of
three and more SAEs (cycles, reappearance) stands in `matching`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from synthsae_jax.errors import require
from synthsae_jax.numerics import ratio_or_nan

Array = jax.Array


def shared_at(
    decoder_partner: Array,
    decoder_cosine: Array,
    encoder_partner: Array,
    encoder_cosine: Array,
    thresholds: Array,
) -> Array:
    """Share of latents with one partner by decoder and encoder and both cosines >= t, `[T]`.

    The four are `[L]`: partners by two assignments and their cosines. Published with t = .7; the
    mean over thresholds .3 to .95 is the area. Paulo and Belrose, arXiv 2501.16615.
    """
    decoder, encoder = _partners(decoder_partner), _partners(encoder_partner)
    cosines = jnp.asarray(decoder_cosine), jnp.asarray(encoder_cosine)
    shapes = {v.shape for v in (decoder, encoder, *cosines)}
    require(
        len(shapes) == 1 and decoder.size > 0,
        f"shared_at takes partners and cosines of the same L > 0 latents; given {sorted(shapes)}.",
    )
    weaker = jnp.minimum(*cosines)
    agreed = (decoder == encoder) & (decoder >= 0)
    reached = weaker[None, :] >= jnp.asarray(thresholds)[:, None]
    return jnp.mean(agreed[None, :] & reached, axis=1)


def orderedness(partner: Array) -> Array:
    """Spearman correlation of a latent's place with its partner's, float32 `[]`.

    For SAEs whose latents have an order. Latents without partner are left out; NaN with fewer than
    2 of them. Partners must differ, as an assignment's do. Chance 0.
    """
    partner = _partners(partner)
    matched = partner >= 0
    # ranks among the matched alone
    position = jnp.cumsum(matched) - 1
    order = jnp.sum((partner[None, :] < partner[:, None]) & matched[None, :], axis=1)
    n = jnp.sum(matched)
    apart = jnp.sum(jnp.where(matched, jnp.square((position - order).astype(jnp.float32)), 0.0))
    # 6 sum d^2 / (n (n^2 - 1)), which holds for ranks without ties: partners differ. In float32,
    # since n^3 leaves int32 at 1,291 latents.
    size = n.astype(jnp.float32)
    return 1 - ratio_or_nan(6 * apart, size * (jnp.square(size) - 1))


def co_firing(fires: Array) -> Array:
    """Share of samples on which all SAEs' copies of a latent fire, of those on which any does.

    `fires [S, n, L]` bool; returns `[L]`, NaN for a latent that never fires. The denominator is
    "any fires": against the firings of one SAE a copy that fires everywhere would score 1.
    """
    fires = jnp.asarray(fires, bool)
    require(
        fires.ndim == 3 and fires.shape[0] > 0,
        f"co_firing takes firings [S, n, L] of S > 0 SAEs; given {fires.shape}.",
    )
    together = jnp.sum(jnp.all(fires, axis=0), axis=0)
    return ratio_or_nan(together, jnp.sum(jnp.any(fires, axis=0), axis=0))


def support_jaccard(codes_a: Array, codes_b: Array, partner_ab: Array) -> Array:
    """Do matched latents fire on the same samples? Mean Jaccard of each sample's active sets, `[]`.

    `codes_a [n, L_a]`, `codes_b [n, L_b]`; only matched latents count, and only samples on which
    any of them fires (NaN where none does). Beside `linear_predictivity` of the codes it tells a
    support that differs from weights that do.
    """
    a, b = jnp.asarray(codes_a) != 0, jnp.asarray(codes_b) != 0
    partner = _partners(partner_ab)
    require(
        a.ndim == 2 and b.ndim == 2 and len(a) == len(b) and partner.shape == a.shape[1:],
        f"support_jaccard takes codes [n, L_a], [n, L_b] of the same samples and partners [L_a]; "
        f"given {a.shape}, {b.shape} and {partner.shape}.",
    )
    matched = (partner >= 0)[None, :]
    a, b = a & matched, b[:, partner] & matched
    either = jnp.sum(a | b, axis=1)
    jaccard = jnp.sum(a & b, axis=1) / jnp.maximum(either, 1)
    return ratio_or_nan(jnp.sum(jaccard), jnp.sum(either > 0))


def _partners(v: Array) -> Array:
    v = jnp.asarray(v)
    require(
        v.ndim == 1 and jnp.issubdtype(v.dtype, jnp.integer),
        f"Partners are whole numbers [L], -1 for none; given shape {v.shape} of {v.dtype}.",
    )
    return v
