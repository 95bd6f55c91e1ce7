"""What an experiment observes: an SAE or a pair of SAEs, with factors and numbers.

The one way from a measurement to rows. A run that diverged and a number that is undefined are
rows with a status and the reason: an experiment yields the observation and cannot drop it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from synthsae_jax.io.rows import Row, column, make_row
from synthsae_jax.suite import table
from synthsae_jax.suite.needs import Name, fits

DIVERGED = "the training loss was not finite"


@dataclasses.dataclass(frozen=True)
class Number:
    """One value: `variant` is who says it (a rule, a score, a truth), `metric` what is said.

    NaN is undefined and needs a `reason`; of a finite value the reason is ignored. `standard` is
    one of a set that every pair gets, of which an experiment reads what it needs; any other number
    has a reader, or it is misspelt.
    """

    variant: str
    metric: str
    value: float
    reason: str = ""
    standard: bool = False


@dataclasses.dataclass(frozen=True)
class Side:
    """One of the SAEs observed: the columns that identify it, and how its training ended."""

    columns: Mapping[str, Any]
    status: str = "ok"  # or "diverged"


@dataclasses.dataclass(frozen=True)
class Observation:
    """An SAE (one side), a pair (two) or a world (none), and what to measure of it.

    `measure()` is called only where no side diverged; where one did, every number that a reader
    asks of such an observation becomes a row without a value. `columns` are columns of the table
    ("condition", "step", "same_init", ...) and factors without their prefix. With a "run_id" they
    name a group: numbers of any number of SAEs together, of which no column tells the runs.
    """

    sides: tuple[Side, ...]
    measure: Callable[[], Iterable[Number]]
    columns: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    tokens: int = 0  # behind each number
    names: tuple[Name, ...] = ()  # (metric, variant) of its numbers, where it has some; (): any

    @property
    def group(self) -> bool:
        """Does it have a name of its own in place of its runs' columns?"""
        return "run_id" in self.columns


def rows_of(
    observation: Observation,
    shared: Mapping[str, Any],
    read: Mapping[Name, Any],
    unread: set[Name] | None = None,
) -> list[Row]:
    """The rows of an observation, of those names alone that some quantity reads.

    `read` maps (metric, variant) to the `where` of its readers; see `quantity.reads`. Names that
    nobody reads are added to `unread`, but for standard ones. Raises `ValueError` for an undefined
    number without a reason, which is a mistake of the experiment.
    """
    columns = {**shared, **_identity(observation)}
    columns |= {column(name): value for name, value in observation.columns.items()}
    if any(side.status != "ok" for side in observation.sides):
        numbers = [
            (variant, metric, {"value": None, "status": "diverged", "reason": DIVERGED})
            for (metric, variant), wheres in read.items()
            if not observation.names or (metric, variant) in observation.names
            if any(fits(columns, where) for where in wheres)
        ]
    else:
        measured = list(observation.measure())
        if unread is not None:
            needed = {(n.metric, n.variant) for n in measured if not n.standard}
            unread |= needed - set(read)
        numbers = [
            (n.variant, n.metric, _valued(n)) for n in measured if (n.metric, n.variant) in read
        ]
    return [
        make_row(**columns, n_eval=observation.tokens, metric=metric, variant=variant, **valued)
        for variant, metric, valued in numbers
    ]


def _identity(observation: Observation) -> dict[str, Any]:
    """Columns of the sides; those of the second have `_b` behind their names."""
    if observation.group:
        return {}
    sides = [side.columns for side in observation.sides[:2]]
    if not sides:
        return {"run_id": "world"}
    first = dict(sides[0])
    if len(sides) == 1:
        return first
    second = sides[1]
    paired = {f"{name}_b": second[name] for name in table.PAIRED if name in second}
    if second.get("sae") != first.get("sae"):
        paired["sae_b"] = second["sae"]
    return {**first, **paired}


def _valued(number: Number) -> dict[str, Any]:
    if math.isfinite(number.value):
        return {"value": float(number.value), "status": "ok"}
    if not number.reason:
        raise ValueError(f"{number.metric!r} of {number.variant!r} is undefined without a reason.")
    return {"value": None, "status": "undefined", "reason": number.reason}
