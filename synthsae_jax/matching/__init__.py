"""Matching latents of two SAEs, and the truth to hold a matching against.

`score` says how alike latents are, `solve` picks pairs, `truth_map` says which true feature each
latent tracks, `match_report` holds the one against the other. `PairCounts` and `TruthCounts` do
the counting in a stream. A `Pipeline` is a whole protocol with its filters, as nulls run it again.
Knows nothing of worlds or SAEs: it sees arrays.
"""

import importlib
import pkgutil

from synthsae_jax.matching.alignment import align, fit_procrustes, procrustes_from_covariance
from synthsae_jax.matching.columns import match_metrics
from synthsae_jax.matching.counts import PairCounts, count_scores, firing_counts
from synthsae_jax.matching.filters import (
    Evidence,
    filter_latents,
    filter_pairs,
    filters,
    register_filter,
)
from synthsae_jax.matching.gram import gram
from synthsae_jax.matching.linear_maps import (
    LinearMap,
    alignment_from_moments,
    alignments,
    fit_alignment,
    judge_alignment,
)
from synthsae_jax.matching.moments import CoMoments, pearson
from synthsae_jax.matching.multiway import (
    cycle_consistency,
    match_many,
    mean_cycle_consistency,
    reappearance,
)
from synthsae_jax.matching.nulls import nulls
from synthsae_jax.matching.pipeline import Pipeline, null_pairs
from synthsae_jax.matching.records import Matching, SideInputs
from synthsae_jax.matching.relations import relation_solvers, solve_relations
from synthsae_jax.matching.report import match_report
from synthsae_jax.matching.scores import Score, register_score, score, scores
from synthsae_jax.matching.sets import SetMatching, match_sets
from synthsae_jax.matching.solvers import solve, solvers
from synthsae_jax.matching.sparse import LatentSlots, slots_of
from synthsae_jax.matching.transport import Plan, partial_transport, sinkhorn, soft_matching
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


def relation_solver_names() -> tuple[str, ...]:
    """Names that `solve_relations` knows."""
    return relation_solvers.names()


def filter_names() -> tuple[str, ...]:
    """Names of the filters, for `filter_latents`, `filter_pairs` and a `Pipeline`."""
    return filters.names()


def alignment_names() -> tuple[str, ...]:
    """Names that `fit_alignment` knows."""
    return alignments.names()


def null_names() -> tuple[str, ...]:
    """Names of the nulls: `nulls[name](key, side_inputs)`."""
    return nulls.names()


def match_metric_names() -> tuple[str, ...]:
    """The keys of `match_report`, in order."""
    return match_metrics.names()


__all__ = [
    "TRUTH_METHODS",
    "CoMoments",
    "Evidence",
    "LatentSlots",
    "LinearMap",
    "Matching",
    "PairCounts",
    "Pipeline",
    "Plan",
    "Score",
    "SetMatching",
    "SideInputs",
    "TruthCounts",
    "align",
    "alignment_from_moments",
    "alignment_names",
    "alignments",
    "count_scores",
    "cycle_consistency",
    "filter_latents",
    "filter_names",
    "filter_pairs",
    "filters",
    "firing_counts",
    "fit_alignment",
    "fit_procrustes",
    "gram",
    "judge_alignment",
    "match_many",
    "match_metric_names",
    "match_metrics",
    "match_report",
    "match_sets",
    "mean_cycle_consistency",
    "null_names",
    "null_pairs",
    "nulls",
    "partial_transport",
    "pearson",
    "procrustes_from_covariance",
    "reappearance",
    "register_filter",
    "register_score",
    "relation_solver_names",
    "relation_solvers",
    "score",
    "score_names",
    "scores",
    "sinkhorn",
    "slots_of",
    "soft_matching",
    "solve",
    "solve_relations",
    "solver_names",
    "solvers",
    "truth_from_counts",
    "truth_map",
]
