"""Mean-max overlap of random directions in closed form, and what to choose for a wanted one.

Overlap is moved in three ways that should agree if it is overlap that matters: the dimensions, the
features, and coherence, which is the overlap of each feature with one partner (PROTOCOL 6).
"""

from __future__ import annotations

import functools

import numpy as np
from scipy.optimize import brentq
from scipy.special import betainc

from synthsae_jax.errors import require

# Right to 1e-12 up to 2^16 dimensions; with two features in 2^20 the third digit is off.
_GRID = 4001
_MOST_DIM = 2**20


@functools.lru_cache(maxsize=256)
def overlap_of(n_features: int, dim: int) -> float:
    """Expected mean-max overlap of F random unit rows in D dimensions: E max_j |cos(d_i, d_j)|.

    A squared cosine of two random directions is Beta(1/2, (D - 1)/2), and of one row with the
    F - 1 others they are independent, so E = int_0^1 1 - P(|cos| < c)^(F - 1) dc.
    """
    return _expected_max(n_features - 1, dim, 0.0)


def dim_for_overlap(n_features: int, overlap: float) -> int:
    """The D in which F random rows come nearest to this mean-max overlap."""
    _check(overlap)
    low, high = 2, 4
    while overlap_of(n_features, high) > overlap:
        low, high = high, 2 * high
        require(
            high <= _MOST_DIM,
            f"dim_for_overlap: {n_features} rows have overlap {overlap} only in more than "
            f"{_MOST_DIM} dimensions.",
        )
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if overlap_of(n_features, middle) > overlap else (low, middle)
    return min((low, high), key=lambda dim: abs(overlap_of(n_features, dim) - overlap))


def features_for_overlap(dim: int, overlap: float, most: int = 2**22) -> int:
    """The F whose random rows in D dimensions come nearest to this mean-max overlap."""
    _check(overlap)
    require(
        overlap_of(2, dim) <= overlap <= overlap_of(most, dim),
        f"features_for_overlap: in {dim} dimensions overlaps go from {overlap_of(2, dim):.3g} (2 "
        f"features) to {overlap_of(most, dim):.3g} ({most}); got {overlap}.",
    )
    low, high = 2, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if overlap_of(middle, dim) < overlap else (low, middle)
    return min((low, high), key=lambda n: abs(overlap_of(n, dim) - overlap))


@functools.lru_cache(maxsize=256)
def pair_cosine(n_features: int, dim: int, overlap: float) -> float:
    """The |cosine| c of pairs with which F otherwise random rows have this mean-max overlap.

    Solves E max(c, max of F - 2 random ones) = overlap; from the overlap of random rows upwards.
    """
    _check(overlap)
    least = _expected_max(n_features - 2, dim, 0.0)
    require(
        n_features % 2 == 0,
        f"overlap pairs features, so their number must be even; got {n_features}.",
    )
    require(
        overlap >= least,
        f"overlap {overlap} is below the {least:.4g} that {n_features} random directions in {dim} "
        f"dimensions have; raise it, or use more dimensions (worlds.dim_for_overlap).",
    )
    off = lambda c: _expected_max(n_features - 2, dim, c) - overlap
    return float(np.asarray(brentq(off, 0.0, 1.0, xtol=1e-6)))


def _expected_max(n_others: int, dim: int, floor: float) -> float:
    """E max(floor, largest of `n_others` independent |cos|)."""
    if dim == 1:
        return 1.0
    c = np.linspace(floor, 1.0, _GRID)
    below = betainc(0.5, (dim - 1) / 2, c**2) ** n_others
    return float(floor + np.trapezoid(1 - below, c))


def _check(overlap: float) -> None:
    require(
        isinstance(overlap, int | float) and 0 < overlap < 1,
        f"overlap must lie between 0 and 1, got {overlap!r}.",
    )
