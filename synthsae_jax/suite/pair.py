"""Everything an experiment asks of one pair of SAEs: rules, measures, protocols, and the truth."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from synthsae_jax import matching, similarity
from synthsae_jax.matching import Matching, PairCounts
from synthsae_jax.matching.report import why_undefined
from synthsae_jax.matching.truth_sweep import report_sweep
from synthsae_jax.modes import fixed
from synthsae_jax.protocols import run_protocol
from synthsae_jax.protocols.base import Context
from synthsae_jax.protocols.rules import PairView, rules
from synthsae_jax.suite.observation import Number
from synthsae_jax.suite.reading import Reading
from synthsae_jax.worlds import Instance, World

# pairs that stand for the matching in relational measures: a multiple of this many, so that a
# measure compiles for few sizes
_POINTS = 32
ALL_RULES = ("best_correlation_0.1", "decoder_cosine_0.7_raw", "decoder_cosine_0.7_aligned")
RELATIONAL = ("svcca", "svcca_rank1", "cka_debiased", "rsa", "procrustes", "mutual_knn")
TRUTH = "truth"


# of a set that every pair gets: an experiment reads what it needs of it
_standard = functools.partial(Number, standard=True)


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two readings on the same tokens, with what is derived from them once."""

    a: Reading
    b: Reading
    world: World  # for kinship; the plain one
    turn: np.ndarray | None = None  # [D_b, D_a]: rotates B's directions into A's space

    @functools.cached_property
    def counts(self) -> PairCounts:
        """How their latents go together."""
        return matching.pair_counts_from_codes(self.a.latents, self.b.latents)

    @functools.cached_property
    def view(self) -> PairView:
        """What a rule may see."""
        rows_a, rows_b = self.a.subject.decoder, self.b.subject.decoder
        aligned = rows_b if self.turn is None else rows_b @ self.turn
        return PairView(self.counts, rows_a, rows_b, aligned)

    @property
    def instances(self) -> tuple[Instance, Instance]:
        """The models that the two SAEs read."""
        return self.a.subject.instance, self.b.subject.instance

    def report(self, matched: Matching) -> dict[str, float]:
        """`match_report` under the default truth."""
        return self._report(matched, self.a.tracked, self.b.tracked)

    def band(self, matched: Matching, quantity: str) -> tuple[float, float]:
        """Least and most of a quantity of the report over all truth methods and thresholds."""
        options = self._options()
        sweep = report_sweep(matched, self.a.truth, self.b.truth, **options)
        band = matching.bands({quantity: sweep[quantity]})[quantity]
        return band.lo, band.hi

    def true_band(self) -> tuple[float, float]:
        """Least and most true universality over all truth methods and thresholds."""
        smaller = min(self.a.alive.sum(), self.b.alive.sum())
        if not smaller:
            return math.nan, math.nan
        counted = [
            matching.largest_true_matching(a, b) / smaller
            for a, b in zip(self.a.truth.maps, self.b.truth.maps)
        ]
        return float(min(counted)), float(max(counted))

    def _options(self) -> dict[str, Any]:
        present = [np.asarray(instance.present) for instance in self.instances]
        return {
            "alive_a": self.a.alive,
            "alive_b": self.b.alive,
            "world": self.world,
            "present_a": present[0],
            "present_b": present[1],
        }

    def _report(self, matched: Matching, truth_a: Any, truth_b: Any) -> dict[str, float]:
        return matching.match_report(matched, truth_a, truth_b, **self._options())


def truth_numbers(pair: Pair) -> list[Number]:
    """What is true of the pair, whoever matches it."""
    nothing = matching.solve("argmax", np.full(pair.counts.joint.shape, np.nan, np.float32))
    report = pair.report(nothing)
    least, most = pair.true_band()
    present = [np.asarray(instance.present) for instance in pair.instances]
    why, dead = why_undefined(report), "all latents of a side are dead"
    of_report = lambda name: _standard(TRUTH, name, report[name], why.get(name, ""))
    return [
        of_report("true_universality"),
        _standard(TRUTH, "true_universality_least", least, dead),
        _standard(TRUTH, "true_universality_most", most, dead),
        _standard(
            TRUTH, "features_shared", float((present[0] & present[1]).sum() / present[0].sum())
        ),
        of_report("shared_recovery"),
        of_report("shared_recovery_chance"),
        of_report("n_tracked_a"),
        of_report("n_tracked_b"),
    ]


REPORTED = ("precision", "recall", "false_universality", "artefact_rate")


def rule_numbers(pair: Pair, names: Sequence[str] = ALL_RULES) -> list[Number]:
    """What published rules declare shared, and how much of it is right."""
    numbers = []
    alive = [side.alive.sum() for side in (pair.a, pair.b)]
    for name in names:
        rule = rules[name]
        matched = rule.match(pair.view)
        report = pair.report(matched)
        base = alive[1] if rule.many_to_one else min(alive)
        declared = report["n_matched"] / base if base else math.nan
        numbers.append(_standard(name, "declared", declared, "all latents of a side are dead"))
        numbers += _reported(name, report)
    return numbers


def _reported(name: str, report: Mapping[str, float]) -> list[Number]:
    why = why_undefined(dict(report))
    return [_standard(name, m, report[m], why.get(m, "")) for m in REPORTED]


def measure_numbers(pair: Pair, names: Sequence[str] = RELATIONAL) -> list[Number]:
    """Relational measures of the decoder rows of matched pairs (best by code correlation, r > .1).

    As these are used on language models: the matching makes the points, the geometry the score.
    """
    alive = {"alive_a": pair.counts.alive_a, "alive_b": pair.counts.alive_b}
    scores = np.asarray(pair.counts.score("activation_pearson"))
    m = matching.solve("assignment", scores, 0.1, **alive)
    best = np.argsort(-np.where(m.valid, m.score, -np.inf), kind="stable")
    n = int(np.asarray(m.valid).sum()) // _POINTS * _POINTS
    if not n:
        why = f"fewer than {_POINTS} pairs correlate above .1"
        both = [variant for name in names for variant in (name, f"{name}/chance")]
        return [_standard(variant, "score", math.nan, why) for variant in both]
    row, col = np.asarray(m.row)[best[:n]], np.asarray(m.col)[best[:n]]
    X, Y = pair.a.subject.decoder[row], pair.b.subject.decoder[col]
    numbers = []
    for name in names:
        value, reasons = _compiled(name)(X, Y)
        why = next((reason for reason, applies in reasons.items() if bool(applies)), "undefined")
        numbers.append(_standard(name, "score", float(value), why))
        dealt = np.random.default_rng(0).permutation(n)
        chance, _ = _compiled(name)(X, Y[dealt])
        numbers.append(_standard(f"{name}/chance", "score", float(chance), why))
    return numbers


@fixed
def protocol_numbers(
    pair: Pair,
    names: Sequence[str],
    *,
    key: jax.Array,
    draws: int = 0,
    n_tokens: int = 8192,
    context: Context | None = None,
) -> list[Number]:
    """What published protocols say of the pair, each with its own null where draws are asked for.

    Codes are dense for them, on the first `n_tokens` tokens.
    """
    a, b = pair.a.side(n_tokens), pair.b.side(n_tokens)
    numbers = []
    for i, name in enumerate(names):
        protocol_key = jax.random.fold_in(key, i)
        result = run_protocol(name, a, b, key=protocol_key, draws=draws, context=context)
        why = result.reasons.get(result.primary, "")
        numbers.append(_standard(name, "score", result.value, why))
        if result.matching is None:
            none = why or "it names no pairs"
            numbers += [_standard(name, m, math.nan, none) for m in REPORTED]
        else:
            numbers += _reported(name, pair.report(result.matching))
        if draws:
            why = result.reasons.get("p", "its nulls say nothing about its own number")
            numbers.append(_standard(name, "p", result.p(), why))
            null = next(
                (n.mean[result.primary] for n in result.nulls if result.primary in n.names),
                math.nan,
            )
            numbers.append(_standard(f"{name}/chance", "score", null, why))
    return numbers


@functools.cache
def _compiled(name: str) -> Callable[..., Any]:
    return jax.jit(lambda X, Y: similarity.evaluate(name, X, Y))
