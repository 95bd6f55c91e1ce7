"""How good a matching is, as counts that can be pooled over pairs and split by frequency."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from synthsae_jax.matching import Matching
from synthsae_jax.matching.kin import related

KIN = "kin_share_of_wrong"
METRICS = ("precision", "recall", "accuracy_given_recovery", KIN)
Pairs = tuple[np.ndarray, np.ndarray]  # rows and columns, int [m] each


@dataclasses.dataclass(frozen=True)
class Quality:
    """Counts of one matching, or of several together."""

    matched: int = 0
    right: int = 0
    wrong: int = 0  # two latents of two different features
    kin: int = 0  # of these, relatives
    findable: int = 0  # matched pairs whose latent of A has a partner in B
    features: int = 0  # features that both SAEs track
    recovered: int = 0  # of these, those with a right pair

    def __add__(self, other: Quality) -> Quality:
        mine, theirs = dataclasses.astuple(self), dataclasses.astuple(other)
        return Quality(*(a + b for a, b in zip(mine, theirs, strict=True)))

    @property
    def numbers(self) -> dict[str, float]:
        """Precision, recall and the rest, as `match_report` defines them; NaN where undefined."""
        ratio = lambda part, whole: part / whole if whole else math.nan
        values = (
            ratio(self.right, self.matched),
            ratio(self.recovered, self.features),
            ratio(self.right, self.findable),
            ratio(self.kin, self.wrong),
        )
        return dict(zip(METRICS, values, strict=True))


def pairs_of(m: Matching) -> Pairs:
    """Rows and columns of the pairs that are matched."""
    valid = np.asarray(m.valid)
    return np.asarray(m.row)[valid], np.asarray(m.col)[valid]


def common(one: Matching, other: Matching) -> Pairs:
    """The pairs that two matchings agree on."""
    both = set(zip(*(v.tolist() for v in pairs_of(one)))) & set(
        zip(*(v.tolist() for v in pairs_of(other)))
    )
    rows, cols = zip(*sorted(both)) if both else ((), ())
    return np.array(rows, int), np.array(cols, int)


def quality(
    pairs: Pairs,
    truth_a: np.ndarray,
    truth_b: np.ndarray,
    parent: np.ndarray,
    inside: np.ndarray | None = None,
) -> Quality:
    """Counts of matched pairs `(rows, cols)`; `inside` bool [L_a] restricts A's latents."""
    row, col = pairs
    if inside is not None:
        row, col = row[inside[row]], col[inside[row]]
    of_stratum = truth_a if inside is None else np.where(inside, truth_a, -1)
    a, b = truth_a[row], truth_b[col]
    right = (a >= 0) & (a == b)
    wrong = (a >= 0) & (b >= 0) & (a != b)
    both = np.intersect1d(truth_a[truth_a >= 0], truth_b[truth_b >= 0])
    return Quality(
        matched=row.size,
        right=int(right.sum()),
        wrong=int(wrong.sum()),
        kin=int(related(parent, a[wrong], b[wrong]).sum()),
        findable=int(np.isin(a, both).sum()),
        features=np.intersect1d(both, of_stratum[of_stratum >= 0]).size,
        recovered=np.unique(a[right]).size,
    )
