"""The page of validity@1: the board, scores against what is shared, floors, what a value means."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from synthsae_jax.experiments.validity import board as boards
from synthsae_jax.experiments.validity.arms import PROTOCOLS
from synthsae_jax.experiments.validity.quantities import (
    ALPHA,
    COMPARED,
    MOVED,
    PRECISION,
    R_RULE,
    REAL,
    SCORES,
    SHARED,
    TITLES,
    UNRELATED,
    ZEROS,
    at_zero,
    false_positives,
    monotone,
    on_compared_pairs,
    ordering,
    passed,
    spearman,
    threshold,
    values_of,
    where,
)
from synthsae_jax.report import tables
from synthsae_jax.report.block_plots import Curve, Dots, Mark
from synthsae_jax.report.block_tables import Listing, table_of
from synthsae_jax.report.blocks import Own, Reader, Telling
from synthsae_jax.report.design_page import Page, Section
from synthsae_jax.suite.needs import Values
from synthsae_jax.suite.quantity import Quantity

_DRAWN = (R_RULE, "decoder_cosine_0.7_aligned", "ours@1", "svcca_rank1", "cka_debiased", "rsa")
_FLOORS = (R_RULE, "song2025", "ours@1")
_INVERTED = ("rsa", "svcca_rank1", R_RULE)
_SAME, _OWN = "Spearman, compared pairs", "Spearman, its own pairs"


def _title(name: str) -> str:
    return TITLES.get(name, name)


def _leading(reader: Reader) -> str:
    standings = boards.board(reader.observed)
    ranked = [s for s in standings if s.rank is not None]
    if not ranked:
        return "No score can be ranked: none was defined on enough pairs with a varying truth."
    best, last = ranked[0], ranked[-1]
    examples = {s.name: s for s in (best, *(s for s in ranked if s.name == R_RULE), last)}
    listed = lambda of: ", ".join(f"{of(s):alone} for {_title(s.name)}" for s in examples.values())
    pairs = f"{best.compared.defined} of {best.compared.total} pairs"
    return (
        f"Of {sum(s.name in REAL for s in standings)} scores {_title(best.name)} comes first. On "
        f"the {pairs} of which relational measures can be asked, the rank correlation with the "
        f"truth is {listed(lambda s: s.compared)}; over the pairs that each score answers, which "
        f"are others, it is {listed(lambda s: s.answered)}."
    )


def _floor(reader: Reader) -> str:
    floors = {name: reader.estimate(at_zero(name)) for name in _FLOORS}
    listed = " and ".join(f"{_title(n)} {e:.3 alone}" for n, e in floors.items() if e.known)
    if not listed:
        return "No pair without a common feature was scored."
    return f"Where no feature is shared they should say 0: {listed}."


def _board(reader: Reader) -> tables.Table | None:
    lines: dict[str, Sequence[Any]] = {}
    for standing in boards.board(reader.observed):
        of_ranks = standing.ranks.values()
        spread = f" [{min(of_ranks)}, {max(of_ranks)}]" if len(set(of_ranks)) > 1 else ""
        lines[_title(standing.name)] = [
            "" if standing.rank is None else f"{standing.rank}{spread}",
            standing.false_positives,
            standing.compared,
            standing.answered,
            reader.estimate(monotone(standing.name)),
            reader.estimate(ordering(standing.name)),
        ]
    heads = ["rank", "false positives", _SAME, _OWN, "monotone", "ordering"]
    return table_of("score", heads, lines)


def _curve(name: str) -> list[Mark]:
    """A score against what is shared: a line for each geometry, both from the same zeros."""

    def at(level: float, t: float) -> Quantity:
        if level == UNRELATED:
            return at_zero(name)
        return where(name, lambda c: (c.shared, c.sharing) == (level, t))

    return [
        Mark(_title(name), f"t = {t:g}", at(level, t).at(arm="random"), level)
        for t in (1.0, 0.0)
        for level in (UNRELATED, *SHARED)
    ]


def inversion(reader: Reader, name: str, bins: int = 5) -> tables.Table | None:
    """What a published value may mean: by fifths of the score, the ranges of what lay behind it."""
    (need,) = SCORES[name].needs
    rows = [row for row in reader.observed.select(need) if row["value"] is not None]
    if not rows:
        return None
    (of_precision,) = PRECISION.needs
    precise = reader.observed.select(of_precision)
    precision = values_of(Values(precise, [True] * len(precise)))
    at = list(values_of(Values(rows, [True] * len(rows))))
    scores = np.array([row["value"] for row in rows])
    edges = np.unique(np.quantile(scores, np.linspace(0, 1, bins + 1)))
    records = []
    for lo, hi in itertools.pairwise(edges):
        inside = np.flatnonzero((scores >= lo) & ((scores < hi) | (hi == edges[-1])))
        behind: Mapping[str, list[float]] = {
            "features in common": [rows[i]["factor_shared"] for i in inside],
            "correlation of Gram matrices": [rows[i]["factor_gram_correlation"] for i in inside],
            "precision of r > .1": [precision.get(at[i], math.nan) for i in inside],
        }
        records.append(
            {
                _title(name): f"{lo:.2f} to {hi:.2f}",
                "pairs": len(inside),
                **{head: _ends(values) for head, values in behind.items()},
            }
        )
    return tables.plain(records, title=_title(name))


def _ends(values: Sequence[float]) -> str:
    finite = np.array(values)[np.isfinite(values)]
    if not finite.size:
        return "undefined"
    return " / ".join(f"{v:.2f}" for v in (finite.min(), np.median(finite), finite.max()))


def _moved(reader: Reader) -> tables.Table | None:
    lines = {
        _title(standing.name): [reader.estimate(test(standing.name)) for test in MOVED.values()]
        for standing in boards.board(reader.observed)
    }
    return table_of("score", tuple(MOVED), lines)


_FLOOR_HEADS = ("independent", "coupled", "threshold", "above it, t = 1", "above it, t = 0")


def _floors(name: str) -> list[Quantity]:
    zeros = [at_zero(name, zero) for zero in ZEROS]
    return [*zeros, threshold(name), passed(name, 1.0), passed(name, 0.0)]


PAGE = Page(
    title="Validity of universality scores",
    asked="Do scores of universality follow what two models truly share, and nothing else?",
    findings=(
        Telling(tuple(boards.quantities()), _leading),
        Telling(tuple(map(at_zero, _FLOORS)), _floor),
    ),
    not_shown="It does not show how real models share features: only how each score would read it.",
    sections=(
        Section(
            "The board",
            "A row is a score. False positives: how often its own test finds p <= .05 between "
            "models without a common feature (5 % is right; empty: it has no test). Spearman: rank "
            "correlation with the share of latents that truly track the same feature, over the "
            f"pairs of a world. Scores are compared on those pairs on which {len(COMPARED)} "
            "relational measures are defined, since these say nothing of models with little in "
            "common; over its own pairs, all that it answers, a score meets others and its number "
            "is not comparable. Ranks: scores whose test keeps to twice the nominal rate, then "
            "those without a test (or with one that answers on less than half of the pairs), then "
            "those that call chance a finding; within these by Spearman on the compared pairs. In "
            "brackets the ranks over all that may be called truth. Monotone: rises with what is "
            "shared (1 is right); ordering: average precision of telling pairs with half of the "
            "features in common or more from unrelated ones. A number on a part of the pairs says "
            "on how many, and is no comparison with one on others.",
            Own(
                (*boards.quantities(), *map(monotone, SCORES), *map(ordering, SCORES)),
                _board,
            ),
            Dots(
                "board",
                [
                    Mark(panel, _title(name), of(name), chance=chance)
                    for panel, of, chance, names in (
                        (_SAME, lambda name: on_compared_pairs(spearman(name)), None, SCORES),
                        (_OWN, spearman, None, SCORES),
                        ("false positives", false_positives, ALPHA, PROTOCOLS),
                        ("ordering", ordering, None, SCORES),
                    )
                    for name in names
                ],
                "The board's main columns.",
            ),
        ),
        Section(
            "What moves a score that should not",
            "By geometry alone, by an initialisation in common, by width, by the frequency law, by "
            "an SAE that fits interference (0 is right in each); by an equivalent form of the same "
            "SAE; and its error with an eighth of the tokens.",
            Own(tuple(test(name) for test in MOVED.values() for name in SCORES), _moved),
        ),
        Section(
            "Scores against what is shared",
            "A score of features should rise with the share of common features and not care "
            "whether the two dictionaries are alike (t = 1: rotated copies; t = 0: independent).",
            Curve(
                "curves",
                "shared",
                [mark for name in _DRAWN for mark in _curve(name)],
                "Scores by share of common features.",
            ),
        ),
        Section(
            "The floor",
            "What a score says of models without a common feature: firing independently, and "
            "coupled as two models are that read the same text. Above the threshold lie at most "
            "5 % of such pairs, over all arms and worlds of this run; the last columns say how "
            "many of the pairs with half of the features in common or more it lets through, with "
            "rotated and with unrelated directions. A threshold belongs to worlds like these: what "
            "carries over is that a score needs one.",
            Listing("score", _FLOOR_HEADS, {_title(n): _floors(n) for n in REAL}, digits=3),
        ),
        Section(
            "What a published value may mean",
            "Pairs of all arms, sorted by a score into fifths: the least, median and most of what "
            "lay behind it.",
            *(
                Own((SCORES[name], PRECISION), lambda reader, name=name: inversion(reader, name))
                for name in _INVERTED
            ),
        ),
    ),
    limits="- Small worlds without trees; SAEs of one architecture but for the arms that say "
    "otherwise.\n"
    "- Relational measures read the decoder rows of the pairs that correlate above .1, a multiple "
    "of 32 of them; where fewer do they are undefined.\n"
    "- Protocols see the first 8,192 tokens.",
    names={"shared": "share of features in common"},
)
