"""The nulls of a protocol: of a side's inputs, with all steps run again, or of chosen pairs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from synthsae_jax.matching import Matching, SideInputs, pair_nulls
from synthsae_jax.matching.significance import judge_draws, null_values
from synthsae_jax.protocols.base import NullNumbers, NullStep, Numbers, View

Array = jax.Array


# the whole protocol on two sides: its numbers
Observe = Callable[[SideInputs, SideInputs], Numbers]
Sides = tuple[SideInputs, SideInputs]


def of_side(name: str, published: bool = False, stand_ins: bool = False) -> NullStep:
    """A null of `matching.nulls`: scores, solver, filters and readings all run again."""

    def draw(view, names, sides, observe, key, draws):
        def statistic(a: SideInputs, b: SideInputs) -> list[float]:
            numbers = observe(a, b)
            return [numbers[n][0] if n in numbers else np.nan for n in names]

        return names, null_values(statistic, sides[0], sides[1], name, key, draws)

    return NullStep(name, published, draw, stand_ins)


def of_pairs(name: str, *reads: Callable[[View], Numbers], published: bool = True) -> NullStep:
    """A null of `matching.pair_nulls`: only `reads` run again, on the pairs dealt anew."""

    def draw(view, names, sides, observe, key, draws):
        read = lambda v: {k: x[0] for r in reads for k, x in r(v).items()}
        again = tuple(read(view))

        def statistic(_: Any, m: Matching) -> list[float]:
            dealt = dataclasses.replace(view, result=view.result._replace(matching=m))
            numbers = read(dealt)
            return [numbers[n] for n in again]

        m = view.result.matching
        return again, null_values(statistic, None, m, pair_nulls[name], key, draws)

    return NullStep(name, published, draw)


def judge(
    step: NullStep,
    view: View,
    numbers: Mapping[str, float],
    sides: Sides,
    observe: Observe,
    key: Array,
    draws: int,
) -> NullNumbers:
    """What the numbers of a view are worth against one null."""
    names, values = step.draw(view, tuple(numbers), sides, observe, key, draws)
    observed = np.array([numbers[n] for n in names], np.float64)
    return NullNumbers(step.name, step.published, names, judge_draws(observed, values))
