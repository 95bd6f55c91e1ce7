"""Claims of a benchmark: fixed before its worlds are drawn, judged from its rows afterwards."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from synthsae_jax import stats
from synthsae_jax.io import atomic
from synthsae_jax.io.rows import Row
from synthsae_jax.suite.quantity import Estimate, Observed, Quantity

VERDICTS = "verdicts.json"


@dataclasses.dataclass(frozen=True)
class Claim:
    """A hypothesis about a quantity's mean over worlds, with what it takes to settle it."""

    name: str  # "H1a"
    statement: str  # one sentence, as a person would say it
    quantity: Quantity
    smallest_effect: float = 0.0  # its sign is the direction
    margin: float = 0.0
    changes: str = ""  # what would change the verdict
    kind: str = "effect"  # or "equivalent", "noninferior": see `stats.verdict`
    family: str = "primary"  # Holm's correction acts within a family

    def __post_init__(self):
        stats.Hypothesis(self.smallest_effect, self.margin, self.kind)

    def spec(self) -> dict[str, Any]:
        """What is hashed with the benchmark, so that it can't be moved once data are seen."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        # a function has no stable text; what it gives is said in words
        needs = [dataclasses.asdict(need) for need in self.quantity.needs]
        return {**fields, "quantity": {"title": self.quantity.title, "needs": needs}}


def judge(claims: Sequence[Claim], rows: Sequence[Row]) -> list[dict[str, Any]]:
    """One record per claim, in order; Holm acts within each family.

    `verdict` is "supported", "refuted" or "undecided"; `lo` and `hi` are None below five units,
    where nothing is decided. `detectable` is the difference from 0 that so many units would find
    four times out of five.
    """
    observed = Observed(rows)
    estimates = {claim.name: observed.estimate(claim.quantity) for claim in claims}
    intervals = {
        name: stats.nested_interval(list(estimate.by_unit.values()), list(estimate.by_unit))
        for name, estimate in estimates.items()
    }
    decided: dict[str, str] = {}
    for family in dict.fromkeys(claim.family for claim in claims):
        members = {c.name: c for c in claims if c.family == family}
        tests = {
            name: stats.Hypothesis(c.smallest_effect, c.margin, c.kind)
            for name, c in members.items()
        }
        decided |= stats.family_verdicts({name: intervals[name] for name in members}, tests)
    return [
        _record(claim, intervals[claim.name], decided[claim.name], estimates[claim.name])
        for claim in claims
    ]


def write_verdicts(
    folder: str | os.PathLike[str], benchmark: str, pilot: bool, found: Sequence[Mapping[str, Any]]
) -> Path:
    """Write `verdicts.json`: a list of records, each with its benchmark and whether it is a pilot.

    A pilot's verdict says where to look; it is confirmed on other worlds before it is quoted.
    """
    records = [{"benchmark": benchmark, "pilot": pilot, **record} for record in found]
    text = json.dumps(records, indent=2, ensure_ascii=False, allow_nan=False)
    return atomic.write_text(Path(folder) / VERDICTS, text + "\n")


def _record(
    claim: Claim, interval: stats.Interval, decided: str, estimate: Estimate
) -> dict[str, Any]:
    number = lambda v: None if v is None or not math.isfinite(v) else float(v)
    return {
        "hypothesis": claim.name,
        "statement": claim.statement,
        "verdict": decided,
        "estimate": number(interval.estimate),
        "lo": number(interval.lo),
        "hi": number(interval.hi),
        "n": interval.n,
        "method": interval.method,
        "points": [float(p) for p in interval.points],
        "quantity": claim.quantity.title,
        "claim": claim.kind,
        "smallest_effect": claim.smallest_effect,
        "margin": claim.margin,
        "family": claim.family,
        "detectable": number(stats.detectable_effect(interval)),
        "would_change": claim.changes,
        "defined": estimate.defined,
        "observations": estimate.total,
        "reason": estimate.reason,
    }
