"""Matching latents of two SAEs, and the truth to hold a matching against.

`score` says how alike latents are, `solve` picks pairs, `truth_map` says which true feature each
latent tracks, `match_report` holds the one against the other. `PairCounts` and `TruthCounts` do
the counting in a stream. Knows nothing of worlds or SAEs: it sees arrays.
"""

import importlib
import pkgutil

from synthsae_jax.matching.alignment import align, fit_procrustes, procrustes_from_covariance
from synthsae_jax.matching.columns import match_metrics
from synthsae_jax.matching.counts import PairCounts, count_scores, firing_counts
from synthsae_jax.matching.moments import CoMoments, pearson
from synthsae_jax.matching.nulls import nulls
from synthsae_jax.matching.records import Matching, SideInputs
from synthsae_jax.matching.report import match_report
from synthsae_jax.matching.scores import Score, register_score, score, scores
from synthsae_jax.matching.solvers import solve, solvers
from synthsae_jax.matching.truth import METHODS as TRUTH_METHODS
from synthsae_jax.matching.truth import TruthCounts, truth_from_counts, truth_map

# a file with a score, solver or null of its own needs no mention here
for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")


def score_names() -> tuple[str, ...]:
    """Names that `score` knows."""
    return scores.names()


def solver_names() -> tuple[str, ...]:
    """Names that `solve` knows."""
    return solvers.names()


def null_names() -> tuple[str, ...]:
    """Names of the nulls: `nulls[name](key, side_inputs)`."""
    return nulls.names()


def match_metric_names() -> tuple[str, ...]:
    """The keys of `match_report`, in order."""
    return match_metrics.names()


__all__ = [
    "TRUTH_METHODS",
    "CoMoments",
    "Matching",
    "PairCounts",
    "Score",
    "SideInputs",
    "TruthCounts",
    "align",
    "count_scores",
    "firing_counts",
    "fit_procrustes",
    "match_metric_names",
    "match_metrics",
    "match_report",
    "null_names",
    "nulls",
    "pearson",
    "procrustes_from_covariance",
    "register_score",
    "score",
    "score_names",
    "scores",
    "solve",
    "solver_names",
    "solvers",
    "truth_from_counts",
    "truth_map",
]
