"""How universal is a latent? From the credences of its pairs with two or more other SAEs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from synthsae_jax.errors import require
from synthsae_jax.matching.credence import PairCredence
from synthsae_jax.matching.credence_model import CredenceModel


@dataclasses.dataclass(frozen=True)
class LatentCredence:
    """The latents of one SAE; NaN where no pair has a credence, with the reason."""

    reappearance: np.ndarray  # float64 [L]: expected share of the other SAEs with its feature
    credence: np.ndarray  # float64 [L]: at least one of them has it
    n_known: np.ndarray  # int32 [L]: pairs with a credence
    reason: tuple[str, ...]  # [L]


def latent_credence(
    pairs: Mapping[tuple[int, int], PairCredence], n_saes: int, model: CredenceModel
) -> list[LatentCredence]:
    """Per SAE, how universal its latents are; `pairs[a, b]` has the latents of a as rows.

    The expected reappearance is the mean credence, whatever the pairs' dependence. At least one:
    `1 - (1 - max c) prod_rest (1 - c)^w`; w = 1 if pairs were independent given their scores, 0
    if one said all that the others say. The model holds the w fitted on dev worlds.
    """
    require(n_saes >= 2, f"latent_credence needs at least two SAEs; given {n_saes}.")
    wanted = {(a, b) for a in range(n_saes) for b in range(n_saes) if a != b}
    missing = sorted(wanted - set(pairs))
    require(not missing, f"the credences of SAEs {missing[:1]} are missing (rows of the first).")
    return [
        _of_sae([pairs[a, b] for b in range(n_saes) if b != a], model.latent_dependence)
        for a in range(n_saes)
    ]


def at_least_one(credences: np.ndarray, dependence: float) -> np.ndarray:
    """P(at least one) [L] from credences [K, L]; a NaN is left out, all NaN gives NaN."""
    defined = ~np.isnan(credences)
    absent = np.where(defined, 1 - np.where(defined, credences, 0), 1.0)
    least = absent.min(0)
    # The product without its least factor, in logarithms: many small ones would underflow.
    with np.errstate(divide="ignore", invalid="ignore"):
        others = np.where(least > 0, np.exp(np.log(absent).sum(0) - np.log(least)), 0.0)
    return np.where(defined.any(0), 1 - least * others**dependence, np.nan)


def _of_sae(pairs: list[PairCredence], dependence: float) -> LatentCredence:
    sizes = {p.credence.size for p in pairs}
    require(len(sizes) == 1, f"pairs of one SAE have unlike numbers of rows: {sorted(sizes)}.")
    credences = np.stack([p.credence for p in pairs])
    defined = ~np.isnan(credences)
    n = defined.sum(0)
    mean = np.where(n > 0, np.where(defined, credences, 0).sum(0) / np.maximum(n, 1), np.nan)
    reason = tuple(
        "" if k else why for k, why in zip((n > 0).tolist(), pairs[0].reason, strict=True)
    )
    return LatentCredence(mean, at_least_one(credences, dependence), n.astype(np.int32), reason)
