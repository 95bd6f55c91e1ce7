"""Numbers of linearity@1."""

from __future__ import annotations

import numpy as np

from synthsae_jax.experiments.linearity.measure import (
    DEPARTURES,
    RULES,
    SHARED,
)
from synthsae_jax.suite.quantity import Quantity, combined, number


def tracked_by(method: str) -> Quantity:
    """Share of living latents that track a feature, by a truth."""
    title = f"latents that track a feature ({method})"
    return number("tracked", method, title=title, unit="share of latents")


TRACKED = tracked_by("agree")
TRULY_SHARED = number(
    "true_universality", "truth", title="truly shared", unit="share of the smaller side's latents"
)
DECLARED = number("declared", RULES[0], title="r > .1, declared", unit="share of latents")
SCORES = (
    DECLARED,
    number("declared", RULES[1], title="decoder cosine > .7, aligned", unit="share of latents"),
    number("score", "mppc2024", title="mean best correlation", unit="correlation"),
    number("score", "song2025", title="mean assigned decoder cosine", unit="cosine"),
)
EXPLAINED = number("explained_variance", "held", title="explained variance", unit="variance")
LINEAR = number("linear_share", "held", title="linear share of a feature", unit="variance")


def change(
    of: Quantity, strength: float, departure: str | None = None, condition: str = SHARED
) -> Quantity:
    """A number at this strength less at strength 0; None: mean over departures.

    Undefined where a departure lacks either end.
    """
    departed = of.at(condition=condition)
    kinds = DEPARTURES if departure is None else (departure,)
    single = [
        departed.at(departure=d, strength=strength) - departed.at(departure=d, strength=0)
        for d in kinds
    ]
    where = "mean over departures" if departure is None else departure
    return combined(
        lambda *values: float(np.mean(values)),
        *single,
        name=f"change of {of.name}, {where}, {condition}, {strength:g}",
        title=f"{of.title}: strength {strength:g} less 0, {where}",
    )
