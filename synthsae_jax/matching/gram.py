"""Relations within one SAE, and latents of two SAEs compared by them: no common space is needed."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from synthsae_jax.errors import require
from synthsae_jax.matching.records import Matching
from synthsae_jax.matching.scores import register_score
from synthsae_jax.numerics import cosine_matrix
from synthsae_jax.registry import Explanation

Array = jax.Array


def gram(rows: Array) -> Array:
    """Cosines between a SAE's own latents, `[L, D] -> [L, L]`; the diagonal is 1."""
    return cosine_matrix(rows, rows)


@register_score(
    "gram_profile",
    "own_rows",
    Explanation(
        what="How alike two latents stand to the other latents of their own SAE: to anchors (pairs "
        "already matched) if given, else by the sorted list of their similarities.",
        formula="with anchors (k, l): cosine over anchors of cos(w_i, w_k) and cos(w_j, w_l), each "
        "less its mean over latents; without: the same of the quantiles of cos(w_i, w_k), k != i",
        range="[-1, 1]",
        chance="With M anchors mean 0, sd 1/sqrt(M). Without anchors quantiles hang together, and "
        "unrelated latents reach high values: only copies of one dictionary stand out.",
        undefined="0 where a profile is flat",
        source="relative representations, Moschella et al., arXiv 2209.15430",
    ),
)
def gram_profile(
    a: Array, b: Array, *, anchors: Matching | None = None, quantiles: int = 64
) -> Array:
    """Similarity of relation profiles, `[L_a, D_a], [L_b, D_b] -> [L_a, L_b]`."""
    return compare_relations(gram(a), gram(b), anchors=anchors, quantiles=quantiles)


def compare_relations(
    gram_a: Array, gram_b: Array, *, anchors: Matching | None = None, quantiles: int = 64
) -> Array:
    """`gram_profile` from the SAEs' Gram matrices, `[L_a, L_a], [L_b, L_b] -> [L_a, L_b]`."""
    if anchors is None:
        require(
            quantiles >= 2 and min(gram_a.shape[0], gram_b.shape[0]) >= 3,
            f"gram_profile without anchors needs at least 3 latents and 2 quantiles; given "
            f"{gram_a.shape[0]}, {gram_b.shape[0]} latents and {quantiles} quantiles.",
        )
        # Quantiles, since SAEs of unlike width have lists of unlike length.
        profiles = [_quantiles(g, quantiles) for g in (gram_a, gram_b)]
        # centred together: how the two sides' typical profiles differ is not a matter of a pair
        pooled = (profiles[0].mean(0) + profiles[1].mean(0)) / 2
        return cosine_matrix(*(p - pooled[None, :] for p in profiles))
    valid = np.asarray(anchors.valid)
    ends = [np.asarray(v)[valid] for v in (anchors.row, anchors.col)]
    require(ends[0].size > 0, "gram_profile needs at least one valid anchor; given none.")
    profiles = [_to_anchors(g, end) for g, end in zip((gram_a, gram_b), ends)]
    return cosine_matrix(*(p - p.mean(0)[None, :] for p in profiles))


def _to_anchors(relations: Array, anchors: np.ndarray) -> Array:
    """Relations to the anchors `[L, M]`, an anchor's to itself being 0.

    Left at 1 it would tell the anchors' own pairs apart by the fact that they were chosen.
    """
    itself = jnp.arange(relations.shape[0])[:, None] == anchors[None, :]
    return jnp.where(itself, 0.0, relations[:, anchors])


def _quantiles(relations: Array, n: int) -> Array:
    """Evenly spaced quantiles of each row without its diagonal, `[L, L] -> [L, n]`."""
    size = relations.shape[0]
    others = jnp.where(jnp.eye(size, dtype=bool), jnp.inf, relations)
    # the diagonal sorts to the end and falls off
    ordered = jnp.sort(others, axis=1)[:, : size - 1]
    position = jnp.linspace(0.0, size - 2.0, n)
    low = jnp.floor(position).astype(jnp.int32)
    high = jnp.minimum(low + 1, size - 2)
    weight = (position - low)[None, :]
    return ordered[:, low] * (1.0 - weight) + ordered[:, high] * weight
