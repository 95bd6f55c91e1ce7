"""Linear centred kernel alignment, plain and debiased, and the RV coefficients."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from synthsae_jax.numerics import ratio_or_nan
from synthsae_jax.registry import Explanation
from synthsae_jax.similarity.base import register_measure
from synthsae_jax.similarity.points import centred, cross_energy, row_energies

Array = jax.Array
_INVARIANCES = {"translation", "scale", "orthogonal"}
_COST = "n p q + n p^2, or n^2 p where p > n"
_CHANCE = "sqrt(p q / ((n + p)(n + q))) for unrelated isotropic points; for others put in the "
_CHANCE += "participation ratio of each side's spectrum."


def cka_chance(n: int, p: int, q: int) -> float:
    """Expected CKA of unrelated isotropic Gaussian points: the bias in p/n and q/n.

    With m = n - 1 degrees of freedom E||Y'X||^2 = m p q and E||X'X||^2 = m p (m + p + 1); the
    expectation of the quotient is that of its parts up to O(1 / (n p)).
    """
    m = n - 1
    return math.sqrt(p * q / ((m + p + 1) * (m + q + 1)))


@register_measure(
    "cka",
    Explanation(
        what="How alike the Gram matrices of two point sets are, columns centred.",
        formula="||Y'X||_F^2 / (||X'X||_F ||Y'Y||_F)",
        range="[0, 1]",
        chance=_CHANCE + " Where p or q comes near n use cka_debiased.",
        undefined="n < 3 (two points are always alike), or one side has no variance.",
        source="arXiv 1905.00414",
    ),
    invariant_to=_INVARIANCES,
    range=(0.0, 1.0),
    cost=_COST,
    least_points=3,
    chance=cka_chance,
)
@register_measure(
    "rv",
    Explanation(
        what="The RV coefficient. On centred columns it is linear CKA, number for number.",
        formula="tr(K L) / sqrt(tr K^2 tr L^2), K = XX', L = YY'",
        range="[0, 1]",
        chance=_CHANCE,
        undefined="n < 3 (two points are always alike), or one side has no variance.",
        source="Robert and Escoufier (1976), doi 10.2307/2347233",
    ),
    invariant_to=_INVARIANCES,
    range=(0.0, 1.0),
    cost=_COST,
    least_points=3,
    chance=cka_chance,
)
def cka(X: Array, Y: Array) -> Array:
    """Linear CKA of `X [n, p]` and `Y [n, q]`, biased upwards when p or q is near n."""
    X, Y = centred(X), centred(Y)
    # Root by root: the product of two energies, fourth powers of the points, may leave float32.
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
    cost=_COST,
    least_points=4,
    chance=lambda n, p, q: 0.0,
)
def cka_debiased(X: Array, Y: Array) -> Array:
    """Debiased linear CKA of `X [n, p]` and `Y [n, q]`; can be negative."""
    X, Y = centred(X), centred(Y)
    scale = jnp.sqrt(jnp.maximum(_hsic(X, X), 0.0)) * jnp.sqrt(jnp.maximum(_hsic(Y, Y), 0.0))
    return jnp.clip(ratio_or_nan(_hsic(X, Y), scale), -1.0, 1.0)


@register_measure(
    "rv2",
    Explanation(
        what="RV without the diagonals, which carry most of its bias where p is large.",
        formula="tr(K~ L~) / sqrt(tr K~^2 tr L~^2), K~ = XX' with zero diagonal",
        range="[-1, 1]",
        chance="About sqrt(p q) / n^2, that is near 0: centring leaves a trace in every pair.",
        undefined="n < 3, or one side has no variance.",
        source="Smilde et al. (2009), doi 10.1093/bioinformatics/btn634",
    ),
    invariant_to=_INVARIANCES,
    range=(-1.0, 1.0),
    cost=_COST,
    least_points=3,
)
def rv2(X: Array, Y: Array) -> Array:
    """Modified RV of `X [n, p]` and `Y [n, q]`: the Gram matrices' cosine off the diagonal."""
    X, Y = centred(X), centred(Y)
    scale = jnp.sqrt(jnp.maximum(_off_diagonal(X, X), 0.0))
    scale *= jnp.sqrt(jnp.maximum(_off_diagonal(Y, Y), 0.0))
    return jnp.clip(ratio_or_nan(_off_diagonal(X, Y), scale), -1.0, 1.0)


def _off_diagonal(X: Array, Y: Array) -> Array:
    return cross_energy(X, Y) - jnp.sum(row_energies(X) * row_energies(Y))


def _hsic(X: Array, Y: Array) -> Array:
    """n (n - 3) HSIC1 of the two linear kernels, from centred points, without an [n, n] matrix.

    With zeroed diagonals, K~ = XX' - diag(d): since the columns of X sum to 0, K~1 = -d, and the
    three terms of HSIC1 reduce to tr(KL) and sums over d and e, the rows' squared norms.
    """
    n = X.shape[0]
    d, e = row_energies(X), row_energies(Y)
    return (
        cross_energy(X, Y)
        - n / (n - 2) * jnp.sum(d * e)
        + jnp.sum(d) * jnp.sum(e) / ((n - 1) * (n - 2))
    )
