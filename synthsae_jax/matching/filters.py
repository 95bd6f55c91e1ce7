"""Filters: which latents and pairs a protocol leaves out, each with a log of what it removed.

Filters come in two stages. One of latents acts before the solver, since a latent that is to be
left out must not take anybody's partner; one of pairs acts on what the solver found. All read the
same `Evidence`, so the same list of filters can be run again on a null's (see `pipeline`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from synthsae_jax.errors import require
from synthsae_jax.matching.counts import PairCounts
from synthsae_jax.matching.records import Matching, SideInputs
from synthsae_jax.options import check_options
from synthsae_jax.registry import Explanation, Registry

LATENTS, PAIRS = "latents", "pairs"
# A filter by name, with its options: ("min_firings", {"at_least": 30}).
Step = tuple[str, Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class Evidence:
    """All that filters may read about two SAEs. Truth is not among it."""

    s: np.ndarray  # [L_a, L_b]: the scores that are matched by
    a: SideInputs = dataclasses.field(default_factory=SideInputs)
    b: SideInputs = dataclasses.field(default_factory=SideInputs)
    streamed: PairCounts | None = None  # in place of latents

    @cached_property
    def counts(self) -> PairCounts:
        """The counts given, or those of the latents of both sides."""
        if self.streamed is not None:
            return self.streamed
        require(
            self.a.latents is not None and self.b.latents is not None,
            "this filter reads how latents fire: give the latents of both sides, or counts.",
        )
        empty = PairCounts.init(self.a.latents.shape[1], self.b.latents.shape[1])
        return empty.update(self.a.latents, self.b.latents)

    @property
    def firings(self) -> tuple[np.ndarray, np.ndarray]:
        """int [L_a], [L_b]: tokens on which each latent fires."""
        return np.asarray(self.counts.fired_a), np.asarray(self.counts.fired_b)

    def scores(self, row: np.ndarray, col: np.ndarray) -> np.ndarray:
        """Scores of given pairs, `[M]`."""
        return np.asarray(self.s)[row, col]

    def best_scores(self, axis: int) -> np.ndarray:
        """Each latent's best finite score with the other side, of A (0) or B (1); NaN: none."""
        s = np.asarray(self.s) if axis == 0 else np.asarray(self.s).T
        best = np.where(np.isfinite(s), s, -np.inf).max(1)
        return np.where(np.isfinite(best), best, np.nan)


@dataclasses.dataclass(frozen=True)
class Filter:
    """A registered filter: its stage and its rule, which is told what to keep.

    Latents: `(evidence, *, options) -> (bool [L_a], bool [L_b])`. Pairs: `(evidence, row [M],
    col [M], *, options) -> bool [M]`, of the pairs that are still valid.
    """

    stage: str
    keep: Callable[..., Any]


@dataclasses.dataclass(frozen=True)
class Removed:
    """One line of the log: what one filter took out of what it was given."""

    filter: str
    options: Mapping[str, Any]
    stage: str
    before: int  # latents of both sides, or pairs
    a: np.ndarray  # int [k]: latents of A removed; of a pair filter, the pairs' latents of A
    b: np.ndarray  # int [k]: likewise of B; of a pair filter, aligned with `a`

    @property
    def removed(self) -> int:
        """How many latents, or pairs, were removed."""
        return len(self.a) if self.stage == PAIRS else len(self.a) + len(self.b)

    def __str__(self) -> str:
        return f"{self.filter}: removed {self.removed} of {self.before} {self.stage}"


filters: Registry[Filter] = Registry("filter")


def register_filter(name: str, stage: str, explanation: Explanation):
    """Decorator: register a rule of what to keep under a name."""

    def add(keep: Callable[..., Any]) -> Callable[..., Any]:
        filters.register(name, explanation)(Filter(stage, keep))
        return keep

    return add


def filter_latents(
    steps: Sequence[Step], evidence: Evidence
) -> tuple[np.ndarray, np.ndarray, list[Removed]]:
    """Latents that all filters of latents keep, bool `[L_a]`, `[L_b]`, and the log.

    Each filter is logged with what it removes of what those before it left. Give the two masks to
    `solve` as `alive_a`, `alive_b`. Filters of pairs are passed over.
    """
    masks = [np.ones(n, bool) for n in np.shape(evidence.s)]
    log = []
    for name, options, entry in _entries(steps, LATENTS):
        # On all latents, whatever was removed before: the order of filters changes the log, not the
        # result.
        keep = [np.asarray(k, bool) for k in entry.keep(evidence, **options)]
        before = sum(int(k.sum()) for k in masks)
        removed = [np.flatnonzero(was & ~stays) for was, stays in zip(masks, keep)]
        masks = [was & stays for was, stays in zip(masks, keep)]
        log.append(Removed(name, options, LATENTS, before, *removed))
    return masks[0], masks[1], log


def filter_pairs(
    steps: Sequence[Step], evidence: Evidence, m: Matching
) -> tuple[Matching, list[Removed]]:
    """The matching with `valid` only where all filters of pairs agree, and the log.

    Filters of latents are passed over: they belong before the solver.
    """
    row, col = np.asarray(m.row), np.asarray(m.col)
    valid = np.asarray(m.valid).copy()
    log = []
    for name, options, entry in _entries(steps, PAIRS):
        index = np.flatnonzero(valid)
        # On the pairs that are left, unlike latents: a false discovery rate depends on how many are
        # asked.
        keep = np.asarray(entry.keep(evidence, row[index], col[index], **options), bool)
        removed = index[~keep]
        valid[removed] = False
        log.append(Removed(name, options, PAIRS, index.size, row[removed], col[removed]))
    return m.replace(valid=valid), log


def check_steps(steps: Sequence[Step]) -> None:
    """Raise `ConfigError` unless every step is a known filter with options it has."""
    for name, options in steps:
        check_options(f"filter {name!r}", filters[name].keep, options)


def latent_steps(steps: Sequence[Step]) -> tuple[Step, ...]:
    """The steps that are filters of latents."""
    return tuple(step for step in steps if filters[step[0]].stage == LATENTS)


def _entries(steps: Sequence[Step], stage: str):
    check_steps(steps)
    for name, options in steps:
        if filters[name].stage == stage:
            yield name, options, filters[name]
