"""Linear centred kernel alignment, plain and debiased."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from synthsae_jax.registry import Explanation
from synthsae_jax.similarity.base import register_measure
from synthsae_jax.similarity.points import centred, cross_energy, ratio_or_nan

Array = jax.Array
_INVARIANCES = {"translation", "scale", "permutation", "orthogonal"}


@register_measure(
    "cka",
    Explanation(
        what="How alike the Gram matrices of two point sets are, columns centred.",
        formula="||Y'X||_F^2 / (||X'X||_F ||Y'Y||_F)",
        range="[0, 1]",
        chance="Far above 0 where p or q comes near n; for unrelated points use cka_debiased.",
        undefined="One side has no variance.",
        source="arXiv 1905.00414",
    ),
    invariant_to=_INVARIANCES,
    range=(0.0, 1.0),
)
def cka(X: Array, Y: Array) -> Array:
    """Linear CKA of `X [n, p]` and `Y [n, q]`, biased upwards when p or q is near n."""
    X, Y = centred(X), centred(Y)
    scale = jnp.sqrt(cross_energy(X, X)) * jnp.sqrt(cross_energy(Y, Y))
    return jnp.clip(ratio_or_nan(cross_energy(X, Y), scale), 0.0, 1.0)


@register_measure(
    "cka_debiased",
    Explanation(
        what="Linear CKA from the unbiased estimate of HSIC: unrelated points score 0 on average.",
        formula="HSIC1(K, L) / sqrt(HSIC1(K, K) HSIC1(L, L)), K = XX', L = YY'",
        range="[-1, 1]",
        chance="0",
        undefined="n < 4, or one side's HSIC1 with itself is not above 0.",
        source="HSIC1: Song et al., JMLR 13 (2012), 1393-1434; in CKA: arXiv 2010.15327",
    ),
    invariant_to=_INVARIANCES,
    range=(-1.0, 1.0),
)
def cka_debiased(X: Array, Y: Array) -> Array:
    """Debiased linear CKA of `X [n, p]` and `Y [n, q]`; can be negative."""
    if X.shape[0] < 4:
        return jnp.float32(jnp.nan)
    X, Y = centred(X), centred(Y)
    scale = jnp.sqrt(jnp.maximum(_hsic(X, X), 0.0)) * jnp.sqrt(jnp.maximum(_hsic(Y, Y), 0.0))
    return jnp.clip(ratio_or_nan(_hsic(X, Y), scale), -1.0, 1.0)


def _hsic(X: Array, Y: Array) -> Array:
    """n (n - 3) HSIC1 of the two linear kernels, from centred points, without an [n, n] matrix.

    With zeroed diagonals, K~ = XX' - diag(d): since the columns of X sum to 0, K~1 = -d, and the
    three terms of HSIC1 reduce to tr(KL) and sums over d and e, the rows' squared norms.
    """
    n = X.shape[0]
    d, e = jnp.sum(jnp.square(X), axis=1), jnp.sum(jnp.square(Y), axis=1)
    return (
        cross_energy(X, Y)
        - n / (n - 2) * jnp.sum(d * e)
        + jnp.sum(d) * jnp.sum(e) / ((n - 1) * (n - 2))
    )
