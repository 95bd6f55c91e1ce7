"""What a departure is: how it embeds codes, and which direction a feature has on average."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax

from synthsae_jax.registry import Registry
from synthsae_jax.worlds.records import Departure

Array = jax.Array
# `sum_of_rows(rows [F, D], start [D], ids [n, K], weights [n, K]) -> [n, D]` of `embed` itself, so
# that at strength 0 the numbers are its own to the last bit
SumOfRows = Callable[[Array, Array, Array, Array], Array]


@dataclasses.dataclass(frozen=True)
class Kind:
    """One kind of departure.

    `embed(departure, bias, ids, values, size, token_key, sum_of_rows)` gives the activations
    [n, D] of the slots; `size` [n, K] is what a value is as a magnitude of the world, without the
    model's gain. `effective(departure)` gives the effective directions [F, D] and the share of
    each feature that is linear [F] (NaN: no answer feature by feature).
    """

    embed: Callable[..., Array]
    effective: Callable[[Departure], tuple[Array, Array]]
    across: bool = False  # does it turn features towards a second direction?
    random: bool = False  # does it draw for each (token, feature)?


departures: Registry[Kind] = Registry("departure")


def departure_names() -> tuple[str, ...]:
    """All departures."""
    return departures.names()
