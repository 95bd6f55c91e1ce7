"""From rows to numbers by setting, the setting that fits best, and how far it carries."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from synthsae_jax.experiments.realism.targets import FIT, JUDGE, TARGETS, Target
from synthsae_jax.io.rows import Row

# what is changed of the world and the training, and what the second model shares
Setting = tuple[str, str]
Simulated = dict[Setting, dict[str, float]]


def simulated(rows: Sequence[Row]) -> dict[int, Simulated]:
    """By world and setting the value of every target, by its name; NaN where it has none."""
    known: dict[tuple, float] = {}
    arms: dict[int, dict[str, None]] = {}
    models: dict[str, None] = {}
    for row in rows:
        arm = row["factor_setting"]
        arms.setdefault(row["world_seed"], {}).setdefault(arm)
        if row["condition"]:
            models.setdefault(row["condition"])
        if row["value"] is not None:
            where = (row["world_seed"], arm, row["condition"], row["variant"], row["metric"])
            known[where] = float(row["value"])
    value = lambda world, arm, model, t: known.get(
        (world, arm, model if t.across else "", t.variant, t.metric), math.nan
    )
    return {
        world: {
            (arm, model): {t.name: value(world, arm, model, t) for t in TARGETS}
            for arm in here
            for model in models
        }
        for world, here in arms.items()
    }


def settings_of(found: Mapping[int, Simulated]) -> list[Setting]:
    """Settings that all worlds have, in order."""
    first, *rest = found.values()
    return [setting for setting in first if all(setting in other for other in rest)]


@functools.cache
def of_half(half: str | None = None) -> tuple[Target, ...]:
    """The targets of a half; None: all."""
    return tuple(t for t in TARGETS if half in (None, t.half))


def average(found: Mapping[int, Simulated], setting: Setting, target: Target) -> float:
    """Mean of a number over worlds; NaN where none has it."""
    values = [of[setting][target.name] for of in found.values()]
    known = [v for v in values if not math.isnan(v)]
    return float(np.mean(known)) if known else math.nan


def mismatch(found: Mapping[int, Simulated], setting: Setting, half: str = FIT) -> float:
    """Mean distance of the means over worlds from what was published, in tolerances."""
    return float(np.mean([t.distance(average(found, setting, t)) for t in of_half(half)]))


def fitted(found: Mapping[int, Simulated], half: str = FIT) -> Setting:
    """The setting that comes nearest to a half of the published numbers; the first of equals."""
    return min(settings_of(found), key=lambda setting: mismatch(found, setting, half))


def fitted_elsewhere(found: Mapping[int, Simulated], world: int) -> Setting:
    """The setting that fits best on all other worlds; a single world is fitted on itself."""
    return fitted({w: of for w, of in found.items() if w != world} or found)


def share(of_world: Simulated, setting: Setting, half: str | None = JUDGE) -> float:
    """Share of the published numbers of a half that agree with one world's at a setting."""
    return _share(t.agrees(of_world[setting][t.name]) for t in of_half(half))


def nearest_share(of_world: Simulated, half: str = JUDGE) -> float:
    """The largest share that any setting of a world reaches: the ceiling of a choice."""
    return max(share(of_world, setting, half) for setting in of_world)


def reached_by(found: Mapping[int, Simulated], target: Target) -> list[Setting]:
    """Settings whose mean over worlds agrees with a published number."""
    return [s for s in settings_of(found) if target.agrees(average(found, s, target))]


def unreached(found: Mapping[int, Simulated]) -> list[Target]:
    """Published numbers that no setting reaches, in order."""
    return [t for t in TARGETS if not reached_by(found, t)]


def _share(said: Iterable[bool]) -> float:
    said = list(said)
    return sum(said) / len(said)
