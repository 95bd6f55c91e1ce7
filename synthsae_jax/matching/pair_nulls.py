"""Nulls of pairs that were already chosen: partners shuffled (N2), latents drawn at random (N3).

They say what a measure over matched pairs gives for a set like this one. They know nothing of how
the set came about: best of many, and filters that look at the data, are not paid for. For that
run the whole pipeline again under one of `nulls`. On the host.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import numpy as np

from synthsae_jax.errors import require
from synthsae_jax.matching.records import Matching
from synthsae_jax.registry import Explanation, Registry

Array = jax.Array

# (key, Matching, *, options) -> Matching with as many valid pairs; scores are NaN: none was taken
pair_nulls: Registry[Callable[..., Matching]] = Registry("null of pairs")


@pair_nulls.register(
    "partner_shuffle",
    Explanation(
        what="The partners of the matched pairs are dealt out anew (N2): what a measure gives for "
        "these very latents without their pairing.",
        formula="(i_k, j_k) -> (i_k, j_pi(k)), pi a uniform permutation",
        chance="One pair on average is left as it was.",
        source="Lan et al., arXiv 2410.06981",
    ),
)
def partner_shuffle(key: Array, m: Matching) -> Matching:
    """The valid pairs of `m` with their columns permuted."""
    row, col = _pairs(m)
    return _matching(row, col[_permutation(key, col.size)])


@pair_nulls.register(
    "random_latents",
    Explanation(
        what="The matched latents are replaced by random ones of the same side (N3), as many: what "
        "a measure gives for any set of this size. A latent that is in several pairs stays so.",
        formula="(i, j) -> (u(i), v(j)), u and v uniform injections into the alive latents",
        source="Lan et al., arXiv 2410.06981",
    ),
)
def random_latents(key: Array, m: Matching, *, alive_a: Array, alive_b: Array) -> Matching:
    """As many pairs of random latents. `alive_a [L_a]`, `alive_b [L_b]`: which may be drawn."""
    keys = jax.random.split(key)
    ends = [
        _injected(k, side, alive, end)
        for k, side, alive, end in zip(keys, "ab", (alive_a, alive_b), _pairs(m))
    ]
    return _matching(*ends)


@pair_nulls.register(
    "random_pairs",
    Explanation(
        what="The pairs are replaced by random ones of a larger matching (N3), as many: what a "
        "measure gives for any subset of this size, partners kept.",
        formula="uniform subset of `pool`'s valid pairs, without replacement",
        source="the random subsets that semantic subspaces are held against in Lan et al., arXiv "
        "2410.06981",
    ),
)
def random_pairs(key: Array, m: Matching, *, pool: Matching) -> Matching:
    """As many pairs from `pool`."""
    size = _pairs(m)[0].size
    row, col = _pairs(pool)
    require(size <= row.size, f"random_pairs draws {size} pairs, but its pool has {row.size}.")
    drawn = _permutation(key, row.size)[:size]
    return _matching(row[drawn], col[drawn])


def _pairs(m: Matching) -> tuple[np.ndarray, np.ndarray]:
    valid = np.asarray(m.valid)
    return np.asarray(m.row)[valid], np.asarray(m.col)[valid]


def _matching(row: np.ndarray, col: np.ndarray) -> Matching:
    order = np.lexsort((col, row))
    return Matching(
        row=row[order].astype(np.int32),
        col=col[order].astype(np.int32),
        score=np.full(row.size, np.nan, np.float32),
        valid=np.ones(row.size, bool),
    )


def _injected(key: Array, side: str, alive: Array, latents: np.ndarray) -> np.ndarray:
    allowed = np.flatnonzero(np.asarray(alive, bool))
    # Drawn once for each latent, not for each pair, so that a many-to-one matching stays one.
    distinct, position = np.unique(latents, return_inverse=True)
    require(
        distinct.size <= allowed.size,
        f"random_latents replaces {distinct.size} latents, but alive_{side} has {allowed.size}.",
    )
    return allowed[_permutation(key, allowed.size)[: distinct.size]][position]


def _permutation(key: Array, n: int) -> np.ndarray:
    return np.asarray(jax.random.permutation(key, n)) if n else np.zeros(0, int)
