"""The claims of matching@1, on trained SAEs; the page shows the same numbers on other rungs."""

from __future__ import annotations

from typing import Any

from synthsae_jax.experiments.matching.quality import KIN
from synthsae_jax.experiments.matching.quantities import f1, few_wrong, rare_gain, rate, wrong
from synthsae_jax.experiments.matching.setting import (
    ALIGNED,
    BOTH,
    CROWDED,
    ENCODER,
    PHI,
    PLAIN,
    PRE,
    TRAINED,
    TREES,
    Z,
)
from synthsae_jax.suite.claims import Claim
from synthsae_jax.suite.quantity import Quantity, combined

_CHANCE = "rarer half, fewest tokens, each above its own chance level"
_LOSS = {arm: f1().at(arm=arm) - f1(PRE).at(arm=arm) for arm in (PLAIN, CROWDED)}
# name -> what the claim is about, in the plain arm unless it says otherwise, on any rung
SUBJECTS = {
    "H6a few": few_wrong().called(
        "share of wrong pairs, best correlation > .1, latents of A with 1 to 20 firings in the "
        "fewest tokens"
    ),
    # the latents that were rare among few tokens: the rarest quarter, now well counted
    "H6a many": wrong(rate("precision", stratum="q1")).called(
        "share of wrong pairs of the rarest quarter, mutual nearest above chance, most tokens"
    ),
    "H6b z": rare_gain(Z).called(f"F1 by z less F1 by Pearson, {_CHANCE}"),
    "H6b phi": rare_gain(PHI).called(f"F1 by phi less F1 by Pearson, {_CHANCE}"),
    "H6b decoder": (f1(ALIGNED, t="1") - f1(t="1")).called(
        "F1 by aligned cosine less F1 by Pearson, mutual nearest, t = 1"
    ),
    "H6b activation": (f1(t="0") - f1(ALIGNED, t="0")).called(
        "F1 by Pearson less F1 by aligned cosine, mutual nearest, t = 0"
    ),
    "H6b both": wrong(rate("precision", BOTH, t="1")).called(
        "share of wrong pairs among those that both name, mutual nearest, t = 1"
    ),
    "H6c recall": (rate("recall", solver="assignment") - rate("recall")).called(
        "recall of assignment less recall of mutual nearest, most tokens"
    ),
    "H6c junk": (
        rate("precision", solver="assignment_dustbin")
        - rate("precision", solver="assignment_forced")
    ).called("precision of assignment with a dustbin less precision without a threshold"),
    "H6d crowding": (_LOSS[CROWDED] - _LOSS[PLAIN]).called(
        "(F1 by codes less F1 by pre-activations) in half the dimensions, less the same in all"
    ),
    "H6d published": (
        rate("precision", solver="argmax", threshold="published")
        - rate("precision", PRE, "argmax", threshold="published")
    ).called("precision by codes less precision by pre-activations, best correlation > .1"),
    "H6e": rate(KIN, solver="argmax")
    .at(arm=TREES)
    .called(
        "share of relatives among pairs of two different features, best correlation above chance"
    ),
}
SUBJECTS = {name: subject.at(arm=PLAIN) for name, subject in SUBJECTS.items()}
_STEP = combined(
    lambda untrained, trained: untrained - trained,
    *(rate("precision").at(condition=rung, arm=PLAIN) for rung in (ENCODER, TRAINED)),
    name="precision lost in training",
    title="precision on true directions behind a TopK encoder less precision on trained SAEs",
)


def _claim(name: str, statement: str, of: Quantity | None = None, **options: Any) -> Claim:
    quantity = of or SUBJECTS[name].at(SUBJECTS[name].title, condition=TRAINED)
    return Claim(name, statement, quantity, **options)


_MORE = "Worlds with steeper frequency laws, wider SAEs, or more worlds."
CLAIMS = (
    _claim(
        "H6a few",
        "The best partner by code correlation above .1 is wrong more often than right for latents "
        "with at most 20 firings.",
        smallest_effect=0.5,
        margin=0.3,
        changes="Wider SAEs, among whose latents the best of many by chance correlates more.",
    ),
    _claim(
        "H6a many",
        "With about a hundred times the tokens the rarest quarter is matched almost without error.",
        smallest_effect=0.1,
        margin=0.05,
        kind="equivalent",
        changes="Errors that are the SAEs' own, which no number of tokens takes away.",
    ),
    _claim(
        "H6b z",
        "Among few tokens the plain hypergeometric z matches the rarer half better than Pearson.",
        smallest_effect=0.03,
        margin=0.01,
        changes=_MORE,
    ),
    _claim(
        "H6b phi",
        "Among few tokens phi matches the rarer half better than Pearson.",
        smallest_effect=0.03,
        margin=0.01,
        changes=_MORE,
    ),
    _claim(
        "H6b decoder",
        "Where geometry is shared (t = 1), aligned decoder cosine matches better than activations.",
        smallest_effect=0.02,
        margin=0.01,
        changes="Fewer tokens, which cost activations but not directions.",
    ),
    _claim(
        "H6b activation",
        "Where geometry is not shared (t = 0), activations match better than directions.",
        smallest_effect=0.3,
        margin=0.1,
        changes="Nothing short of a common direction for every common feature.",
    ),
    _claim(
        "H6b both",
        "Pairs on which activations and aligned directions agree are right (t = 1).",
        smallest_effect=0.04,
        margin=0.02,
        kind="equivalent",
        changes="Artefacts that reappear in both SAEs, on which both scores agree.",
    ),
    _claim(
        "H6c recall",
        "Optimal assignment finds no more than mutual nearest neighbours above the same threshold.",
        smallest_effect=0.02,
        margin=0.01,
        kind="equivalent",
        changes="Many duplicates, whose partners only a joint solution sorts out.",
    ),
    _claim(
        "H6c junk",
        "Assignment that must pair everybody is less precise than one with a dustbin.",
        smallest_effect=0.05,
        margin=0.02,
        changes="SAEs without artefacts on models with equal features: nobody is left over.",
    ),
    _claim(
        "H6d crowding",
        "What pre-activations lose against codes grows with superposition.",
        smallest_effect=0.03,
        margin=0.01,
        changes="More tokens for pre-activations, of which only the first 8,192 are read.",
    ),
    _claim(
        "H6d published",
        "At the published threshold of .1 pre-activations are matched less precisely than codes.",
        smallest_effect=0.05,
        margin=0.02,
        changes="A threshold at each score's own chance level, where the difference is smaller.",
    ),
    _claim(
        "H6e",
        "In worlds with trees, wrong pairs are mostly relatives.",
        smallest_effect=0.5,
        margin=0.3,
        changes="Truth by direction alone: firing merges relatives before they can be confused.",
    ),
    _claim(
        "ladder",
        "Training costs the matcher more than an encoder that nobody trained does.",
        _STEP,
        smallest_effect=0.05,
        margin=0.02,
        changes="SAEs that find nearly all features: their artefacts are what is mismatched.",
        family="ladder",
    ),
)
