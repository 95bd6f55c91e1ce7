"""The claims of engineering@1, and the gains that they and the page read from rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from synthsae_jax.experiments.engineering.methods import (
    AGAINST,
    BASELINES,
    BETWEEN,
    METHODS,
    WITHIN,
)
from synthsae_jax.experiments.engineering.numbers import NEAREST, PW_MCC
from synthsae_jax.io.rows import Row
from synthsae_jax.suite.claims import Claim
from synthsae_jax.suite.pair import TRUTH
from synthsae_jax.suite.study.select import by_world, mean

SHARED = "identical"
ZEROS = ("disjoint_independent", "disjoint_coupled")
WITHIN_MODEL = ("f1", "mcc", "explained_variance")
RETRAINED, FROZEN = "pooled, retrained", "pooled, frozen"
Rows = Sequence[Row]


def apparent(
    rows: Rows, method: str, variant: str, condition: str = SHARED, group: str = BETWEEN
) -> float:
    """How universal pairs of a method look by one score; the rows of one world."""
    at = {"factor_method": method, "factor_group": group, "condition": condition}
    return mean(rows, variant=variant, metric="score", **at)


def true(rows: Rows, method: str) -> float:
    """True universality between groups, on models with all features in common."""
    at = {"factor_method": method, "factor_group": BETWEEN, "condition": SHARED}
    return mean(rows, variant=TRUTH, metric="true_universality", **at)


def inside(rows: Rows, method: str, metric: str, variant: str = "") -> float:
    """Mean of a number of single SAEs of a method, over models."""
    return mean(rows, factor_method=method, metric=metric, variant=variant)


def declared(rows: Rows, method: str, condition: str = "disjoint") -> float:
    """The overlap that a joint SAE implies."""
    at = {"factor_method": method, "variant": "relative_norms", "metric": "declared"}
    return mean(rows, condition=condition, **at)


def true_gain(rows: Rows, method: str) -> float:
    """What a method adds in true universality to the baseline that saw as many samples."""
    return true(rows, method) - true(rows, AGAINST[method])


def inside_gain(rows: Rows, method: str, metric: str, variant: str = "") -> float:
    """What it adds in a number of single SAEs."""
    return inside(rows, method, metric, variant) - inside(rows, AGAINST[method], metric, variant)


def over_seed(rows: Rows, method: str) -> float:
    """The share of true latents less that of the baseline with the samples of one seed."""
    at = ("tracked", TRUTH)
    return inside(rows, method, *at) - inside(rows, "batchtopk", *at)


def apparent_gain(
    rows: Rows, method: str, variant: str, condition: str = SHARED, group: str = BETWEEN
) -> float:
    """What it adds in a score; the baseline's pairs always are of different groups."""
    ours = apparent(rows, method, variant, condition, group)
    return ours - apparent(rows, AGAINST[method], variant, condition)


def net_gain(rows: Rows, method: str, variant: str, group: str = BETWEEN) -> float:
    """The apparent gain less what the method gains where nothing is shared, mean of the zeros."""
    false = false_gain(rows, method, variant, group)
    return apparent_gain(rows, method, variant, SHARED, group) - false


def false_gain(rows: Rows, method: str, variant: str, group: str = BETWEEN) -> float:
    """What a method gains where nothing is shared, mean of the zeros that were read."""
    found = [apparent_gain(rows, method, variant, zero, group) for zero in ZEROS]
    known = [value for value in found if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def pseudo(rows: Rows, method: str, group: str = BETWEEN) -> float:
    """The gain in PW-MCC beyond the gain in MCC with the features, if there is one.

    Both are means of |cosine| over an assignment. A method that is trained within groups alone has
    no SAEs to compare with the features; its gain in MCC counts as 0.
    """
    gained = inside_gain(rows, method, "mcc")
    earned = 0.0 if math.isnan(gained) else max(gained, 0.0)
    return apparent_gain(rows, method, PW_MCC, SHARED, group) - earned


def price(rows: Rows, method: str) -> float:
    """The worst of F1, MCC and EV less the best baseline's with at most as many samples."""
    most = METHODS[AGAINST[method]].samples
    rivals = [name for name in BASELINES if METHODS[name].samples <= most]
    found = []
    for metric in WITHIN_MODEL:
        best = [inside(rows, name, metric) for name in rivals]
        best = [value for value in best if not math.isnan(value)]
        found.append(inside(rows, method, metric) - max(best, default=math.nan))
    return math.nan if any(map(math.isnan, found)) else min(found)


def _of(number: Callable[..., float], *args: str):
    return by_world(lambda rows: number(rows, *args))


_AS_MUCH = "its baseline (as many samples)"
_STRENGTH = "Other strengths of the constraint, longer training, wider SAEs."
_BETWEEN = "gain in PW-MCC between groups less the gain in MCC with the features, if any"
_ALONE = {
    "orthogonal": "A penalty on decoder rows' cosines",
    "ordered": "An order of the latents",
    "archetypal": "Archetypal rows, anchors drawn for each SAE,",
    "matryoshka": "A Matryoshka loss",
    "consistency": "A consistency loss with another seed of the same model",
}
_TITLES = {
    **_ALONE,
    RETRAINED: "Pooling of stable latents over seeds and retraining",
    FROZEN: "Pooling of stable latents over seeds, kept frozen,",
    "universal": "A universal SAE with a partner model",
}
CLAIMS = (
    *(
        Claim(
            f"H5a {method}",
            f"{title} makes SAEs that share nothing agree by more than .1 beyond any true gain.",
            _BETWEEN,
            _of(pseudo, method),
            smallest_effect=0.1,
            margin=0.02,
            changes=_STRENGTH,
            family="pseudo-universality",
        )
        for method, title in _ALONE.items()
    ),
    *(
        Claim(
            f"H5a {method}, within",
            f"{title} makes SAEs of one group agree by more than .1 beyond any true gain.",
            "gain in PW-MCC within a group less the gain in MCC with the features, if any",
            _of(pseudo, method, WITHIN),
            smallest_effect=0.1,
            margin=0.02,
            changes=_STRENGTH,
            family="forced",
        )
        for method, title in (("shared init", "A shared start"), ("consistency", "The loss"))
    ),
    *(
        Claim(
            f"H5b {method}",
            f"{_TITLES[method]} raises the share of true latents by more than .1 at equal width.",
            f"share of living latents that track a feature, less that of {_AS_MUCH}",
            _of(inside_gain, method, "tracked", TRUTH),
            smallest_effect=0.1,
            margin=0.02,
            changes="More seeds, or seeds trained shorter: more artefacts are there to outvote.",
            family="pooling",
        )
        for method in (RETRAINED, FROZEN)
    ),
    *(
        Claim(
            f"H5b {method}, over a seed",
            f"{_TITLES[method]} does so beside a single one of its seeds.",
            "share of living latents that track a feature, less that of an SAE with the samples of "
            "one seed",
            _of(over_seed, method),
            smallest_effect=0.1,
            margin=0.02,
            changes="More seeds, or seeds trained shorter: more artefacts are there to outvote.",
            family="pooling",
        )
        for method in (RETRAINED, FROZEN)
    ),
    *(
        Claim(
            f"H5c {method}",
            f"A {title} of two models without a common feature calls some of them shared.",
            "overlap implied by its living latents on models without a common feature",
            _of(declared, method),
            smallest_effect=0.1,
            margin=0.02,
            changes="Other bounds on the relative norm, and a wider joint SAE.",
            family="joint",
        )
        for method, title in (("universal", "universal SAE"), ("crosscoder", "crosscoder"))
    ),
    Claim(
        "H5c consistency",
        "A consistency loss between models without a common feature makes latents agree.",
        f"share of mutual nearest above .7 within a disjoint group, less that of {_AS_MUCH}",
        _of(false_gain, "consistency", NEAREST, WITHIN),
        smallest_effect=0.1,
        margin=0.02,
        changes="Other strengths of the loss.",
        family="joint",
    ),
    *(
        Claim(
            f"H5d {method}",
            f"{_TITLES[method]} raises true universality between groups by more than .05.",
            f"true universality on models with all features in common, less that of {_AS_MUCH}",
            _of(true_gain, method),
            smallest_effect=0.05,
            margin=0.01,
            changes="A baseline that has converged: then less is left to gain.",
            family="true gain",
        )
        for method in (RETRAINED, FROZEN, "matryoshka", "consistency", "universal")
    ),
    *(
        Claim(
            f"H5e {method}",
            f"{_TITLES[method]} costs nothing within a model.",
            "the worst of F1, MCC and EV less the best baseline's with at most as many samples",
            _of(price, method),
            smallest_effect=0.01,
            margin=0.01,
            kind="noninferior",
            changes="Other strengths; longer training.",
            family="price",
        )
        for method in (RETRAINED, FROZEN, "matryoshka", "consistency", "universal")
    ),
)
