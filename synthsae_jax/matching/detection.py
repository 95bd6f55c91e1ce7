"""Does a score tell two kinds apart, and do two SAEs find the same features? On the host."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.stats import rankdata

from synthsae_jax.errors import require

NAN = math.nan


def auroc(score: Any, label: Any) -> float:
    """Chance that a positive scores above a negative, ties counting half; NaN with one kind only.

    `score [P]`, `label` bool `[P]`. `(sum of ranks of positives - n(n+1)/2) / (n m)`.
    """
    score, label = _labelled(score, label)
    n, m = int(label.sum()), int((~label).sum())
    if not n or not m:
        return NAN
    return float((rankdata(score)[label].sum() - n * (n + 1) / 2) / (n * m))


def average_precision(score: Any, label: Any) -> float:
    """Mean precision over the positives as the threshold falls; ties come in at once.

    `sum_k (recall_k - recall_(k-1)) precision_k` over distinct scores. Chance is the share of
    positives. NaN without a positive.
    """
    score, label = _labelled(score, label)
    if not label.any():
        return NAN
    order = np.argsort(-score, kind="stable")
    right = np.cumsum(label[order])
    last_of_tie = np.append(np.diff(score[order]) != 0, True)
    right, total = right[last_of_tie], np.flatnonzero(last_of_tie) + 1
    gained = np.diff(right, prepend=0)
    return float((gained * right / total).sum() / label.sum())


def sharedness(
    best: Any, truth: Any, present_other: Any, rates: Any = None, bins: int = 10
) -> dict[str, np.ndarray]:
    """Does a latent's best score tell whether the other model has its feature at all?

    `best [L]`: the latent's largest score with the other SAE; `truth` int `[L]`; `present_other`
    bool `[F]`. Latents that track nothing, or have no score, are left out. Arrays of
    `1 + bins` numbers, all latents first, then by frequency of the feature in bins of equal size
    (`rates [F]`; None: no bins): `auroc`, `ap`, `n_shared`, `n_exclusive`. Chance: 1/2 and
    `n_shared / (n_shared + n_exclusive)`; NaN where one of the kinds is missing.
    """
    best, truth = np.asarray(best, np.float64), np.asarray(truth)
    require(
        best.shape == truth.shape and best.ndim == 1,
        f"sharedness needs best and truth alike [L]; given {best.shape} and {truth.shape}.",
    )
    usable = (truth >= 0) & np.isfinite(best)
    best, truth = best[usable], truth[usable]
    shared = np.asarray(present_other, bool)[truth]
    groups = [np.ones(truth.shape, bool)]
    if rates is not None:
        bin_of = frequency_bin(np.asarray(rates)[truth], bins)
        groups += [bin_of == b for b in range(bins)]
    return {
        "auroc": np.array([auroc(best[g], shared[g]) for g in groups]),
        # an AP of 1 with nothing to be told apart would flatter
        "ap": np.array(
            [NAN if shared[g].all() else average_precision(best[g], shared[g]) for g in groups]
        ),
        "n_shared": np.array([shared[g].sum() for g in groups]),
        "n_exclusive": np.array([(~shared[g]).sum() for g in groups]),
    }


def co_recovery(recovered_a: Any, recovered_b: Any, rates: Any = None, bins: int = 10) -> float:
    """Log odds ratio of two SAEs recovering the same features, by frequency (Mantel-Haenszel).

    `recovered_a`, `recovered_b` bool `[P]`: is the feature recovered by A, by B, for the features
    present in both. `log (sum_s both_s neither_s / n_s) / (sum_s only_a_s only_b_s / n_s)` over
    bins s of equal size by `rates [P]` (None: one bin), so that both finding the frequent ones does
    not count as finding the same. 0 if they recover independently given frequency. NaN where either
    sum is 0: a side recovers all or none of each bin, or never one that the other misses.
    """
    a, b = np.asarray(recovered_a, bool), np.asarray(recovered_b, bool)
    require(
        a.shape == b.shape and a.ndim == 1,
        f"co_recovery needs bool [P] alike; given {a.shape} and {b.shape}.",
    )
    bin_of = np.zeros(a.size, int) if rates is None else frequency_bin(rates, bins)
    per_bin = lambda which: np.bincount(bin_of[which], minlength=bins)
    # An empty bin has 0 on top, too: the floor only keeps it from being 0 / 0.
    n = np.maximum(per_bin(np.ones(a.size, bool)), 1)
    same = (per_bin(a & b) * per_bin(~a & ~b) / n).sum()
    unlike = (per_bin(a & ~b) * per_bin(~a & b) / n).sum()
    return math.log(same / unlike) if same > 0 and unlike > 0 else NAN


def frequency_bin(frequency: Any, bins: int) -> np.ndarray:
    """The bin of each, int `[P]` in 0..bins-1, of about equal size; ties share a bin."""
    frequency = np.asarray(frequency, np.float64)
    require(bins >= 1, f"bins must be at least 1; given {bins}.")
    if not frequency.size:
        return np.zeros(0, int)
    quantile = (rankdata(frequency, method="average") - 0.5) / frequency.size
    return np.minimum((quantile * bins).astype(int), bins - 1)


def _labelled(score: Any, label: Any) -> tuple[np.ndarray, np.ndarray]:
    score, label = np.asarray(score, np.float64), np.asarray(label, bool)
    require(
        score.ndim == 1 and score.shape == label.shape,
        f"needs scores and labels alike [P]; given {score.shape} and {label.shape}.",
    )
    require(not np.isnan(score).any(), "a score is NaN: leave those pairs out.")
    return score, label
