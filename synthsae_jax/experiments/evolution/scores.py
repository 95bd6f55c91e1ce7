"""What evolution@1 reads at a snapshot: scores and the truth, by frequency."""

from __future__ import annotations

import itertools
import math

import numpy as np

from synthsae_jax import matching
from synthsae_jax.protocols.rules import rules
from synthsae_jax.suite.study import Number, Pair, measure_numbers, truth_numbers

QUARTERS = ("q1", "q2", "q3", "q4")  # q1: the rarest
RULES = ("best_correlation_0.1", "decoder_cosine_0.7_aligned")
MEASURES = ("cka_debiased", "rsa")


def frequency_edges(rates: np.ndarray, width: int) -> np.ndarray:
    """Rates that part the `width` most frequent features into quarters, rarest first, [3]."""
    frequent = np.sort(rates)[::-1][:width][::-1]
    parts = np.array_split(frequent, 4)
    return np.array([(a[-1] + b[0]) / 2 for a, b in itertools.pairwise(parts)])


def quarter(rates: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The quarter of each rate, 0 (rarest) to 3; what never fires is -1."""
    rates = np.asarray(rates)
    return np.where(rates > 0, np.searchsorted(edges, rates, side="right"), -1)


def evolution_numbers(pair: Pair, rates: np.ndarray, width: int) -> list[Number]:
    """Truth and scores of a pair, all latents and by quarter.

    `rates [F]`: of the features of the registry, 0 where the pair's models lack them both. Latents
    are in the quarter of their own firing rate, features in that of theirs, so that what is
    declared and what is true count against the same `width / 4`.
    """
    edges = frequency_edges(rates, width)
    return [
        *(n for n in truth_numbers(pair) if n.metric.startswith("true_universality")),
        *_truth(pair, rates, edges, width),
        *_declared(pair, edges, width),
        *_means(pair, edges),
        *measure_numbers(pair, MEASURES),
    ]


def _truth(pair: Pair, rates: np.ndarray, edges: np.ndarray, width: int) -> list[Number]:
    a, b = (side.tracked[side.alive & (side.tracked >= 0)] for side in (pair.a, pair.b))
    both = np.intersect1d(a, b)
    place = quarter(rates[both], edges)
    values = [len(both) / width, *((place == q).sum() / (width / 4) for q in range(4))]
    return _by_quarter("truth", "declared", values)


def _declared(pair: Pair, edges: np.ndarray, width: int) -> list[Number]:
    place = quarter(_rate(pair, "b"), edges)
    numbers = []
    for name in RULES:
        m = rules[name].match(pair.view)
        col = np.unique(np.asarray(m.col)[np.asarray(m.valid)])
        by = [(place[col] == q).sum() / (width / 4) for q in range(4)]
        numbers += _by_quarter(name, "declared", [len(col) / width, *by])
    return numbers


def _means(pair: Pair, edges: np.ndarray) -> list[Number]:
    """Mean best correlation and mean best aligned cosine of B's living latents with A's."""
    alive_a, alive_b = pair.a.alive, pair.b.alive
    place = quarter(_rate(pair, "b"), edges)
    view = pair.view
    tables = {
        "mean_best_correlation": np.asarray(pair.counts.score("activation_pearson")),
        "mean_best_cosine": np.asarray(
            matching.score("decoder_cosine", view.W_dec_a, view.W_dec_b_aligned)
        ),
    }
    numbers = []
    for name, scores in tables.items():
        best = np.where(alive_a[:, None], scores, -np.inf).max(0)
        mean = lambda which, best=best: float(best[which].mean()) if which.any() else math.nan
        if not alive_a.any():
            mean = lambda which: math.nan
        values = [mean(alive_b), *(mean(alive_b & (place == q)) for q in range(4))]
        numbers += _by_quarter(name, "score", values)
    return numbers


def _rate(pair: Pair, side: str) -> np.ndarray:
    counts = pair.counts
    fired = counts.fired_b if side == "b" else counts.fired_a
    return np.asarray(fired) / float(np.asarray(counts.n))


def _by_quarter(variant: str, metric: str, values: list[float]) -> list[Number]:
    names = [metric, *(f"{metric}_{q}" for q in QUARTERS)]
    why = "no living latent fires so often"
    return [Number(variant, n, float(v), why) for n, v in zip(names, values, strict=True)]
