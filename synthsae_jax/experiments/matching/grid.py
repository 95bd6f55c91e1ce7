"""Every setting of matching@1 on the pairs of one rung, counted; and the calibrated matcher."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats

from synthsae_jax import matching
from synthsae_jax.experiments.matching.quality import Pairs, Quality, common, pairs_of, quality
from synthsae_jax.experiments.matching.rungs import Side, shifted
from synthsae_jax.experiments.matching.setting import (
    ALIGNED,
    BOTH,
    FEW,
    FROM_CODES,
    PEARSON,
    POOLED,
    PRE,
    QUARTERS,
    RAW,
    SOLVERS,
    Setting,
)
from synthsae_jax.matching.calibration import brier, calibration_error
from synthsae_jax.matching.credence_model import CredenceModel
from synthsae_jax.numerics import firings, is_alive
from synthsae_jax.suite.observation import Number
from synthsae_jax.suite.quarters import quarters

PUBLISHED = {PEARSON: 0.1, PRE: 0.1}
CALIBRATION = (
    "credence_coverage",
    "mean_credence",
    "share_right",
    "calibration_error",
    "brier",
)
LEVEL = 0.99  # quantile, over latents of A, of the best score of each by chance
Alive = tuple[np.ndarray, np.ndarray]  # bool [L_a], [L_b]
Scored = tuple[np.ndarray, float]  # scores [L_a, L_b], and their level by chance


@dataclasses.dataclass(frozen=True)
class RungPair:
    """A and one B on the same rung, with what maps B's directions onto A's."""

    a: Side
    b: Side
    t: str  # the geometry that their models share
    turn: np.ndarray  # [D_b, D_a]
    seed: int

    def alive(self, tokens: int | None = None) -> Alive:
        """Latents that fire on the first tokens (None: on any)."""
        a, b = (is_alive(firings(side.latents[:tokens])) for side in (self.a, self.b))
        return a, b

    def from_codes(self, tokens: int) -> dict[str, Scored]:
        """Scores of activity on the first tokens."""
        a, b = self.a.latents[:tokens], self.b.latents[:tokens]
        scores = matching.scores_from_codes(FROM_CODES, a, b)
        null = matching.scores_from_codes(FROM_CODES, a, shifted(b))
        alive = self.alive(tokens)
        return {name: (scores[name], _level(null[name], alive)) for name in FROM_CODES}

    def from_pre(self) -> Scored:
        """Correlations of pre-activations, on all tokens of which these were read."""
        a, b = self.a.pre, self.b.pre
        assert a is not None
        assert b is not None
        null = np.asarray(matching.score(PRE, a, np.roll(b, len(b) // 2, axis=0)))
        return np.asarray(matching.score(PRE, a, b)), _level(null, self.alive())

    def cosines(self) -> dict[str, Scored]:
        """Decoder cosines as they are and aligned; their level is that of a random rotation."""
        cosine = lambda rows: np.asarray(matching.score("decoder_cosine", self.a.decoder, rows))
        spin = stats.special_ortho_group.rvs(self.b.decoder.shape[1], random_state=self.seed)
        level = _level(cosine((self.b.decoder @ spin).astype(np.float32)), self.alive())
        rows = {RAW: self.b.decoder, ALIGNED: (self.b.decoder @ self.turn).astype(np.float32)}
        return {name: (cosine(r), level) for name, r in rows.items()}

    def inside(self, stratum: str, tokens: int) -> np.ndarray | None:
        """Latents of A in a stratum, bool [L]; None: all."""
        if stratum == POOLED:
            return None
        if stratum == "few":
            seen = firings(self.a.latents[:tokens])
            return is_alive(seen) & (seen <= FEW)
        # by all tokens: the same latents however many of them are seen
        return quarters(firings(self.a.latents)) == QUARTERS.index(stratum)


def _level(null: np.ndarray, alive: Alive) -> float:
    among = np.where(np.isfinite(null), null, -np.inf)[alive[0]][:, alive[1]]
    best = among.max(1, initial=-np.inf)
    best = best[np.isfinite(best)]
    return float(np.quantile(best, LEVEL)) if best.size else math.inf


def matcher(pair: RungPair) -> Callable[[str, str, int, str], Pairs]:
    """`matched(score, solver, tokens, threshold)`; nothing is computed twice."""
    from_codes, from_pre = functools.cache(pair.from_codes), functools.cache(pair.from_pre)
    cosines, alive = functools.cache(pair.cosines), functools.cache(pair.alive)

    @functools.cache
    def solved(score: str, solver: str, tokens: int, threshold: str) -> matching.Matching:
        if score == PRE:
            scores, level = from_pre()
        else:
            scores, level = (cosines() if score in (RAW, ALIGNED) else from_codes(tokens))[score]
        if threshold == "published":
            level = PUBLISHED[score]
        return _solve(solver, scores, level, alive(tokens))

    @functools.cache
    def matched(score: str, solver: str, tokens: int, threshold: str) -> Pairs:
        if score == BOTH:
            return common(*(solved(s, solver, tokens, threshold) for s in (PEARSON, ALIGNED)))
        return pairs_of(solved(score, solver, tokens, threshold))

    return matched


def _solve(solver: str, scores: np.ndarray, level: float, alive: Alive) -> matching.Matching:
    name, sees = SOLVERS[solver]
    sides = {"alive_a": alive[0], "alive_b": alive[1]}
    if name == "assignment_dustbin":
        return matching.solve(name, scores, level, unmatched=level, **sides)
    return matching.solve(name, scores, level if sees else None, **sides)


def grid(
    pairs: Sequence[RungPair], settings: Sequence[Setting], parent: np.ndarray
) -> dict[Setting, Quality]:
    """Counts by setting, pooled over the pairs of a world and rung that it is about."""
    counts = {setting: Quality() for setting in settings}
    for pair in pairs:
        matched, inside = matcher(pair), functools.cache(pair.inside)
        for setting in settings:
            if setting.t not in (POOLED, pair.t):
                continue
            if setting.score == PRE and pair.a.pre is None:
                continue
            of_pair = quality(
                matched(setting.score, setting.solver, setting.tokens, setting.threshold),
                pair.a.truths[setting.truth],
                pair.b.truths[setting.truth],
                parent,
                inside(setting.stratum, setting.tokens),
            )
            counts[setting] = counts[setting] + of_pair
    return counts


def calibration(pairs: Sequence[RungPair], n: int, model: CredenceModel) -> list[Number]:
    """How well the calibrated matcher's credence says what is right, on the first n tokens."""
    credence, correct, living = [], [], 0
    for pair in pairs:
        a, b = pair.a.latents[:n], pair.b.latents[:n]
        scores = matching.scores_from_codes((PEARSON,), a, b)
        fired_a, fired_b = firings(a), firings(b)
        believed = matching.credence(model, scores, fired_a, fired_b, n)
        inside = np.isfinite(believed.credence)
        rows, cols = believed.row[inside], believed.col[inside]
        of_a, of_b = pair.a.truths["agree"][rows], pair.b.truths["agree"][cols]
        credence.append(believed.credence[inside])
        correct.append((of_a >= 0) & (of_a == of_b))
        living += int(is_alive(fired_a).sum())
    p, right = np.concatenate(credence), np.concatenate(correct)
    values = [p.size / living if living else math.nan] + [math.nan] * 4
    if p.size:
        error, score = calibration_error(p, right), brier(p, right).score
        values[1:] = float(p.mean()), float(right.mean()), error, float(score)
    outside = "no latent lies inside the support of the calibrated matcher"
    reasons = ["all latents are dead"] + [outside] * 4
    return [
        Number(f"credence/n={n}", metric, value, why)
        for metric, value, why in zip(CALIBRATION, values, reasons, strict=True)
    ]
