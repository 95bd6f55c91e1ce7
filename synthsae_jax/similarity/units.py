"""Measures whose points of interest are columns: are they the same units, in whatever order?

Give codes `[n, L]` (a column is a latent over n samples), or a dictionary turned round, `W_dec.T`
(a column is a latent's direction in a common space of n dimensions).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from optax.assignment import hungarian_algorithm

from synthsae_jax.directions import best_cosine
from synthsae_jax.numerics import cosine_matrix, ratio_or_nan
from synthsae_jax.registry import Explanation
from synthsae_jax.similarity.base import register_measure
from synthsae_jax.similarity.points import centred, times

Array = jax.Array
_COST = "n p q + min(p, q)^2 max(p, q), the assignment: seconds from 2,000 columns on"
_ZERO = "A column of zeros has cosine 0 with all."


@register_measure(
    "pw_mcc",
    Explanation(
        what="Mean cosine of columns under the best one-to-one pairing (PW-MCC, stability).",
        formula="max over pairings of mean cos(x_i, y_pi(i)), min(p, q) pairs; "
        "absolute=True: |cos|",
        range="[-1, 1]",
        chance="About .96 of what mmcs gives: high where n is small (.52 for 16 columns in 8 "
        "dimensions, .63 absolute). Compare with similarity.shuffled.",
        undefined=f"All rows of a side are equal. {_ZERO}",
        source="Song et al., arXiv 2505.20254",
    ),
    invariant_to={"column_scale", "permutation"},
    range=(-1.0, 1.0),
    cost=_COST,
)
def pw_mcc(X: Array, Y: Array, *, absolute: bool = False) -> Array:
    """Pairwise mean correlation coefficient of the columns of `X [n, p]` and `Y [n, q]`."""
    return jnp.clip(_mean_assigned(_column_cosines(X, Y, absolute)), -1.0, 1.0)


@register_measure(
    "mmcs",
    Explanation(
        what="Mean over X's columns of the largest cosine with any column of Y; call it both ways.",
        formula="mean over i of max over j of cos(x_i, y_j); absolute=True: |cos|",
        range="[-1, 1]",
        chance="The expected best of q random directions in n dimensions, in closed form: "
        "similarity.chance('mmcs', n, p, q). It grows with q.",
        undefined=f"All rows of a side are equal. {_ZERO}",
        source="Sharkey et al. (2022), 'Taking features out of superposition'",
    ),
    invariant_to={"column_scale", "permutation"},
    range=(-1.0, 1.0),
    cost="n p q",
    symmetric=False,
    chance=lambda n, p, q, absolute=False: best_cosine(q, n, absolute=absolute),
)
def mmcs(X: Array, Y: Array, *, absolute: bool = False) -> Array:
    """Mean max cosine similarity of the columns of `X [n, p]` to those of `Y [n, q]`."""
    return jnp.clip(jnp.mean(jnp.max(_column_cosines(X, Y, absolute), axis=1)), -1.0, 1.0)


@register_measure(
    "mppc",
    Explanation(
        what="Mean over X's columns (codes of latents) of the largest Pearson correlation with "
        "any column of Y; call it both ways.",
        formula="mean over i of max over j of corr(x_i, y_j)",
        range="[-1, 1]",
        chance="For Gaussian columns mmcs's at n - 1: similarity.chance('mppc', n, p, q). Rare "
        "latents reach far more on few samples: compare with similarity.shuffled.",
        undefined="n < 3, or all rows of a side are equal. A constant column has correlation 0 "
        "with all.",
        source="Wang et al., arXiv 2410.06672",
    ),
    invariant_to={"translation", "column_scale", "permutation"},
    range=(-1.0, 1.0),
    cost="n p q",
    symmetric=False,
    least_points=3,
    chance=lambda n, p, q: best_cosine(q, n - 1),
)
def mppc(X: Array, Y: Array) -> Array:
    """Mean max pairwise Pearson correlation of the columns of `X [n, p]` to those of `Y [n, q]`."""
    return mmcs(centred(X), centred(Y))


@register_measure(
    "permutation_procrustes",
    Explanation(
        what="Cosine between X and Y after the best order of Y's columns: Procrustes in which "
        "only permutations are free.",
        formula="max over P of tr(P'X'Y) / (||X||_F ||Y||_F), columns centred",
        range="[-1, 1]",
        chance="Above 0, and more so where n is small: compare with similarity.shuffled.",
        undefined="n < 3, or one side has no variance.",
        source="One-to-one matching distance, arXiv 2311.09466",
    ),
    invariant_to={"translation", "scale", "permutation"},
    range=(-1.0, 1.0),
    cost=_COST,
    least_points=3,
)
def permutation_procrustes(X: Array, Y: Array) -> Array:
    """Permutation Procrustes of `X [n, p]` and `Y [n, q]`; the narrower side counts as padded."""
    X, Y = centred(X), centred(Y)
    alike = times(X.T, Y)
    total = _mean_assigned(alike) * min(alike.shape)
    scale = jnp.linalg.norm(X) * jnp.linalg.norm(Y)
    return jnp.clip(ratio_or_nan(total, scale), -1.0, 1.0)


@register_measure(
    "soft_matching",
    Explanation(
        what="Mean Pearson correlation of columns under the best soft pairing, in which each of "
        "X's p columns hands out mass 1/p and each of Y's q takes 1/q: widths may differ. "
        "sqrt(2 - 2 s) is the soft matching distance.",
        formula="max over P >= 0, P1 = 1/p, P'1 = 1/q of sum P_ij corr(x_i, y_j)",
        range="[-1, 1]",
        chance="Grows with log(p q) / n: compare with similarity.shuffled.",
        undefined="n < 3, or all rows of a side are equal. A constant column has correlation 0 "
        "with all.",
        source="arXiv 2311.09466",
    ),
    invariant_to={"translation", "column_scale", "permutation"},
    range=(-1.0, 1.0),
    cost="p = q: as pw_mcc; else n p q + 3,000 p q",
    least_points=3,
)
def soft_matching(X: Array, Y: Array) -> Array:
    """Soft matching similarity of the columns of `X [n, p]` and `Y [n, q]`.

    At p = q some permutation is optimal (Birkhoff) and the value exact; else it is that of a plan
    which is feasible and at most about 2e-3 short of the best (entropic, cooled, then rounded).
    """
    corr = _column_cosines(centred(X), centred(Y), absolute=False)
    if X.shape[1] == Y.shape[1]:
        return jnp.clip(_mean_assigned(corr), -1.0, 1.0)
    return jnp.clip(jnp.sum(transport_plan(corr) * corr), -1.0, 1.0)


def transport_plan(alike: Array, coolest: float = 2e-3, rounds: int = 150) -> Array:
    """A plan `[p, q]` with marginals 1/p and 1/q and nearly the largest sum of P * alike.

    Sinkhorn's scaling in the log domain, warm-started down a ladder of temperatures to `coolest`,
    then rounded to exact marginals (Altschuler et al., arXiv 1705.09634).
    """
    p, q = alike.shape
    # From about 1, the range of a correlation: each temperature starts where the last one ended, or
    # the coldest alone would hardly move.
    temperatures = coolest * 2.0 ** jnp.arange(9, -1, -1)

    def cool(potentials: tuple[Array, Array], temperature: Array) -> tuple[tuple, None]:
        def scale(_, fg: tuple[Array, Array]) -> tuple[Array, Array]:
            g = fg[1]
            f = -jax.nn.logsumexp((alike + g[None, :]) / temperature, axis=1) - jnp.log(p)
            f = f * temperature
            g = -jax.nn.logsumexp((alike + f[:, None]) / temperature, axis=0) - jnp.log(q)
            return f, g * temperature

        return jax.lax.fori_loop(0, rounds, scale, potentials), None

    (f, g), _ = jax.lax.scan(cool, (jnp.zeros(p), jnp.zeros(q)), temperatures)
    P = jnp.exp((alike + f[:, None] + g[None, :]) / coolest)
    # no row and no column may hold too much; what then is missing is spread over all that lack
    P *= jnp.minimum(1.0, 1 / p / jnp.maximum(jnp.sum(P, axis=1), 1e-30))[:, None]
    P *= jnp.minimum(1.0, 1 / q / jnp.maximum(jnp.sum(P, axis=0), 1e-30))[None, :]
    lacks_x, lacks_y = 1 / p - jnp.sum(P, axis=1), 1 / q - jnp.sum(P, axis=0)
    missing = jnp.sum(lacks_x)
    return P + lacks_x[:, None] * lacks_y[None, :] / jnp.where(missing > 0, missing, 1.0)


def _column_cosines(X: Array, Y: Array, absolute: bool) -> Array:
    """Cosines of columns, `[n, p], [n, q] -> [p, q]`; 0 for a column of zeros."""
    cosine = cosine_matrix(X.T, Y.T)
    return jnp.abs(cosine) if absolute else cosine


def _mean_assigned(alike: Array) -> Array:
    """Mean of `alike [p, q]` over the best one-to-one pairing of min(p, q) pairs."""
    rows, cols = hungarian_algorithm(-alike)
    return jnp.mean(alike[rows, cols])
