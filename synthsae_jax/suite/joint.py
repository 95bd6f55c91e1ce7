"""SAEs of two models at once: what the norms of a latent's decoder halves call shared."""

from __future__ import annotations

import math

import numpy as np

from synthsae_jax import saes
from synthsae_jax.suite.reading import Subject

# published readings of the second model's share in a latent's decoder norms (arXiv 2504.02922):
# below the first, or above one less it, the latent is of one model alone
EXCLUSIVE = 0.1
SHARED = (0.4, 0.6)


def relative(subject: Subject) -> np.ndarray:
    """The second model's share in each latent's decoder norms, [L]; NaN for a zero row."""
    return np.asarray(saes.relative_norms(subject.run[0], 2))[..., 1]


def calls(share: np.ndarray) -> dict[str, np.ndarray]:
    """Latents by the published reading of their share; what lies between is called neither."""
    exclusive = (share < EXCLUSIVE) | (share > 1 - EXCLUSIVE)
    return {"shared": (share >= SHARED[0]) & (share <= SHARED[1]), "exclusive": exclusive}


def implied_overlap(called: dict[str, np.ndarray], alive: np.ndarray) -> float:
    """S / (S + E / 2) of living latents read as shared and as exclusive; NaN where none is.

    That is |A and B| / |A| of two models with equally many features, where readings are right.
    """
    shared, exclusive = ((alive & called[name]).sum() for name in ("shared", "exclusive"))
    whole = shared + exclusive / 2
    return float(shared / whole) if whole else math.nan
