"""What rules and protocols declare shared, beside what is: sections for a page."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

from synthsae_jax.experiments.universality.measure import (
    ARCHITECTURES,
    DECLARING,
    GRID,
    UniversalityScale,
)
from synthsae_jax.experiments.universality.quantities import (
    FIRINGS,
    IN_COMMON,
    LEAST,
    MOST,
    RULES,
    TRUE,
    declared,
    error,
    right,
    score,
)
from synthsae_jax.protocols import protocols
from synthsae_jax.protocols.rules import rules
from synthsae_jax.report import tables
from synthsae_jax.report.block_tables import Listing
from synthsae_jax.report.blocks import Figure, Own, Reader, Telling, Where
from synthsae_jax.report.canvas import Plot
from synthsae_jax.report.design_page import Page, Section
from synthsae_jax.report.sharing import sharing_plot
from synthsae_jax.suite.oracles import ORACLE
from synthsae_jax.suite.quantity import Estimate, Quantity
from synthsae_jax.worlds.family import Condition

NAMES = {
    **RULES,
    "half_rotated": "half shared, rotated",
    "half": "half shared, independent",
    "disjoint_independent": "disjoint, independent",
    "disjoint_coupled": "disjoint, coupled",
}
_HEADS = {
    "best_correlation_0.1": "corr. > .1",
    "decoder_cosine_0.7_raw": "cos. > .7 raw",
    "decoder_cosine_0.7_aligned": "cos. > .7 aligned",
}
CONDITIONS = (
    "Model B beside model A: identical directions; the same features rotated; the same features "
    "in independent directions; half of the features, rotated; no feature in common with a stream "
    "of its own (disjoint, independent); no feature in common but the same copula factors and the "
    "same number of active features on each token (disjoint, coupled)."
)
READ_SHARING = (
    "Declared: the share of living latents that a rule calls shared. In common: the features that "
    "both models have. True: the share of latents that track the same feature on both sides, by "
    "direction (cosine .7) and by firing (F1 .5), with the range over other definitions behind "
    "it; it is lower where training did not find the features. Right: of the pairs a rule names, "
    "how many are about the same feature. A declared share far above the true one is universality "
    "that is not there. In brackets: outside the rule's stated use."
)
_READ_PROTOCOLS = (
    "Each protocol's own number, in square brackets the mean of its null, and how many of the "
    "pairs it names are about the same feature. In round brackets: outside its stated use. Tokens "
    "have no strings here, so filters by token strings are left out."
)
NOT_SHOWN = (
    "How an SAE ranks here says how it handles superposition, hierarchy and correlation, not how "
    "well it explains a language model."
)


def stated_use(name: str, condition: Condition) -> bool:
    """Is the rule or protocol meant for such models, by its authors or its logic?"""
    if name in rules:
        return rules[name].stated_use(condition)
    return condition.same_space or not protocols[name].same_space


@dataclasses.dataclass(frozen=True)
class Sharing:
    """One SAE on a family of models: the table and the figure of all conditions and rules.

    `units` are what the figure's marks are means over (None: worlds).
    """

    sae: str  # as rows name it
    where: Where
    grid: Sequence[Condition]
    units: tuple[str, ...] | None = None
    protocols: Sequence[str] = ()

    @property
    def who(self) -> str:
        """The SAE, in words."""
        return "oracle SAEs (true directions, true codes)" if self.sae == ORACLE else self.sae

    def section(self) -> Section:
        """Its part of a page."""
        name = "sharing-" + "".join(c if c.isalnum() else "-" for c in self.sae).strip("-")
        caption = f"Declared and true sharing, {self.who}. {CONDITIONS}"
        blocks = [Own(self._read(*_TRUTHS, *_of_rules(), FIRINGS), self._table)]
        if self.protocols:
            blocks.append(Own(self._read(*_of_protocols(self.protocols)), self._protocol_table))
        figure = Figure(name, self._read(TRUE, *map(declared, RULES)), self._plot, caption)
        title = f"When are features called shared? {self.who}"
        return Section(title, READ_SHARING, *blocks, figure)

    def _read(self, *numbers: Quantity) -> list[Quantity]:
        return [self._at(q, condition) for q in numbers for condition in self.grid]

    def _at(self, quantity: Quantity, condition: Condition) -> Quantity:
        """A number where this SAE met a condition."""
        taken = quantity.at(**self.where, condition=condition.name)
        if self.units is None or not quantity.units:
            return taken
        return dataclasses.replace(taken, units=self.units)

    def _met(self, reader: Reader) -> list[tuple[Condition, Callable[[Quantity], Estimate]]]:
        """The conditions that were observed, each with what reads a number there."""
        reads = [(c, lambda q, c=c: reader.estimate(self._at(q, c))) for c in self.grid]
        return [(c, estimate) for c, estimate in reads if not estimate(IN_COMMON).absent]

    def _table(self, reader: Reader) -> tables.Table | None:
        records = []
        for condition, estimate in self._met(reader):
            least, most = (100 * estimate(end).value for end in (LEAST, MOST))
            true = f"{_percent(estimate(TRUE))} ({least:.0f}-{most:.0f})"
            line = {
                "model B": NAMES.get(condition.name, condition.name),
                "in common": _percent(estimate(IN_COMMON)),
                "true (range)": true if estimate(LEAST).known else "undef.",
            }
            for rule in RULES:
                text, share = _percent(estimate(declared(rule))), estimate(right(rule))
                text += f", {_percent(share)} right" if share.known else ""
                line[_HEADS[rule]] = text if stated_use(rule, condition) else f"({text})"
            records.append(line)
        if not records:
            return None
        return tables.plain(records, title=f"Sharing, {self.who}", note=self._held(reader))

    def _held(self, reader: Reader) -> str:
        """What rules read."""
        of_sae = FIRINGS.at(**self.where)
        firings = reader.estimate(of_sae)
        tokens = max((row["n_eval"] for row in reader.observed.select(of_sae.needs[0])), default=0)
        median = f"{firings.value:,.0f}" if firings.known else "undefined"
        return f"{tokens:,} tokens; median firings of a latent {median}."

    def _protocol_table(self, reader: Reader) -> tables.Table | None:
        records = []
        for name in self.protocols:
            line: dict[str, Any] = {"protocol": name}
            for condition, estimate in self._met(reader):
                value, chance = (estimate(score(name, of_null)) for of_null in (False, True))
                share = estimate(right(name))
                text = f"{value.value:.2f}" if value.known else "undef."
                text += f" [{chance.value:.2f}]" if chance.known else ""
                text += f", {_percent(share)} right" if share.known else ""
                head = NAMES.get(condition.name, condition.name)
                line[head] = text if stated_use(name, condition) else f"({text})"
            records.append(line)
        if not self._met(reader):
            return None
        title = f"Published protocols, {self.who}"
        return tables.plain(records, title=title, note=_READ_PROTOCOLS)

    def _plot(self, reader: Reader) -> Plot | None:
        data = []
        for condition, estimate in self._met(reader):
            for rule in RULES:
                of_rule = estimate(declared(rule)).interval
                data.append(
                    {
                        "condition": condition.name,
                        "rule": rule,
                        "declared": of_rule.estimate,
                        "true": estimate(TRUE).value,
                        "lo": of_rule.lo,
                        "hi": of_rule.hi,
                        "points": of_rule.points,
                        "stated_use": stated_use(rule, condition),
                    }
                )
        if not data:
            return None
        return sharing_plot(data, width=reader.width, x_label="share", names=NAMES)


_TRUTHS = (IN_COMMON, TRUE, LEAST, MOST)


def _of_rules() -> list[Quantity]:
    return [of(rule) for rule in RULES for of in (declared, right)]


def _of_protocols(names: Sequence[str]) -> list[Quantity]:
    each = (score, functools.partial(score, chance=True), right)
    return [of(name) for name in names for of in each]


def _percent(estimate: Estimate) -> str:
    return f"{100 * estimate.value:.0f} %" if estimate.known else "undef."


_SAES = {name: {"arm": name} for name in (*ARCHITECTURES, ORACLE)}
_ROTATED = {
    name: [q.at(**at, condition="rotated") for q in (declared(next(iter(RULES))), TRUE)]
    for name, at in _SAES.items()
}


def _rotated(reader: Reader) -> str:
    """What the best correlation declares beside what is true, on rotated models."""
    parts = []
    for name in ARCHITECTURES:
        said, true = map(reader.estimate, _ROTATED[name])
        if said.known and true.known:
            parts.append(f"{said} of {name}'s latents, where {true} truly are")
    if not parts:
        return "No pair of trained SAEs on rotated models was scored."
    return f"On models that share all features, rotated, r > .1 calls shared {'; '.join(parts)}."


def _errors() -> Listing:
    """How far each rule and declaring protocol is off, by SAE."""
    rows = {}
    for sae, at in _SAES.items():
        for name in (*RULES, *DECLARING):
            stated = tuple(c.name for c in GRID if stated_use(name, c))
            whole = error(name).at(**at)
            rows[f"{sae}: {RULES.get(name, name)}"] = (whole.at(condition=stated), whole)
    return Listing("SAE and rule", ("error, stated use", "error, whole grid"), rows, digits=3)


PAGE = Page(
    title="Declared against true sharing",
    asked="Pairs of SAEs on models of which it is known what features both have; each rule sees "
    "only what its authors see: when features are said to be shared, are they?",
    findings=(Telling(tuple(q for both in _ROTATED.values() for q in both), _rotated),),
    not_shown=NOT_SHOWN,
    sections=(
        Section(
            "How far declared sharing is from true sharing",
            "The error is |declared - features in common|, averaged over the grid of conditions; "
            "cells outside a rule's stated use count in the second column only.",
            _errors(),
        ),
        *(
            Sharing(name, at, GRID, protocols=UniversalityScale.protocols).section()
            for name, at in _SAES.items()
        ),
    ),
    limits="- Synthetic features are linear, sparse and independent of any task.",
    names=NAMES,
)
