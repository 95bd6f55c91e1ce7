"""The numbers of engineering@1: of single SAEs, of pairs, and what a method adds to its baseline.

A method's gain is over the baseline that saw as many samples; the baseline's pairs always are of
different groups.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from synthsae_jax.experiments.engineering.methods import (
    BASELINES,
    BETWEEN,
    METHODS,
    POOL_TIMES,
    RESULTS,
    SHARED,
    ZEROS,
)
from synthsae_jax.experiments.engineering.numbers import CHANCE, CODES, NEAREST, NORMS, PW_MCC
from synthsae_jax.suite.needs import Values
from synthsae_jax.suite.pair import TRUTH
from synthsae_jax.suite.quantity import Quantity, combined, number

_LATENTS = "share of latents"
F1 = number("f1", title="F1")
MCC = number("mcc", title="MCC")
EXPLAINED = number("explained_variance", title="EV", unit="variance")
L0 = number("l0", title="L0", unit="latents")
TRACKED = number("tracked", TRUTH, title="true latents", unit=_LATENTS)
LEAST = number("tracked_least", TRUTH, title="least", unit=_LATENTS)
MOST = number("tracked_most", TRUTH, title="most", unit=_LATENTS)
STABLE = number("stable", TRUTH, title="of several seeds", unit=_LATENTS)
WITHIN_MODEL = (F1, MCC, EXPLAINED)
TRULY_SHARED = number(
    "true_universality",
    TRUTH,
    title="true universality between groups",
    unit=_LATENTS,
    group=BETWEEN,
    condition=SHARED,
)
# over ways and thresholds of saying which feature a latent is
TRULY_LEAST, TRULY_MOST = (
    number(
        f"true_universality_{end}",
        TRUTH,
        title=end,
        unit=_LATENTS,
        group=BETWEEN,
        condition=SHARED,
    )
    for end in ("least", "most")
)
# how universal a pair looks
SCORES = {
    PW_MCC: number("score", PW_MCC, title="PW-MCC", unit="cosine"),
    NEAREST: number("score", NEAREST, title="mutual nearest > .7", unit=_LATENTS),
    CODES: number("score", CODES, title="correlation of codes", unit="correlation"),
}
RANDOM_ROWS = number("score", CHANCE, title="random rows", unit="cosine")
IMPLIED = number("declared", NORMS, title="overlap implied", unit=_LATENTS)


def single(of: Quantity, method: str) -> Quantity:
    """A number of the SAEs of a method (or of its pairs between groups)."""
    return of.at(method=method)


def gain(of: Quantity, method: str) -> Quantity:
    """What a method adds to the baseline that saw as many samples."""
    return single(of, method) - single(of, RESULTS[method].against)


# what the samples that pooling takes come to in a single SAE
MORE_SAMPLES = single(TRULY_SHARED, POOL_TIMES) - single(TRULY_SHARED, "batchtopk")


def over_seed(method: str) -> Quantity:
    """The share of true latents less that of the baseline with the samples of one seed."""
    return single(TRACKED, method) - single(TRACKED, "batchtopk")


def apparent(
    score: str, method: str, condition: str | tuple[str, ...] = SHARED, group: str = BETWEEN
) -> Quantity:
    """How universal pairs of a method look by one score."""
    return SCORES[score].at(method=method, condition=condition, group=group)


def apparent_gain(score: str, method: str, group: str = BETWEEN) -> Quantity:
    """What a method adds to a score on models with all features in common."""
    baseline = apparent(score, RESULTS[method].against)
    return apparent(score, method, group=group) - baseline


def false_gain(score: str, method: str, group: str = BETWEEN) -> Quantity:
    """What a method adds where nothing is shared: mean over the zeros that both were read under."""
    ours = apparent(score, method, ZEROS, group)
    difference = ours - apparent(score, RESULTS[method].against, ZEROS)
    return dataclasses.replace(difference, of_world=_over_zeros)


def _over_zeros(ours: Values, baseline: Values) -> float:
    each, other = ours.by("condition"), baseline.by("condition")
    gains = [each[zero] - other[zero] for zero in ZEROS if zero in each and zero in other]
    return sum(gains) / len(gains) if gains else math.nan


def net_gain(score: str, method: str, group: str = BETWEEN) -> Quantity:
    """The apparent gain less what the method gains where nothing is shared."""
    return apparent_gain(score, method, group) - false_gain(score, method, group)


def pseudo(method: str, group: str = BETWEEN) -> Quantity:
    """The gain in PW-MCC beyond the gain in MCC with the features, if there is one.

    Both are means of |cosine| over an assignment. A method that is trained within groups alone has
    no SAEs to compare with the features; its gain in MCC counts as 0.
    """
    seeming = apparent_gain(PW_MCC, method, group)
    if not RESULTS[method].between:
        return seeming
    return combined(
        # of numpy: an undefined MCC leaves the difference undefined
        lambda score, mcc: score - float(np.maximum(mcc, 0.0)),
        seeming,
        gain(MCC, method),
        name=f"pseudo-universality of {method}, {group}",
        title="PW-MCC beyond MCC",
    )


def price(method: str) -> Quantity:
    """The worst of F1, MCC and EV less the best baseline's with at most as many samples."""
    most = METHODS[RESULTS[method].against].samples
    rivals = [name for name in BASELINES if METHODS[name].samples <= most]
    parts = []
    for of in WITHIN_MODEL:
        parts.append(single(of, method))
        parts += [_one_of(single(of, rival), of.name) for rival in rivals]

    def worst(*values: float) -> float:
        by_metric = np.reshape(values, (len(WITHIN_MODEL), 1 + len(rivals)))
        # fmax: a baseline that did not run is no rival
        return float(np.min(by_metric[:, 0] - np.fmax.reduce(by_metric[:, 1:], axis=1)))

    return combined(worst, *parts, name=f"price of {method}", title="price", unit="score")


def _one_of(of: Quantity, name: str) -> Quantity:
    """The same number, for whose absence another of that name may stand in."""
    needs = tuple(dataclasses.replace(need, one_of=name) for need in of.needs)
    return dataclasses.replace(of, needs=needs)


def implied(method: str, condition: str) -> Quantity:
    """The overlap of two models that a joint SAE implies."""
    return IMPLIED.at(method=method, condition=condition)
