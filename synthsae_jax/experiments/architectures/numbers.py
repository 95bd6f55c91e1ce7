"""What two SAEs share beyond what rules say: features found together, firings, artefacts."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from scipy.optimize import linear_sum_assignment

from synthsae_jax import matching, similarity
from synthsae_jax.matching import Matching, bands
from synthsae_jax.suite.pair import TRUTH
from synthsae_jax.suite.study import Number, Pair, Reading

MATCHED = "correlation_0.5"
_THRESHOLD = 0.5
_DENSE_TOKENS = 8192


def found_numbers(pair: Pair) -> list[Number]:
    """Do both find the same features, beyond what each one's recovery predicts?

    With n_a, n_b features found of P in common and n both: `recovered_shared` = n / min(n_a, n_b),
    with ceiling 1 and chance level max(n_a, n_b) / P (independent finds); `co_recovery` =
    (n - n_a n_b / P) / (min(n_a, n_b) - n_a n_b / P), 1 at the ceiling and 0 at chance, which is
    what pairs of unequal recovery are compared by; `features_jaccard` = n / (n_a + n_b - n). The
    first two with the band over what may be called truth.
    """
    shared, chance, together, jaccard = found_together(pair, pair.a.tracked, pair.b.tracked)
    every = [found_together(pair, a, b) for a, b in zip(pair.a.truth.maps, pair.b.truth.maps)]
    band = bands({"co_recovery": np.array([v[2] for v in every])})["co_recovery"]
    why = "a side found nothing, or everything"
    return [
        Number(TRUTH, "recovered_shared", shared, why),
        Number(f"{TRUTH}/chance", "recovered_shared", chance, why),
        Number(f"{TRUTH}/ceiling", "recovered_shared", 1.0),
        Number(TRUTH, "co_recovery", together, why),
        Number(f"{TRUTH}/chance", "co_recovery", 0.0),
        Number(f"{TRUTH}/ceiling", "co_recovery", 1.0),
        Number(TRUTH, "co_recovery_least", band.lo, why),
        Number(TRUTH, "co_recovery_most", band.hi, why),
        Number(TRUTH, "features_jaccard", jaccard, why),
    ]


def found_together(
    pair: Pair, tracked_a: np.ndarray, tracked_b: np.ndarray
) -> tuple[float, float, float, float]:
    """(recovered_shared, its chance level, co_recovery, features_jaccard) under truth maps [L]."""
    present = [np.asarray(instance.present) for instance in pair.instances]
    common = present[0] & present[1]
    sides = ((pair.a, tracked_a), (pair.b, tracked_b))
    a, b = (_found(side, tracked, common) for side, tracked in sides)
    both, expected = (a & b).sum(), a.sum() * b.sum() / max(common.sum(), 1)
    smaller = min(a.sum(), b.sum())
    ratio = lambda part, whole: float(part / whole) if whole > 0 else math.nan
    return (
        ratio(both, smaller),
        ratio(expected, smaller),
        ratio(both - expected, smaller - expected),
        ratio(both, (a | b).sum()),
    )


def _found(side: Reading, tracked: np.ndarray, common: np.ndarray) -> np.ndarray:
    """bool [F]: features in common that a living latent tracks."""
    found = np.zeros(common.size, bool)
    found[tracked[side.alive & (tracked >= 0)]] = True
    return found & common


def matched(pair: Pair) -> Matching:
    """Latents one to one by the correlation of their codes, where it is at least .5."""
    alive = {"alive_a": pair.counts.alive_a, "alive_b": pair.counts.alive_b}
    scores = np.asarray(pair.counts.score("activation_pearson"))
    return matching.solve("assignment", scores, _THRESHOLD, **alive)


def matched_numbers(pair: Pair) -> list[Number]:
    """How the matched latents fire together, and what is neither side's feature among them.

    `shared_artefacts`: of the smaller side's living latents that track nothing, the share matched
    with one that tracks nothing either; with its band over what may be called truth.
    `shared_artefact_rate` is such pairs' share of the matching, `unmatched_artefacts` the share of
    artefacts among latents of both sides that are matched with nothing.
    """
    m = matched(pair)
    report = pair.report(m)
    found = {
        name: report[name]
        for name in ("precision", "shared_artefact_rate", "artefact_rate", "true_universality")
    }
    alone = report["n_artefact_unmatched"] + report["n_true_unmatched"]
    found["unmatched_artefacts"] = report["n_artefact_unmatched"] / alone if alone else math.nan
    found["declared"] = report["n_matched"] / max(1, min(pair.a.alive.sum(), pair.b.alive.sum()))
    found["support_jaccard"] = support_jaccard(pair, m)
    found["shared_artefacts"] = _artefacts(pair, m, pair.a.tracked, pair.b.tracked)
    every = [_artefacts(pair, m, a, b) for a, b in zip(pair.a.truth.maps, pair.b.truth.maps)]
    band = bands({"shared_artefacts": np.array(every)})["shared_artefacts"]
    found |= {"shared_artefacts_least": band.lo, "shared_artefacts_most": band.hi}
    why = "nothing is matched, or no latent is of this kind"
    return [Number(MATCHED, name, float(value), why) for name, value in found.items()]


def _artefacts(pair: Pair, m: Matching, tracked_a: np.ndarray, tracked_b: np.ndarray) -> float:
    neither_a, neither_b = (
        side.alive & (tracked < 0) for side, tracked in ((pair.a, tracked_a), (pair.b, tracked_b))
    )
    valid = np.asarray(m.valid)
    row, col = np.asarray(m.row)[valid], np.asarray(m.col)[valid]
    smaller = min(neither_a.sum(), neither_b.sum())
    return float((neither_a[row] & neither_b[col]).sum() / smaller) if smaller else math.nan


def support_jaccard(pair: Pair, m: Matching) -> float:
    """Mean Jaccard of each token's active matched latents, on the first 8,192 tokens."""
    valid = np.asarray(m.valid)
    partner = np.full(pair.a.latents.shape[1], -1)
    partner[np.asarray(m.row)[valid]] = np.asarray(m.col)[valid]
    a, b = (side.latents[:_DENSE_TOKENS].toarray() for side in (pair.a, pair.b))
    return float(similarity.support_jaccard(a, b, partner))


def direction_numbers(a: np.ndarray, b: np.ndarray, seed: int = 0) -> list[Number]:
    """PW-MCC: mean |cosine| of decoder rows under the best assignment, beside random rows."""
    rng = np.random.default_rng(seed)
    random = [rng.normal(size=rows.shape) for rows in (a, b)]
    return [
        Number("pw_mcc", "score", paired_cosine(a, b)),
        Number("pw_mcc/chance", "score", paired_cosine(*random)),
    ]


def paired_cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Mean |cosine| of the rows of `a [p, D]` and `b [q, D]` paired best, over min(p, q) pairs."""
    unit = lambda rows: rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    cosine = np.abs(unit(a) @ unit(b).T)
    return float(cosine[linear_sum_assignment(-cosine)].mean())


def upper(names: list[str]) -> Iterator[tuple[str, str]]:
    """All pairs in order, each once, a name with itself included."""
    for i, one in enumerate(names):
        for other in names[i:]:
            yield one, other
