"""Credence of the pairs of two SAEs, by the calibrated matcher, from both sides."""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from synthsae_jax import matching
from synthsae_jax.errors import ConfigError
from synthsae_jax.match.evidence import CandidatePairs, of_codes
from synthsae_jax.match.inputs import Side
from synthsae_jax.matching.credence_latent import latent_credence
from synthsae_jax.numerics import is_alive

Prior = float | str


@dataclasses.dataclass(frozen=True)
class BestPartners:
    """What each latent of one side has as its best partner on the other, and how credible."""

    partner: np.ndarray  # int [L], -1: none
    score: np.ndarray  # float [L]
    pair_credence: Any  # PairCredence

    @property
    def credence(self) -> np.ndarray:
        """float [L]: how likely the two track the same feature; NaN where it is not known."""
        return np.asarray(self.pair_credence.credence, np.float64)

    def record(self) -> dict[str, Any]:
        """Partners and credences as columns, and how many have none for what reason."""
        reasons = [why for why in self.pair_credence.reason if why]
        return {
            "partner": self.partner,
            "score": self.score,
            "credence": self.credence,
            "form": self.pair_credence.form,
            "prior": self.pair_credence.prior,
            "prior_source": self.pair_credence.prior_source,
            "reasons": dict(collections.Counter(reasons).most_common()),
        }


def best_partners(
    model: Any, evidence: CandidatePairs, a: Side, b: Side, prior: Prior
) -> tuple[BestPartners, BestPartners]:
    """Of A's latents, and of B's.

    Where there are more tokens than the matcher was fitted on, it sees the first that many.
    """
    most = most_tokens(model)
    if a.codes is not None and b.codes is not None and a.codes.shape[0] > most:
        # On more tokens than that every pair would lie outside of the matcher's support.
        a, b = (dataclasses.replace(s, codes=_first(s.codes, most)) for s in (a, b))
        evidence = of_codes(a.codes, b.codes)
    return (
        _best_partners(model, evidence, a, b, prior, 0),
        _best_partners(model, evidence, b, a, prior, 1),
    )


def most_tokens(model: Any) -> float:
    """The most tokens on which the matcher was fitted; infinite without one."""
    if isinstance(model, NoModel):
        return math.inf
    return model.supports["activation_pearson"].ranges["tokens"][1]


def _first(codes: Any, n: float) -> Any:
    return codes[: int(n)]


def _best_partners(
    model: Any, evidence: CandidatePairs, mine: Side, other: Side, prior: Prior, axis: int
) -> BestPartners:
    partner, score = evidence.best(axis)
    if isinstance(model, NoModel):
        return BestPartners(partner, score, _nothing(partner.size, model))
    fired, theirs = mine.fired, other.fired
    scores: dict[str, np.ndarray] = {evidence.score: score}
    if evidence.score == "decoder_cosine":
        scores |= _encoder_cosines(mine, other, np.maximum(partner, 0))
    judged = matching.credence(
        model,
        scores,
        fired,
        theirs,
        None if mine.codes is None else mine.codes.shape[0],
        prior=prior,
        candidates=other.loaded.d_sae if theirs is None else int(is_alive(theirs).sum()),
        col=partner,
        dim=mine.loaded.d_in,
    )
    return BestPartners(partner, score, judged)


def _encoder_cosines(mine: Side, other: Side, taken: np.ndarray) -> dict[str, np.ndarray]:
    """The encoder cosines of the best pairs, where both SAEs have an encoder."""
    if mine.loaded.encoder is None or other.loaded.encoder is None:
        return {}
    x, y = mine.loaded.encoder, other.loaded.encoder[taken]
    norms = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    cosine = np.einsum("ld,ld->l", x, y) / np.where(norms > 0, norms, 1.0)
    return {"encoder_cosine": np.where(norms > 0, cosine, np.nan)}


def of_pairs(
    a: BestPartners, b: BestPartners, row: np.ndarray, col: np.ndarray
) -> tuple[np.ndarray, dict[str, int]]:
    """Credence of each matched pair, and how many have none for what reason.

    A credence belongs to a latent's best partner. Where each is the other's best both sides say
    one, and the smaller counts; where neither is, there is none.
    """
    best_a, best_b = a.partner[row] == col, b.partner[col] == row
    of_a = np.where(best_a, a.credence[row], np.nan)
    of_b = np.where(best_b, b.credence[col], np.nan)
    smaller = np.fmin(of_a, of_b)
    why = collections.Counter(
        "neither latent is the other's best partner"
        if not best_a[i] and not best_b[i]
        else (a.pair_credence.reason[row[i]] if best_a[i] else b.pair_credence.reason[col[i]])
        or "not known"
        for i in np.flatnonzero(np.isnan(smaller))
    )
    return smaller, dict(why.most_common())


@dataclasses.dataclass(frozen=True)
class NoModel:
    """In place of a calibrated matcher: nothing has a credence, and `why`."""

    why: str
    version: None = None
    calibration: None = None


@dataclasses.dataclass(frozen=True)
class _NotKnown:
    """In place of the credences of a side's pairs, or of its latents."""

    credence: np.ndarray
    reason: tuple[str, ...]
    n_known: np.ndarray
    prior: None = None
    prior_source: None = None
    form: None = None

    @property
    def reappearance(self) -> np.ndarray:
        return self.credence


def load_model() -> Any:
    """The calibrated matcher that comes with the package, or `NoModel` where it has none."""
    try:
        return matching.load_credence()
    except ConfigError:
        return NoModel("the calibrated matcher of this installation cannot be read")


def universality(pairs: Mapping[tuple[int, int], Any], n_saes: int, model: Any) -> list[Any]:
    """Per SAE how universal its latents are (`latent_credence`), by its pairs."""
    if not isinstance(model, NoModel):
        return latent_credence(pairs, n_saes, model)
    widths = [len(pairs[a, (a + 1) % n_saes].credence) for a in range(n_saes)]
    return [_nothing(width, model) for width in widths]


def _nothing(width: int, model: NoModel) -> _NotKnown:
    return _NotKnown(np.full(width, np.nan), (model.why,) * width, np.zeros(width, int))
