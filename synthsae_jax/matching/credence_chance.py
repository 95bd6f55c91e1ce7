"""How high a candidate scores that has nothing to do with a latent: tails in closed form.

These are what the number of candidates multiplies, so they reach beyond the widths that anything
was fitted on. What unrelated latents share beyond chance (kin, splits, common artefacts) is fitted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import betainc, gammainc, roots_legendre

# Of Gauss-Legendre over +-8 sd of a random cosine, a step of about 2 sd. Too coarse: against 128
# nodes the tail of the mean comes out up to 20 times too small near a score of .05 (768 dimensions,
# 100 and 300 firings of 100,000 tokens). The shipped laws were fitted with it, and their hazards
# hold what chance lacks; more nodes go with the next fit.
_NODES = 8


def correlation_tail(
    score: Any, firings_a: Any, firings_b: Any, n_tokens: Any, dim: Any = None
) -> np.ndarray:
    """P(r >= score) for two latents that fire independently, float64, by broadcasting.

    Codes are taken as on or off: then `r = (k - m) / sqrt(n_a n_b v)` with k joint firings,
    `m = n_a n_b / n` and `v = (1 - n_a/n)(1 - n_b/n)`. k is hypergeometric with mean m and
    variance near m v; `k / v` is taken as Poisson, between whole numbers by the incomplete gamma
    function. Activations that vary correlate less than on and off ones, so this is an upper bound.
    """
    s, a, b, n = np.broadcast_arrays(
        *(np.asarray(v, np.float64) for v in (score, firings_a, firings_b, n_tokens))
    )
    # A latent that is always on has no variance; the floor keeps its quotients finite.
    free = np.maximum((1 - a / n) * (1 - b / n), 1e-9)
    mean = a * b / n
    joint = mean + s * np.sqrt(a * b * free)
    # Below what no joint firing at all gives, every count reaches the score.
    return np.where(joint <= 0, 1.0, gammainc(np.maximum(joint, 1e-12) / free, mean / free))


def cosine_tail(
    score: Any, firings_a: Any = None, firings_b: Any = None, n_tokens: Any = None, dim: Any = None
) -> np.ndarray:
    """P(cos >= score) for random directions in `dim` dimensions: `(1 + cos)/2 ~ Beta`, exact."""
    s, d = np.broadcast_arrays(np.asarray(score, np.float64), np.asarray(dim, np.float64))
    half = (d - 1) / 2
    return betainc(half, half, np.clip((1 - s) / 2, 0, 1))


def mean_tail(
    score: Any, firings_a: Any, firings_b: Any, n_tokens: Any, dim: Any = None
) -> np.ndarray:
    """P((r + cos)/2 >= score) for independent firing and independent random directions.

    Integrated over the cosine by Gauss-Legendre quadrature.
    """
    x, weight = roots_legendre(_NODES)
    s, a, b, n, d = np.broadcast_arrays(
        *(np.asarray(v, np.float64) for v in (score, firings_a, firings_b, n_tokens, dim))
    )
    reach = np.minimum(8 / np.sqrt(d), 1.0)
    cos = reach[..., None] * x
    density = (1 - cos**2) ** ((d[..., None] - 3) / 2) * weight
    density /= density.sum(-1, keepdims=True)
    tail = correlation_tail(2 * s[..., None] - cos, a[..., None], b[..., None], n[..., None])
    return (density * tail).sum(-1)


TAILS: dict[str, Callable[..., np.ndarray]] = {
    "activation_pearson": correlation_tail,
    "decoder_cosine": cosine_tail,
    "activation_and_decoder": mean_tail,
    # decoder and encoder rows of one latent are alike: their mean is no less noisy than one
    "weights": cosine_tail,
}
