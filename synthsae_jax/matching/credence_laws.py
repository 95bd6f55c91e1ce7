"""Densities behind a likelihood ratio: how a latent's best candidate scores, same feature or not.

For a row (a latent of A among the latents of B) with context u, the logarithm of its rate:

- `same`: the law of the score of the candidate that tracks the same feature, if there is one;
- `hazard_some`, `hazard_none`: what others reach, where there is such a candidate and where there
  is none, as `-log P(no other candidate at or above s)`, chance left out. They belong to the row,
  whatever the number of candidates: a latent has so many kin, splits and look-alikes.

Chance is added by closed form (`credence_chance`), once for every candidate. There are tables for
each kind of pair (world, architecture, how well trained): what is a high score among SAEs that
learned well is a low one among others, so which kind a pair is of is told from all its rows
together (`credence_prior`). Tables are over bins of the score and knots of u. The rate and not the
count of firings: what few tokens leave to luck is in chance, and which latents have look-alikes
goes with how often they fire. Numpy, float64.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import isotonic_regression

from synthsae_jax.errors import require
from synthsae_jax.matching.credence_chance import TAILS
from synthsae_jax.numerics import is_alive

Array = np.ndarray
GROUPS = 8  # of candidates, by how often they fire
WEIGHT_FORMS = ("decoder_cosine", "weights")  # no firings needed
# fine near 0, where chance falls steeply, and near 1, where good SAEs agree
EDGES = np.concatenate(
    [
        [-1, -0.1, 0, 0.01, 0.02, 0.03, 0.04, 0.05],
        [0.06, 0.08, 0.1, 0.12, 0.14, 0.17, 0.2, 0.24, 0.28, 0.32, 0.36],
        [0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75],
        [0.8, 0.84, 0.88, 0.92, 0.95, 0.97, 0.985, 1],
    ]
)
_BANDWIDTH = 0.35  # of the kernel over u, decades
_STEP = 0.5  # between knots, decades
_POOLED_ROWS = 10.0  # rows that a kind borrows from all kinds together, at each knot
_ROWS_OF_NOTHING = 0.5  # shared out over the bins: no ratio is infinite
_CHUNK = 2048  # rows at a time: tables of [kinds, rows, bins] are held for each


class Shrinkage(NamedTuple):
    """How far a pair's own rows are believed: they depend on each other, and no kind fits quite.

    Chosen on dev worlds, with the laws of a pair's own preset and without (`scripts/fit_credence`).
    """

    tell: float = 5.0  # so many rows at most speak for a kind of pair
    pull: float = 0.0  # rows added to an estimated prior, as a multiple of the pair's own
    mean: float = 0.1  # of which this share has a same one


PLAIN = Shrinkage()


class Context(NamedTuple):
    """What is known of rows besides the score: [N], and [N, G] for the groups of candidates."""

    firings: Array  # of the row's latent
    others: Array  # firings of groups of candidates
    n_tokens: Array
    candidates: Array  # M
    dim: Array

    @property
    def rate(self) -> Array:
        """How often the row's latent fires, [N]."""
        return np.maximum(self.firings, 1) / self.n_tokens

    def take(self, where: Any) -> Context:
        """Some of the rows."""
        return Context(*(v[where] for v in self))


class RowLaws(NamedTuple):
    """Log densities of rows' best scores, float64 [Z, N], for each kind of pair."""

    right: Array  # there is a same one, and it is the best
    wrong: Array  # there is one, and another is the best
    none: Array  # there is none

    def take(self, where: Any) -> RowLaws:
        """Some of the rows."""
        return RowLaws(*(v[:, where] for v in self))

    def of_kinds(self, which: Any) -> RowLaws:
        """Some of the kinds."""
        return RowLaws(*(v[which] for v in self))


@dataclasses.dataclass(frozen=True)
class Laws:
    """The fitted tables of one form of evidence."""

    form: str
    kinds: tuple[str, ...]  # [Z]
    edges: Array  # [S + 1] of score bins
    knots: Array  # [U] of u = log10 rate; one knot for a form without firings
    same: Array  # [Z, U, S]: share of same ones in each bin
    hazard_some: Array  # [Z, U, S]: expected others in each bin
    hazard_none: Array  # [Z, U, S]
    shrinkage: Shrinkage = PLAIN

    def at(self, score: Array, context: Context) -> RowLaws:
        """Log densities of rows' best scores [N], interpolated between the centres of bins."""
        parts = [
            self._chunk(score[i : i + _CHUNK], context.take(slice(i, i + _CHUNK)))
            for i in range(0, score.size, _CHUNK)
        ]
        empty = np.zeros((len(self.kinds), 0))
        return (
            RowLaws(*(np.concatenate(p, 1) for p in zip(*parts)))
            if parts
            else RowLaws(*3 * [empty])
        )

    def _chunk(self, score: Array, context: Context) -> RowLaws:
        same, some, none = (self._rows(context.rate, t) for t in self._tables())
        chance = chance_hazard(self.form, self.edges, context)
        some, none = some + chance, none + chance
        width = np.diff(self.edges)
        # chance falls steeply within a bin, so what happens there is taken as its mean
        above = lambda h: np.cumsum(h[..., ::-1], -1)[..., ::-1] - h
        # Hazards are expected numbers of others, so that P(any) = 1 - exp(-h) as of a Poisson
        # count; expm1 keeps the digits of the rare ones.
        met = lambda h: -np.expm1(-h)
        # In its own bin a candidate meets those others that lie above it: exp(-h u) averaged over u
        # in [0, 1].
        unmet = lambda h: met(h) / np.maximum(h, 1e-12)
        log = lambda x: np.log(np.maximum(x, 1e-300))
        right = log(same * unmet(some) / width) - above(some)
        # The same one lies below: in a lower bin, or in the lower half of this one.
        wrong = log((np.cumsum(same, -1) - same / 2) * met(some) / width) - above(some)
        none = log(met(none) / width) - above(none)
        # a lower score never speaks for a match: where others would have been expected higher up,
        # the ratios would rise again
        fall = lambda x: np.minimum.accumulate(x[..., ::-1], -1)[..., ::-1]
        right = none + fall(right - none)
        wrong = right + np.minimum.accumulate(wrong - right, -1)
        # Linear between centres: steps from bin to bin would make credences of nearly equal scores
        # jump.
        centres = (self.edges[1:] + self.edges[:-1]) / 2
        low = np.clip(np.searchsorted(centres, score, "right") - 1, 0, centres.size - 2)
        part = np.clip((score - centres[low]) / (centres[low + 1] - centres[low]), 0, 1)
        row = np.arange(score.size)
        pick = lambda t: (1 - part) * t[:, row, low] + part * t[:, row, low + 1]
        return RowLaws(pick(right), pick(wrong), pick(none))

    def _tables(self) -> tuple[Array, Array, Array]:
        return self.same, self.hazard_some, self.hazard_none

    def _rows(self, rate: Array, table: Array) -> Array:
        """[Z, N, S] of a table [Z, U, S]: linear in u, the end knots beyond the ends."""
        if self.knots.size == 1:
            return np.broadcast_to(table, (table.shape[0], rate.size, table.shape[2]))
        u = np.log10(rate)
        position = np.interp(u, self.knots, np.arange(self.knots.size))
        low = np.minimum(position.astype(int), self.knots.size - 2)
        part = (position - low)[:, None]
        return (1 - part) * table[:, low] + part * table[:, low + 1]


def chance_hazard(form: str, edges: Array, context: Context) -> Array:
    """Expected unrelated candidates in each bin of the score, [N, S]: all M taken together."""
    tail = TAILS[form]
    if form in WEIGHT_FORMS:
        dims, back = np.unique(context.dim, return_inverse=True)
        share = tail(edges, dim=dims[:, None])[back]
    else:
        share = np.zeros((context.firings.size, edges.size))
        for others in context.others.T:
            column = (context.firings, others, context.n_tokens, context.dim)
            share += tail(edges, *(v[:, None] for v in column)) / GROUPS
    return np.maximum(share[:, :-1] - share[:, 1:], 0) * context.candidates[:, None]


def profile(firings: Any) -> Array:
    """Firings of equal groups of the living latents, from rare to frequent, float64 [G]."""
    alive = np.asarray(firings, np.float64)
    alive = alive[is_alive(alive)]
    require(alive.size > 0, "no latent of the other side fires.")
    return np.quantile(alive, (np.arange(GROUPS) + 0.5) / GROUPS)


def fit_laws(form: str, context: Context, same: Array, other: Array, kind: Sequence[str]) -> Laws:
    """The tables from labelled rows [N] of pairs of named kinds.

    `same`: the best score among candidates that track the row's feature (NaN: there is none);
    `other`: the best among those that do not. Gaussian kernel over u; in each bin of the score a
    life table of the best other, less what chance is expected to give.
    """
    has, of_kind = np.isfinite(same), np.asarray(kind)
    require(bool(has.any() and (~has).any()), f"{form}: needs rows with and without a same one.")
    knots, near = np.zeros(1), np.ones((other.size, 1))
    if form not in WEIGHT_FORMS:
        u = np.log10(context.rate)
        # The ends by quantiles: a knot beyond the last rows would hold what is borrowed and nothing
        # else.
        low, high = np.quantile(u, (0.005, 0.995))
        knots = np.linspace(low, high, max(2, round((high - low) / _STEP) + 1))
        near = np.exp(-0.5 * ((u[:, None] - knots) / _BANDWIDTH) ** 2)
    chance = np.concatenate(
        [
            chance_hazard(form, EDGES, context.take(slice(i, i + _CHUNK)))
            for i in range(0, other.size, _CHUNK)
        ]
    )
    flat = np.full((knots.size, EDGES.size - 1), 1.0 / (EDGES.size - 1))
    pooled_law = _law(same[has], near[has], flat, _ROWS_OF_NOTHING)
    pooled = [
        _hazard(other[w], near[w], chance[w], flat * _ROWS_OF_NOTHING, _ROWS_OF_NOTHING)
        for w in (has, ~has)
    ]
    names = tuple(np.unique(of_kind).tolist())
    tables: list[list[Array]] = [[], [], []]
    for name in names:
        inside = of_kind == name
        with_same = inside & has
        tables[0].append(_law(same[with_same], near[with_same], pooled_law, _POOLED_ROWS))
        for table, whole, w in zip((1, 2), pooled, (inside & has, inside & ~has)):
            tables[table].append(
                _hazard(other[w], near[w], chance[w], whole * _POOLED_ROWS, _POOLED_ROWS)
            )
    same_law, some, none = (np.stack(t) for t in tables)
    for z, u in np.ndindex(same_law.shape[:2]):
        for hazard in (some, none):
            hazard[z, u] = _monotone(same_law[z, u], hazard[z, u])
    return Laws(form, names, EDGES, knots, same_law, some, none)


def _monotone(same: Array, hazard: Array) -> Array:
    """The hazard changed so that `same / hazard` never falls with the score."""
    fitted = isotonic_regression(np.log(same / hazard), weights=same + hazard)
    return same / np.exp(fitted.x)


def _bin(score: Array) -> Array:
    return np.clip(np.searchsorted(EDGES, score, "right") - 1, 0, EDGES.size - 2)


def _law(score: Array, near: Array, borrowed: Array, rows: float) -> Array:
    """Shares of bins at each knot, [U, S], with `rows` rows of a borrowed law."""
    law = borrowed * rows
    np.add.at(law.T, _bin(score), near)
    return law / law.sum(1, keepdims=True)


def _hazard(best: Array, near: Array, chance: Array, borrowed: Array, rows: float) -> Array:
    """Others per bin at each knot, [U, S]: events among rows that came down to the bin unmet."""
    at = _bin(best)
    n_bins = chance.shape[1]
    events = borrowed.T.copy()
    np.add.at(events, at, near)
    # in order of falling score: who has its best other here or below is still at risk
    order = np.argsort(at, kind="stable")
    ends = np.searchsorted(at[order], np.arange(n_bins), "right")
    risk = np.concatenate([np.zeros((1, near.shape[1])), np.cumsum(near[order], 0)])[ends]
    expected = np.stack([chance[order[:end], b] @ near[order[:end]] for b, end in enumerate(ends)])
    # A life table: the share of rows at risk that meet their best in this bin, as a hazard. Capped,
    # since a bin in which all do has an infinite one.
    met = -np.log1p(-np.minimum(events / (risk + rows), 0.999))
    # What is borrowed stays where chance explains every event, or a ratio there would be infinite.
    least = borrowed.T / (risk + rows)
    return np.maximum(met - expected / np.maximum(risk, 1e-9), np.minimum(least, met)).T
