"""The setting that fits the published numbers best, and how far it carries.

From the values of every published number at every setting of every world.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from synthsae_jax.experiments.realism.setting import ARMS, MODELS
from synthsae_jax.experiments.realism.targets import FIT, JUDGE, TARGETS, Target
from synthsae_jax.stats import defined_mean
from synthsae_jax.suite.needs import Values

# name of an arm (what is changed of the world and the training), what the second model shares
At = tuple[str, str]
SETTINGS: tuple[At, ...] = tuple((arm.name, model.name) for arm in ARMS for model in MODELS)
Simulated = Mapping[At, Mapping[str, float]]  # NaN where a number is undefined
Worlds = Mapping[Hashable, Simulated]


def simulated(values: Sequence[Values]) -> Simulated:
    """By setting of a world the value of every target, whose rows these are, by its name."""
    arms = {row["factor_setting"] for of in values for row in of.rows}
    by_world = [of.by("setting", "condition") for of in values]
    return {
        (arm, model): {
            target.name: of.get((arm, model if target.across else ""), math.nan)
            for target, of in zip(TARGETS, by_world, strict=True)
        }
        for arm, model in SETTINGS
        if arm in arms
    }


@functools.cache
def of_half(half: str) -> tuple[Target, ...]:
    """The targets of a half."""
    return tuple(target for target in TARGETS if target.half == half)


def distance(values: Sequence[float]) -> float:
    """Mean distance of the fitted half's values from what was published, in tolerances."""
    return float(np.mean([t.distance(v) for t, v in zip(of_half(FIT), values, strict=True)]))


def settings_of(worlds: Worlds) -> list[At]:
    """Settings that all worlds have, in order."""
    return [at for at in SETTINGS if all(at in world for world in worlds.values())]


def fitted(worlds: Worlds, settings: Sequence[At] | None = None) -> At:
    """The setting whose means over worlds come nearest to the fitted half; the first of equals.

    Of those that all worlds have, or of these.
    """

    def mismatch(at: At) -> float:
        return distance(
            [defined_mean(of[at][t.name] for of in worlds.values()) for t in of_half(FIT)]
        )

    return min(settings_of(worlds) if settings is None else settings, key=mismatch)


def share(world: Simulated, at: At, half: str = JUDGE) -> float:
    """Share of the published numbers of a half that agree with one world's at a setting."""
    return float(np.mean([t.agrees(world[at][t.name]) for t in of_half(half)]))


def carried(worlds: Worlds) -> dict[Hashable, float]:
    """By world: share of the judged half that agrees at the setting fitted on all other worlds.

    A single world is fitted on itself. Only settings that all worlds have are chosen from.
    """
    settings = settings_of(worlds)
    of_world = {}
    for world, values in worlds.items():
        others = {other: of for other, of in worlds.items() if other != world}
        at = fitted(others or worlds, settings) if settings else None
        of_world[world] = share(values, at) if at else math.nan
    return of_world


def unfitted(worlds: Worlds) -> dict[Hashable, float]:
    """By world: the same share at a setting taken at random."""
    settings = settings_of(worlds)
    return {world: defined_mean(share(of, at) for at in settings) for world, of in worlds.items()}


def gained(worlds: Worlds) -> dict[Hashable, float]:
    """By world: what choosing the setting adds."""
    floor = unfitted(worlds)
    return {world: value - floor[world] for world, value in carried(worlds).items()}


def nearest(world: Simulated) -> float:
    """The largest share of the judged half that any setting reaches: the ceiling of a choice."""
    return max((share(world, at) for at in world), default=math.nan)


def beyond(world: Simulated) -> float:
    """Share of all published numbers with which no setting agrees."""
    reached = [any(t.agrees(at[t.name]) for at in world.values()) for t in TARGETS]
    return 1 - float(np.mean(reached))


def both_orders(world: Simulated) -> float:
    """The most by which a setting has L1 share more than TopK and have the lower PW-MCC.

    The smaller of the two differences; positive where both published orders hold at once.
    """
    most = math.nan
    for at in world.values():
        shared = at["shared, L1"] - at["shared, TopK"]
        consistent = at["PW-MCC, TopK"] - at["PW-MCC, L1"]
        # a setting with an undefined one has no say: fmax passes over a NaN, minimum hands it on
        most = np.fmax(most, np.minimum(shared, consistent))
    return float(most)
