"""Strata of tokens by how much is going on in them, within which firings are compared.

Two latents that have nothing to do with each other still fire together where both models are busy
(a long-tailed number of features per token, a common factor). Comparing them within tokens of
equal activity takes that away. A token's stratum is the pair of bins of the two sides' numbers of
firing latents, not of their sum: given the sum, one latent's firing makes another's less likely,
which shifts the z-score of unrelated pairs down. On 200 + 200 unrelated latents under one common
factor (loading .35), mean L0 23, 100,000 tokens, the mean z of pairs at rate .2 is 19.8 without
strata, -.7 with the sum's and .05 with these; sd 1.0. Where the two sides share most features,
their numbers are one number, and unrelated pairs do come out somewhat below 0.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array


def _edges(ratio: float = 1.35, top: int = 500) -> tuple[int, ...]:
    """1, 2, 3, 4, 5, 7, 9, ...: bins of equal width in the logarithm, once they can be."""
    edges = [1]
    while edges[-1] < top:
        edges.append(max(edges[-1] + 1, round(edges[-1] * ratio)))
    return tuple(edges)


EDGES = _edges()
N_BINS = len(EDGES) + 1
N_STRATA = N_BINS * N_BINS


def strata_of(activity_a: Array, activity_b: Array) -> Array:
    """The stratum of each token, int32 `[n]`, from its activity on either side, `[n]` each.

    The activity is usually the number of latents that fire. SAEs that fire the same number on
    every token (TopK) put all of them in one stratum: pass something else that says how busy a
    token is, such as the norm of its activations in units of the smallest, or strata of your own.
    """
    edges = jnp.asarray(np.array(EDGES))
    # compared with all edges: a search is a loop, compiled anew at every call outside of a trace
    bin_of = lambda v: (jnp.asarray(v)[:, None] >= edges[None, :]).sum(1, dtype=jnp.int32)
    return bin_of(activity_a) * N_BINS + bin_of(activity_b)


def by_stratum(on: Array, strata: Array) -> Array:
    """How often each column of bool `on [n, ...]` is true per stratum, int32 `[S, ...]`."""
    return jax.ops.segment_sum(on.astype(jnp.int32), strata, N_STRATA)
