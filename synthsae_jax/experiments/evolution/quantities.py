"""The numbers of evolution@1: curves over steps, and when each has reached most of its end."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from synthsae_jax.experiments.evolution.measure import DISJOINT, MATURITY, SHARED, TRAINING
from synthsae_jax.suite.needs import Need, Values
from synthsae_jax.suite.quantity import Quantity, combined, number

REACHED = 0.9
WIDTH = "share of the width"
TRUTH, BEST_R, ALIGNED, CKA = "truly shared", "r > .1", "aligned cosine > .7", "CKA, debiased"
# what is followed: metric, variant, unit; the truth first
CURVES: Mapping[str, tuple[str, str, str]] = {
    TRUTH: ("declared", "truth", WIDTH),
    BEST_R: ("declared", "best_correlation_0.1", WIDTH),
    ALIGNED: ("declared", "decoder_cosine_0.7_aligned", WIDTH),
    "mean best correlation": ("score", "mean_best_correlation", "correlation"),
    "mean best cosine": ("score", "mean_best_cosine", "cosine"),
    CKA: ("score", "cka_debiased", "similarity"),
    "RSA": ("score", "rsa", "similarity"),
}
RELATIONAL = (CKA, "RSA")  # of matched pairs together: they have no quarters, and a dealt chance
_NO_END = "the curve does not end above 0"


def curve(name: str, arm: str, quarter: str = "") -> Quantity:
    """What is followed, of models that share all features; at some age once `at(age=...)`."""
    metric, variant, unit = CURVES[name]
    metric = f"{metric}_{quarter}" if quarter else metric
    return number(metric, variant, title=name, unit=unit, arm=arm, condition=SHARED)


def chance(name: str, arm: str) -> Quantity | None:
    """Its level by chance: models without a common feature, or the same rows out of order."""
    metric, variant, unit = CURVES[name]
    if name in RELATIONAL:
        return number(metric, f"{variant}/chance", unit=unit, arm=arm, condition=SHARED)
    if arm == MATURITY:
        return None
    return number(metric, variant, unit=unit, arm=arm, condition=DISJOINT)


def reached(steps: Sequence[float], values: Sequence[float], share: float = REACHED) -> float:
    """The step at which a curve first comes to `share` of its last value; NaN without one.

    Between snapshots it is read off a line over the logarithm of the step. A curve that starts
    there is given its first step: it was there by then. NaN where the end is not above 0.
    """
    x, y = np.asarray(steps, float), np.asarray(values, float)
    finite = np.isfinite(y)
    x, y = x[finite], y[finite]
    if not y.size or y[-1] <= 0:
        return math.nan
    target = share * y[-1]
    at = int(np.argmax(y >= target))
    if at == 0:
        return float(x[0])
    part = (target - y[at - 1]) / (y[at] - y[at - 1])
    low, high = np.log(x[at - 1 : at + 1])
    return float(np.exp(low + part * (high - low)))


def step_of(name: str, arm: str, quarter: str = "") -> Quantity:
    """The step at which a curve has reached nine tenths of its end."""

    def of_world(values: Values) -> float:
        points = sorted(values.by("age").items())
        return reached([step for step, _ in points], [value for _, value in points])

    of = curve(name, arm, quarter)
    return dataclasses.replace(
        of, name=f"step of {of.name}", unit="steps", of_world=of_world, undefined=_NO_END
    )


def _ahead(later: Quantity, sooner: Quantity, title: str) -> Quantity:
    return combined(
        lambda a, b: math.log2(a / b),
        later,
        sooner,
        name=f"{later.name} over {sooner.name}",
        title=title,
        unit="doublings",
        undefined=_NO_END,
    )


def ahead(name: str, arm: str) -> Quantity:
    """Doublings by which a score is there before the truth."""
    title = f"log2 of the truth's step over that of {name}, each at nine tenths of its end"
    return _ahead(step_of(TRUTH, arm), step_of(name, arm), title)


RARE = _ahead(
    step_of(TRUTH, TRAINING, "q1"),
    step_of(TRUTH, TRAINING, "q4"),
    "log2 of the truth's step for the rarest quarter over that for the most frequent",
)


def _end(values: Values, places: int) -> list[float]:
    return [value for _, value in sorted(values.by("age").items())][-places:]


def _rise(values: Values) -> float:
    last = _end(values, 2)
    return last[-1] - last[0] if len(last) == 2 else math.nan


def _first(values: Values) -> float:
    points = values.by("age")
    return points[min(points)] if points else math.nan


def _features(values: Values) -> float:
    of_rows = [row["factor_features"] for row in values.rows]
    return float(np.mean(of_rows)) if of_rows else math.nan


_TRUE = curve(TRUTH, TRAINING)
STILL_RISING = dataclasses.replace(
    _TRUE,
    name="rise between the last two snapshots",
    title="rise of what is truly shared between the last two snapshots",
    of_world=_rise,
    undefined="there are not two snapshots",
)
FROM_THE_START = dataclasses.replace(
    curve(BEST_R, TRAINING),
    name="r > .1 at the first snapshot",
    title="what r > .1 declares at the first snapshot",
    of_world=_first,
)
FEATURES = Quantity(
    "features",
    "features present",
    "features",
    (Need("true_universality", "truth").at((("factor_arm", (MATURITY,)),)),),
    _features,
)
UNIVERSALITY = tuple(
    number(metric, "truth", title=title, unit="share of latents", arm=MATURITY)
    for metric, title in (
        ("true_universality", "true universality of the SAEs"),
        ("true_universality_least", "by the strictest truth"),
        ("true_universality_most", "by the most lenient truth"),
    )
)
