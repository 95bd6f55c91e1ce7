"""The claims of validity@1."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from synthsae_jax.io.rows import Row
from synthsae_jax.suite.claims import Claim
from synthsae_jax.suite.study.select import by_world, mean, values

RELATIONAL = ("cka_debiased", "rsa", "mutual_knn", "procrustes")
ZEROS = ("disjoint_independent", "disjoint_coupled")


def above_chance(rows: Sequence[Row], variant: str, **columns: object) -> float:
    """(score - chance) / (1 - chance) of a relational measure, mean over pairs."""
    score = mean(rows, variant=variant, metric="score", **columns)
    chance = mean(rows, variant=f"{variant}/chance", metric="score", **columns)
    return (score - chance) / (1 - chance)


def _relational(arm: str, condition: str):
    def of_world(rows: list[Row]) -> float:
        where = {"factor_arm": arm, "condition": condition}
        found = [above_chance(rows, name, **where) for name in RELATIONAL]
        found = [v for v in found if not math.isnan(v)]
        return float(np.mean(found)) if found else math.nan

    return by_world(of_world)


def _false_positives(variant: str):
    def of_world(rows: list[Row]) -> float:
        p = values(rows, variant=variant, metric="p", condition=ZEROS)
        return float(np.mean([v <= 0.05 for v in p])) if p else math.nan

    return by_world(of_world)


def _excess(rows: list[Row]) -> float:
    where = {"factor_arm": "random", "condition": "shared 0.5, t 0"}
    declared = mean(rows, variant="best_correlation_0.1", metric="declared", **where)
    return declared - mean(rows, variant="truth", metric="true_universality", **where)


def _anisotropy(rows: list[Row]) -> float:
    at = {"variant": "svcca_rank1", "metric": "score", "condition": "shared 1, t 0"}
    return mean(rows, factor_arm="anisotropic", **at) - mean(rows, factor_arm="random", **at)


_MORE = "Other geometries, worlds with trees, or more worlds, which make the interval shorter."
CLAIMS = (
    Claim(
        "H1a",
        "Relational scores of decoder rows are at chance where all features are shared but their "
        "geometry is not (structured geometry, t = 0).",
        "mean over debiased CKA, RSA, k-NN and Procrustes of (score - chance) / (1 - chance)",
        _relational("structured", "shared 1, t 0"),
        smallest_effect=0.1,
        margin=0.1,
        kind="equivalent",
        changes=_MORE,
    ),
    Claim(
        "H1a control",
        "The same on random directions, where it is true by construction.",
        "mean over debiased CKA, RSA, k-NN and Procrustes of (score - chance) / (1 - chance)",
        _relational("random", "shared 1, t 0"),
        smallest_effect=0.1,
        margin=0.1,
        kind="equivalent",
        changes="A mistake in the suite: random directions have no relations to share.",
        family="control",
    ),
    Claim(
        "H1b",
        "lan2024 calls most pairs of models without a common feature alike, by its own null.",
        "share of pairs under both zeros with p <= .05",
        _false_positives("lan2024"),
        smallest_effect=0.5,
        margin=0.1,
        changes="Pairs for which too few latents pass its filters to be scored.",
    ),
    Claim(
        "H1b ours",
        "ours@1 calls such pairs alike no more often than twice the nominal 5 %.",
        "share of pairs under both zeros with p <= .05",
        _false_positives("ours@1"),
        smallest_effect=0.1,
        margin=0.1,
        kind="equivalent",
        changes="More pairs under the zeros: few worlds leave the rate uncertain.",
    ),
    Claim(
        "H1c",
        "Rank-1 SVCCA rises with anisotropy alone, at unlike geometry.",
        "score on anisotropic less score on random directions, all features shared, t = 0",
        by_world(_anisotropy),
        smallest_effect=0.2,
        margin=0.05,
        changes="A weaker common direction than a fifth of the squared length.",
    ),
    Claim(
        "H9",
        "With half of the features shared, r > .1 overstates what is shared.",
        "share declared less true universality, independent directions",
        by_world(_excess),
        smallest_effect=0.15,
        margin=0.05,
        changes="A stricter threshold, or SAEs that recover more of the features.",
    ),
)
