"""The filters of latents."""

from __future__ import annotations

import numpy as np

from synthsae_jax.errors import require
from synthsae_jax.matching.filters import LATENTS, Evidence, register_filter
from synthsae_jax.registry import Explanation

Masks = tuple[np.ndarray, np.ndarray]


@register_filter(
    "dead",
    LATENTS,
    Explanation(what="Latents that never fire are left out.", formula="keep n_i > 0"),
)
def dead(evidence: Evidence) -> Masks:
    """Latents that fire at all."""
    return min_firings(evidence, at_least=1)


@register_filter(
    "min_firings",
    LATENTS,
    Explanation(
        what="Latents that fire on fewer than `at_least` tokens are left out: the best of many "
        "partners of a rare latent looks like a match by chance.",
        formula="keep n_i >= at_least",
    ),
)
def min_firings(evidence: Evidence, *, at_least: int = 30) -> Masks:
    """Latents that fire often enough to be judged."""
    a, b = evidence.firings
    return a >= at_least, b >= at_least


@register_filter(
    "max_frequency",
    LATENTS,
    Explanation(
        what="Dense latents, which fire on more than the share `at_most` of tokens, are left out.",
        formula="keep n_i / N <= at_most",
    ),
)
def max_frequency(evidence: Evidence, *, at_most: float = 0.1) -> Masks:
    """Latents that are not dense. Without tokens all are kept."""
    require(0 <= at_most <= 1, f"at_most must be a share in [0, 1]; given {at_most}.")
    a, b = evidence.firings
    n = int(evidence.counts.n)
    return a <= at_most * n, b <= at_most * n


@register_filter(
    "stop_list",
    LATENTS,
    Explanation(
        what="Latents are left out if one of the `top` tokens on which they are strongest has a "
        "label in `stop`: in synthetic data the token's dominant feature, the list being the most "
        "frequent features.",
        formula="keep {label of top tokens of i} n stop = {}",
        undefined="a latent that never fires has no top tokens, and is kept",
        source="the non-concept filter of Lan et al., arXiv 2410.06981, on features for strings",
    ),
)
def stop_list(
    evidence: Evidence, *, labels: np.ndarray | None = None, stop: tuple = (), top: int = 5
) -> Masks:
    """Latents whose strongest tokens are about something. `labels`: int [n], one per token."""
    require(labels is not None, "stop_list needs labels: int [n], one per token.")
    masks = []
    for side in (evidence.a, evidence.b):
        tokens = top_tokens(side.latents, top)
        marked = np.isin(token_labels(labels, side.latents), np.asarray(stop))
        masks.append(~(marked[np.maximum(tokens, 0)] & (tokens >= 0)).any(1))
    return masks[0], masks[1]


def top_tokens(latents: np.ndarray | None, top: int) -> np.ndarray:
    """The tokens on which each latent is strongest, int `[L, top]`; -1 where it no longer fires.

    Of equal values the earlier token goes first.
    """
    require(latents is not None, "this filter reads top tokens: give the latents of both sides.")
    latents = np.asarray(latents)
    require(1 <= top <= len(latents), f"top must be 1 to {len(latents)} tokens; given {top}.")
    order = np.argsort(-latents, axis=0, kind="stable")[:top].T
    strength = np.take_along_axis(latents.T, order, 1)
    return np.where(strength > 0, order, -1)


def token_labels(labels: np.ndarray | None, latents: np.ndarray) -> np.ndarray:
    """The labels, checked; the tokens' own numbers if there are none."""
    n = len(latents)
    labels = np.arange(n) if labels is None else np.asarray(labels)
    require(labels.shape == (n,), f"labels must be [{n}], one per token; given {labels.shape}.")
    return labels
