"""What matching gives between sides that share nothing, in closed form.

For independent scores from one continuous law. Cosines of rows and correlations of codes come
close; hubs (latents that are near everything) move them by a few percent. Chance levels of
decoder cosines over whole dictionaries are in `metrics`, those of measures in `similarity`.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

from synthsae_jax.directions import best_cosine as best_cosine
from synthsae_jax.errors import require

# Trapezoids over a smooth tail: right to 1e-11 (held against 20 times as many points, m up to 1e6).
_GRID = 20_001


def mutual_nearest_pairs(n_a: int, n_b: int) -> float:
    """Expected pairs that are each other's best: `n_a n_b / (n_a + n_b - 1)`, about half of each.

    A pair is one if it is the largest of the `n_a + n_b - 1` scores in its row and column.
    """
    _check(n_a, n_b)
    return n_a * n_b / (n_a + n_b - 1)


def first_come_pairs(n_a: int, n_b: int) -> float:
    """Expected pairs that `first_dedupe` leaves: the latents of A that some latent of B chose.

    `n_a (1 - (1 - 1/n_a)^n_b)`: balls in urns; 63 % of a square dictionary.
    """
    _check(n_a, n_b)
    return n_a * (1 - (1 - 1 / n_a) ** n_b)


def best_normal(m: int) -> float:
    """Expected largest of m independent standard normal scores; near sqrt(2 ln m).

    For z-scores of firing with enough expected joint firings.
    """
    _check(m, m)
    x = np.linspace(-10, 10, _GRID)
    return float(np.trapezoid(x * m * norm.pdf(x) * norm.cdf(x) ** (m - 1), x))


def shifted_correlation_sd(n: int) -> float:
    """The sd of a correlation over all orders of one side's n tokens: `1 / sqrt(n - 1)`, mean 0.

    Exact for permutations, whatever the codes are; for random shifts of tokens without order.
    """
    require(n > 1, f"shifted_correlation_sd needs n > 1; given {n}.")
    return (n - 1) ** -0.5


def _check(n_a: int, n_b: int) -> None:
    require(min(n_a, n_b) >= 1, f"chance levels need latents on both sides; given {n_a}, {n_b}.")
