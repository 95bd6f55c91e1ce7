"""What two SAEs share beyond what rules say: features recovered by both, firings, artefacts."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from synthsae_jax import matching, similarity
from synthsae_jax.matching import Matching, bands
from synthsae_jax.matching.report import why_undefined
from synthsae_jax.stats import ratio
from synthsae_jax.suite.observation import Number
from synthsae_jax.suite.pair import TRUTH, Pair
from synthsae_jax.suite.reading import Reading

MATCHED = "correlation_0.5"
_THRESHOLD = 0.5
_DENSE_TOKENS = 8192  # of which codes are made dense for supports
_NO_SUPPORT = "no matched latent fires on the first tokens"

# of a set that every pair gets: an experiment reads what it needs of it
_standard = functools.partial(Number, standard=True)


@dataclasses.dataclass(frozen=True)
class Together:
    """Features that two SAEs recover, of those that both models have."""

    common: int  # features of both models
    a: int  # of them A recovers
    b: int
    both: int

    @property
    def smaller(self) -> int:
        """The most that both can recover."""
        return min(self.a, self.b)

    @property
    def expected(self) -> float:
        """What both recover if each recovers independently of the other."""
        return self.a * self.b / max(self.common, 1)

    @property
    def recovered_shared(self) -> float:
        """Of the features that the lesser side recovers, the share that both do."""
        return ratio(self.both, self.smaller)

    @property
    def chance(self) -> float:
        """Its chance level: max(a, b) / common."""
        return ratio(self.expected, self.smaller)

    @property
    def co_recovery(self) -> float:
        """1 where both recover what the lesser does, 0 at independence: it compares any pairs."""
        return ratio(self.both - self.expected, self.smaller - self.expected)

    @property
    def jaccard(self) -> float:
        """Features of both over features of either."""
        return ratio(self.both, self.a + self.b - self.both)


def together(pair: Pair, tracked_a: np.ndarray, tracked_b: np.ndarray) -> Together:
    """What both recover under truth maps int [L]: what a living latent tracks is recovered."""
    present = [np.asarray(instance.present) for instance in pair.instances]
    common = present[0] & present[1]
    a, b = (
        _recovered(side, tracked) & common
        for side, tracked in ((pair.a, tracked_a), (pair.b, tracked_b))
    )
    return Together(*(int(which.sum()) for which in (common, a, b, a & b)))


def together_numbers(pair: Pair) -> list[Number]:
    """Do both recover the same features, beyond what each one's recovery predicts?

    `recovered_shared`, `co_recovery` and `features_jaccard` are those of `Together`, the first two
    with chance and ceiling, `co_recovery` with its band over what may be called truth.
    """
    default = together(pair, pair.a.tracked, pair.b.tracked)
    every = [together(pair, a, b) for a, b in zip(pair.a.truth.maps, pair.b.truth.maps)]
    band = bands({"co_recovery": np.array([t.co_recovery for t in every])})["co_recovery"]
    none = "a side recovers no feature in common"
    all_or_none = "a side recovers none or all of the features in common"
    return [
        _standard(TRUTH, "recovered_shared", default.recovered_shared, none),
        _standard(f"{TRUTH}/chance", "recovered_shared", default.chance, none),
        _standard(f"{TRUTH}/ceiling", "recovered_shared", 1.0),
        _standard(TRUTH, "co_recovery", default.co_recovery, all_or_none),
        _standard(f"{TRUTH}/chance", "co_recovery", 0.0),
        _standard(f"{TRUTH}/ceiling", "co_recovery", 1.0),
        _standard(TRUTH, "co_recovery_least", band.lo, all_or_none),
        _standard(TRUTH, "co_recovery_most", band.hi, all_or_none),
        _standard(TRUTH, "features_jaccard", default.jaccard, "no side recovers a feature"),
    ]


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
    artefacts among latents of both sides that are matched with nothing, `declared` the share of the
    smaller side that is matched.
    """
    m = matched(pair)
    report = pair.report(m)
    reasons = why_undefined(report)
    of_report = {
        "precision": "precision",
        "shared_artefact_rate": "shared_artefact_rate",
        "artefact_rate": "artefact_rate",
        "true_universality": "true_universality",
        "declared": "observed_universality",
    }
    alone = report["n_artefact_unmatched"] + report["n_true_unmatched"]
    every = [_shared_artefacts(pair, m, a, b) for a, b in zip(pair.a.truth.maps, pair.b.truth.maps)]
    band = bands({"shared_artefacts": np.array(every)})["shared_artefacts"]
    no_artefact = "a side has no living latent that tracks nothing"
    default = _shared_artefacts(pair, m, pair.a.tracked, pair.b.tracked)
    return [
        *(_standard(MATCHED, n, report[r], reasons.get(r, "")) for n, r in of_report.items()),
        _standard(
            MATCHED,
            "unmatched_artefacts",
            ratio(report["n_artefact_unmatched"], alone),
            "every living latent is matched",
        ),
        _standard(MATCHED, "support_jaccard", support_jaccard(pair, m), _NO_SUPPORT),
        _standard(MATCHED, "shared_artefacts", default, no_artefact),
        _standard(MATCHED, "shared_artefacts_least", band.lo, no_artefact),
        _standard(MATCHED, "shared_artefacts_most", band.hi, no_artefact),
    ]


def support_jaccard(pair: Pair, m: Matching) -> float:
    """Mean Jaccard of each token's active matched latents, on the first 8,192 tokens."""
    valid = np.asarray(m.valid)
    partner = np.full(pair.a.latents.shape[1], -1)
    partner[np.asarray(m.row)[valid]] = np.asarray(m.col)[valid]
    a, b = (side.latents[:_DENSE_TOKENS].toarray() for side in (pair.a, pair.b))
    return float(similarity.support_jaccard(a, b, partner))


def _recovered(side: Reading, tracked: np.ndarray) -> np.ndarray:
    """bool [F]: features that a living latent tracks."""
    recovered = np.zeros(np.asarray(side.subject.instance.present).size, bool)
    recovered[tracked[side.alive & (tracked >= 0)]] = True
    return recovered


def _shared_artefacts(
    pair: Pair, m: Matching, tracked_a: np.ndarray, tracked_b: np.ndarray
) -> float:
    neither_a, neither_b = (
        side.alive & (tracked < 0) for side, tracked in ((pair.a, tracked_a), (pair.b, tracked_b))
    )
    valid = np.asarray(m.valid)
    row, col = np.asarray(m.row)[valid], np.asarray(m.col)[valid]
    smaller = min(neither_a.sum(), neither_b.sum())
    return ratio((neither_a[row] & neither_b[col]).sum(), smaller)
