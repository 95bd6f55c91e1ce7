"""Who fires with whom, as configs: low-rank factors as SAELens draws them, or a dense matrix."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import numpy as np

from synthsae_jax.errors import require
from synthsae_jax.worlds.copula import Copula, independent
from synthsae_jax.worlds.law_base import check_numbers
from synthsae_jax.worlds.torch_stream import TorchStream

_LEAST_RESIDUAL = 0.01  # SAELens' floor on a feature's own variance
_LEAST_EIGENVALUE = 1e-6  # SAELens' repair clips there


@dataclasses.dataclass(frozen=True)
class LowRank:
    """Correlation `F F' + diag(1 - |F_i|^2)` with F_ik ~ N(0, scale^2), k < rank.

    Two features' Gaussians then correlate by about scale^2 sqrt(rank), with mean 0.
    """

    rank: int = 32
    scale: float = 0.1

    def __post_init__(self):
        check_numbers(self)
        require(
            isinstance(self.rank, int) and self.rank >= 1,
            f"LowRank: rank must be a whole number >= 1; got {self.rank!r}.",
        )
        require(self.scale >= 0, f"LowRank: scale must be >= 0; got {self.scale}.")

    def copula(self, n_features: int, seed: int) -> Copula:
        """SAELens' factors for this seed on a CPU. Rows that leave less than .01 are shortened."""
        draws = TorchStream(seed).randn(n_features, self.rank)
        # Scaled in float32, as SAELens does: in float64 the last bits would be other ones.
        factor = (draws * np.float32(self.scale)).astype(np.float64)
        squared = (factor**2).sum(axis=1)
        long = 1 - squared < _LEAST_RESIDUAL
        factor[long] *= np.sqrt((1 - _LEAST_RESIDUAL) / squared[long])[:, None]
        if long.any():
            warnings.warn(
                f"LowRank(rank={self.rank}, scale={self.scale}): {int(long.sum())} of {n_features} "
                "features were all shared variance and were shortened; lower rank or scale.",
                stacklevel=4,
            )
        return Copula(factor, 1 - (factor**2).sum(axis=1), np.zeros((0, 0)))


@dataclasses.dataclass(frozen=True)
class DenseCopula:
    """A full random correlation matrix, repaired to be positive definite.

    Each pair is uncorrelated with probability `uncorrelated_ratio`; else its correlation is
    uniform in [min_strength, max_strength], positive with probability `positive_ratio`. The repair
    shrinks strong matrices. Memory and time grow with F^2 and F^3: for some thousand features.
    """

    positive_ratio: float = 0.5
    uncorrelated_ratio: float = 0.3
    min_strength: float = 0.1
    max_strength: float = 0.8

    def __post_init__(self):
        check_numbers(self)
        for name in ("positive_ratio", "uncorrelated_ratio"):
            value = getattr(self, name)
            require(0 <= value <= 1, f"DenseCopula: {name} must lie in [0, 1]; got {value}.")
        low, high = self.min_strength, self.max_strength
        require(
            0 <= low <= high <= 1,
            "DenseCopula: strengths must satisfy 0 <= min_strength <= max_strength <= 1; got "
            f"{low} and {high}.",
        )

    def copula(self, n_features: int, seed: int) -> Copula:
        """The matrix's Cholesky factor; numpy's stream of this seed, in float64."""
        rng = np.random.default_rng([seed, 0xDE25E])
        rows, cols = np.triu_indices(n_features, 1)
        correlated = rng.random(len(rows)) >= self.uncorrelated_ratio
        sign = np.where(rng.random(len(rows)) < self.positive_ratio, 1.0, -1.0)
        strength = rng.uniform(self.min_strength, self.max_strength, len(rows))
        matrix = np.eye(n_features)
        matrix[rows, cols] = matrix[cols, rows] = correlated * sign * strength
        return dense(_repaired(matrix))


def dense(matrix: np.ndarray) -> Copula:
    """The copula of a positive definite correlation matrix."""
    n = len(matrix)
    return Copula(np.zeros((n, 0)), np.ones(n), np.linalg.cholesky(matrix))


def from_user(correlation: Any, n_features: int) -> Copula:
    """The copula of None, a correlation matrix [F, F], or a pair (factor [F, r], residual [F])."""
    where = "make_world: correlation"
    if correlation is None:
        return independent(n_features)
    if isinstance(correlation, tuple):
        require(
            len(correlation) == 2,
            f"{where} as a pair must be (factor, residual); got {len(correlation)} parts.",
        )
        factor, residual = (np.array(part, np.float64) for part in correlation)
        return _pair(factor, residual, n_features, where)
    matrix = np.array(correlation, np.float64)
    require(
        matrix.shape == (n_features, n_features),
        f"{where} must be a matrix [{n_features}, {n_features}] or a pair (factor, residual); got "
        f"shape {list(matrix.shape)}.",
    )
    require(
        np.allclose(matrix, matrix.T, atol=1e-6) and np.allclose(np.diag(matrix), 1, atol=1e-6),
        f"{where} must be symmetric with a unit diagonal.",
    )
    least = float(np.linalg.eigvalsh(matrix)[0])
    require(
        least > 0,
        f"{where} must be positive definite; its least eigenvalue is {least:.3g}.",
    )
    return dense(matrix)


def _pair(factor: np.ndarray, residual: np.ndarray, n_features: int, where: str) -> Copula:
    require(
        factor.ndim == 2 and factor.shape[0] == n_features and residual.shape == (n_features,),
        f"{where} must be (factor [{n_features}, r], residual [{n_features}]); got shapes "
        f"{list(factor.shape)} and {list(residual.shape)}.",
    )
    require(bool(np.all(residual > 0)), f"{where}: residual must be > 0; got {residual.min():.3g}.")
    total = (factor**2).sum(axis=1) + residual
    require(
        bool(np.all(np.abs(total - 1) < 1e-4)),
        f"{where}: |factor|^2 + residual must be 1 for every feature; got values from "
        f"{total.min():.4g} to {total.max():.4g}.",
    )
    return Copula(factor, residual, np.zeros((0, 0)))


def _repaired(matrix: np.ndarray) -> np.ndarray:
    """The matrix with its eigenvalues raised to 1e-6 and its diagonal back at 1."""
    values, vectors = np.linalg.eigh(matrix)
    if values[0] >= _LEAST_EIGENVALUE:
        return matrix
    fixed = (vectors * np.maximum(values, _LEAST_EIGENVALUE)) @ vectors.T
    scale = np.sqrt(np.diag(fixed))
    fixed /= scale[:, None] * scale
    np.fill_diagonal(fixed, 1.0)
    return fixed
