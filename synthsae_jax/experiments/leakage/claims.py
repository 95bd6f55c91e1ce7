"""The quantities and claims of leakage@1."""

from __future__ import annotations

import math

import numpy as np

from synthsae_jax.experiments.leakage.setting import BOTH, END, FRESH, GROUPS, SAME_INIT, SAME_ORDER
from synthsae_jax.suite.claims import Claim
from synthsae_jax.suite.needs import Values
from synthsae_jax.suite.quantity import Quantity, combined, number

SHARE = "share of latents"
ALIKE = number("above_0.7", "all", title="latents above .7", unit=SHARE)
BY_NUMBER = number("above_0.7", "in place", title="by number alone", unit=SHARE)
NEAR_START = number("near_start", "all", title="still near their start", unit=SHARE)
# of the whole dictionary, as the shares above .7 are; other experiments take the living latents
TRULY_SHARED = number("true_universality", "truth", title="truly shared", unit=SHARE)


def faked(title: str, condition: str = SAME_INIT, stage: float = END, **where: str) -> Quantity:
    """What a condition adds to the share above .7 of two fresh runs without a common feature."""
    of_stage = ALIKE.at(stage=stage, **where)
    return (of_stage.at(condition=condition) - of_stage.at(condition=FRESH)).called(title)


def _rare_less_rest(*values: Values) -> float:
    # the mean over what there is: a world may have no dead latent
    rare, others = (np.concatenate([v.defined for v in part]) for part in (values[:2], values[2:]))
    return float(rare.mean() - others.mean()) if rare.size and others.size else math.nan


RARE = Quantity(
    "above .7 by rate",
    "share above .7 among the dead and the rarest quarter less that of the others, TopK",
    SHARE,
    tuple(need for name in GROUPS for need in number("above_0.7", name).needs),
    _rare_less_rest,
).at(arm="topk", condition=SAME_INIT, stage=END)
_ADDED = "share of latents above .7, same less other"
FAKED = faked(f"{_ADDED} initialisation, disjoint, other order")
BY_ORDER = faked(f"{_ADDED} order, disjoint, other initialisation", SAME_ORDER)
WORST = (FAKED.at(arm="topk, worst") - FAKED.at(arm="topk")).called(
    "what a common start adds in that arm less what it adds in the usual one, TopK"
)
TOGETHER = combined(
    lambda both, init, order: both - (init + order),
    faked("both", BOTH, arm="topk"),
    FAKED.at(arm="topk"),
    BY_ORDER.at(arm="topk"),
    name="faked by both, beyond the sum",
    title="share above .7 under both less the sum of what each adds alone, TopK",
)

_CHANGES = "Shorter training, smaller learning rates, wider SAEs, or a larger norm at the start."
CLAIMS = (
    Claim(
        "H8a",
        "From a common start, TopK SAEs of two models without a common feature end up with more "
        "than a tenth of their latents alike.",
        FAKED.at(arm="topk"),
        smallest_effect=0.1,
        margin=0.02,
        changes=_CHANGES,
    ),
    Claim(
        "H8a standard",
        "So do standard L1 SAEs.",
        FAKED.at(arm="standard"),
        smallest_effect=0.1,
        margin=0.02,
        changes=_CHANGES,
    ),
    Claim(
        "H8a rare",
        "What is alike from a common start sits in dead and rare latents.",
        RARE,
        smallest_effect=0.1,
        margin=0.02,
        changes="SAEs with dead latents: here nearly all live.",
    ),
    Claim(
        "H8b",
        "Few dimensions, rows of norm 1 at the start and a short training make it worse.",
        WORST,
        smallest_effect=0.1,
        margin=0.02,
        changes="How short the training is, against the rate at which weights move.",
    ),
    Claim(
        "H8 order",
        "A common order of the data alone fakes nothing.",
        BY_ORDER.at(arm="topk"),
        smallest_effect=0.02,
        margin=0.02,
        kind="equivalent",
        changes="Training so short that single batches show in the weights.",
        family="order",
    ),
    Claim(
        "H8 together",
        "A common order adds nothing to a common start either.",
        TOGETHER,
        smallest_effect=0.02,
        margin=0.02,
        kind="equivalent",
        changes="Training so short that single batches show in the weights.",
        family="order",
    ),
)
