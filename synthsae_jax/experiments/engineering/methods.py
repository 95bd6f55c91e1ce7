"""The methods of engineering@1, each with what it costs and the baseline it is held against.

Strengths are those of four with the highest MCC on a dev world (the stronger at a tie), and the
learning rate is the baseline's by the same rule, so that methods had no more trials than it.
"""

from __future__ import annotations

import dataclasses
from typing import Any

# two SAEs of different groups, or of one: what the latter have in common may be forced
BETWEEN, WITHIN = "between", "within"


@dataclasses.dataclass(frozen=True)
class Method:
    """One way to train. `samples`: those that all SAEs of a group see, over one SAE's."""

    name: str
    sae: str = "batchtopk"
    how: str = "alone"  # or "shared init", "pooled", "joint"
    numbers: tuple[tuple[str, Any], ...] = ()  # options of the SAE besides k
    samples: int = 1
    against: str = "batchtopk"  # the baseline with as many samples


POOL = 4  # seeds; a fifth training starts from what they have in common
TWICE, POOL_TIMES = "batchtopk, 2 x", "batchtopk, 5 x"
BASELINES = ("batchtopk", "topk", TWICE, POOL_TIMES)


def _aligned(alignment: float, orthogonality: float) -> tuple[tuple[str, Any], ...]:
    """Penalties of both kinds in one program."""
    names = ("exact", "alignment_coefficient", "orthogonality_coefficient")
    return tuple(zip(names, (False, alignment, orthogonality), strict=True))


METHODS = {
    method.name: method
    for method in (
        Method("batchtopk"),
        Method("topk", sae="topk"),
        Method(TWICE, samples=2, against=TWICE),
        Method(POOL_TIMES, samples=POOL + 1, against=POOL_TIMES),
        Method("shared init", how="shared init"),
        Method("orthogonal", sae="aligned", numbers=_aligned(0.0, 10.0)),
        Method("aligned", sae="aligned", numbers=_aligned(10.0, 0.0)),
        Method("ordered", sae="ordered", numbers=(("prefix_loss_weight", 1.0),)),
        Method("archetypal", sae="archetypal", numbers=(("relaxation_bound", 3.0),)),
        Method("matryoshka", sae="matryoshka"),
        Method("pooled", how="pooled", samples=POOL + 1, against=POOL_TIMES),
        Method(
            "consistency",
            sae="mutual",
            how="joint",
            numbers=(("mutual_coefficient", 1.0),),
            samples=2,
            against=TWICE,
        ),
        Method("universal", sae="universal", how="joint", samples=2, against=TWICE),
        Method("crosscoder", sae="crosscoder", how="joint", samples=2, against=TWICE),
    )
}

# the baseline with as many samples, by the name in rows
AGAINST = {method.name: method.against for method in METHODS.values()} | {
    name: POOL_TIMES for name in ("pooled, retrained", "pooled, frozen")
}
