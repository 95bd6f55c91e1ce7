"""The claims of matching@1."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from synthsae_jax.io.rows import Row
from synthsae_jax.suite.claims import Claim
from synthsae_jax.suite.study.select import by_world, select, values

PEARSON = "activation_pearson"
PRE = "preactivation_pearson"
ALIGNED = "decoder_cosine_aligned"


def number(
    rows: list[Row],
    metric: str,
    score: str = PEARSON,
    solver: str = "mutual_nearest",
    *,
    arm: str = "plain",
    rung: str = "trained",
    tokens: int | str = "most",
    t: str = "all",
    stratum: str = "all",
    threshold: str = "null",
    truth: str = "agree",
) -> float:
    """One number of a world, NaN where it has none; `tokens` a count, or "most" or "fewest"."""
    found = select(
        rows,
        metric=metric,
        factor_arm=arm,
        condition=rung,
        factor_score=score,
        factor_solver=solver,
        factor_t=t,
        factor_stratum=stratum,
        factor_threshold=threshold,
        factor_truth=truth,
    )
    counts = {row["factor_tokens"] for row in found}
    if not counts:
        return math.nan
    at = {"most": max(counts), "fewest": min(counts)}.get(str(tokens), tokens)
    known = values(found, factor_tokens=at)
    return known[0] if known else math.nan


def f1(rows: list[Row], score: str = PEARSON, solver: str = "mutual_nearest", **at: str) -> float:
    """F1 of a setting, from its precision and recall."""
    precision, recall = (number(rows, m, score, solver, **at) for m in ("precision", "recall"))
    if recall == 0:
        return 0.0
    return 2 * precision * recall / (precision + recall)


def _few_wrong(tokens: str):
    def of_world(rows: list[Row]) -> float:
        found = {"solver": "argmax", "stratum": "few", "threshold": "published"}
        if tokens == "most":
            # the latents that were rare among few tokens: the rarest quarter, now well counted
            found = {"stratum": "q1"}
        return 1 - number(rows, "precision", tokens=tokens, **found)

    return of_world


def _rare_gain(score: str):
    def of_world(rows: list[Row]) -> float:
        at = [{"tokens": "fewest", "stratum": stratum} for stratum in ("q1", "q2")]
        return float(np.mean([f1(rows, score, **a) - f1(rows, **a) for a in at]))

    return of_world


def _decoder_gain(t: str, sign: float):
    def of_world(rows: list[Row]) -> float:
        decoder = f1(rows, ALIGNED, t=t)
        return sign * (decoder - f1(rows, t=t))

    return of_world


def _both_wrong(rows: list[Row]) -> float:
    return 1 - number(rows, "precision", "pearson_and_cosine", t="1")


def _assignment_recall(rows: list[Row]) -> float:
    return number(rows, "recall", solver="assignment") - number(rows, "recall")


def _junk(rows: list[Row]) -> float:
    dustbin = number(rows, "precision", solver="assignment_dustbin")
    return dustbin - number(rows, "precision", solver="assignment_forced")


def _pre_loss(rows: list[Row]) -> float:
    lost = {arm: f1(rows, arm=arm) - f1(rows, PRE, arm=arm) for arm in ("plain", "crowded")}
    return lost["crowded"] - lost["plain"]


def _pre_published(rows: list[Row]) -> float:
    at = {"solver": "argmax", "threshold": "published"}
    return number(rows, "precision", **at) - number(rows, "precision", PRE, **at)


def _kin(rows: list[Row]) -> float:
    return number(rows, "kin_share_of_wrong", solver="argmax", arm="trees")


def _training(rows: list[Row]) -> float:
    return number(rows, "precision", rung="encoder") - number(rows, "precision")


def _claim(
    name: str,
    statement: str,
    quantity: str,
    of_world: Callable[[list[Row]], float],
    **options: Any,
) -> Claim:
    return Claim(name, statement, quantity, by_world(of_world), **options)


_MORE = "Worlds with steeper frequency laws, wider SAEs, or more worlds."
CLAIMS = (
    _claim(
        "H6a few",
        "The best partner by code correlation above .1 is wrong more often than right for latents "
        "with at most 20 firings.",
        "share of wrong pairs, best correlation > .1, latents of A with 1 to 20 firings in the "
        "fewest tokens",
        _few_wrong("fewest"),
        smallest_effect=0.5,
        margin=0.3,
        changes="Wider SAEs, among whose latents the best of many by chance correlates more.",
    ),
    _claim(
        "H6a many",
        "With about a hundred times the tokens the rarest quarter is matched almost without error.",
        "share of wrong pairs of the rarest quarter, mutual nearest above chance, most tokens",
        _few_wrong("most"),
        smallest_effect=0.1,
        margin=0.05,
        kind="equivalent",
        changes="Errors that are the SAEs' own, which no number of tokens takes away.",
    ),
    _claim(
        "H6b z",
        "Among few tokens the plain hypergeometric z matches the rarer half better than Pearson.",
        "F1 by z less F1 by Pearson, rarer half, fewest tokens, each above its own chance level",
        _rare_gain("hypergeometric_z_plain"),
        smallest_effect=0.03,
        margin=0.01,
        changes=_MORE,
    ),
    _claim(
        "H6b phi",
        "Among few tokens phi matches the rarer half better than Pearson.",
        "F1 by phi less F1 by Pearson, rarer half, fewest tokens, each above its own chance level",
        _rare_gain("phi"),
        smallest_effect=0.03,
        margin=0.01,
        changes=_MORE,
    ),
    _claim(
        "H6b decoder",
        "Where geometry is shared (t = 1), aligned decoder cosine matches better than activations.",
        "F1 by aligned cosine less F1 by Pearson, mutual nearest, t = 1",
        _decoder_gain("1", 1.0),
        smallest_effect=0.02,
        margin=0.01,
        changes="Fewer tokens, which cost activations but not directions.",
    ),
    _claim(
        "H6b activation",
        "Where geometry is not shared (t = 0), activations match better than directions.",
        "F1 by Pearson less F1 by aligned cosine, mutual nearest, t = 0",
        _decoder_gain("0", -1.0),
        smallest_effect=0.3,
        margin=0.1,
        changes="Nothing short of a common direction for every common feature.",
    ),
    _claim(
        "H6b both",
        "Pairs on which activations and aligned directions agree are right (t = 1).",
        "share of wrong pairs among those that both name, mutual nearest, t = 1",
        _both_wrong,
        smallest_effect=0.04,
        margin=0.02,
        kind="equivalent",
        changes="Artefacts that reappear in both SAEs, on which both scores agree.",
    ),
    _claim(
        "H6c recall",
        "Optimal assignment finds no more than mutual nearest neighbours above the same threshold.",
        "recall of assignment less recall of mutual nearest, most tokens",
        _assignment_recall,
        smallest_effect=0.02,
        margin=0.01,
        kind="equivalent",
        changes="Many duplicates, whose partners only a joint solution sorts out.",
    ),
    _claim(
        "H6c junk",
        "Assignment that must pair everybody is less precise than one with a dustbin.",
        "precision of assignment with a dustbin less precision without a threshold",
        _junk,
        smallest_effect=0.05,
        margin=0.02,
        changes="SAEs without artefacts on models with equal features: nobody is left over.",
    ),
    _claim(
        "H6d crowding",
        "What pre-activations lose against codes grows with superposition.",
        "(F1 by codes less F1 by pre-activations) in half the dimensions, less the same in all",
        _pre_loss,
        smallest_effect=0.03,
        margin=0.01,
        changes="More tokens for pre-activations, of which only the first 8,192 are read.",
    ),
    _claim(
        "H6d published",
        "At the published threshold of .1 pre-activations are matched less precisely than codes.",
        "precision by codes less precision by pre-activations, best correlation > .1",
        _pre_published,
        smallest_effect=0.05,
        margin=0.02,
        changes="A threshold at each score's own chance level, where the difference is smaller.",
    ),
    _claim(
        "H6e",
        "In worlds with trees, wrong pairs are mostly relatives.",
        "share of relatives among pairs of two different features, best correlation above chance",
        _kin,
        smallest_effect=0.5,
        margin=0.3,
        changes="Truth by direction alone: firing merges relatives before they can be confused.",
    ),
    _claim(
        "ladder",
        "Training costs the matcher more than an encoder that nobody trained does.",
        "precision on true directions behind a TopK encoder less precision on trained SAEs",
        _training,
        smallest_effect=0.05,
        margin=0.02,
        changes="SAEs that find nearly all features: their artefacts are what is mismatched.",
        family="ladder",
    ),
)
