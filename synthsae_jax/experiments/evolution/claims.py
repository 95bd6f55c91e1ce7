"""The claims of evolution@1, and the step at which a curve has reached most of its end."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from synthsae_jax.io.rows import Row
from synthsae_jax.suite.claims import Claim
from synthsae_jax.suite.study.select import by_world, select

REACHED = 0.9
SHARED, TRAINING, MATURITY = "shared", "training", "maturity"
# what is followed: the truth first, then scores by their columns
CURVES: Mapping[str, tuple[str, str]] = {
    "truth": ("truth", "declared"),
    "r > .1": ("best_correlation_0.1", "declared"),
    "aligned cosine > .7": ("decoder_cosine_0.7_aligned", "declared"),
    "mean best correlation": ("mean_best_correlation", "score"),
    "mean best cosine": ("mean_best_cosine", "score"),
    "CKA, debiased": ("cka_debiased", "score"),
    "RSA": ("rsa", "score"),
}


def reached(steps: Sequence[float], values: Sequence[float], share: float = REACHED) -> float:
    """The step at which a curve first comes to `share` of its last value; NaN without one.

    Between snapshots it is read off a line over the logarithm of the step. A curve that starts
    there is given its first step: it was there by then. NaN where the end is not above 0.
    """
    x, y = np.asarray(steps, float), np.asarray(values, float)
    kept = np.isfinite(y)
    x, y = x[kept], y[kept]
    if not y.size or y[-1] <= 0:
        return math.nan
    target = share * y[-1]
    at = int(np.argmax(y >= target))
    if at == 0:
        return float(x[0])
    part = (target - y[at - 1]) / (y[at] - y[at - 1])
    low, high = np.log(x[at - 1 : at + 1])
    return float(np.exp(low + part * (high - low)))


def curve(rows: Sequence[Row], arm: str, name: str, quarter: str = "") -> dict[float, float]:
    """One world's values by step (of the training, or of the models' own), pairs averaged."""
    variant, metric = CURVES[name]
    here = select(
        rows,
        factor_arm=arm,
        condition=SHARED,
        variant=variant,
        metric=metric + (f"_{quarter}" if quarter else ""),
    )
    found: dict[float, list[float]] = {}
    for row in here:
        if row["value"] is not None:
            found.setdefault(row["factor_age"], []).append(row["value"])
    return {step: float(np.mean(found[step])) for step in sorted(found)}


def step_of(rows: Sequence[Row], arm: str, name: str, quarter: str = "") -> float:
    """The step at which one world's curve has reached nine tenths of its end."""
    found = curve(rows, arm, name, quarter)
    return reached(list(found), list(found.values()))


def _ahead(arm: str, name: str):
    """Doublings by which a score is there before the truth."""

    def of_world(rows: list[Row]) -> float:
        return math.log2(step_of(rows, arm, "truth") / step_of(rows, arm, name))

    return by_world(of_world)


def _rare(rows: list[Row]) -> float:
    steps = [step_of(rows, TRAINING, "truth", q) for q in ("q1", "q4")]
    return math.log2(steps[0] / steps[1])


_STEPS = "log2 of the truth's step over the score's, each at nine tenths of its end"
_CHANGES = "A longer training, other learning rates, or another share of the end than .9."
CLAIMS = (
    Claim(
        "E10a",
        "The share with r > .1 settles long before what is truly shared.",
        _STEPS,
        _ahead(TRAINING, "r > .1"),
        smallest_effect=0.5,
        margin=0.1,
        changes=_CHANGES,
    ),
    Claim(
        "E10b",
        "The share with an aligned cosine above .7 settles when the truth does.",
        _STEPS,
        _ahead(TRAINING, "aligned cosine > .7"),
        smallest_effect=0.5,
        margin=0.5,
        kind="equivalent",
        changes=_CHANGES,
    ),
    Claim(
        "E10c",
        "The relations among decoder rows settle long before what is truly shared.",
        _STEPS.replace("score's", "debiased CKA's"),
        _ahead(TRAINING, "CKA, debiased"),
        smallest_effect=0.5,
        margin=0.1,
        changes=_CHANGES,
    ),
    Claim(
        "E10d",
        "Rare features become shared later than frequent ones.",
        "log2 of the truth's step for the rarest quarter over that for the most frequent",
        by_world(_rare),
        smallest_effect=0.5,
        margin=0.1,
        changes="A flatter law of firing.",
    ),
    Claim(
        "E10e",
        "As the models mature, the share with r > .1 follows what is truly shared.",
        _STEPS + ", in steps of the models' own training",
        _ahead(MATURITY, "r > .1"),
        smallest_effect=0.5,
        margin=0.5,
        kind="equivalent",
        changes="Models whose features come up more slowly, or one by one.",
        family="maturity",
    ),
)
