"""The filters of pairs."""

from __future__ import annotations

import numpy as np
from scipy.stats import false_discovery_control, hypergeom

from synthsae_jax.errors import require
from synthsae_jax.matching.filters import PAIRS, Evidence, register_filter
from synthsae_jax.matching.latent_filters import token_labels, top_tokens
from synthsae_jax.matching.scores import score
from synthsae_jax.matching.solvers import solve
from synthsae_jax.registry import Explanation


@register_filter(
    "threshold",
    PAIRS,
    Explanation(what="Pairs below `at_least` are dropped.", formula="keep s_ij >= at_least"),
)
def threshold(
    evidence: Evidence, row: np.ndarray, col: np.ndarray, *, at_least: float = 0.0
) -> np.ndarray:
    """One threshold for all pairs."""
    return evidence.scores(row, col) >= at_least


@register_filter(
    "margin",
    PAIRS,
    Explanation(
        what="Pairs that do not lead every other pair of their row and of their column by "
        "`at_least` are dropped.",
        formula="keep s_ij - max over j' != j, and over i' != i, >= at_least",
        undefined="a pair without rivals leads by infinity",
    ),
)
def margin(
    evidence: Evidence, row: np.ndarray, col: np.ndarray, *, at_least: float = 0.05
) -> np.ndarray:
    """The lead over the best rival on either side."""
    s = _masked(evidence.s)
    lead = np.minimum(_lead(s, row, col), _lead(s.T, col, row))
    return lead >= at_least


@register_filter(
    "reciprocity",
    PAIRS,
    Explanation(
        what="Pairs that are not each other's best are dropped (a tie is good enough).",
        formula="keep s_ij = max over j' and over i'",
    ),
)
def reciprocity(evidence: Evidence, row: np.ndarray, col: np.ndarray) -> np.ndarray:
    """Mutual nearest pairs, whatever the solver was."""
    return margin(evidence, row, col, at_least=0.0)


@register_filter(
    "encoder_decoder_agreement",
    PAIRS,
    Explanation(
        what="Pairs are kept that both the assignment by decoder rows and that by encoder rows "
        "make, each with a cosine of `at_least`.",
        formula="keep (i, j) in M_dec n M_enc, cos(w_i, w_j) and cos(e_i, e_j) >= at_least",
        source="Paulo and Belrose, arXiv 2501.16615",
    ),
)
def encoder_decoder_agreement(
    evidence: Evidence, row: np.ndarray, col: np.ndarray, *, at_least: float = 0.7
) -> np.ndarray:
    """The rule of two assignments; encoder and decoder rows in one space."""
    agree = np.ones(row.shape, bool)
    for name in ("decoder", "encoder"):
        a, b = getattr(evidence.a, name), getattr(evidence.b, name)
        require(
            a is not None and b is not None,
            f"encoder_decoder_agreement needs {name} rows of both sides.",
        )
        m = solve("assignment", score("decoder_cosine", a, b), at_least)
        agreed = np.zeros(np.shape(evidence.s), bool)
        agreed[m.row[m.valid], m.col[m.valid]] = True
        agree &= agreed[row, col]
    return agree


@register_filter(
    "shared_top_tokens",
    PAIRS,
    Explanation(
        what="Pairs are kept whose `top` strongest tokens have at least one in common, or one "
        "label in common where labels are given.",
        formula="keep top(i) n top(j) != {}",
        undefined="a latent that never fires has no top tokens: its pairs are dropped",
        source="Lan et al., arXiv 2410.06981",
    ),
)
def shared_top_tokens(
    evidence: Evidence,
    row: np.ndarray,
    col: np.ndarray,
    *,
    labels: np.ndarray | None = None,
    top: int = 5,
) -> np.ndarray:
    """Pairs that agree on at least one of the tokens they are strongest on."""
    tops = [top_tokens(side.latents, top) for side in (evidence.a, evidence.b)]
    labels = token_labels(labels, evidence.a.latents)
    a, b = (labels[tokens[ends]] for tokens, ends in zip(tops, (row, col)))
    fires = (tops[0][row] >= 0)[:, :, None] & (tops[1][col] >= 0)[:, None, :]
    return ((a[:, :, None] == b[:, None, :]) & fires).any((1, 2))


@register_filter(
    "null_quantile",
    PAIRS,
    Explanation(
        what="Pairs are kept that score above the `quantile` of the pairs a null finds among "
        "latents of the same frequency (the rarer latent of a pair, in `bins` of equal size).",
        formula="keep s_ij > quantile of null scores with min(n_i, n_j) in the same bin",
        source="the threshold of Lan et al. made to depend on frequency",
    ),
)
def null_quantile(
    evidence: Evidence,
    row: np.ndarray,
    col: np.ndarray,
    *,
    null_scores: np.ndarray | None = None,
    null_firings: np.ndarray | None = None,
    quantile: float = 0.95,
    bins: int = 10,
) -> np.ndarray:
    """Both null arrays `[M0]`, from `null_pairs`: a null's matched scores and rarer firings."""
    null = _null(null_scores, null_firings)
    require(0 <= quantile <= 1 and bins >= 1, f"given quantile {quantile}, bins {bins}.")
    edges = _edges(null[1], bins)
    null_bin = np.searchsorted(edges, null[1], side="left")
    levels = np.array(
        [np.quantile(null[0][null_bin == b], quantile) for b in range(len(edges) + 1)]
    )
    pair_bin = np.searchsorted(edges, _rarer(evidence, row, col), side="left")
    return evidence.scores(row, col) > levels[pair_bin]


@register_filter(
    "fdr",
    PAIRS,
    Explanation(
        what="Pairs are kept so that about a share `q` of them is false (Benjamini-Hochberg). A "
        "pair's p-value: its rank among the pairs a null finds at its frequency, or, without a "
        "null, the exact chance to fire together as often, times the number of rivals.",
        formula="p = (1 + #{null >= s}) / (1 + R), or min(1, L P(n_ij' >= n_ij)), hypergeometric",
        undefined="the exact form takes tokens to be alike: where both models are busy on the same "
        "tokens, give a null",
        source="Benjamini and Hochberg 1995",
    ),
)
def fdr(
    evidence: Evidence,
    row: np.ndarray,
    col: np.ndarray,
    *,
    q: float = 0.05,
    null_scores: np.ndarray | None = None,
    null_firings: np.ndarray | None = None,
    bins: int = 10,
) -> np.ndarray:
    """Pairs whose adjusted p-value is at most q, among those given."""
    require(0 < q < 1, f"q must be in (0, 1); given {q}.")
    if row.size == 0:
        return np.zeros(0, bool)
    if null_scores is None and null_firings is None:
        p = _exact_p(evidence, row, col)
    else:
        null = _null(null_scores, null_firings)
        edges = _edges(null[1], bins)
        null_bin = np.searchsorted(edges, null[1], side="left")
        pair_bin = np.searchsorted(edges, _rarer(evidence, row, col), side="left")
        observed = evidence.scores(row, col)
        p = np.ones(row.size)
        for b in np.unique(pair_bin):
            level = np.sort(null[0][null_bin == b])
            above = level.size - np.searchsorted(level, observed[pair_bin == b], side="left")
            p[pair_bin == b] = (1 + above) / (1 + level.size)
    return false_discovery_control(p) <= q


def _exact_p(evidence: Evidence, row: np.ndarray, col: np.ndarray) -> np.ndarray:
    a, b = evidence.firings
    both = np.asarray(evidence.counts.joint)[row, col]
    # sf is strictly above: both - 1 lets equal counts in.
    tail = hypergeom.sf(both - 1, int(evidence.counts.n), a[row], b[col])
    # Bonferroni for the best of many: a pair was chosen by one side among at most so many.
    rivals = max(int((a > 0).sum()), int((b > 0).sum()))
    return np.minimum(tail * rivals, 1.0)


def _null(scores: np.ndarray | None, firings: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    arrays = [np.asarray([] if v is None else v) for v in (scores, firings)]
    require(
        arrays[0].ndim == 1 and arrays[0].shape == arrays[1].shape and arrays[0].size > 0,
        "a null needs null_scores and null_firings alike [M0], M0 > 0; given shapes "
        f"{arrays[0].shape} and {arrays[1].shape}.",
    )
    return arrays[0], arrays[1]


def _edges(firings: np.ndarray, bins: int) -> np.ndarray:
    """The last number of firings in each bin but the last: about as many null pairs in each."""
    # inverted_cdf gives counts that occur, so that latents of one count never fall into two bins.
    edges = np.unique(np.quantile(firings, np.arange(1, bins) / bins, method="inverted_cdf"))
    # no bin is empty: the one above the last edge holds the largest
    return edges[edges < firings.max()]


def _rarer(evidence: Evidence, row: np.ndarray, col: np.ndarray) -> np.ndarray:
    a, b = evidence.firings
    return np.minimum(a[row], b[col])


def _masked(s: np.ndarray) -> np.ndarray:
    s = np.asarray(s, np.float64)
    return np.where(np.isfinite(s), s, -np.inf)


def _lead(s: np.ndarray, row: np.ndarray, col: np.ndarray) -> np.ndarray:
    """By how much each pair leads the best other one of its row."""
    rivals = s[row]
    rivals[np.arange(row.size), col] = -np.inf
    pair_score = s[row, col]
    # a pair that is not allowed leads nobody, and -inf - -inf is no number
    allowed = np.isfinite(pair_score)
    return np.where(
        allowed, np.where(allowed, pair_score, 0.0) - rivals.max(1, initial=-np.inf), -np.inf
    )
