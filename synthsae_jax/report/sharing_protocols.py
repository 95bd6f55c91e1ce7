"""The table of what published protocols say of pairs, with the truth beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from synthsae_jax.protocols import protocols

Row = Mapping[str, Any]
READ_PROTOCOLS = (
    "Each protocol's own number, in square brackets the mean of its null, and how many of the "
    "pairs it names are about the same feature. In round brackets: outside its stated use. Tokens "
    "have no strings here, so filters by token strings are left out."
)


def by_protocol(row: Row) -> bool:
    """Is the row about a protocol, or about the chance level of one?"""
    return row["variant"].partition("/")[0] in protocols


def protocol_cells(rows: Sequence[Row], names: Mapping[str, str]) -> list[dict[str, Any]]:
    """A record per protocol: its number, its null's mean and what is right, by condition.

    `names` are how conditions are headed.
    """
    found = []
    for name in dict.fromkeys(r["variant"].partition("/")[0] for r in rows):
        line: dict[str, Any] = {"protocol": name}
        for condition in dict.fromkeys(r["condition"] for r in rows):
            of = lambda metric, variant=name, condition=condition: [
                r
                for r in rows
                if (r["condition"], r["metric"], r["variant"]) == (condition, metric, variant)
            ]
            number = of("protocol_number")
            value, chance = _mean(number), _mean(of("protocol_number", f"{name}/chance"))
            text = "undef." if math.isnan(value) else f"{value:.2f}"
            if not math.isnan(chance):
                text += f" [{chance:.2f}]"
            right = _mean(of("precision"))
            text += "" if math.isnan(right) else f", {100 * right:.0f} % right"
            stated = bool(number) and bool(number[0]["factor_stated_use"])
            line[names.get(condition, condition)] = text if stated else f"({text})"
        found.append(line)
    return found


def _mean(rows: Sequence[Row]) -> float:
    values = [r["value"] for r in rows if r["value"] is not None]
    return float(np.mean(values)) if values else math.nan
