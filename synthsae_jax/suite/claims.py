"""Claims of a benchmark: fixed before its worlds are drawn, judged from its rows afterwards."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Callable, Hashable, Mapping, Sequence
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
    quantity: Quantity | str  # (text: what `estimate` gives, for experiments without quantities)
    estimate: Callable[[Sequence[Row]], Mapping[Hashable, float]] | None = None
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
        del fields["estimate"]
        if isinstance(self.quantity, Quantity):
            needs = [dataclasses.asdict(need) for need in self.quantity.needs]
            fields["quantity"] = {"title": self.quantity.title, "needs": needs}
        return fields

    def quantities(self) -> tuple[Quantity, ...]:
        """What it reads."""
        return (self.quantity,) if isinstance(self.quantity, Quantity) else ()

    @property
    def said(self) -> str:
        """What the number is, in words."""
        return self.quantity.title if isinstance(self.quantity, Quantity) else self.quantity

    def by_unit(self, rows: Observed) -> tuple[Mapping[Hashable, float], Estimate | None]:
        """One value per unit, and where it comes from a quantity the whole estimate."""
        if isinstance(self.quantity, Quantity):
            estimate = rows.estimate(self.quantity)
            return estimate.by_unit, estimate
        assert self.estimate is not None
        return self.estimate(rows.rows), None


def judge(claims: Sequence[Claim], rows: Sequence[Row]) -> list[dict[str, Any]]:
    """One record per claim, in order; Holm acts within each family.

    `verdict` is "supported", "refuted" or "undecided"; `lo` and `hi` are None below five units,
    where nothing is decided. `detectable` is the difference from 0 that so many units would find
    four times out of five.
    """
    intervals: dict[str, stats.Interval] = {}
    estimates: dict[str, Estimate | None] = {}
    observed = Observed(rows)
    for claim in claims:
        by_unit, estimates[claim.name] = claim.by_unit(observed)
        intervals[claim.name] = stats.nested_interval(list(by_unit.values()), list(by_unit))
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
    claim: Claim, interval: stats.Interval, decided: str, estimate: Estimate | None
) -> dict[str, Any]:
    number = lambda v: None if v is None or not math.isfinite(v) else float(v)
    rests = {}
    if estimate is not None:
        rests = {
            "defined": estimate.defined,
            "observations": estimate.total,
            "reason": estimate.reason,
        }
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
        "quantity": claim.said,
        "claim": claim.kind,
        "smallest_effect": claim.smallest_effect,
        "margin": claim.margin,
        "family": claim.family,
        "detectable": number(stats.detectable_effect(interval)),
        "would_change": claim.changes,
        **rests,
    }
