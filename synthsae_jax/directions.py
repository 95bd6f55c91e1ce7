"""How near the nearest of many random directions comes: the chance level of cosines."""

from __future__ import annotations

from scipy.integrate import quad
from scipy.special import betainc

from synthsae_jax.errors import require


def best_cosine(m: int, dim: int, *, absolute: bool = False) -> float:
    """Expected largest cosine of a fixed direction with m random ones in `dim` dimensions, exact.

    `(1 + cos) / 2 ~ Beta((dim - 1)/2, (dim - 1)/2)`, and `cos^2 ~ Beta(1/2, (dim - 1)/2)` where
    `absolute`; the largest of m has the m-th power of the distribution function.
    `metrics.expected_max_cosine` is its expansion for many dimensions.
    """
    require(m >= 1 and dim > 1, f"best_cosine needs m >= 1 and dim > 1; given {m} and {dim}.")
    half = (dim - 1) / 2
    # E max = upper end - int P(max < c) dc. Adaptive, since in two dimensions the density is
    # infinite at both ends, and in thousands all of it is near 0.
    if absolute:
        return 1 - quad(lambda c: betainc(0.5, half, c * c) ** m, 0, 1, limit=200)[0]
    return 1 - quad(lambda c: betainc(half, half, (c + 1) / 2) ** m, -1, 1, limit=200)[0]
