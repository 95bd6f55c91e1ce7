"""CKA with a Gaussian kernel, and CKA among nearest neighbours only."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from synthsae_jax.errors import require
from synthsae_jax.numerics import ratio_or_nan
from synthsae_jax.registry import Explanation
from synthsae_jax.similarity.base import Reasons, register_measure
from synthsae_jax.similarity.neighbours import neighbour_mask, too_many_neighbours
from synthsae_jax.similarity.points import NAN, centred, gram, squared_distances

Array = jax.Array


@register_measure(
    "cka_rbf",
    Explanation(
        what="CKA of Gaussian kernels: how alike the points' neighbourhoods of one size are.",
        formula="tr(KHLH) / sqrt(tr(KHKH) tr(LHLH)), K_ij = exp(-|x_i - x_j|^2 / (2 s^2)), "
        "s = bandwidth times the median distance; debiased=True: HSIC1 in place of tr(KHLH)",
        range="[0, 1]; debiased [-1, 1]",
        chance="0 if debiased. Else far above 0 where p or q comes near n or the bandwidth is "
        "small: compare with similarity.shuffled.",
        undefined="More than half of a side's pairs are equal points; debiased: n < 4, or a "
        "side's HSIC1 with itself is not above 0.",
        source="arXiv 1905.00414; HSIC1: Song et al., JMLR 13 (2012), 1393-1434",
    ),
    invariant_to={"translation", "scale", "orthogonal"},
    range=(0.0, 1.0),
    cost="n^2 (p + q)",
    least_points=3,
)
def cka_rbf(
    X: Array, Y: Array, *, bandwidth: float = 1.0, debiased: bool = False
) -> tuple[Array, Reasons]:
    """CKA of `X [n, p]` and `Y [n, q]` with Gaussian kernels of their own widths.

    `bandwidth` is a share of each side's median distance over its n (n - 1) / 2 pairs. Holds a few
    matrices [n, n].
    """
    require(bandwidth > 0, f"cka_rbf: bandwidth must be above 0, got {bandwidth}.")
    n = X.shape[0]
    if debiased and n < 4:
        return NAN, {f"debiased needs at least 4 points, given {n}": True}
    (K, equal_x), (L, equal_y) = (_gaussian(centred(v), bandwidth) for v in (X, Y))
    if debiased:
        K, L = (jnp.where(jnp.eye(n, dtype=bool), 0.0, v) for v in (K, L))
        kl, kk, ll = _hsic(K, L), _hsic(K, K), _hsic(L, L)
    else:
        K, L = _doubly_centred(K), _doubly_centred(L)
        kl, kk, ll = jnp.sum(K * L), jnp.sum(K * K), jnp.sum(L * L)
    value = ratio_or_nan(kl, jnp.sqrt(jnp.maximum(kk, 0.0)) * jnp.sqrt(jnp.maximum(ll, 0.0)))
    low = -1.0 if debiased else 0.0
    return jnp.clip(value, low, 1.0), {"half of a side's pairs are equal points": equal_x | equal_y}


@register_measure(
    "cknna",
    Explanation(
        what="CKA among pairs of points that are near neighbours on both sides.",
        formula="sum_A K_ij L_ij / sqrt(sum_(A_x) K_ij^2 sum_(A_y) L_ij^2), K, L of centred "
        "points, A_x the pairs with j among the k largest K_ij of i, A those in both",
        range="[-1, 1]",
        chance="Near k / (n - 1) times a cosine of like sign: compare with similarity.shuffled. "
        "At k = n - 1 it is rv2.",
        undefined="k > n - 1, or one side has no variance.",
        source="arXiv 2405.07987",
    ),
    invariant_to={"translation", "scale", "orthogonal"},
    range=(-1.0, 1.0),
    cost="n^2 (p + q)",
    least_points=3,
)
def cknna(X: Array, Y: Array, *, k: int = 10) -> tuple[Array, Reasons]:
    """CKNNA of `X [n, p]` and `Y [n, q]` by the paper's formula on centred columns.

    Its released code takes HSIC1 of the masked kernels of points at unit length instead.
    """
    n = X.shape[0]
    many = too_many_neighbours("cknna", n, k, most=n - 1)
    if many:
        return NAN, many
    K, L = gram(centred(X)), gram(centred(Y))
    near_x, near_y = neighbour_mask(K, k), neighbour_mask(L, k)
    shared = jnp.sum(jnp.where(near_x & near_y, K * L, 0.0))
    kk, ll = (jnp.sum(jnp.where(near, M * M, 0.0)) for near, M in ((near_x, K), (near_y, L)))
    return jnp.clip(ratio_or_nan(shared, jnp.sqrt(kk) * jnp.sqrt(ll)), -1.0, 1.0), {}


def _gaussian(X: Array, bandwidth: float) -> tuple[Array, Array]:
    squared = squared_distances(X)
    # The median makes the kernel free of scale; the diagonal, all zeros, would shift it with n.
    median = median_off_diagonal(squared)
    flat = median <= 0
    width = jnp.where(flat, 1.0, 2 * bandwidth**2 * jnp.square(median))
    return jnp.exp(-squared / width), flat


def median_off_diagonal(squared: Array) -> Array:
    """Median over pairs of points of the roots of a matrix `[n, n]` of squared distances, `[]`.

    Numbers above 0 order like their bits, so 31 halvings of the range of bits find an order
    statistic exactly, at a tenth of the price of sorting n^2 of them.
    """
    n = squared.shape[0]
    pairs = n * (n - 1) // 2
    most = jnp.iinfo(jnp.int32).max
    bits = jax.lax.bitcast_convert_type(squared, jnp.int32)
    bits = jnp.where(jnp.eye(n, dtype=bool), most, bits)
    # each pair stands there twice: the r-th smallest of the pairs is the 2 r-th
    rank = 2 * ((pairs + 1) // 2)

    def halve(_, bounds: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bounds
        middle = low + (high - low) // 2
        enough = jnp.sum(bits <= middle) >= rank
        return jnp.where(enough, low, middle + 1), jnp.where(enough, middle, high)

    _, lower = jax.lax.fori_loop(0, 31, halve, (jnp.int32(0), most))
    # of an even number of pairs the upper middle one is the same again, or the next larger
    next_larger = jnp.min(jnp.where(bits > lower, bits, most))
    again = jnp.sum(bits <= lower) >= 2 * (pairs // 2 + 1)
    both = jnp.stack([lower, jnp.where(again, lower, next_larger)])
    return jnp.mean(jnp.sqrt(jax.lax.bitcast_convert_type(both, jnp.float32)))


def _doubly_centred(K: Array) -> Array:
    return K - jnp.mean(K, axis=0)[None, :] - jnp.mean(K, axis=1)[:, None] + jnp.mean(K)


def _hsic(K: Array, L: Array) -> Array:
    """n (n - 3) HSIC1 of kernels with zero diagonals."""
    n = K.shape[0]
    k, l = jnp.sum(K, axis=1), jnp.sum(L, axis=1)
    middle = jnp.sum(k) * jnp.sum(l) / ((n - 1) * (n - 2))
    return jnp.sum(K * L) + middle - 2 / (n - 2) * jnp.sum(k * l)
