"""Matching latents of two SAEs, and the truth to hold a matching against.

`score` says how alike latents are, `solve` picks pairs, `truth_map` says which true feature each
latent tracks, `match_report` holds the one against the other. `PairCounts` and `TruthCounts` do
the counting in a stream. A `Pipeline` is a whole protocol with its filters, as nulls run it again.
Knows nothing of worlds or SAEs: it sees arrays.
"""

import importlib
import pkgutil

from synthsae_jax.matching.counts import PairCounts, count_scores
from synthsae_jax.matching.credence import credence
from synthsae_jax.matching.credence_model import load_credence
from synthsae_jax.matching.csr import pair_counts_from_codes, scores_from_codes
from synthsae_jax.matching.filters import register_filter
from synthsae_jax.matching.firing import register_firing_score
from synthsae_jax.matching.kin import largest_true_matching
from synthsae_jax.matching.linear_maps import fit_alignment
from synthsae_jax.matching.moments import CoMoments
from synthsae_jax.matching.multiway import cycle_consistency, match_many
from synthsae_jax.matching.nulls import nulls, register_null
from synthsae_jax.matching.pair_nulls import pair_nulls
from synthsae_jax.matching.pipeline import Pipeline
from synthsae_jax.matching.records import Matching, SideInputs
from synthsae_jax.matching.report import match_report, why_undefined
from synthsae_jax.matching.scores import register_score, score, scores
from synthsae_jax.matching.solvers import solve, solvers
from synthsae_jax.matching.token_bins import token_bins
from synthsae_jax.matching.truth import truth_from_counts, truth_map
from synthsae_jax.matching.truth_causal import causal_counts
from synthsae_jax.matching.truth_counts import TruthCounts
from synthsae_jax.matching.truth_methods import register_truth, truth_methods
from synthsae_jax.matching.truth_sweep import TruthSweep, bands

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


def null_names() -> tuple[str, ...]:
    """Names of the nulls: `nulls[name](key, side_inputs)`."""
    return nulls.names()


__all__ = [
    "TRUTH_METHODS",
    "CoMoments",
    "Matching",
    "PairCounts",
    "Pipeline",
    "SideInputs",
    "TruthCounts",
    "TruthSweep",
    "bands",
    "causal_counts",
    "count_scores",
    "credence",
    "cycle_consistency",
    "fit_alignment",
    "largest_true_matching",
    "load_credence",
    "match_many",
    "match_report",
    "null_names",
    "nulls",
    "pair_counts_from_codes",
    "pair_nulls",
    "register_filter",
    "register_firing_score",
    "register_null",
    "register_score",
    "register_truth",
    "score",
    "score_names",
    "scores",
    "scores_from_codes",
    "solve",
    "solver_names",
    "solvers",
    "token_bins",
    "truth_from_counts",
    "truth_map",
    "why_undefined",
]
