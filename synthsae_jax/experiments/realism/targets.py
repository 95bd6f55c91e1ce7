"""The published numbers of realism@1: what each is, which half it belongs to, what agrees with it.

The order is that in which the numbers were collected; odd places are what settings are fitted on,
even places what they are judged by. Both were fixed before any world was drawn.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

FIT, JUDGE = "fit", "judge"
_ABOVE_ZERO = 1e-6  # no difference at all has no sign
# a level agrees within this; the mismatch of all is counted in it
TOLERANCE = 0.1
# no number decides alone: mismatches count at most this many tolerances
WORST = 3.0

SEEDS = "arXiv 2501.16615"
SEEDS_FILES = "index files of arXiv 2501.16615"
CONSISTENCY = "arXiv 2505.20254"
SPACES = "arXiv 2410.06981"
ROTATION = "arXiv 2605.24577"
SANITY = "arXiv 2602.14111"
CODES = "OpenReview JiyytGKbA9"
STITCHING = "arXiv 2502.04878"

# variants of rows: SAEs that are held against the usual ones
TWICE_K, WIDE, EARLY = "twice k", "twice the width", "an eighth of the training"


@dataclasses.dataclass(frozen=True)
class Target:
    """A published number and the rows that answer it: those of this metric and variant.

    It agrees with `lo` to `hi`, give or take `tolerance`: a level's is `TOLERANCE`; a sign, a bound
    and a published range have none.
    """

    name: str
    published: str  # as it is printed
    lo: float
    hi: float
    source: str
    metric: str
    variant: str
    tolerance: float = 0.0
    across: bool = False  # between models: depends on what the second one shares

    def outside(self, value: float) -> float:
        """How far outside of what was published; infinite for an undefined value."""
        return math.inf if math.isnan(value) else max(self.lo - value, value - self.hi, 0.0)

    def distance(self, value: float) -> float:
        """`outside` in tolerances of a level, at most `WORST`.

        What the target's own tolerance allows counts too: between two settings that agree the
        nearer one fits better.
        """
        return min(self.outside(value) / TOLERANCE, WORST)

    def agrees(self, value: float) -> bool:
        """Is it what was published? An undefined value is not."""
        return self.lo - self.tolerance <= value <= self.hi + self.tolerance

    def spec(self) -> dict[str, Any]:
        """What is hashed with a benchmark; text, since JSON has no infinity."""
        return {**{k: str(v) for k, v in dataclasses.asdict(self).items()}, "half": self.half}

    @property
    def half(self) -> str:
        """`FIT` at odd places of the list, `JUDGE` at even ones."""
        return (FIT, JUDGE)[TARGETS.index(self) % 2]


def _level(name: str, value: float, source: str, metric: str, variant: str) -> Target:
    return Target(name, f"{value:g}", value, value, source, metric, variant, TOLERANCE)


def _range(name: str, lo: float, hi: float, source: str, metric: str) -> Target:
    return Target(name, f"{lo:g} to {hi:g}", lo, hi, source, metric, "", across=True)


def _sign(name: str, published: str, source: str, metric: str, variant: str) -> Target:
    return Target(name, published, _ABOVE_ZERO, math.inf, source, metric, variant)


TARGETS = (
    _level("shared, TopK", 0.42, SEEDS, "shared", "topk"),
    Target("shared, L1", "above 0.9", 0.9, 1.0, SEEDS, "shared", "standard"),
    _level("in no other seed, TopK", 0.35, SEEDS, "never_matched", "topk"),
    _level("PW-MCC, TopK", 0.818, CONSISTENCY, "pw_mcc", "topk"),
    _level("PW-MCC, BatchTopK", 0.766, CONSISTENCY, "pw_mcc", "batchtopk"),
    _level("PW-MCC, L1", 0.474, CONSISTENCY, "pw_mcc", "standard"),
    _level("PW-MCC, rarest fifth", 0.514, CONSISTENCY, "pw_mcc_rarest", "topk"),
    _level("PW-MCC, commonest fifth", 0.964, CONSISTENCY, "pw_mcc_commonest", "topk"),
    _level("truth less PW-MCC, few latents", 0.15, CONSISTENCY, "mcc_less_pw_mcc", "topk"),
    _level("both assignments agree", 0.80, SEEDS_FILES, "agreement", "topk"),
    _level("cycles close", 0.52, SEEDS_FILES, "cycles", "topk"),
    _level("agreed on all edges", 0.60, SEEDS_FILES, "agreed", "topk"),
    _level("of those, cycles close", 0.78, SEEDS_FILES, "closed", "topk"),
    Target("two modes of cosine", "yes", 0.1, math.inf, SEEDS, "valley", "topk"),
    _sign("wider shares less", "yes", SEEDS, "shared_lost", WIDE),
    _sign("larger k shares less", "yes", SEEDS, "shared_lost", TWICE_K),
    _sign("longer shares more", "yes", SEEDS, "shared_lost", EARLY),
    _range("mean best correlation", 0.28, 0.77, SPACES, "mean_best_r"),
    _range("pairs kept by filters", 0.10, 0.30, SPACES, "kept"),
    _range("rank-1 SVCCA", 0.01, 0.68, SPACES, "svcca_rank1"),
    _range("RSA", 0.01, 0.21, SPACES, "rsa"),
    Target("EV on another model", "below 0", -math.inf, 0.0, ROTATION, "ev_across", "raw"),
    Target("EV lost after a rotation", "within 0.025", -1.0, 0.025, ROTATION, "ev_lost", "turned"),
    _level("EV where little is recovered", 0.71, SANITY, "explained_variance", "topk"),
    _level("features recovered", 0.09, SANITY, "recovered", "topk"),
    _level("support under another encoder", 0.43, CODES, "support_jaccard", "pursuit"),
    Target("linear map of those codes", "above 0.88", 0.88, 1.0, CODES, "linear_r2", "pursuit"),
    _level("novel latents of a wider SAE", 0.35, STITCHING, "novel", WIDE),
)

# published numbers that no row answers, and why
LEFT_OUT = (
    (
        "power law with offset of latents by number of seeds",
        "its offset is not printed; the share in no other seed stands for it",
    ),
    (
        "PW-MCC .737 (gated), .495 (JumpReLU)",
        "left to larger budgets: a compiled program each",
    ),
    (
        "truth .95, PW-MCC .77 with more latents than features",
        "SAEs here have fewer latents than features, as those on language models must have",
    ),
    ("raw neurons .09 against SAEs .24 to .34 (SVCCA)", "worlds have no neurons with weights"),
    ("transfer saves 30 to 50 % of the computation", "an experiment of its own"),
    (
        "random baselines come near trained SAEs (.87 and .90; .69 and .72; .73 and .72)",
        "scores by language models, which worlds do not have",
    ),
    ("same start, other data: orderedness 1, stability .8", "leakage@1 measures starts"),
    ("SynthSAEBench-16k's table", "its scale is beyond these worlds: only its orders are asked"),
)
