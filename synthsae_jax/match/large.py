"""Protocols on SAEs whose matrix of all scores is too large: the same recipes on candidates.

A `CandidatePipeline` runs a protocol's score, solver and filters on the best partners of every
latent (`match.evidence`), with codes as CSR matrices, so that memory goes with the width and time
with the firings. Scores of these pairs are the same numbers; an assignment is the best among the
candidates. Everything else, nulls too, is the protocol's own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from synthsae_jax.match import evidence as match_evidence
from synthsae_jax.match.evidence import Block
from synthsae_jax.match.large_reads import READS
from synthsae_jax.match.shared import SharedEvidence, Wanted
from synthsae_jax.matching import Matching, Pipeline, SideInputs, count_scores
from synthsae_jax.matching.filters import Evidence, filter_latents, filter_pairs, latent_steps
from synthsae_jax.matching.pipeline import PipelineResult
from synthsae_jax.numerics import firings
from synthsae_jax.protocols import Protocol, protocols
from synthsae_jax.protocols.ours import dustbin_count
from synthsae_jax.protocols.run import LABELLED

_AGREEMENT = "encoder_decoder_agreement"
_SOLVERS = ("argmax", "mutual_nearest", "assignment")
_SEVERAL = 8
# filters of latents that only ask how often a latent fires -> the least
_BY_FIRINGS: dict[str, Callable[[Mapping[str, Any]], int]] = {
    "dead": lambda options: 1,
    "min_firings": lambda options: options.get("at_least", 30),
}


class _Counts(NamedTuple):
    n: int  # tokens


class _Shape(NamedTuple):
    """Stands for a matrix of scores of which only the size is asked."""

    shape: tuple[int, int]


@dataclasses.dataclass(frozen=True)
class CandidateEvidence(Evidence):
    """`Evidence` of which only the candidates are known."""

    pairs: match_evidence.CandidatePairs | None = None

    @property
    def counts(self) -> Any:
        """How many tokens there are: all that filters ask beside firings."""
        return _Counts(self.a.latents.shape[0])  # type: ignore[union-attr]

    @property
    def firings(self) -> tuple[np.ndarray, np.ndarray]:
        return _fired(self.a), _fired(self.b)

    def scores(self, row: np.ndarray, col: np.ndarray) -> np.ndarray:
        assert self.pairs is not None
        return match_evidence.scores_of(self.pairs, row, col)

    def best_scores(self, axis: int) -> np.ndarray:
        assert self.pairs is not None
        return self.pairs.best(axis)[1]


@dataclasses.dataclass(frozen=True)
class CandidatePipeline(Pipeline):
    """A `Pipeline` that sees the candidates of each latent in place of all pairs."""

    # what protocols on the same data, and on the same draws, have in common
    shared: SharedEvidence = dataclasses.field(
        default_factory=SharedEvidence, compare=False, repr=False
    )
    candidates: int = 1  # of every latent, by codes; of directions always `CANDIDATES`

    def run(self, a: SideInputs, b: SideInputs) -> PipelineResult:
        """The matching of two SAEs whose codes, if any, are CSR matrices."""
        evidence = CandidateEvidence(s=_shape(a, b), a=a, b=b)  # type: ignore[arg-type]
        alive_a, alive_b, of_latents = filter_latents(self.filters, evidence)
        pairs = self._candidate_pairs(a, b, alive_a, alive_b)
        evidence = dataclasses.replace(evidence, pairs=pairs)
        m = self._solve(pairs)
        steps = tuple(step for step in self.filters if step[0] != _AGREEMENT)
        m, of_pairs = filter_pairs(steps, evidence, m)
        for name, options in self.filters:
            if name == _AGREEMENT:
                # By an assignment among the candidates: the registered filter would make the matrix
                # of all pairs.
                other = self.shared.assigned(self._directions("encoder", a, b))
                m = m.replace(valid=m.valid & _agree(m, other, options["at_least"]))
        return PipelineResult(m, (*of_latents, *of_pairs), evidence)

    def _candidate_pairs(
        self, a: SideInputs, b: SideInputs, alive_a: np.ndarray, alive_b: np.ndarray
    ) -> match_evidence.CandidatePairs:
        if self.score == "decoder_cosine":
            return self._directions("decoder", a, b)
        x: Any = a.latents
        y: Any = b.latents
        what = wanted(self)
        if what is not None:
            return self.shared.of_codes(x, y, what)
        blocks = match_evidence.score_blocks(self.score, x, y)
        masked = _masked(blocks, alive_a, alive_b)
        shape = x.shape[1], y.shape[1]
        return match_evidence.candidates(self.score, shape, masked, self.candidates)

    def _directions(self, part: str, a: SideInputs, b: SideInputs) -> match_evidence.CandidatePairs:
        absolute = bool(self.score_options.get("absolute"))
        return self.shared.of_rows(getattr(a, part), getattr(b, part), absolute=absolute)

    def _solve(self, pairs: match_evidence.CandidatePairs) -> Matching:
        if self.solver == "assignment":
            row, col, score = self.shared.assigned(pairs)
        elif self.solver == "mutual_nearest":
            partner, best = pairs.best(0)
            back = pairs.best(1)[0]
            row = np.flatnonzero((partner >= 0) & (back[partner] == np.arange(partner.size)))
            col, score = partner[row], best[row]
        else:
            forth = self.solver_options.get("direction", "b_to_a") == "a_to_b"
            partner, best = pairs.best(0 if forth else 1)
            mine = np.flatnonzero(partner >= 0)
            row, col = (mine, partner[mine]) if forth else (partner[mine], mine)
            score = best[mine]
        order = np.lexsort((col, row))
        row, col, score = row[order], col[order], score[order].astype(np.float32)
        valid = np.ones(row.size, bool) if self.threshold is None else score >= self.threshold
        return Matching(row.astype(np.int32), col.astype(np.int32), score, valid)


def large_protocol(name: str, shared: SharedEvidence) -> Protocol:
    """The registered protocol in a form that reads candidates; runs may share what they find."""
    protocol = protocols[name]
    fields = {f.name: getattr(protocol.pipeline, f.name) for f in dataclasses.fields(Pipeline)}
    # where latents may stay single, others than the best come in
    several = protocol.pipeline.solver == "assignment" or dustbin_count in protocol.reads
    return dataclasses.replace(
        protocol,
        pipeline=CandidatePipeline(**fields, shared=shared, candidates=_SEVERAL if several else 1),
        reads=tuple(READS.get(read, read) for read in protocol.reads),
    )


def shared_evidence(names: Iterable[str]) -> SharedEvidence:
    """A memory that reads, in each pass over codes, what all of these protocols match by."""
    pipelines: list[Any] = [large_protocol(name, SharedEvidence()).pipeline for name in names]
    needs = (wanted(p) for p in pipelines if p.score != "decoder_cosine")
    return SharedEvidence(what for what in needs if what is not None)


def wanted(pipeline: CandidatePipeline) -> Wanted | None:
    """What a pipeline asks of codes; None where that takes more than how often latents fire.

    Filters that need labels do not count: without labels they do not act.
    """
    steps = [step for step in latent_steps(pipeline.filters) if step[0] not in LABELLED]
    if any(name not in _BY_FIRINGS for name, _ in steps):
        return None
    least = max((_BY_FIRINGS[name](options) for name, options in steps), default=1)
    return Wanted(pipeline.score, least, pipeline.candidates)


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


def _masked(blocks: Iterator[Block], alive_a: np.ndarray, alive_b: np.ndarray) -> Iterator[Block]:
    """Scores without the latents that are left out."""
    for start, s in blocks:
        s[~alive_a[start : start + len(s)]] = -np.inf
        s[:, ~alive_b] = -np.inf
        yield start, s


def _shape(a: SideInputs, b: SideInputs) -> _Shape:
    width = lambda v: np.shape(v.decoder)[0] if v.latents is None else np.shape(v.latents)[1]
    return _Shape((width(a), width(b)))


def _fired(side: SideInputs) -> np.ndarray:
    return firings(side.latents)


def _agree(
    m: Matching, other: tuple[np.ndarray, np.ndarray, np.ndarray], at_least: float
) -> np.ndarray:
    """bool `[M]`: is the pair in the other assignment as well, and both score enough?"""
    row, col, score = other
    partner = dict(zip(row[score >= at_least].tolist(), col[score >= at_least].tolist()))
    same = [partner.get(i) == j for i, j in zip(m.row.tolist(), m.col.tolist())]
    return np.array(same, bool) & (np.asarray(m.score) >= at_least)
