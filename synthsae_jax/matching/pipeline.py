"""A whole matching protocol as one value: score, filters, solver. What a null has to run again.

Shuffling partners after the pairs were chosen says nothing about the choice: best of many, and
filters that look at the data, find something in noise too. So a null transforms a side's inputs,
and the pipeline runs on them from the start: `pipeline.run(a, nulls["token_shift"](key, b))`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from synthsae_jax.errors import require
from synthsae_jax.matching.counts import PairCounts, count_scores
from synthsae_jax.matching.filters import (
    Evidence,
    Removed,
    Step,
    check_steps,
    filter_latents,
    filter_pairs,
    latent_steps,
)
from synthsae_jax.matching.nulls import nulls
from synthsae_jax.matching.records import Matching, SideInputs
from synthsae_jax.matching.scores import score, scores
from synthsae_jax.matching.solvers import solve, solvers
from synthsae_jax.modes import fixed
from synthsae_jax.options import check_options

Array = jax.Array


class PipelineResult(NamedTuple):
    """What a pipeline found."""

    matching: Matching
    log: tuple[Removed, ...]  # one line per filter, in the order in which they acted
    evidence: Evidence  # scores are NaN for latents that were left out

    @property
    def reason(self) -> str | None:
        """Why nothing is matched, in one line; None where something is."""
        if np.asarray(self.matching.valid).any():
            return None
        emptied = [line for line in self.log if line.before > 0 and line.removed == line.before]
        if emptied:
            return str(emptied[0])
        if not np.isfinite(self.evidence.s).any():
            return "no pair has a defined score: all latents of a side are dead or left out"
        return "the solver found no pair at the threshold"


@dataclasses.dataclass(frozen=True)
class Pipeline:
    """Choices of a matching protocol. Filters of latents act before the solver, of pairs after."""

    score: str = "hypergeometric_z"
    solver: str = "assignment_dustbin"
    threshold: float | None = None
    filters: tuple[Step, ...] = ()
    score_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    solver_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        require(
            self.score != "preactivation_pearson",
            "a pipeline has codes, not pre-activations: preactivation_pearson is not for it.",
        )
        check_options(f"score {self.score!r}", scores[self.score].compute, self.score_options)
        check_options(f"solver {self.solver!r}", solvers[self.solver], self.solver_options)
        check_steps(self.filters)

    def run(self, a: SideInputs, b: SideInputs) -> PipelineResult:
        """The matching of two SAEs, latents of A as rows. On the host.

        Latents that never fire are never matched, filters or not, where codes are given. Inputs
        that leave nothing to match give an empty matching and `reason`.
        """
        counts = _counts(a, b)
        s = np.asarray(self._score(a, b, counts))
        evidence = Evidence(s, a, b, counts)
        alive_a, alive_b, of_latents = filter_latents(self.filters, evidence)
        if counts is not None:
            alive_a &= np.asarray(counts.alive_a)
            alive_b &= np.asarray(counts.alive_b)
        matching = solve(self.solver, s, self.threshold, alive_a, alive_b, **self.solver_options)
        # rivals that were left out are no rivals
        among_alive = np.where(alive_a[:, None] & alive_b[None, :], s, np.nan)
        evidence = dataclasses.replace(evidence, s=among_alive)
        matching, of_pairs = filter_pairs(self.filters, evidence, matching)
        return PipelineResult(matching, (*of_latents, *of_pairs), evidence)

    def unfiltered(self) -> Pipeline:
        """This pipeline without threshold and filters of pairs: what levels are set on."""
        return dataclasses.replace(self, threshold=None, filters=latent_steps(self.filters))

    def _score(self, a: SideInputs, b: SideInputs, counts: PairCounts | None) -> Array:
        if counts is not None and self.score in count_scores and not self.score_options:
            return counts.score(self.score)
        takes = scores[self.score].takes
        inputs = [_input(self.score, takes, side) for side in (a, b)]
        return score(self.score, *inputs, **self.score_options)


@fixed
def null_pairs(
    pipeline: Pipeline, a: SideInputs, b: SideInputs, null: str, keys: Iterable[Array]
) -> dict[str, np.ndarray]:
    """Scores of the pairs that a pipeline finds under a null, and their rarer latents' firings.

    `{"null_scores": [M0], "null_firings": [M0]}`, pooled over the keys: the options of the filters
    `null_quantile` and `fdr`. Threshold and filters of pairs are left out, filters of latents act.
    """
    # Filters that are set by this null must not act in it, nor a threshold cut off the scores that
    # set them. Filters of latents do act: they decide who competes.
    bare = pipeline.unfiltered()
    null_scores, null_firings = [], []
    for key in keys:
        run = bare.run(a, nulls[null](key, b))
        m = run.matching
        valid = np.asarray(m.valid)
        row, col = np.asarray(m.row)[valid], np.asarray(m.col)[valid]
        fired_a, fired_b = run.evidence.firings
        null_scores.append(np.asarray(m.score)[valid])
        null_firings.append(np.minimum(fired_a[row], fired_b[col]))
    require(bool(null_scores), "null_pairs needs at least one key.")
    return {
        "null_scores": np.concatenate(null_scores),
        "null_firings": np.concatenate(null_firings),
    }


def _counts(a: SideInputs, b: SideInputs) -> PairCounts | None:
    if a.latents is None or b.latents is None:
        return None
    (shape_a, shape_b) = jnp.shape(a.latents), jnp.shape(b.latents)
    require(
        len(shape_a) == len(shape_b) == 2 and shape_a[0] == shape_b[0],
        "a pipeline takes codes [n, L] of both sides on the same samples; given "
        f"{shape_a} and {shape_b}.",
    )
    return _counted(jnp.asarray(a.latents), jnp.asarray(b.latents))


# Nulls count as many codes over and over, and tracing anew was a fifth of what a cell of validity@1
# took (10.8 of 51 s).
@jax.jit
def _counted(a: Array, b: Array) -> PairCounts:
    return PairCounts.init(a.shape[1], b.shape[1]).update(a, b)


def _input(name: str, takes: str, side: SideInputs) -> Any:
    needed = {
        "rows": ("decoder",),
        "own_rows": ("decoder",),
        "columns": ("encoder",),
        "both": ("decoder", "encoder"),
        "codes": ("latents",),
    }[takes]
    parts = [getattr(side, field) for field in needed]
    for field, part in zip(needed, parts):
        require(part is not None, f"score {name!r} needs {field} of both sides.")
    # a side has its encoder as rows, a score takes W_enc
    parts = [part.T if field == "encoder" else part for field, part in zip(needed, parts)]
    return tuple(parts) if takes == "both" else parts[0]
