"""Claims of a benchmark: fixed before its worlds are drawn, judged from its rows afterwards."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from synthsae_jax import verdicts
from synthsae_jax.errors import check_choice, require
from synthsae_jax.io import atomic
from synthsae_jax.io.rows import Row
from synthsae_jax.suite.band import Band, unsettled_by
from synthsae_jax.suite.quantity import Estimate, Observed, Quantity

VERDICTS_FILE = "verdicts.json"
# What SAEs a claim is about, from those that know nothing of the data to those that know the truth.
# A matcher's verdict on one rung says little of the next: much of it grades the SAE.
RUNGS = ("untrained", "trained", "learned encoder", "oracle")
# of a check, which has no smallest effect that matters: it is built to come out
CHECKED: Mapping[str, str] = {"supported": "holds", "undecided": "open"}


@dataclasses.dataclass(frozen=True)
class Claim:
    """A hypothesis about a quantity's mean over worlds, with what it takes to settle it."""

    name: str  # "H1a"
    statement: str  # one sentence, as a person would say it
    quantity: Quantity
    smallest_effect: float = 0.0  # its sign is the direction
    margin: float = 0.0
    changes: str = ""  # what would change the verdict
    kind: str = "effect"  # or "equivalent", "noninferior": see `verdicts.verdict`
    family: str = "primary"  # Holm's correction acts within a family
    rung: str = ""  # which SAEs it is about, of `RUNGS`; "": it is about no matcher or score
    beside: Mapping[str, Quantity] = dataclasses.field(default_factory=dict)  # other rung -> number
    band: Band | None = None  # undecided where the sign depends on what is called true
    check: bool = False  # true by construction: printed apart, takes no part in a family

    def __post_init__(self):
        verdicts.Hypothesis(self.smallest_effect, self.margin, self.kind)
        for rung in (self.rung, *self.beside):
            if rung:
                check_choice(f"rung of claim {self.name}", rung, RUNGS)
        require(
            self.rung not in self.beside,
            f"Claim {self.name}: its own rung {self.rung!r} stands beside it as well.",
        )

    def spec(self) -> dict[str, Any]:
        """What is hashed with the benchmark, so that it can't be moved once data are seen."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        # what stands beside a claim does not decide it
        del fields["beside"]
        for name in ("rung", "band", "check"):
            # a field that came later leaves the hash of claims without it as it was
            if not fields[name]:
                del fields[name]
        if self.band is not None:
            fields["band"] = sorted(self.band.truths)
        # a function has no stable text; what it gives is said in words
        needs = [dataclasses.asdict(need) for need in self.quantity.needs]
        return {**fields, "quantity": {"title": self.quantity.title, "needs": needs}}

    def quantities(self) -> tuple[Quantity, ...]:
        """Everything that it reads."""
        of_band = self.band.quantities() if self.band else ()
        return (self.quantity, *self.beside.values(), *of_band)


def judge(claims: Sequence[Claim], rows: Sequence[Row]) -> list[dict[str, Any]]:
    """One record per claim, in order; Holm acts within each family.

    `verdict` is one of `verdicts.VERDICTS`, of a check "holds", "fails" or "open"; `lo` and `hi`
    are None below five units, where nothing is decided. `unsettled` says why a decision of the
    interval alone does not stand. `detectable` is the difference from 0 that so many units would
    find four times out of five.
    """
    observed = Observed(rows)
    estimates = {claim.name: observed.estimate(claim.quantity) for claim in claims}
    decisions: dict[str, verdicts.Verdict] = {}
    # a check would only take power from the claims of its family
    for family in dict.fromkeys((claim.family, claim.check) for claim in claims):
        members = {c.name: c for c in claims if (c.family, c.check) == family}
        hypotheses = {
            name: verdicts.Hypothesis(c.smallest_effect, c.margin, c.kind)
            for name, c in members.items()
        }
        intervals = {name: estimates[name].interval for name in members}
        decisions |= verdicts.family_verdicts(intervals, hypotheses)
    return [_record(c, decisions[c.name], estimates[c.name], observed) for c in claims]


def write_verdicts(
    folder: str | os.PathLike[str], benchmark: str, pilot: bool, judged: Sequence[Mapping[str, Any]]
) -> Path:
    """Write `verdicts.json`: a list of records, each with its benchmark and whether it is a pilot.

    A pilot's verdict says where to look; it is confirmed on other worlds before it is quoted.
    """
    records = [{"benchmark": benchmark, "pilot": pilot, **record} for record in judged]
    text = json.dumps(records, indent=2, ensure_ascii=False, allow_nan=False)
    return atomic.write_text(Path(folder) / VERDICTS_FILE, text + "\n")


def _record(
    claim: Claim, verdict: verdicts.Verdict, estimate: Estimate, observed: Observed
) -> dict[str, Any]:
    interval = estimate.interval
    number = lambda v: None if v is None or not math.isfinite(v) else float(v)
    more: dict[str, Any] = {}
    if claim.rung:
        more["rung"] = claim.rung
        more["beside"] = {
            rung: number(observed.estimate(quantity).value)
            for rung, quantity in claim.beside.items()
        }
    if claim.band is not None:
        under, left_out = claim.band.over(observed)
        more["band"] = [min(under.values()), max(under.values())] if under else None
        more["truths"] = {"in": sorted(under), "out": left_out}
        if verdict != "undecided" and (why := unsettled_by(under, claim.kind, claim.margin)):
            verdict, more["unsettled"] = "undecided", why
    return {
        "hypothesis": claim.name,
        "statement": claim.statement,
        "verdict": CHECKED.get(verdict, "fails") if claim.check else verdict,
        "estimate": number(interval.estimate),
        "lo": number(interval.lo),
        "hi": number(interval.hi),
        "n": interval.n,
        "method": interval.method,
        "points": [float(p) for p in interval.points],
        "quantity": claim.quantity.title,
        "claim": "check" if claim.check else claim.kind,
        "smallest_effect": claim.smallest_effect,
        "margin": claim.margin,
        "family": claim.family,
        "detectable": number(verdicts.detectable_effect(interval)),
        "would_change": claim.changes,
        "defined": estimate.defined,
        "observations": estimate.total,
        "reason": estimate.reason,
        **more,
    }
