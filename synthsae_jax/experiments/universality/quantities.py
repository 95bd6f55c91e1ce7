"""The numbers of universality@1, which the main job prints too."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from synthsae_jax.experiments.universality.measure import ARCHITECTURES, DECLARING
from synthsae_jax.registry import Explanation, explain_metric
from synthsae_jax.suite.needs import Values
from synthsae_jax.suite.pair import ALL_RULES, TRUTH
from synthsae_jax.suite.quantity import Quantity, number

RULES = {
    "best_correlation_0.1": "best correlation > .1",
    "decoder_cosine_0.7_raw": "decoder cosine > .7, raw",
    "decoder_cosine_0.7_aligned": "decoder cosine > .7, aligned",
}
_OF_LATENTS = "share of latents"


def declared(rule: str) -> Quantity:
    """Share of living latents that a rule calls shared."""
    return number("declared", rule, title=f"declared, {RULES[rule]}", unit=_OF_LATENTS)


def right(name: str) -> Quantity:
    """Of the pairs that a rule or protocol names, the share that is about one feature."""
    return number("precision", name, title=f"right, {RULES.get(name, name)}", unit="share of pairs")


def error(name: str) -> Quantity:
    """How far what is declared is from the share of features in common."""
    title = f"|declared - features in common|, {RULES.get(name, name)}"
    return number("sharing_error", name, title=title, unit="distance of shares")


def score(protocol: str, chance: bool = False) -> Quantity:
    """A protocol's own number, or the mean of its null."""
    return number("score", f"{protocol}/chance" if chance else protocol)


def _median(values: Values) -> float:
    return float(np.median(values.defined)) if values.defined.size else math.nan


IN_COMMON = number("features_shared", TRUTH, title="in common", unit="share of features")
TRUE = number("true_universality", TRUTH, title="truly shared", unit=_OF_LATENTS)
LEAST, MOST = (
    number(f"true_universality_{end}", TRUTH, title=f"truly shared, {end}", unit=_OF_LATENTS)
    for end in ("least", "most")
)
FIRINGS = dataclasses.replace(
    number("median_firings", "held", title="median firings of a latent", unit="tokens"),
    of_world=_median,
    units=(),
)
# the first is the primary number
ERRORS = tuple(error(name).at(arm=ARCHITECTURES) for name in (*ALL_RULES, *DECLARING))

assert set(RULES) == set(ALL_RULES)

explain_metric(
    "declared",
    Explanation(
        what="Share of latents that a rule calls shared between two SAEs.",
        formula="matched pairs / living latents of the smaller side (of B, for a many-to-one rule)",
        range="[0, 1]",
        chance="what the rule declares under disjoint_independent and disjoint_coupled",
        undefined="all latents of a side are dead",
    ),
)
explain_metric(
    "features_shared",
    Explanation(
        what="Share of model A's features that model B has: set by the experiment, exact.",
        formula="|P_A n P_B| / |P_A|",
        range="[0, 1]",
    ),
)
explain_metric(
    "sharing_error",
    Explanation(
        what="How far the share that a rule or protocol declares is from that of the features in "
        "common.",
        formula="|declared - features_shared|",
        range="[0, 1]",
        undefined="where what is declared is",
    ),
)
explain_metric(
    "median_firings",
    Explanation(
        what="Median number of firings of living latents in the tokens that rules read.",
        range=">= 1",
        undefined="all latents are dead",
    ),
)
for _end, _word in (("least", "least"), ("most", "largest")):
    explain_metric(
        f"true_universality_{_end}",
        Explanation(
            what=f"The {_word} true universality over ways of telling what a latent tracks.",
            formula="over all truth methods at thresholds .5, .6, .7, .8 and .9 and the default "
            "(benchmarks); over geometric, functional and agreeing truth at .5, .7 and .9 (the "
            "main job)",
            undefined="all latents of a side are dead",
        ),
    )
