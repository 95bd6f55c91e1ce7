"""How well a measure of universality measures it: tests with known answers, one number each.

The tests take a measure's scores from runs made elsewhere, with what was true in each, so that a
row of a board is a measure and its columns are these. Each says in its explanation what a perfect
measure gets. On the host, in float64. After ReSi (Klabunde et al., arXiv 2408.00531), with the
truth that such tests lack on real models.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from synthsae_jax.errors import require
from synthsae_jax.matching.detection import auroc, average_precision
from synthsae_jax.registry import Explanation, Registry

NAN = math.nan

validity_tests: Registry[Callable[..., float]] = Registry("validity test")


@validity_tests.register(
    "monotone",
    Explanation(
        what="Does the score rise with the share of common features?",
        formula="Spearman correlation of score and level",
        range="[-1, 1]; 1 is right",
        chance="0",
        undefined="fewer than three scores, or all scores or all levels are equal",
    ),
)
def monotone(levels: Any, scores: Any) -> float:
    """Rank correlation of `scores [n]` with the true `levels [n]`; ties share their rank."""
    levels, scores = _paired(levels, scores)
    if levels.size < 3 or np.ptp(levels) == 0 or np.ptp(scores) == 0:
        return NAN
    return float(spearmanr(levels, scores).statistic)


@validity_tests.register(
    "slope",
    Explanation(
        what="Does the score move with what should not move it (width ratio, Zipf exponent, "
        "geometry for an individual measure, k of an SAE that overfits)?",
        formula="least-squares slope of (score - truth) on the confound",
        range="any; 0 is right. Take width ratios and dimensions as logarithms",
        chance="0",
        undefined="fewer than two scores, or all confounds are equal",
    ),
)
def slope(confound: Any, scores: Any, truth: Any = 0.0) -> float:
    """Change of the score's error per unit of the confound `[n]`; `truth` a number or `[n]`."""
    scores = np.asarray(scores, np.float64)
    confound, error = _paired(confound, scores - np.broadcast_to(truth, scores.shape))
    if confound.size < 2 or np.ptp(confound) == 0:
        return NAN
    away = confound - confound.mean()
    return float((away * error).sum() / (away**2).sum())


@validity_tests.register(
    "rejection_rate",
    Explanation(
        what="How often a test built on the score calls chance a finding, in disjoint worlds.",
        formula="share of p-values <= alpha",
        range="[0, 1]; alpha is right, less is cautious",
        chance="alpha",
        undefined="there are no p-values",
    ),
)
def rejection_rate(p_values: Any, alpha: float = 0.05) -> float:
    """Share of `p_values [n]` at or below alpha; NaN ones are left out."""
    p = np.asarray(p_values, np.float64)
    p = p[~np.isnan(p)]
    require(bool(((p >= 0) & (p <= 1)).all()), "p-values must be in [0, 1].")
    return float((p <= alpha).mean()) if p.size else NAN


@validity_tests.register(
    "leakage",
    Explanation(
        what="What a shared initialisation alone adds to the score of two unrelated worlds.",
        formula="mean over pairs of (score with the same seed - score with own seeds)",
        range="any; 0 is right",
        chance="0",
        undefined="there is no pair with both scores",
    ),
)
def leakage(same_init: Any, own_init: Any) -> float:
    """Mean difference of paired scores `[n]`."""
    same, distinct = _paired(same_init, own_init)
    return float((same - distinct).mean()) if same.size else NAN


@validity_tests.register(
    "invariance_error",
    Explanation(
        what="How far the score moves under a transformation that should leave it as it is "
        "(rotation, permutation, positive scale, sign).",
        formula="max |score(transformed) - score|",
        range=">= 0; 0 up to rounding is right",
        undefined="a score is undefined",
    ),
)
def invariance_error(scores: Any, transformed: Any) -> float:
    """Largest difference; NaN where either is, since a score that vanishes is not invariant."""
    before, after = (np.asarray(v, np.float64) for v in (scores, transformed))
    require(
        before.shape == after.shape and before.size > 0,
        f"invariance_error needs scores alike; given {before.shape} and {after.shape}.",
    )
    return float(np.abs(after - before).max())


@validity_tests.register(
    "sample_error",
    Explanation(
        what="How far the score from few tokens lies from the score from the most.",
        formula="root mean square of (score at N - score at the largest N)",
        range=">= 0; 0 is right",
        undefined="there is no pair with both scores",
    ),
)
def sample_error(scores: Any, converged: Any) -> float:
    """Root mean square difference of `scores [n]` at some N from those at the largest."""
    few, many = _paired(scores, converged)
    return float(np.sqrt(((few - many) ** 2).mean())) if few.size else NAN


@validity_tests.register(
    "ordering",
    Explanation(
        what="Do pairs that share features outscore pairs that do not?",
        formula="average precision, the sharing pairs being the positives",
        range="[0, 1]; 1 is right",
        chance="the share of sharing pairs",
        undefined="one of the kinds has no defined score",
    ),
)
def ordering(sharing: Any, unrelated: Any) -> float:
    """AUPRC of telling scores `sharing [n]` from scores `unrelated [m]`."""
    scores, label = _kinds(sharing, unrelated)
    return NAN if label.all() or not label.any() else average_precision(scores, label)


@validity_tests.register(
    "violation_rate",
    Explanation(
        what="How often a pair that shares nothing scores above one that shares features.",
        formula="P(unrelated > sharing) + P(equal) / 2 over all such pairs of scores",
        range="[0, 1]; 0 is right",
        chance="1/2",
        undefined="one of the kinds has no defined score",
    ),
)
def violation_rate(sharing: Any, unrelated: Any) -> float:
    """1 - AUROC of the same."""
    return 1.0 - auroc(*_kinds(sharing, unrelated))


def _paired(a: Any, b: Any) -> tuple[np.ndarray, np.ndarray]:
    """Both columns in float64, without the rows in which either is undefined."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    require(
        a.ndim == 1 and a.shape == b.shape,
        f"a validity test needs two columns alike [n]; given {a.shape} and {b.shape}.",
    )
    defined = np.isfinite(a) & np.isfinite(b)
    return a[defined], b[defined]


def _kinds(positive: Any, negative: Any) -> tuple[np.ndarray, np.ndarray]:
    sides = [np.asarray(v, np.float64).ravel() for v in (positive, negative)]
    sides = [v[np.isfinite(v)] for v in sides]
    label = np.repeat([True, False], [v.size for v in sides])
    return np.concatenate(sides), label
