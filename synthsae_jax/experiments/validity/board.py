"""The leaderboard of scores: each scored by ten tests whose right answers are known."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from synthsae_jax.io.rows import Row
from synthsae_jax.matching.validity import validity_tests
from synthsae_jax.stats import mean_interval
from synthsae_jax.suite.study.select import mean, select

ZEROS = ("disjoint_independent", "disjoint_coupled")
# what may be meant by truth: the board's ranks are given over all of them
TRUTHS = (
    "true_universality",
    "true_universality_least",
    "true_universality_most",
    "features_shared",
)
ALPHA = 0.05
_SCORES = ("declared", "score")
VARIED = (TURNED, FEW) = (", turned", ", few tokens")  # conditions of a pair seen otherwise
_FULL = "shared 1, t 0"  # all features shared, no geometry: what a confound is read at


class World:
    """The rows of one world, found by what they are about."""

    def __init__(self, rows: Sequence[Row]):
        self.rows = list(rows)
        self._value = {self._key(r, r["variant"], r["metric"]): r["value"] for r in self.rows}
        self._scores: dict[str, list[Row]] = {}
        for row in self.rows:
            if row["metric"] in _SCORES and row["value"] is not None:
                self._scores.setdefault(row["variant"], []).append(row)

    def scores(self, name: str, varied: bool = False, **columns: Any) -> list[Row]:
        """The score's defined rows, one per pair; those of varied pairs are others."""
        rows = [
            row for row in self._scores.get(name, []) if row["condition"].endswith(VARIED) == varied
        ]
        return select(rows, **columns) if columns else rows

    def of_pair(self, row: Row, variant: str, metric: str, condition: str = "") -> float:
        """Another number of the pair that a row is about; NaN where undefined."""
        about = {**row, "condition": condition or row["condition"]}
        value = self._value.get(self._key(about, variant, metric))
        return math.nan if value is None else float(value)

    @staticmethod
    def _key(row: Row, variant: str, metric: str) -> tuple:
        return row["run_id"], row["run_id_b"], row["condition"], variant, metric


def board(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """One record per score, best first: each test's mean over worlds, ranks over truths.

    A score that calls chance a finding at more than twice the nominal rate (or whose test says
    nothing) comes after those that do not; then the rank correlation with the truth decides, and
    an undefined one is last.
    """
    names = [
        name
        for name in dict.fromkeys(r["variant"] for r in rows if r["metric"] in _SCORES)
        if not name.endswith("/chance")
    ]
    seeds = list(dict.fromkeys(r["world_seed"] for r in rows))
    worlds = [World(select(rows, world_seed=seed)) for seed in seeds]
    records = []
    for name in names:
        record: dict[str, Any] = {"score": name, "worlds": len(worlds)}
        for test, compute in TESTS.items():
            found = mean_interval([compute(world, name) for world in worlds])
            record[test] = found.estimate
            record[f"{test}_interval"] = (found.lo, found.hi)
        for truth in TRUTHS:
            record[f"spearman/{truth}"] = mean_interval(
                [_with_truth(world, name, truth) for world in worlds]
            ).estimate
        records.append(record)
    for truth in TRUTHS:
        order = sorted(records, key=lambda r: _key(r, r[f"spearman/{truth}"]))
        for place, record in enumerate(order, start=1):
            record.setdefault("ranks", {})[truth] = place
    for record in records:
        record["rank"] = record["ranks"][TRUTHS[0]]
        record["rank_range"] = (min(record["ranks"].values()), max(record["ranks"].values()))
    return sorted(records, key=lambda r: r["rank"])


def inversion(rows: Sequence[Row], name: str, bins: int = 5) -> list[dict[str, Any]]:
    """What a published value may mean: by bins of the score, the ranges of what lay behind it.

    Records of `score_lo`, `score_hi`, and least, median and most of the shared fraction, of the
    geometry's correlation and of the precision of r > .1 among the pairs that scored so.
    """
    world = World(rows)
    pairs = [(float(row["value"]), row) for row in world.scores(name)]
    scores = np.array([score for score, _ in pairs])
    if scores.size == 0:
        return []
    edges = np.unique(np.quantile(scores, np.linspace(0, 1, bins + 1)))
    found = []
    for lo, hi in itertools.pairwise(edges):
        inside = [r for s, r in pairs if lo <= s < hi or (hi == edges[-1] and s == hi)]
        precision = [world.of_pair(r, "best_correlation_0.1", "precision") for r in inside]
        found.append(
            {
                "score_lo": float(lo),
                "score_hi": float(hi),
                "n": len(inside),
                "shared": _ends([r["factor_shared"] for r in inside]),
                "gram_correlation": _ends([r["factor_gram_correlation"] for r in inside]),
                "precision": _ends(precision),
            }
        )
    return found


def _monotone(world: World, name: str) -> float:
    pairs = [
        (row["factor_shared"], row["value"])
        for row in world.scores(name, factor_arm="random")
        if row["factor_t"] == 1 or row["factor_shared"] == 0
    ]
    return _test("monotone", *_columns(pairs)) if pairs else math.nan


def _geometry(world: World, name: str) -> float:
    """The score's move from t = 0 to t = 1, mean over shared fractions that have both."""
    by_level: dict[float, dict[float, float]] = {}
    for row in world.scores(name, factor_arm="random"):
        if row["factor_shared"] > 0:
            by_level.setdefault(row["factor_shared"], {})[row["factor_t"]] = row["value"]
    pairs = [
        (t, value - np.mean(list(both.values())))
        for both in by_level.values()
        if len(both) == 2
        for t, value in both.items()
    ]
    return _test("slope", *_columns(pairs)) if pairs else math.nan


def _rejection(world: World, name: str) -> float:
    p = [r["value"] for r in select(world.rows, variant=name, metric="p", condition=ZEROS)]
    return _test("rejection_rate", [math.nan if v is None else v for v in p]) if p else math.nan


def _leakage(world: World, name: str) -> float:
    same, own = (
        [r["value"] for r in world.scores(name, factor_arm=arm, condition=ZEROS)]
        for arm in ("same_init", "random")
    )
    return _test("leakage", same, own) if same and len(same) == len(own) else math.nan


def _confound(arms: dict[str, float]) -> Callable[[World, str], float]:
    """The slope of the score's error on a confound, all features shared, no geometry."""

    def of(world: World, name: str) -> float:
        found = [
            (level, score - mean(world.rows, factor_arm=arm, condition=_FULL, metric=TRUTHS[0]))
            for arm, level in arms.items()
            for score in [_mean_score(world, name, arm)]
        ]
        return _test("slope", *_columns(found))

    return of


def _invariance(world: World, name: str) -> float:
    return _beside(world, name, TURNED, "invariance_error")


def _samples(world: World, name: str) -> float:
    return _beside(world, name, FEW, "sample_error")


def _ordering(world: World, name: str) -> float:
    of = world.scores(name)
    sharing = [r["value"] for r in of if r["factor_shared"] >= 0.5]
    unrelated = [r["value"] for r in of if r["factor_shared"] == 0]
    return _test("ordering", sharing, unrelated) if sharing and unrelated else math.nan


def _with_truth(world: World, name: str, truth: str) -> float:
    pairs = [(world.of_pair(row, "truth", truth), row["value"]) for row in world.scores(name)]
    return _test("monotone", *_columns(pairs)) if pairs else math.nan


# name -> test of one world's rows; `matching.validity` says what each is and what is right
TESTS: dict[str, Callable[[World, str], float]] = {
    "false_positives": _rejection,
    "spearman": lambda world, name: _with_truth(world, name, TRUTHS[0]),
    "monotone": _monotone,
    "geometry": _geometry,
    "leakage": _leakage,
    "width": _confound({"narrow": -1.0, "random": 0.0, "wide": 1.0}),
    "frequency": _confound({"flat": 0.5, "random": 0.7, "steep": 0.9}),
    "artefacts": _confound({"pursuit": 1.0, "pursuit_2k": 2.0}),
    "invariance": _invariance,
    "samples": _samples,
    "ordering": _ordering,
}


def _mean_score(world: World, name: str, arm: str) -> float:
    found = [r["value"] for r in world.scores(name, factor_arm=arm, condition=_FULL)]
    return float(np.mean(found)) if found else math.nan


def _beside(world: World, name: str, suffix: str, test: str) -> float:
    """A test of the score of pairs seen otherwise, beside that of the same pairs as they are."""
    pairs = [
        (r["value"], world.of_pair(r, name, r["metric"], r["condition"].removesuffix(suffix)))
        for r in world.scores(name, varied=True)
        if r["condition"].endswith(suffix)
    ]
    return _test(test, *_columns(pairs)) if pairs else math.nan


def _test(name: str, *arguments: Any) -> float:
    return float(validity_tests[name](*arguments))


def _columns(pairs: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [a for a, _ in pairs], [b for _, b in pairs]


def _ends(values: Sequence[float]) -> tuple[float, float, float]:
    known = np.array([v for v in values if v is not None and not math.isnan(v)])
    if known.size == 0:
        return math.nan, math.nan, math.nan
    return float(known.min()), float(np.median(known)), float(known.max())


def _key(record: dict[str, Any], spearman: float) -> tuple[bool, bool, float]:
    # a score without a test makes no claim about chance, so it can't claim falsely
    rejects = record["false_positives"]
    over = not math.isnan(rejects) and rejects > 2 * ALPHA
    return over, math.isnan(spearman), -spearman if not math.isnan(spearman) else 0.0
