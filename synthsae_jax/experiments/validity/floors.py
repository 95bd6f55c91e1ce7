"""What a score reaches where nothing is shared, and the threshold that this asks for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from synthsae_jax.experiments.validity.board import ALPHA, ZEROS, World
from synthsae_jax.io.rows import Row
from synthsae_jax.stats import Interval, mean_interval

HALF = 0.5  # of the features in common: pairs that a threshold should let through


def floors(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """One record per score that has a value at a zero, in order of appearance.

    By zero the mean over worlds with its interval; `threshold`: the least that at most 5 % of the
    pairs without a common feature pass (all arms and worlds, both zeros; the conservative order
    statistic, the largest below 20 pairs); `passed`: the share of pairs with half of the features
    in common or more that pass it, by geometry t.
    """
    world = World(rows)
    found = []
    for name in dict.fromkeys(row["variant"] for row in rows):
        zeros = world.scores(name, condition=ZEROS)
        if not zeros or name.startswith("planted") or name.endswith("/chance"):
            continue
        threshold = _quantile([row["value"] for row in zeros])
        record: dict[str, Any] = {"score": name, "pairs": len(zeros), "threshold": threshold}
        for zero in ZEROS:
            record[zero] = _over_worlds([row for row in zeros if row["condition"] == zero])
        for t in (1.0, 0.0):
            shared = [row for row in world.scores(name, factor_t=t) if row["factor_shared"] >= HALF]
            passed = [row["value"] > threshold for row in shared]
            record[f"passed, t {t:g}"] = float(np.mean(passed)) if passed else math.nan
        found.append(record)
    return found


def _quantile(values: Sequence[float]) -> float:
    ordered = np.sort(np.asarray(values, np.float64))
    place = math.ceil((1 - ALPHA) * (ordered.size + 1))
    return float(ordered[min(place, ordered.size) - 1])


def _over_worlds(rows: Sequence[Row]) -> Interval:
    found: dict[Any, list[float]] = {}
    for row in rows:
        found.setdefault(row["world_seed"], []).append(row["value"])
    return mean_interval([float(np.mean(v)) for v in found.values()])
