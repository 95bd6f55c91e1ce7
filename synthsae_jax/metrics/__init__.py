"""One number for a run: recovery of the true features, reconstruction, and their chance levels."""

import synthsae_jax.metrics.columns  # noqa: F401  (registers what each metric means)
from synthsae_jax.metrics.baselines import baselines, fit_baseline
from synthsae_jax.metrics.bounds import best_k_levels, probe_levels
from synthsae_jax.metrics.chance import expected_max_cosine, random_mcc, uniqueness_chance
from synthsae_jax.metrics.evaluate import METRICS, evaluate, evaluate_runs
from synthsae_jax.metrics.reconstruction import (
    ActivitySums,
    ReconstructionSums,
    dead_latents,
    explained_variance,
    l0,
    shrinkage,
)
from synthsae_jax.metrics.recovery import (
    ClassificationCounts,
    classification,
    latent_targets,
    mcc,
    uniqueness,
)
from synthsae_jax.metrics.reference import chance_levels, most_frequent, oracle_levels

__all__ = [
    "METRICS",
    "ActivitySums",
    "ClassificationCounts",
    "ReconstructionSums",
    "baselines",
    "best_k_levels",
    "chance_levels",
    "classification",
    "dead_latents",
    "evaluate",
    "evaluate_runs",
    "expected_max_cosine",
    "explained_variance",
    "fit_baseline",
    "l0",
    "latent_targets",
    "mcc",
    "most_frequent",
    "oracle_levels",
    "probe_levels",
    "random_mcc",
    "shrinkage",
    "uniqueness",
    "uniqueness_chance",
]
