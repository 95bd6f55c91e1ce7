"""Numbers that a pipeline gives for two sides, for `significance`: the statistic of a null."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from synthsae_jax.errors import check_choice
from synthsae_jax.matching.pipeline import Pipeline, PipelineResult
from synthsae_jax.matching.records import SideInputs


def _n_matched(run: PipelineResult) -> int:
    return int(np.asarray(run.matching.valid).sum())


def _mean_score(run: PipelineResult) -> float:
    matched = _matched(run)
    return float(matched.mean()) if matched.size else np.nan


def _best_score(run: PipelineResult) -> float:
    return float(_matched(run).max(initial=-np.inf))


def _row_scores(run: PipelineResult) -> np.ndarray:
    scores = np.full(run.evidence.s.shape[0], -np.inf)
    valid = np.asarray(run.matching.valid)
    # a latent with several partners counts with its best
    np.maximum.at(scores, np.asarray(run.matching.row)[valid], _matched(run))
    left_out = ~np.isfinite(run.evidence.s).any(1)
    return np.where(left_out, np.nan, scores)


def _matched(run: PipelineResult) -> np.ndarray:
    valid = np.asarray(run.matching.valid)
    return np.asarray(run.matching.score, np.float64)[valid]


READS: dict[str, Callable[[PipelineResult], float | np.ndarray]] = {
    "n_matched": _n_matched,  # pairs matched; 0 is a value
    "mean_score": _mean_score,  # of the matched pairs; NaN where there is none
    "best_score": _best_score,  # of the matched pairs; -inf where there is none
    "row_scores": _row_scores,  # [L_a]; -inf: not matched, NaN: left out (dead, filtered)
}


def pipeline_statistic(
    pipeline: Pipeline, read: str = "n_matched"
) -> Callable[[SideInputs, SideInputs], float | np.ndarray]:
    """The statistic `(a, b) -> number` that runs a whole pipeline and reads a word of `READS`."""
    check_choice("read", read, READS)
    return lambda a, b: READS[read](pipeline.run(a, b))
