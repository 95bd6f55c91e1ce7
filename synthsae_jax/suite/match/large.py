"""Protocols on SAEs whose matrix of all scores is too large: the same recipes on candidates.

A `CandidatePipeline` runs a protocol's score, solver and filters on the best partners of every
latent (`match.evidence`), with codes as CSR matrices, so that memory goes with the width and time
with the firings. Scores of these pairs are the same numbers; an assignment is the best among the
candidates. Everything else, nulls too, is the protocol's own.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from synthsae_jax import similarity
from synthsae_jax.matching import (
    Evidence,
    Matching,
    Pipeline,
    SideInputs,
    count_scores,
    null_values,
    nulls,
)
from synthsae_jax.matching.filters import filter_latents, filter_pairs
from synthsae_jax.matching.pipeline import Found
from synthsae_jax.matching.pruned import assign_candidates
from synthsae_jax.suite.match import evidence as match_evidence
from synthsae_jax.suite.match.evidence import Block
from synthsae_jax.suite.protocols import NullStep, Protocol, View, protocols
from synthsae_jax.suite.protocols.base import NAN, Numbers
from synthsae_jax.suite.protocols.ours import dustbin_count
from synthsae_jax.suite.protocols.paulo import THRESHOLDS, curve
from synthsae_jax.suite.protocols.reads import centred_assignment

Array = jax.Array
_AGREEMENT = "encoder_decoder_agreement"
_SOLVERS = ("argmax", "mutual_nearest", "assignment")


class _Counts(NamedTuple):
    n: int  # tokens


class _Shape(NamedTuple):
    """Stands for a matrix of scores of which only the size is asked."""

    shape: tuple[int, int]


@dataclasses.dataclass(frozen=True)
class CandidateEvidence(Evidence):
    """`Evidence` of which only the candidates are known."""

    known: match_evidence.Evidence | None = None

    @property
    def counts(self) -> Any:
        """How many tokens there are: all that filters ask beside firings."""
        return _Counts(self.a.latents.shape[0])  # type: ignore[union-attr]

    @property
    def firings(self) -> tuple[np.ndarray, np.ndarray]:
        return _fired(self.a), _fired(self.b)

    def scores(self, row: np.ndarray, col: np.ndarray) -> np.ndarray:
        assert self.known is not None
        return match_evidence.scores_of(self.known, row, col)

    def best_scores(self, axis: int) -> np.ndarray:
        assert self.known is not None
        return self.known.best(axis)[1]


@dataclasses.dataclass(frozen=True)
class CandidatePipeline(Pipeline):
    """A `Pipeline` that sees the candidates of each latent in place of all pairs."""

    # evidence of directions by who they are: protocols that share it, and their draws, ask again
    memory: dict[Any, Any] = dataclasses.field(default_factory=dict, compare=False, repr=False)

    def run(self, a: SideInputs, b: SideInputs) -> Found:
        """The matching of two SAEs whose codes, if any, are CSR matrices."""
        evidence = CandidateEvidence(s=_shape(a, b), a=a, b=b)  # type: ignore[arg-type]
        kept_a, kept_b, of_latents = filter_latents(self.filters, evidence)
        known = self._known(a, b, kept_a, kept_b)
        evidence = dataclasses.replace(evidence, known=known)
        m = self._solve(known)
        steps = tuple(step for step in self.filters if step[0] != _AGREEMENT)
        m, of_pairs = filter_pairs(steps, evidence, m)
        for name, options in self.filters:
            if name == _AGREEMENT:
                other = assigned(self._directions("encoder", a, b))
                m = m.replace(valid=m.valid & _agree(m, other, options["at_least"]))
        return Found(m, (*of_latents, *of_pairs), evidence)

    def _known(
        self, a: SideInputs, b: SideInputs, kept_a: np.ndarray, kept_b: np.ndarray
    ) -> match_evidence.Evidence:
        if self.score == "decoder_cosine":
            return self._directions("decoder", a, b)
        x: Any = a.latents
        y: Any = b.latents
        blocks = match_evidence.score_blocks(self.score, x, y)
        masked = _masked(blocks, kept_a, kept_b)
        # only the best of each is asked for; a few more stand by for latents left single
        return match_evidence.candidates(self.score, (x.shape[1], y.shape[1]), masked, 8)

    def _directions(self, part: str, a: SideInputs, b: SideInputs) -> match_evidence.Evidence:
        x, y = getattr(a, part), getattr(b, part)
        absolute = bool(self.score_options.get("absolute"))
        key = part, id(x), id(y), absolute
        if key not in self.memory:
            blocks = match_evidence.cosine_blocks(np.asarray(x), np.asarray(y))
            blocks = ((i, np.abs(s)) for i, s in blocks) if absolute else blocks
            made = match_evidence.candidates(f"{part}_cosine", (len(x), len(y)), blocks)
            # the arrays too: their ids are theirs as long as they live
            self.memory[key] = made, x, y
        return self.memory[key][0]

    def _solve(self, known: match_evidence.Evidence) -> Matching:
        if self.solver == "assignment":
            row, col, score = assigned(known)
        elif self.solver == "mutual_nearest":
            partner, best = known.best(0)
            back = known.best(1)[0]
            row = np.flatnonzero((partner >= 0) & (back[partner] == np.arange(partner.size)))
            col, score = partner[row], best[row]
        else:
            forth = self.solver_options.get("direction", "b_to_a") == "a_to_b"
            partner, best = known.best(0 if forth else 1)
            mine = np.flatnonzero(partner >= 0)
            row, col = (mine, partner[mine]) if forth else (partner[mine], mine)
            score = best[mine]
        order = np.lexsort((col, row))
        row, col, score = row[order], col[order], score[order].astype(np.float32)
        valid = np.ones(row.size, bool) if self.threshold is None else score >= self.threshold
        return Matching(row.astype(np.int32), col.astype(np.int32), score, valid)


def large_protocol(name: str, memory: dict[Any, Any]) -> Protocol:
    """The registered protocol in a form that reads candidates. `memory` is what runs may share."""
    protocol = protocols[name]
    fields = {f.name: getattr(protocol.pipeline, f.name) for f in dataclasses.fields(Pipeline)}
    return dataclasses.replace(
        protocol,
        pipeline=CandidatePipeline(**fields, memory=memory),
        reads=tuple(_READS.get(read, read) for read in protocol.reads),
        nulls=tuple(_shared(step, memory) for step in protocol.nulls),
    )


def has_large_form(name: str) -> bool:
    """Does a protocol ask for nothing that candidates do not have?"""
    protocol = protocols[name]
    p = protocol.pipeline
    return (
        p.score in ("decoder_cosine", *count_scores)
        and p.solver in _SOLVERS
        and not {"activations"} & set(protocol.needs)
        and not {"margin"} & set(p.solver_options)
    )


def assigned(e: match_evidence.Evidence) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, columns and scores of the best assignment that pairs as many as candidates allow."""
    span = float(e.value.max() - e.value.min()) + 1.0 if e.value.size else 1.0
    floor = (float(e.value.min()) if e.value.size else 0.0) - span * min(e.shape)
    found = assign_candidates(e.row, e.col, e.value.astype(np.float64), e.shape, floor)
    return found.row, found.col, match_evidence.scores_of(e, found.row, found.col)


def _masked(blocks: Iterator[Block], kept_a: np.ndarray, kept_b: np.ndarray) -> Iterator[Block]:
    """Scores without the latents that are left out."""
    for start, s in blocks:
        s[~kept_a[start : start + len(s)]] = -np.inf
        s[:, ~kept_b] = -np.inf
        yield start, s


def _shape(a: SideInputs, b: SideInputs) -> _Shape:
    width = lambda v: np.shape(v.decoder)[0] if v.latents is None else np.shape(v.latents)[1]
    return _Shape((width(a), width(b)))


def _fired(side: SideInputs) -> np.ndarray:
    codes: Any = side.latents
    return np.bincount(codes.indices, minlength=codes.shape[1])


def _agree(
    m: Matching, other: tuple[np.ndarray, np.ndarray, np.ndarray], at_least: float
) -> np.ndarray:
    """bool `[M]`: is the pair in the other assignment as well, and both score enough?"""
    row, col, score = other
    partner = dict(zip(row[score >= at_least].tolist(), col[score >= at_least].tolist()))
    same = [partner.get(i) == j for i, j in zip(m.row.tolist(), m.col.tolist())]
    return np.array(same, bool) & (np.asarray(m.score) >= at_least)


def _dustbin_count(view: View) -> Numbers:
    """`ours.dustbin_count` among the candidates."""
    score = view.pairs[2]
    living = min(int(alive.sum()) for alive in view.alive)
    if not living or score.size == 0:
        return dustbin_count(view)
    null = np.asarray(view.step("fdr")["null_scores"])
    null = null[np.isfinite(null)]
    level = max(float(score.min()), float(np.quantile(null, 0.95)) if null.size else -np.inf)
    level -= 1e-6 * (1 + abs(level))
    e = _known(view)
    found = assign_candidates(e.row, e.col, e.value.astype(np.float64), e.shape, level)
    return {"shared_by_assignment": (found.row.size / living, "")}


def _curve(view: View) -> Numbers:
    """`paulo.curve` from assignments among the candidates."""
    pipeline: Any = view.pipeline
    arrays = {}
    for part in ("decoder", "encoder"):
        row, col, score = assigned(pipeline._directions(part, view.a, view.b))
        to, cosine = np.full(view.alive[0].size, -1), np.full(view.alive[0].size, -1.0)
        to[row], cosine[row] = col, score
        arrays |= {f"{part}_partner": to, f"{part}_cosine": cosine}
    at = np.asarray(similarity.shared_at(**arrays, thresholds=(-1.0, *THRESHOLDS)))
    at = at * view.alive[0].size / min(alive.size for alive in view.alive)
    return {
        "assignments_agree": (float(at[0]), ""),
        "shared_area": (float(at[1:].mean()), ""),
    }


def _centred(view: View) -> Numbers:
    """`stability_centred` from an assignment among the candidates."""
    unit = lambda v: v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-8)
    rows = [unit(np.asarray(side.decoder, np.float32)) for side in (view.a, view.b)]
    rows = [v - v.mean(0, keepdims=True) for v in rows]
    score = assigned(match_evidence.of_rows("decoder_cosine", *rows))[2]
    smaller = min(len(v) for v in rows)
    total = float(score.astype(np.float64).sum())
    return {"stability_centred": (total / smaller if score.size else NAN, "nothing is matched")}


def _known(view: View) -> match_evidence.Evidence:
    evidence: Any = view.found.evidence
    return evidence.known


_READS: dict[Callable[[View], Numbers], Callable[[View], Numbers]] = {
    dustbin_count: _dustbin_count,
    curve: _curve,
    centred_assignment: _centred,
}


def _shared(step: NullStep, memory: dict[Any, Any]) -> NullStep:
    """The null of directions with its draws kept, so that protocols share what they find there."""
    if step.name != "random_dictionary":
        return step

    def kept(key: Array, side: SideInputs) -> SideInputs:
        name = step.name, id(side.decoder), tuple(np.asarray(jax.random.key_data(key)).tolist())
        if name not in memory:
            memory[name] = nulls[step.name](key, side), side.decoder
        return memory[name][0]

    def draw(view, names, sides, observe, key, draws):
        def statistic(a: SideInputs, b: SideInputs) -> list[float]:
            numbers = observe(a, b)
            return [numbers[n][0] if n in numbers else np.nan for n in names]

        return names, null_values(statistic, sides[0], sides[1], kept, key, draws)

    return dataclasses.replace(step, draw=draw)


@functools.cache
def large_forms() -> tuple[str, ...]:
    """Names of the protocols that have a form for large SAEs."""
    return tuple(name for name in protocols if has_large_form(name))
