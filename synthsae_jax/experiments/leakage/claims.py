"""The claims of leakage@1."""

from __future__ import annotations

import math
from collections.abc import Sequence

from synthsae_jax.io.rows import Row
from synthsae_jax.suite.claims import Claim
from synthsae_jax.suite.study.select import by_world, mean

FRESH = "disjoint, other init, other order"
SAME_INIT = "disjoint, same init, other order"
SAME_ORDER = "disjoint, other init, same order"
BOTH = "disjoint, same init, same order"


def faked(rows: Sequence[Row], condition: str, **columns: object) -> float:
    """What a condition adds to the share above .7 of two fresh runs without a common feature."""
    at = {"metric": "above_0.7", "variant": "all", **columns}
    return mean(rows, condition=condition, **at) - mean(rows, condition=FRESH, **at)


def _end(arm: str, condition: str):
    return by_world(lambda rows: faked(rows, condition, factor_arm=arm, factor_stage=1.0))


def _rare(rows: list[Row]) -> float:
    at = {"factor_arm": "topk", "factor_stage": 1.0, "metric": "above_0.7"}
    rest = mean(rows, condition=SAME_INIT, variant=("q2", "q3", "q4"), **at)
    # the mean over what there is: a world may have no dead latent
    return mean(rows, condition=SAME_INIT, variant=("dead", "q1"), **at) - rest


def _worst(rows: list[Row]) -> float:
    worst = faked(rows, SAME_INIT, factor_arm="topk, worst", factor_stage=1.0)
    return worst - faked(rows, SAME_INIT, factor_arm="topk", factor_stage=1.0)


def _together(rows: list[Row]) -> float:
    at = {"factor_arm": "topk", "factor_stage": 1.0}
    both = faked(rows, BOTH, **at)
    alone = faked(rows, SAME_INIT, **at), faked(rows, SAME_ORDER, **at)
    return both - sum(alone) if not any(map(math.isnan, alone)) else math.nan


_SHARE = "share of latents above .7, same less other initialisation, disjoint, other order"
_CHANGES = "Shorter training, smaller learning rates, wider SAEs, or a larger norm at the start."
CLAIMS = (
    Claim(
        "H8a",
        "From a common start, TopK SAEs of two models without a common feature end up with more "
        "than a tenth of their latents alike.",
        _SHARE,
        _end("topk", SAME_INIT),
        smallest_effect=0.1,
        margin=0.02,
        changes=_CHANGES,
    ),
    Claim(
        "H8a standard",
        "So do standard L1 SAEs.",
        _SHARE,
        _end("standard", SAME_INIT),
        smallest_effect=0.1,
        margin=0.02,
        changes=_CHANGES,
    ),
    Claim(
        "H8a rare",
        "What is alike from a common start sits in dead and rare latents.",
        "share above .7 among the dead and the rarest quarter less that of the others, TopK",
        by_world(_rare),
        smallest_effect=0.1,
        margin=0.02,
        changes="SAEs with dead latents: here nearly all live.",
    ),
    Claim(
        "H8b",
        "Few dimensions, rows of norm 1 at the start and a short training make it worse.",
        "what a common start adds in that arm less what it adds in the usual one, TopK",
        by_world(_worst),
        smallest_effect=0.1,
        margin=0.02,
        changes="How short the training is, against the rate at which weights move.",
    ),
    Claim(
        "H8 order",
        "A common order of the data alone fakes nothing.",
        "share of latents above .7, same less other order, disjoint, other initialisation, TopK",
        _end("topk", SAME_ORDER),
        smallest_effect=0.02,
        margin=0.02,
        kind="equivalent",
        changes="Training so short that single batches show in the weights.",
        family="order",
    ),
    Claim(
        "H8 together",
        "A common order adds nothing to a common start either.",
        "share above .7 under both less the sum of what each adds alone, TopK",
        by_world(_together),
        smallest_effect=0.02,
        margin=0.02,
        kind="equivalent",
        changes="Training so short that single batches show in the weights.",
        family="order",
    ),
)
