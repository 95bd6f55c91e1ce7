"""The claims of validity@1."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from synthsae_jax.experiments.validity.arms import INDEPENDENT, shares
from synthsae_jax.experiments.validity.quantities import R_RULE, above_chance, false_positives
from synthsae_jax.suite.claims import Claim
from synthsae_jax.suite.quantity import Quantity, combined, number

_MEASURES = ("cka_debiased", "rsa", "mutual_knn", "procrustes")


def _relational(arm: str) -> Quantity:
    return combined(
        lambda *scores: float(np.nanmean(scores)) if np.isfinite(scores).any() else math.nan,
        *(above_chance(name, arm, INDEPENDENT.name) for name in _MEASURES),
        name=f"relational scores above chance, {arm}",
        title="mean over debiased CKA, RSA, k-NN and Procrustes of (score - chance) / (1 - chance)",
    )


def _rejections(name: str) -> Quantity:
    title = "share of pairs under both zeros with p <= .05"
    return dataclasses.replace(false_positives(name), title=title)


def _anisotropy() -> Quantity:
    rank_one = number("score", "svcca_rank1", condition=INDEPENDENT.name)
    return (rank_one.at(arm="anisotropic") - rank_one.at(arm="random")).called(
        "score on anisotropic less score on random directions, all features shared, t = 0"
    )


def _excess() -> Quantity:
    where = {"arm": "random", "condition": shares(0.5, 0.0).name}
    declared = number("declared", R_RULE, **where)
    return (declared - number("true_universality", "truth", **where)).called(
        "share declared less true universality, independent directions"
    )


_MORE = "Other geometries, worlds with trees, or more worlds, which make the interval shorter."
CLAIMS = (
    Claim(
        "H1a",
        "Relational scores of decoder rows are at chance where all features are shared but their "
        "geometry is not (structured geometry, t = 0).",
        _relational("structured"),
        smallest_effect=0.1,
        margin=0.1,
        kind="equivalent",
        changes=_MORE,
    ),
    Claim(
        "H1a control",
        "The same on random directions, where it is true by construction.",
        _relational("random"),
        smallest_effect=0.1,
        margin=0.1,
        kind="equivalent",
        changes="A mistake in the suite: random directions have no relations to share.",
        family="control",
    ),
    Claim(
        "H1b",
        "lan2024 calls most pairs of models without a common feature alike, by its own null.",
        _rejections("lan2024"),
        smallest_effect=0.5,
        margin=0.1,
        changes="Pairs for which too few latents pass its filters to be scored.",
    ),
    Claim(
        "H1b ours",
        "ours@1 calls such pairs alike no more often than twice the nominal 5 %.",
        _rejections("ours@1"),
        smallest_effect=0.1,
        margin=0.1,
        kind="equivalent",
        changes="More pairs under the zeros: few worlds leave the rate uncertain.",
    ),
    Claim(
        "H1c",
        "Rank-1 SVCCA rises with anisotropy alone, at unlike geometry.",
        _anisotropy(),
        smallest_effect=0.2,
        margin=0.05,
        changes="A weaker common direction than a fifth of the squared length.",
    ),
    Claim(
        "H9",
        "With half of the features shared, r > .1 overstates what is shared.",
        _excess(),
        smallest_effect=0.15,
        margin=0.05,
        changes="A stricter threshold, or SAEs that recover more of the features.",
    ),
)
