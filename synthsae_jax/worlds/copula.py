"""The Gaussian copula on the host: who fires, given what the features of a token share.

Given the shared factors e of a token, feature i fires with probability
`Phi((F_i . e - threshold_i) / sqrt(residual_i))`, independently of all others. With a dense
copula the whole Gaussian is given and that probability is 0 or 1. All float64.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.special import ndtr, ndtri
from scipy.stats import qmc

_SOBOL_SEED = 20260214
_SOBOL_MOST = qmc.Sobol.MAXDIM


@dataclasses.dataclass(frozen=True, eq=False)
class Copula:
    """Loadings and own variances of F features, or a dense Cholesky factor (else [0, 0])."""

    factor: np.ndarray  # [F, r], r = 0: independent features
    residual: np.ndarray  # [F]
    cholesky: np.ndarray  # [F, F] or [0, 0]

    @property
    def dense(self) -> bool:
        """Is the copula a full correlation matrix?"""
        return self.cholesky.shape[-1] > 0

    def states(self, n: int) -> np.ndarray:
        """About `n` equally likely values of what is given, [n, r]; one where nothing is.

        Scrambled Sobol normals with a fixed seed, in pairs (e, -e), for factors; for a dense
        copula plain draws of all Gaussians [n, F].
        """
        if self.dense:
            gaussians = np.random.default_rng(_SOBOL_SEED).standard_normal(
                (n, self.cholesky.shape[0])
            )
            return gaussians @ self.cholesky.T
        rank = self.factor.shape[1]
        if rank == 0:
            return np.zeros((1, 0))
        half = max(1, (n - 1).bit_length() - 1)
        rng = np.random.default_rng(_SOBOL_SEED)
        if rank > _SOBOL_MOST:
            draws = rng.standard_normal((2**half, rank))
        else:
            sequence = qmc.Sobol(rank, scramble=True, rng=rng).random_base2(half)
            draws = ndtri(sequence * (1 - 2.0**-30) + 2.0**-31)  # never 0 or 1
        # With each point its negative: odd moments of the factors are then exactly 0.
        return np.concatenate([draws, -draws])

    def pull(self, ids: np.ndarray, states: np.ndarray) -> np.ndarray:
        """What the states add to the Gaussians of these features, `[..., n]` for ids `[...]`."""
        return states.T[ids] if self.dense else self.factor[ids] @ states.T

    def fires(self, ids: np.ndarray, threshold: np.ndarray, pull: np.ndarray) -> np.ndarray:
        """Probability of firing given the states: `[..., n]`, `threshold` of these ids `[...]`."""
        distance = pull - threshold[..., None]
        if self.dense:
            return (distance > 0).astype(np.float64)
        if self.factor.shape[1] == 0:
            return ndtr(distance)
        return ndtr(distance / np.sqrt(self.residual[ids])[..., None])


def independent(n_features: int) -> Copula:
    """No correlation: each feature has its Gaussian to itself."""
    return Copula(np.zeros((n_features, 0)), np.ones(n_features), np.zeros((0, 0)))


def threshold_of(probability: np.ndarray) -> np.ndarray:
    """Where a standard normal is exceeded with this probability; 1 gives -inf and 0 gives +inf.

    `sqrt(2) erfinv(1 - 2p)`, in a form that keeps its digits for small p.
    """
    return -ndtri(np.asarray(probability, np.float64))


def positive_share(mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Probability that a fired feature's magnitude `relu(N(mean, std^2))` is above 0."""
    mean, std = np.asarray(mean, np.float64), np.asarray(std, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(std > 0, ndtr(mean / std), mean > 0)
