"""Procrustes similarity: how well one point set turns onto the other."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from synthsae_jax.registry import Explanation
from synthsae_jax.similarity.base import register_measure
from synthsae_jax.similarity.points import HIGHEST, centred, ratio_or_nan

Array = jax.Array


@register_measure(
    "procrustes",
    Explanation(
        what="Cosine between X and Y after the best orthogonal map, columns centred.",
        formula="||X'Y||_* / (||X||_F ||Y||_F); its arccos is the angular shape distance",
        range="[0, 1]",
        chance="Far above 0 where p or q comes near n.",
        undefined="One side has no variance.",
        source="arXiv 2110.14739 (shape metrics, alpha = 1)",
    ),
    invariant_to={"translation", "scale", "permutation", "orthogonal"},
    range=(0.0, 1.0),
)
def procrustes(X: Array, Y: Array) -> Array:
    """Procrustes similarity of `X [n, p]` and `Y [n, q]`; the narrower side counts as padded.

    The sum of the singular values of X'Y is the largest tr(R'X'Y) over orthogonal R, so this is
    the cosine left when rotation and reflection are free.
    """
    X, Y = centred(X), centred(Y)
    nuclear = jnp.sum(jnp.linalg.svd(jnp.matmul(X.T, Y, precision=HIGHEST), compute_uv=False))
    scale = jnp.linalg.norm(X) * jnp.linalg.norm(Y)
    return jnp.clip(ratio_or_nan(nuclear, scale), 0.0, 1.0)
