"""How much a score is worth, held against truth: reliability, its errors, thresholds, tokens.

Pairs of latents are not independent of each other, nor are the seeds of one instance. Intervals
are therefore over units (worlds, or instances): `over_units` computes a number within each of them
and leaves the interval to `stats`. On the host, in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np

from synthsae_jax.errors import require
from synthsae_jax.matching.detection import frequency_bin
from synthsae_jax.stats import Interval, mean_interval, nested_interval

NAN = math.nan


class Cell(NamedTuple):
    """The pairs of one bin of scores, in one bin of frequency."""

    frequency_bin: int  # from rare to frequent; 0 where there is only one
    score_lo: float  # smallest and largest score in the cell
    score_hi: float
    n: int
    score: float  # mean
    true: float  # share of the pairs that are true
    interval: Interval | None  # of `true` over units; None: no units were given


class Brier(NamedTuple):
    """Mean squared error of probabilities, and what it is made of.

    score = reliability - resolution + uncertainty + within. Of a calibrated probability
    reliability is 0; of one that says nothing resolution is 0. `within` is what the binning hides
    (variance less twice the covariance inside the bins), 0 where a bin holds a single value.
    """

    score: float
    reliability: float
    resolution: float
    uncertainty: float
    within: float


class Threshold(NamedTuple):
    """The lowest score from which on enough pairs are true."""

    value: float  # NaN where there is none
    precision: float  # of the pairs at or above it
    recall: float  # share of the true pairs among the given that are at or above it
    n: int  # pairs at or above it
    reason: str = ""  # why there is none


class Tokens(NamedTuple):
    """How many tokens a recall takes."""

    value: float  # NaN where it is not reached
    reason: str = ""


def reliability(
    score: Any,
    true: Any,
    frequency: Any = None,
    *,
    bins: int = 10,
    frequency_bins: int = 10,
    units: Sequence[Hashable] | None = None,
    level: float = 0.95,
) -> list[Cell]:
    """The share of true pairs by score, within bins of frequency: the cells that hold pairs.

    `score [P]`, `true` bool `[P]`; `frequency [P]`, usually how often the rarer latent of the pair
    fires (None: one bin). Bins of equal size, within each frequency bin; ties share a bin, so
    there may be fewer. `units [P]`: the world or instance a pair comes from, for intervals.
    """
    score, true = _columns(score, true)
    bin_of = np.zeros(score.size, int)
    if frequency is not None:
        require(np.shape(frequency) == score.shape, "frequency must be [P], like score.")
        bin_of = frequency_bin(frequency, frequency_bins)
    names = None if units is None else np.fromiter(units, object, len(units))
    require(names is None or names.shape == score.shape, "units must be [P], like score.")
    cells = []
    for f in np.unique(bin_of):
        inside = np.flatnonzero(bin_of == f)
        of_score = frequency_bin(score[inside], bins)
        for b in np.unique(of_score):
            pairs = inside[of_score == b]
            s, t = score[pairs], true[pairs]
            interval = None if names is None else nested_interval(t, list(names[pairs]), level)
            ends = float(s.min()), float(s.max())
            cells.append(Cell(int(f), *ends, pairs.size, float(s.mean()), t.mean(), interval))
    return cells


def calibration_error(
    probability: Any, true: Any, *, bins: int = 10, equal_size: bool = False
) -> float:
    """Expected calibration error: mean over pairs of |share true - mean probability| of their bin.

    Bins of equal width on [0, 1], or of equal size. Depends on the bins, and noise inside small
    ones adds to it: it is above 0 for the best of calibrators. NaN without pairs.
    """
    p, true = _probabilities(probability, true)
    if not p.size:
        return NAN
    bin_of = frequency_bin(p, bins) if equal_size else _width_bin(p, bins)
    gap = np.bincount(bin_of, weights=true - p, minlength=bins)
    return float(np.abs(gap).sum() / p.size)


def brier(probability: Any, true: Any, *, bins: int | None = None) -> Brier:
    """Brier score with Murphy's parts, over bins of equal width (None: one bin per distinct value).

    With p_k, o_k the mean probability and the share true of bin k and o the share true of all:
    reliability = mean (p_k - o_k)^2, resolution = mean (o_k - o)^2, uncertainty = o (1 - o), and
    within as Stephenson, Coelho and Jolliffe 2008, so that they add up exactly. NaN without pairs.
    """
    p, true = _probabilities(probability, true)
    if not p.size:
        return Brier(NAN, NAN, NAN, NAN, NAN)
    bin_of = np.unique(p, return_inverse=True)[1] if bins is None else _width_bin(p, bins)
    n = np.maximum(np.bincount(bin_of), 1)
    p_mean = (np.bincount(bin_of, weights=p) / n)[bin_of]
    o_mean = (np.bincount(bin_of, weights=true) / n)[bin_of]
    within = (p - p_mean) ** 2 - 2 * (p - p_mean) * (true - o_mean)
    base = true.mean()
    parts = ((p - true) ** 2, (p_mean - o_mean) ** 2, (o_mean - base) ** 2)
    score, calibration, resolution = (float(part.mean()) for part in parts)
    return Brier(score, calibration, resolution, float(base * (1 - base)), float(within.mean()))


def precision_threshold(
    score: Any, true: Any, *, target: float = 0.95, least: int = 20
) -> Threshold:
    """The lowest score at which the pairs with that score or more are `target` precise.

    At least `least` pairs must lie at or above it: the top one alone says nothing.
    """
    score, true = _columns(score, true)
    require(0 < target <= 1, f"target must be in (0, 1]; given {target}.")
    order = np.argsort(-score, kind="stable")
    ranked = score[order]
    right = np.cumsum(true[order])
    n = np.arange(1, score.size + 1)
    # pairs of one score come in together
    last_of_tie = np.append(np.diff(ranked) != 0, True)[: score.size]
    enough = last_of_tie & (n >= least)
    reached = np.flatnonzero(enough & (right >= target * n))
    if not reached.size:
        reason = (
            f"no score is {target:.0%} precise" if enough.any() else f"fewer than {least} pairs"
        )
        return Threshold(NAN, NAN, NAN, 0, reason)
    # The lowest such score: precision may dip above it and recover, as it does where bins are
    # small.
    k = reached[-1]
    hits = right[k]
    return Threshold(float(ranked[k]), float(hits / n[k]), float(hits / right[-1]), int(n[k]))


def precision_thresholds(
    score: Any,
    true: Any,
    frequency: Any,
    *,
    bins: int = 10,
    target: float = 0.95,
    least: int = 20,
) -> list[Threshold]:
    """`precision_threshold` within each bin of frequency, from rare to frequent."""
    score, true = _columns(score, true)
    require(np.shape(frequency) == score.shape, "frequency must be [P], like score.")
    bin_of = frequency_bin(frequency, bins)
    inside = [bin_of == b for b in range(bins)]
    return [precision_threshold(score[i], true[i], target=target, least=least) for i in inside]


def tokens_needed(tokens: Any, recall: Any, *, target: float = 0.9) -> Tokens:
    """The number of tokens from which on recall stays at the target, between measured numbers.

    `tokens [T]`, increasing and > 0, `recall [T]`. Interpolated in the logarithm of tokens, after
    the last measurement below the target. Reached at the first: that one, with a reason, since it
    may be fewer. Not reached at the last: NaN with a reason, since it is more, if at all.
    """
    n, recall = np.asarray(tokens, np.float64), np.asarray(recall, np.float64)
    require(
        n.ndim == 1
        and n.shape == recall.shape
        and n.size > 0
        and n[0] > 0
        and np.all(np.diff(n) > 0),
        "tokens_needed needs increasing numbers of tokens [T] > 0 with a recall each.",
    )
    if np.isnan(recall).any():
        return Tokens(NAN, "recall is undefined at some number of tokens")
    below = np.flatnonzero(recall < target)
    if not below.size:
        return Tokens(float(n[0]), f"reached at the fewest tokens measured, {n[0]:.0f}")
    k = below[-1]
    if k == n.size - 1:
        return Tokens(NAN, f"not reached with {n[-1]:.0f} tokens")
    part = (target - recall[k]) / (recall[k + 1] - recall[k])
    return Tokens(float(np.exp((1 - part) * np.log(n[k]) + part * np.log(n[k + 1]))))


def over_units(
    measure: Callable[..., float],
    units: Sequence[Hashable],
    *columns: Any,
    level: float = 0.95,
) -> Interval:
    """A number with an interval over units: `measure` of each unit's rows of the columns `[P]`.

    For example `over_units(calibration_error, instances, probability, true)`. Units in which it is
    NaN are left out and counted in `excluded`.
    """
    values = [np.asarray(column) for column in columns]
    require(
        all(len(v) == len(units) for v in values), "units must have one entry per row of a column."
    )
    rows: dict[Hashable, list[int]] = {}
    for i, unit in enumerate(units):
        rows.setdefault(unit, []).append(i)
    return mean_interval([measure(*(v[i] for v in values)) for i in rows.values()], level)


def _width_bin(p: np.ndarray, bins: int) -> np.ndarray:
    require(bins >= 1, f"bins must be at least 1; given {bins}.")
    # A probability of 1 belongs to the last bin, not to one of its own.
    return np.minimum((p * bins).astype(int), bins - 1)


def _columns(score: Any, true: Any) -> tuple[np.ndarray, np.ndarray]:
    score, true = np.asarray(score, np.float64), np.asarray(true, np.float64)
    require(
        score.ndim == 1 and score.shape == true.shape,
        f"needs score and true alike [P]; given {score.shape} and {true.shape}.",
    )
    require(not np.isnan(score).any(), "a score is NaN: leave those pairs out.")
    require(bool(np.isin(true, (0, 1)).all()), "true must be bool [P].")
    return score, true


def _probabilities(probability: Any, true: Any) -> tuple[np.ndarray, np.ndarray]:
    p, true = _columns(probability, true)
    require(
        p.size == 0 or (p.min() >= 0 and p.max() <= 1),
        "probabilities must be in [0, 1]: a raw score has reliability bins, but no such error.",
    )
    return p, true
