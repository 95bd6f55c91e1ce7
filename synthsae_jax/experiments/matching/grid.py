"""Every score, solver, token count and frequency of matching@1, on the pairs of one rung."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from scipy import stats

from synthsae_jax import matching
from synthsae_jax.experiments.matching.quality import Quality, common, pairs_of, quality
from synthsae_jax.experiments.matching.rungs import (
    TRUTHS,
    Side,
    correlation,
    living,
    shifted,
)
from synthsae_jax.matching import CredenceModel, Matching
from synthsae_jax.matching.calibration import brier, calibration_error

FROM_CODES = ("activation_pearson", "phi", "hypergeometric_z_plain", "jaccard")
PRE = "preactivation_pearson"
RAW, ALIGNED, BOTH = "decoder_cosine_raw", "decoder_cosine_aligned", "pearson_and_cosine"
GEOMETRIC = (RAW, ALIGNED, BOTH)  # depend on what geometry the two models share
SCORES = (*FROM_CODES, PRE, *GEOMETRIC)
# name -> (solver, does it see the threshold?)
SOLVERS = {
    "argmax": ("argmax", True),
    "mutual_nearest": ("mutual_nearest", True),
    "assignment": ("assignment", True),
    "assignment_forced": ("assignment", False),
    "assignment_dustbin": ("assignment_dustbin", True),
    "greedy": ("greedy", True),
}
REFERENCE = "mutual_nearest"
PUBLISHED = {"activation_pearson": 0.1, PRE: 0.1, ALIGNED: 0.7}
FEW = 20  # firings: H6a is about latents with so few, or fewer, in the tokens seen
LEVEL = 0.99  # quantile, over latents of A, of the best score of each by chance
POOLED = "all"  # over the geometries, or the latents
WHOLE: tuple[str, np.ndarray | None] = (POOLED, None)
SPLIT = ("activation_pearson", "phi", "hypergeometric_z_plain", PRE, ALIGNED)  # by firing rate


@dataclasses.dataclass(frozen=True)
class Setting:
    """What one number is about."""

    score: str
    solver: str
    tokens: int
    t: str = POOLED
    stratum: str = POOLED  # "q1" (rarest) to "q4", or "few"
    threshold: str = "null"  # or "published"
    truth: str = "agree"

    @property
    def variant(self) -> str:
        """The setting as text."""
        named = [self.score, self.solver, f"n={self.tokens}"]
        if self.t != POOLED:
            named.append(f"t={self.t}")
        rest = (self.stratum, self.threshold, self.truth)
        return "/".join([*named, *(r for r in rest if r not in (POOLED, "null", "agree"))])


@dataclasses.dataclass(frozen=True)
class RungPair:
    """A and one B on the same rung, with what maps B's directions onto A's."""

    a: Side
    b: Side
    t: str
    turn: np.ndarray  # [D_b, D_a]
    seed: int
    strata: np.ndarray  # int [L_a]

    @functools.cached_property
    def cosines(self) -> dict[str, tuple[np.ndarray, float]]:
        """Cosines as they are and after alignment, each with its level by chance."""
        spin = stats.special_ortho_group.rvs(self.b.decoder.shape[1], random_state=self.seed)
        cosine = lambda rows: np.asarray(matching.score("decoder_cosine", self.a.decoder, rows))
        level = _level(cosine((self.b.decoder @ spin).astype(np.float32)), self.alive)
        rows = {RAW: self.b.decoder, ALIGNED: (self.b.decoder @ self.turn).astype(np.float32)}
        return {name: (cosine(r), level) for name, r in rows.items()}

    @functools.cached_property
    def alive(self) -> tuple[np.ndarray, np.ndarray]:
        """Latents that fire at all."""
        return living(self.a.latents), living(self.b.latents)

    def scores(self, tokens: int) -> dict[str, tuple[np.ndarray, float]]:
        """Scores from the first tokens, each with its level by chance."""
        a, b = self.a.latents[:tokens], self.b.latents[:tokens]
        seen = matching.scores_from_codes(FROM_CODES, a, b)
        null = matching.scores_from_codes(FROM_CODES, a, shifted(b))
        here = living(a), living(b)
        return {name: (seen[name], _level(null[name], here)) for name in FROM_CODES}

    def pre(self) -> dict[str, tuple[np.ndarray, float]]:
        """The same from pre-activations, of all tokens on which these were kept."""
        a, b = self.a.pre, self.b.pre
        if not a.shape[0]:
            return {}
        null = correlation(a, np.roll(b, b.shape[0] // 2, axis=0))
        return {PRE: (correlation(a, b), _level(null, self.alive))}


def _level(null: np.ndarray, alive: tuple[np.ndarray, np.ndarray]) -> float:
    among = np.where(np.isfinite(null), null, -np.inf)[alive[0]][:, alive[1]]
    best = among.max(1, initial=-np.inf)
    best = best[np.isfinite(best)]
    return float(np.quantile(best, LEVEL)) if best.size else math.inf


def solve(
    solver: str,
    scores: np.ndarray,
    level: float,
    alive: tuple[np.ndarray, np.ndarray],
) -> Matching:
    """A solver of `SOLVERS` with a threshold at `level`."""
    name, sees = SOLVERS[solver]
    sides = {"alive_a": alive[0], "alive_b": alive[1]}
    if name == "assignment_dustbin":
        return matching.solve(name, scores, level, unmatched=level, **sides)
    return matching.solve(name, scores, level if sees else None, **sides)


def grid(
    pairs: Sequence[RungPair], tokens: Sequence[int], parent: np.ndarray
) -> dict[Setting, Quality]:
    """Counts by setting, pooled over the pairs of a world and rung."""
    found: dict[Setting, Quality] = defaultdict(Quality)
    for pair in pairs:
        for setting, matched in _matched(pair, tokens):
            for truth in _truths(setting, tokens[-1]):
                sides = pair.a.truths[truth], pair.b.truths[truth]
                for stratum, inside in _strata(pair, setting) if truth == "agree" else [WHOLE]:
                    here = dataclasses.replace(setting, stratum=stratum, truth=truth)
                    counts = quality(matched, *sides, parent, inside)
                    for t in _groups(setting, pair.t, stratum, tokens[-1]):
                        key = dataclasses.replace(here, t=t)
                        found[key] = found[key] + counts
    return dict(found)


def _matched(
    pair: RungPair, tokens: Sequence[int]
) -> Iterator[tuple[Setting, tuple[np.ndarray, np.ndarray]]]:
    for n in tokens:
        full = n == tokens[-1]
        scored = pair.scores(n)
        if full:
            scored = {**scored, **pair.pre(), **pair.cosines}
        alive = living(pair.a.latents[:n]), living(pair.b.latents[:n])
        for solver in SOLVERS if full else (REFERENCE, "argmax"):
            solved = {}
            for name, (values, level) in scored.items():
                if solver == "argmax" and not full and name != "activation_pearson":
                    continue
                solved[name] = solve(solver, values, level, alive)
                yield Setting(name, solver, n), pairs_of(solved[name])
                if name in PUBLISHED and solver in ("argmax", REFERENCE):
                    again = solve(solver, values, PUBLISHED[name], alive)
                    yield Setting(name, solver, n, threshold="published"), pairs_of(again)
            if full:
                agreed = common(solved["activation_pearson"], solved[ALIGNED])
                yield Setting(BOTH, solver, n), agreed


def _groups(setting: Setting, t: str, stratum: str, most: int) -> list[str]:
    """Which pools a pair's counts go to: scores of activity are pooled over geometries."""
    if setting.score in GEOMETRIC:
        return [t]
    beside = setting.score in ("activation_pearson", PRE) and setting.solver == REFERENCE
    whole = stratum == POOLED and setting.tokens == most and setting.threshold == "null"
    return [POOLED, t] if beside and whole else [POOLED]


def _truths(setting: Setting, most: int) -> tuple[str, ...]:
    # truths other than the default stand beside the reference score alone
    plain = setting.tokens == most and setting.threshold == "null"
    beside = setting.score == FROM_CODES[0] and setting.solver in (REFERENCE, "argmax")
    return TRUTHS if plain and beside else TRUTHS[:1]


def _strata(pair: RungPair, setting: Setting) -> list[tuple[str, np.ndarray | None]]:
    found: list[tuple[str, np.ndarray | None]] = [WHOLE]
    if setting.solver == REFERENCE and setting.threshold == "null" and setting.score in SPLIT:
        found += [(f"q{q + 1}", pair.strata == q) for q in range(4)]
    if setting.score == "activation_pearson" and setting.threshold == "published":
        fired = np.diff(pair.a.latents[: setting.tokens].tocsc().indptr)
        found.append(("few", (fired > 0) & (fired <= FEW)))
    return found


def calibration(
    pairs: Sequence[RungPair], tokens: Sequence[int], model: CredenceModel
) -> dict[int, dict[str, float]]:
    """By token count: how well the calibrated matcher's credence says what is right."""
    found = {}
    for n in tokens:
        said, true, latents = [], [], 0
        for pair in pairs:
            a, b = pair.a.latents[:n], pair.b.latents[:n]
            scores = matching.scores_from_codes(("activation_pearson",), a, b)
            fired_a, fired_b = (np.diff(v.tocsc().indptr) for v in (a, b))
            believed = matching.credence(model, scores, fired_a, fired_b, n)
            known = np.isfinite(believed.credence)
            rows, cols = believed.row[known], believed.col[known]
            of_a, of_b = pair.a.truths["agree"][rows], pair.b.truths["agree"][cols]
            said.append(believed.credence[known])
            true.append((of_a >= 0) & (of_a == of_b))
            latents += int((fired_a > 0).sum())
        p, right = np.concatenate(said), np.concatenate(true)
        found[n] = {
            "calibration_error": calibration_error(p, right),
            "brier": float(brier(p, right).score) if p.size else math.nan,
            "mean_credence": float(p.mean()) if p.size else math.nan,
            "share_right": float(right.mean()) if p.size else math.nan,
            "credence_coverage": p.size / latents if latents else math.nan,
        }
    return found
