"""How likely is it that a latent's best candidate in another SAE is the same feature?"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from synthsae_jax.errors import ConfigError, require
from synthsae_jax.matching.credence_laws import GROUPS, WEIGHT_FORMS, Context, profile
from synthsae_jax.matching.credence_model import CredenceModel, support_values
from synthsae_jax.matching.credence_prior import check_prior, posterior
from synthsae_jax.numerics import is_alive

# which scores make which form; two are taken as their mean
_FORMS = {
    frozenset({"activation_pearson"}): "activation_pearson",
    frozenset({"decoder_cosine"}): "decoder_cosine",
    frozenset({"activation_pearson", "decoder_cosine"}): "activation_and_decoder",
    frozenset({"decoder_cosine", "encoder_cosine"}): "weights",
}


@dataclasses.dataclass(frozen=True)
class PairCredence:
    """One entry per latent of A, in order; NaN where there is no credence, with the reason."""

    form: str
    row: np.ndarray  # int32 [L_a]
    col: np.ndarray  # int32 [L_a]: the best candidate; -1: none, or not named
    score: np.ndarray  # float64 [L_a]
    log_ratio: np.ndarray  # float64 [L_a]
    credence: np.ndarray  # float64 [L_a]: the best candidate is the same feature
    reason: tuple[str, ...]  # [L_a]: why there is none, "" where there is
    prior: float  # share of latents that have a same one in B; mean if given by row
    prior_source: str  # "given" or "estimated"
    candidates: int  # M: living latents of B
    kinds: dict[str, float]  # how likely each fitted kind of pair is, given all rows

    def records(self) -> list[dict[str, Any]]:
        """Rows ready for JSON: null where undefined."""
        number = lambda x: None if math.isnan(x) else float(x)
        return [
            {
                "row": int(self.row[i]),
                "col": int(self.col[i]) if self.col[i] >= 0 else None,
                "score": number(self.score[i]),
                "log_ratio": number(self.log_ratio[i]),
                "credence": number(self.credence[i]),
                "reason": self.reason[i] or None,
            }
            for i in range(self.row.size)
        ]


def credence(
    model: CredenceModel,
    scores: Any,
    firings_a: Any = None,
    firings_b: Any = None,
    n_tokens: int | None = None,
    *,
    prior: Any = "estimate",
    candidates: int | None = None,
    col: Any = None,
    dim: int | None = None,
    alive_a: Any = None,
    alive_b: Any = None,
) -> PairCredence:
    """Credence for the best candidate of each latent of A among the living latents of B.

    `scores`: a matrix `[L_a, L_b]` of `activation_pearson`, or a mapping from score names to
    matrices (`activation_pearson`, `decoder_cosine`, both, or `decoder_cosine` with
    `encoder_cosine`: two are averaged). A vector `[L_a]` instead of a matrix is each row's best
    score, and `col [L_a]` may name where it is. `firings_a [L_a]`, `firings_b [L_b]`: on how many
    of `n_tokens` each latent fires; weights alone need none, but a vector then needs `candidates`.
    `dim`: hidden dimension, wherever a cosine takes part. `prior`: P(B has the latent's feature),
    a number, one per row, or "estimate" from these scores. Cosines need one common space.
    Outside the model's support there is no credence but a reason.
    """
    form, matrix = _scores(scores)
    laws, support = model.form(form)
    n_rows = matrix.shape[0]
    plain = form in WEIGHT_FORMS
    require(
        plain or (firings_a is not None and firings_b is not None and n_tokens is not None),
        f"credence from {form} needs firings_a [L_a], firings_b [L_b] and n_tokens.",
    )
    require(
        form == "activation_pearson" or dim is not None,
        f"credence from {form} needs dim, the hidden dimension that its cosines are taken in.",
    )
    n_cols = matrix.shape[1] if matrix.ndim == 2 else None
    fired_a = _counts("firings_a", firings_a, n_rows)
    fired_b = _counts("firings_b", firings_b, n_cols)
    living_a = _living(alive_a, fired_a, n_rows)
    size_b = n_cols if n_cols is not None else None if fired_b is None else fired_b.size
    living_b = None if size_b is None else _living(alive_b, fired_b, size_b)
    if candidates is None:
        require(
            living_b is not None,
            "best scores alone need candidates: how many living latents B has.",
        )
        candidates = int(living_b.sum())
    best, at = _best(matrix, living_b, col)
    tokens = math.nan if n_tokens is None else float(n_tokens)
    groups = np.full(GROUPS, math.nan)
    if not plain and living_b.any():
        groups = profile(fired_b[living_b])
    fill = lambda x: np.full(n_rows, float(x))
    context = Context(
        fill(math.nan) if fired_a is None else fired_a.astype(np.float64),
        np.broadcast_to(groups, (n_rows, GROUPS)),
        fill(tokens),
        fill(candidates),
        fill(math.nan if dim is None else dim),
    )
    reasons = support.reasons(support_values(form, best, context))
    # The last that applies stands: of a latent that never fires, its score is not the reason.
    reasons[~np.isfinite(best)] = "it has no candidate with a score"
    reasons[~living_a] = "it never fires"
    inside = np.flatnonzero(reasons == "")
    estimated = isinstance(prior, str)
    # Only rows inside the support vote on the kind of pair and on the prior: the laws know nothing
    # of the others.
    row_prior = prior if estimated else check_prior(prior, n_rows)[inside]
    judged = posterior(laws.at(best[inside], context.take(inside)), row_prior, laws.shrinkage)
    value, ratio = (np.full(n_rows, math.nan) for _ in range(2))
    value[inside], ratio[inside] = judged.credence, judged.log_ratio
    return PairCredence(
        form=form,
        row=np.arange(n_rows, dtype=np.int32),
        col=at.astype(np.int32),
        score=best,
        log_ratio=ratio,
        credence=value,
        reason=tuple(reasons.tolist()),
        prior=judged.prior,
        prior_source="estimated" if estimated else "given",
        candidates=int(candidates),
        kinds=dict(zip(laws.kinds, judged.kinds.tolist())),
    )


def _scores(scores: Any) -> tuple[str, np.ndarray]:
    by_name = scores if isinstance(scores, Mapping) else {"activation_pearson": scores}
    form = _FORMS.get(frozenset(by_name))
    allowed = " or ".join("+".join(sorted(form)) for form in _FORMS)
    if form is None:
        names = "+".join(sorted(by_name)) or "none"
        raise ConfigError(f"credence takes {allowed}; given {names}.")
    arrays = [np.asarray(v, np.float64) for v in by_name.values()]
    require(
        all(a.ndim in (1, 2) and a.shape == arrays[0].shape for a in arrays),
        f"scores must be alike [L_a, L_b] or [L_a]; given {[a.shape for a in arrays]}.",
    )
    return form, np.mean(arrays, axis=0)


def _counts(name: str, values: Any, size: int | None) -> np.ndarray | None:
    if values is None:
        return None
    counts = np.asarray(values)
    require(
        counts.ndim == 1 and (size is None or counts.size == size) and bool((counts >= 0).all()),
        f"{name} must be [{size or 'L'}], one count per latent; given shape {counts.shape}.",
    )
    return counts


def _living(alive: Any, fired: np.ndarray | None, size: int) -> np.ndarray:
    living = np.ones(size, bool) if alive is None else np.asarray(alive, bool)
    require(living.shape == (size,), f"alive must be bool [{size}]; given {living.shape}.")
    return living if fired is None else living & is_alive(fired)


def _best(
    matrix: np.ndarray, living_b: np.ndarray | None, col: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Best scores [L_a] (NaN: none) and where they are (-1: none, or not said)."""
    if matrix.ndim == 1:
        at = np.full(matrix.size, -1) if col is None else np.asarray(col)
        require(at.shape == matrix.shape, f"col must be [{matrix.size}]; given {at.shape}.")
        return matrix, at
    # A dead latent of B has scores too (0 for a correlation), and could win where all others are
    # below.
    among = np.where(living_b & np.isfinite(matrix), matrix, -np.inf)
    at = among.argmax(1) if matrix.shape[1] else np.full(len(matrix), -1)
    best = among[np.arange(len(matrix)), at] if matrix.shape[1] else np.full(len(matrix), -np.inf)
    none = ~np.isfinite(best)
    return np.where(none, np.nan, best), np.where(none, -1, at)
