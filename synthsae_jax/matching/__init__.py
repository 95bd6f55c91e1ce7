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
from synthsae_jax.matching.controls import control_permutation, controls
from synthsae_jax.matching.counts import PairCounts, count_scores, firing_counts
from synthsae_jax.matching.credence import PairCredence, credence
from synthsae_jax.matching.credence_latent import LatentCredence, latent_credence
from synthsae_jax.matching.credence_model import CredenceModel, load_credence
from synthsae_jax.matching.csr import count_blocks, pair_counts_from_codes, scores_from_codes
from synthsae_jax.matching.filters import (
    Evidence,
    filter_latents,
    filter_pairs,
    filters,
    register_filter,
)
from synthsae_jax.matching.firing import register_firing_score
from synthsae_jax.matching.gram import gram
from synthsae_jax.matching.kin import (
    graded_relation,
    largest_true_matching,
)
from synthsae_jax.matching.latent_types import (
    LATENT_KINDS,
    LatentTypes,
    TypeCounts,
    TypeRule,
    latent_types,
)
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
from synthsae_jax.matching.nulls import Null, nulls, register_null
from synthsae_jax.matching.pair_nulls import pair_nulls
from synthsae_jax.matching.pipeline import Pipeline, null_pairs
from synthsae_jax.matching.pipeline_statistics import pipeline_statistic
from synthsae_jax.matching.records import Matching, SideInputs
from synthsae_jax.matching.relations import relation_solvers, solve_relations
from synthsae_jax.matching.report import match_report, why_undefined
from synthsae_jax.matching.scores import Score, register_score, score, scores
from synthsae_jax.matching.sets import SetMatching, match_sets
from synthsae_jax.matching.significance import (
    Significance,
    benjamini_hochberg,
    judge_draws,
    null_values,
    significance,
)
from synthsae_jax.matching.solvers import solve, solvers
from synthsae_jax.matching.sparse import LatentSlots, slots_of
from synthsae_jax.matching.token_bins import token_bins, with_token_bins
from synthsae_jax.matching.transport import Plan, partial_transport, sinkhorn, soft_matching
from synthsae_jax.matching.truth import truth_from_counts, truth_inputs, truth_map
from synthsae_jax.matching.truth_causal import CausalCounts, causal_counts
from synthsae_jax.matching.truth_code import CodeFit, code_fit
from synthsae_jax.matching.truth_counts import TruthCounts
from synthsae_jax.matching.truth_methods import (
    TruthRule,
    geometric_chance,
    register_truth,
    truth_methods,
)
from synthsae_jax.matching.truth_sweep import (
    TruthSweep,
    bands,
    report_sweep,
    truth_sweep,
)
from synthsae_jax.matching.universality import universality_credence

# Entries register when their file is imported, so a new file of scores, solvers, filters or nulls
# needs no mention above.
for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

TRUTH_METHODS = truth_methods.names()


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


def pair_null_names() -> tuple[str, ...]:
    """Names of the nulls of chosen pairs: `pair_nulls[name](key, matching, **options)`."""
    return pair_nulls.names()


def control_names() -> tuple[str, ...]:
    """Names of the positive controls: `controls[name](key, side_inputs, **options)`."""
    return controls.names()


def truth_method_names() -> tuple[str, ...]:
    """Names that `truth_map` knows."""
    return truth_methods.names()


def match_metric_names() -> tuple[str, ...]:
    """The keys of `match_report`, in order."""
    return match_metrics.names()


__all__ = [
    "LATENT_KINDS",
    "TRUTH_METHODS",
    "CausalCounts",
    "CoMoments",
    "CodeFit",
    "CredenceModel",
    "Evidence",
    "LatentCredence",
    "LatentSlots",
    "LatentTypes",
    "LinearMap",
    "Matching",
    "Null",
    "PairCounts",
    "PairCredence",
    "Pipeline",
    "Plan",
    "Score",
    "SetMatching",
    "SideInputs",
    "Significance",
    "TruthCounts",
    "TruthRule",
    "TruthSweep",
    "TypeCounts",
    "TypeRule",
    "align",
    "alignment_from_moments",
    "alignment_names",
    "alignments",
    "bands",
    "benjamini_hochberg",
    "causal_counts",
    "code_fit",
    "control_names",
    "control_permutation",
    "controls",
    "count_blocks",
    "count_scores",
    "credence",
    "cycle_consistency",
    "filter_latents",
    "filter_names",
    "filter_pairs",
    "filters",
    "firing_counts",
    "fit_alignment",
    "fit_procrustes",
    "geometric_chance",
    "graded_relation",
    "gram",
    "judge_alignment",
    "judge_draws",
    "largest_true_matching",
    "latent_credence",
    "latent_types",
    "load_credence",
    "match_many",
    "match_metric_names",
    "match_metrics",
    "match_report",
    "match_sets",
    "mean_cycle_consistency",
    "null_names",
    "null_pairs",
    "null_values",
    "nulls",
    "pair_counts_from_codes",
    "pair_null_names",
    "pair_nulls",
    "partial_transport",
    "pearson",
    "pipeline_statistic",
    "procrustes_from_covariance",
    "reappearance",
    "register_filter",
    "register_firing_score",
    "register_null",
    "register_score",
    "register_truth",
    "relation_solver_names",
    "relation_solvers",
    "report_sweep",
    "score",
    "score_names",
    "scores",
    "scores_from_codes",
    "significance",
    "sinkhorn",
    "slots_of",
    "soft_matching",
    "solve",
    "solve_relations",
    "solver_names",
    "solvers",
    "token_bins",
    "truth_from_counts",
    "truth_inputs",
    "truth_map",
    "truth_method_names",
    "truth_methods",
    "truth_sweep",
    "universality_credence",
    "why_undefined",
    "with_token_bins",
]
