"""A page as a list of blocks: what is asked, sentences, tables, curves, dots, matrices, verdicts.

A block names quantities and where to take them; one renderer reads them off the rows and prints
with each number how many of how many observations it rests on. Where a scale lacks an arm, its
row, curve or cell is left out; where a number is undefined it says so.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from synthsae_jax.report import marks, page, tables
from synthsae_jax.report.canvas import Plot
from synthsae_jax.suite.claims import Claim
from synthsae_jax.suite.quantity import Estimate, Observed, Quantity

Where = Mapping[str, Any]
EVERYWHERE: Where = {}

Level = Quantity | float | None


@dataclasses.dataclass(frozen=True)
class Drawn:
    """What a block comes to."""

    tables: tuple[tables.Table, ...] = ()
    figures: tuple[page.Captioned, ...] = ()


@dataclasses.dataclass(frozen=True)
class Reader:
    """What a block is drawn from."""

    observed: Observed
    claims: Sequence[Claim]
    names: Mapping[str, str]  # what to print instead of a value
    width: str  # of figures: "page" or "column"

    def estimate(self, quantity: Quantity, where: Where = EVERYWHERE) -> Estimate:
        """A quantity where columns have these values."""
        return self.observed.estimate(quantity.at(**where))

    def name(self, value: Any) -> str:
        """What to print for a value of a column."""
        return self.names.get(value, str(value)) if isinstance(value, str) else str(value)


class Block(Protocol):
    """A part of a section."""

    def quantities(self) -> Sequence[Quantity]:
        """Everything that it reads."""
        ...

    def draw(self, reader: Reader) -> Drawn:
        """Its tables and figures; nothing where there is nothing to show."""
        ...


@dataclasses.dataclass(frozen=True)
class Finding:
    """A sentence with numbers: `Finding("Recovery falls by {loss}.", loss=quantity)`.

    `{loss}` prints the estimate with its interval, `{loss:alone}` without, `{loss:.3}` with three
    digits. Where one is undefined the sentence gives way to the reason.
    """

    text: str
    values: Mapping[str, Quantity]

    def __init__(self, text: str, /, **values: Quantity):
        object.__setattr__(self, "text", text)
        object.__setattr__(self, "values", values)

    def quantities(self) -> tuple[Quantity, ...]:
        """What it reads."""
        return tuple(self.values.values())

    def say(self, reader: Reader) -> str:
        """The sentence."""
        estimates = {name: reader.estimate(q) for name, q in self.values.items()}
        for estimate in estimates.values():
            if not estimate.known:
                return _undefined(estimate)
        return self.text.format(**estimates)


@dataclasses.dataclass(frozen=True)
class Telling:
    """A sentence that has to choose its words: `say(reader)` writes it from these quantities."""

    of: tuple[Quantity, ...]
    write: Callable[[Reader], str]

    def quantities(self) -> tuple[Quantity, ...]:
        """What it reads."""
        return self.of

    def say(self, reader: Reader) -> str:
        """The sentence."""
        return self.write(reader)


@dataclasses.dataclass(frozen=True)
class Figure:
    """A figure of an experiment's own: `plot(reader)`, None where there is nothing to show."""

    name: str
    of: Sequence[Quantity]
    plot: Callable[[Reader], Plot | None]
    caption: str

    def quantities(self) -> Sequence[Quantity]:
        """What it reads."""
        return self.of

    def draw(self, reader: Reader) -> Drawn:
        """The figure."""
        plot = self.plot(reader)
        return Drawn() if plot is None else figure_of(plot, self.caption, self.name, ())


@dataclasses.dataclass(frozen=True)
class Own:
    """A table of an experiment's own: `table(reader)`, None where there is nothing to show."""

    of: Sequence[Quantity]
    table: Callable[[Reader], tables.Table | None]

    def quantities(self) -> Sequence[Quantity]:
        """What it reads."""
        return self.of

    def draw(self, reader: Reader) -> Drawn:
        """The table."""
        table = self.table(reader)
        return Drawn() if table is None else Drawn(tables=(table,))


def level_of(reader: Reader, level: Level) -> float | None:
    if not isinstance(level, Quantity):
        return level
    estimate = reader.estimate(level)
    return estimate.value if estimate.known else None


def figure_of(plot: Plot, caption: str, name: str, records: Sequence[Mapping[str, Any]]) -> Drawn:
    text = f"{caption} {marks.READING}" if records else caption
    return Drawn(figures=(page.Captioned(plot, text, name),))


def _undefined(estimate: Estimate) -> str:
    title = estimate.quantity.title
    return f"{title[:1].upper()}{title[1:]} is undefined: {estimate.reason}."
