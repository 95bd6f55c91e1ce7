"""From densities to probabilities: the selected best of a row, the prior, and the kind of pair."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from synthsae_jax.errors import require
from synthsae_jax.matching.credence_laws import PLAIN, RowLaws, Shrinkage

Array = np.ndarray
_ROUNDS = 300  # at most: EM gains little per round where same and other latents score alike
_CLOSE = 1e-6  # of every prior


class Posterior(NamedTuple):
    """What rows' best scores say once a prior is known or estimated."""

    credence: Array  # [N]: the best candidate is the same feature
    log_ratio: Array  # [N]: density of the score if it is / if there is none, over the kinds
    prior: float  # share of rows that have a same one, mean over the kinds
    kinds: Array  # [Z]: how likely each kind of pair is
    fit: float  # mean log density of the scores under the best kind


def posterior(laws: RowLaws, prior: Any = "estimate", shrinkage: Shrinkage = PLAIN) -> Posterior:
    """Credence of each row's best candidate, with the kind of pair told from all rows.

    For one kind: `pi R / (pi R + pi W + 1 - pi)`, where R and W are the densities of the best
    score with a same one that is the best, or is not, over that without any. All three are laws
    of a maximum over M candidates, so the selection is accounted for. Kinds are averaged with
    weights from their likelihood, tempered to `shrinkage.tell` rows at most.
    """
    n = laws.none.shape[1]
    if isinstance(prior, str):
        require(
            prior == "estimate", f"a prior is 'estimate' or numbers in (0, 1); given {prior!r}."
        )
        priors = estimate_priors(laws, shrinkage)
        row_prior = np.broadcast_to(priors[:, None], laws.none.shape)
    else:
        row_prior = np.broadcast_to(check_prior(prior, n), laws.none.shape)
        priors = row_prior.mean(1) if n else np.full(len(row_prior), np.nan)
    right, wrong, none = _weights(laws, row_prior)
    total = np.logaddexp(np.logaddexp(right, wrong), none)
    if not n:
        return Posterior(np.zeros(0), np.zeros(0), np.nan, np.full(len(row_prior), np.nan), np.nan)
    fit = total.mean(1)
    # Rows of one pair depend on each other: as independent ones, thousands of them would make the
    # best of badly fitting kinds certain.
    tempered = fit * min(n, shrinkage.tell)
    kinds = np.exp(tempered - tempered.max())
    kinds /= kinds.sum()
    ratio = np.logaddexp.reduce(laws.right + np.log(kinds + 1e-300)[:, None], 0)
    ratio -= np.logaddexp.reduce(laws.none + np.log(kinds + 1e-300)[:, None], 0)
    credence = kinds @ np.exp(right - total)
    return Posterior(credence, ratio, float(kinds @ priors), kinds, float(fit.max()))


def estimate_priors(laws: RowLaws, shrinkage: Shrinkage = PLAIN) -> Array:
    """The share of rows that have a same one, for each kind of pair [Z], by EM on best scores.

    Maximises `sum log(pi (R + W) + 1 - pi)`, concave in pi: there is one maximum. Half a row with
    and half a row without keep it inside (0, 1); `shrinkage` adds its rows to them, since with
    laws that fit a new pair badly the maximum is far off. NaN without rows.
    """
    n = laws.none.shape[1]
    priors = np.full(len(laws.none), 0.5 if n else np.nan)
    # exp of 200 is still far inside float64, and beyond it nothing changes: the row is decided.
    odds = np.exp(np.clip(np.logaddexp(laws.right, laws.wrong) - laws.none, -200, 200))
    more = shrinkage.pull * n
    for _ in range(_ROUNDS if n else 0):
        has_same = priors[:, None] * odds
        expected = (has_same / (has_same + 1 - priors[:, None])).sum(1)
        new = (expected + 0.5 + more * shrinkage.mean) / (n + 1 + more)
        done = np.abs(new - priors).max() < _CLOSE
        priors = new
        if done:
            break
    return priors


def check_prior(prior: Any, rows: int) -> Array:
    """A given prior as [N]; it must lie strictly between 0 and 1."""
    values = np.asarray(prior, np.float64)
    require(
        values.shape in ((), (rows,)) and bool(((values > 0) & (values < 1)).all()),
        f"a prior is 'estimate', a number in (0, 1), or one for each of the {rows} rows; "
        f"given {prior!r}.",
    )
    return np.broadcast_to(values, (rows,))


def _weights(laws: RowLaws, prior: Array) -> tuple[Array, Array, Array]:
    log_some, log_none = np.log(prior), np.log1p(-prior)
    return laws.right + log_some, laws.wrong + log_some, laws.none + log_none
