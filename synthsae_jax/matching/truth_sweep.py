"""How much an answer depends on what is called truth: all methods, all thresholds, at once."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from synthsae_jax.errors import ConfigError, require
from synthsae_jax.matching.records import Matching
from synthsae_jax.matching.report import match_report
from synthsae_jax.matching.truth_methods import (
    TruthInputs,
    TruthRule,
    decide,
    find_candidates,
    missing_inputs,
    truth_methods,
)

THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)


@dataclasses.dataclass(frozen=True)
class TruthSweep:
    """Truth maps of one SAE under several methods and thresholds."""

    settings: tuple[tuple[str, float], ...]  # (method, threshold) of each row
    maps: np.ndarray  # int32 [S, L]

    def of(self, method: str, threshold: float) -> np.ndarray:
        """The map of one setting, int32 `[L]`."""
        if (method, threshold) not in self.settings:
            settings = ", ".join(f"({m}, {t})" for m, t in self.settings)
            raise ConfigError(f"No truth map at ({method}, {threshold}). Known: {settings}.")
        return self.maps[self.settings.index((method, threshold))]


class Band(NamedTuple):
    """The least and the most of a quantity over truths, where it is defined."""

    lo: float
    hi: float
    undefined: int  # settings at which it is NaN

    @property
    def sign(self) -> int | None:
        """1, -1 or 0 (all exactly 0) where all settings have it; None: undecided."""
        signs = {float(np.sign(end)) for end in (self.lo, self.hi)}
        return int(signs.pop()) if len(signs) == 1 and not math.isnan(self.lo) else None


def truth_sweep(
    inputs: TruthInputs,
    methods: Sequence[str] | None = None,
    thresholds: Sequence[float] = THRESHOLDS,
    rule: TruthRule | None = None,
) -> TruthSweep:
    """Truth maps for every method at every threshold, from one set of counts. On the host.

    `inputs`: see `truth_inputs`. A threshold stands for each method's own first one (cosine, F1,
    R^2, switching; for `agree` both of its), while margin and purity are the rule's. Methods None:
    all that the inputs allow.
    """
    rule = TruthRule() if rule is None else rule
    if methods is None:
        methods = [name for name in truth_methods if not missing_inputs(name, inputs)]
    require(
        len(methods) > 0 and len(thresholds) > 0,
        "truth_sweep needs at least one method and one threshold.",
    )
    candidates = find_candidates(inputs, methods)
    settings = tuple((method, float(t)) for method in methods for t in thresholds)
    maps = [np.asarray(decide(method, candidates, rule.at(t), inputs)) for method, t in settings]
    return TruthSweep(settings, np.stack(maps))


def report_sweep(
    m: Matching, truth_a: TruthSweep, truth_b: TruthSweep, **options: Any
) -> dict[str, np.ndarray]:
    """Every quantity of `match_report` under each truth, float64 `[S]` in order of the settings.

    Both sides are read by the same method and threshold. `options`: those of `match_report`.
    """
    require(
        truth_a.settings == truth_b.settings,
        "report_sweep needs truth maps of both sides at the same settings.",
    )
    reports = [match_report(m, a, b, **options) for a, b in zip(truth_a.maps, truth_b.maps)]
    return {name: np.array([report[name] for report in reports]) for name in reports[0]}


def bands(values: Mapping[str, np.ndarray]) -> dict[str, Band]:
    """The band of each quantity over its settings; NaN ends where no setting defines it."""

    def band(v: np.ndarray) -> Band:
        defined = np.asarray(v, np.float64)[np.isfinite(v)]
        ends = (defined.min(), defined.max()) if defined.size else (math.nan, math.nan)
        return Band(float(ends[0]), float(ends[1]), int(np.size(v) - defined.size))

    return {name: band(v) for name, v in values.items()}
