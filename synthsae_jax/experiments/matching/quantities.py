"""The quantities of matching@1: rates of settings, at the tokens of whichever scale."""

from __future__ import annotations

import numpy as np

from synthsae_jax.experiments.matching.setting import (
    FEWEST,
    MOST,
    PEARSON,
    PLAIN,
    REFERENCE,
    TRAINED,
    Setting,
)
from synthsae_jax.matching.report import harmonic_mean
from synthsae_jax.stats import defined_mean
from synthsae_jax.suite.needs import Need, Values, where_of
from synthsae_jax.suite.quantity import Quantity, combined

SHARE = "share of pairs"


def rate(
    metric: str,
    score: str = PEARSON,
    solver: str = REFERENCE,
    *,
    tokens: tuple[int, ...] = MOST,
    title: str = "",
    unit: str = SHARE,
    **setting: str,
) -> Quantity:
    """A number of a setting; of `tokens` a scale has one."""
    asked = [Setting(score, solver, n, **setting) for n in tokens]
    name = f"{metric}/{asked[0].variant}" + "".join(f"|{n}" for n in tokens[1:])
    return by_tokens(metric, {s.tokens: s.variant for s in asked}, name, title or metric, unit)


def by_tokens(
    metric: str, variants: dict[int, str], name: str, title: str, unit: str = ""
) -> Quantity:
    """A number whose variant depends on the tokens, of which a scale has one."""
    needs = tuple(
        Need(metric, variant, where_of(tokens=n), one_of=name) for n, variant in variants.items()
    )
    return Quantity(name, title, unit, needs, _mean)


def _mean(*values: Values) -> float:
    return defined_mean(np.concatenate([v.values for v in values]))


def f1(
    score: str = PEARSON, solver: str = REFERENCE, *, title: str = "F1", **setting: str | tuple
) -> Quantity:
    """F1 of a setting, from its precision and recall."""
    parts = [rate(m, score, solver, **setting) for m in ("precision", "recall")]  # type: ignore
    return combined(harmonic_mean, *parts, name=f"F1, {parts[0].name}", title=title, unit="F1")


PRECISION = rate("precision", title="precision")
RECALL = rate("recall", title="recall", unit="share of features")
GIVEN_RECOVERY = rate("accuracy_given_recovery", title="accuracy given recovery")
PRIMARY = f1(title="F1 of Pearson, mutual nearest").at(condition=TRAINED, arm=PLAIN)


def wrong(of: Quantity) -> Quantity:
    """Share of pairs that are wrong, from the share that is right."""
    return combined(lambda right: 1 - right, of, name=f"1 - {of.name}", title="wrong", unit=SHARE)


def few_wrong() -> Quantity:
    """Wrong pairs among latents that fired at most 20 times, at the published threshold."""
    rare = rate("precision", solver="argmax", tokens=FEWEST, stratum="few", threshold="published")
    return wrong(rare)


def rare_gain(score: str) -> Quantity:
    """F1 by a score less that by Pearson, over the rarer half of the latents on fewest tokens."""
    gains = [
        f1(score, tokens=FEWEST, stratum=q) - f1(tokens=FEWEST, stratum=q) for q in ("q1", "q2")
    ]
    return combined(
        lambda *each: float(np.mean(each)), *gains, name=f"rare gain of {score}", title=score
    )
