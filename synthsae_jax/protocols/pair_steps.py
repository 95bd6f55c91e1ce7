"""Filters of pairs that only a published protocol has, in the order in which it has them."""

from __future__ import annotations

import numpy as np

from synthsae_jax.matching import register_filter
from synthsae_jax.matching.filters import PAIRS, Evidence
from synthsae_jax.matching.latent_filters import token_labels, top_tokens
from synthsae_jax.registry import Explanation

_LAN = "Lan et al., arXiv 2410.06981"


@register_filter(
    "stop_list_of_pairs",
    PAIRS,
    Explanation(
        what="Pairs are dropped if one of the `top` strongest tokens of either latent has a label "
        "in `stop`. Unlike stop_list it acts after the pairing: such a latent may have taken "
        "somebody's partner.",
        formula="keep {labels of top tokens of i and of j} n stop = {}",
        undefined="a latent that never fires has no top tokens",
        source=f"the non-concept filter of {_LAN}, on features for strings",
    ),
)
def stop_list_of_pairs(
    evidence: Evidence,
    row: np.ndarray,
    col: np.ndarray,
    *,
    labels: np.ndarray | None = None,
    stop: tuple[int, ...] = (),
    top: int = 5,
) -> np.ndarray:
    """Pairs of which both latents are about something."""
    keep = np.ones(row.shape, bool)
    for side, ends in ((evidence.a, row), (evidence.b, col)):
        keep &= ~about(side.latents, labels, stop, top)[ends]
    return keep


@register_filter(
    "first_come",
    PAIRS,
    Explanation(
        what="Of the pairs that name one latent of A only that with the lowest latent of B is "
        "kept, whatever the scores: the published way to make a matching one-to-one. It depends "
        "on the order of B's latents.",
        formula="keep (i, j) with j = min {j' : (i, j') is a pair}",
        source=f"the 1-1 option of {_LAN}",
    ),
)
def first_come(evidence: Evidence, row: np.ndarray, col: np.ndarray) -> np.ndarray:
    """The first pair of each latent of A, in B's order."""
    first = np.full(np.shape(evidence.s)[0], np.iinfo(np.int64).max)
    np.minimum.at(first, row, col)
    return first[row] == col


@register_filter(
    "published_correlation",
    PAIRS,
    Explanation(
        what="Pairs are kept whose correlation is above `above`, counted as published: products "
        "of z-scores with the unbiased spread, divided by the number of tokens.",
        formula="keep r_ij (N - 1) / N > above",
        source=_LAN,
    ),
)
def published_correlation(
    evidence: Evidence, row: np.ndarray, col: np.ndarray, *, above: float = 0.1
) -> np.ndarray:
    """Pairs that correlate by more than a fixed number."""
    n = max(int(evidence.counts.n), 1)
    return evidence.scores(row, col).astype(np.float64) * (n - 1) / n > above


def about(
    latents: np.ndarray, labels: np.ndarray | None, wanted: tuple[int, ...], top: int = 5
) -> np.ndarray:
    """bool `[L]`: has one of the `top` strongest tokens of a latent a label that is wanted?"""
    tokens = top_tokens(latents, min(top, len(latents)))
    marked = np.isin(token_labels(labels, latents), np.asarray(wanted))
    return np.any(marked[np.maximum(tokens, 0)] & (tokens >= 0), axis=1)
