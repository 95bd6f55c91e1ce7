"""Latents by how often they fire."""

from __future__ import annotations

import numpy as np


def quarters(fired: np.ndarray) -> np.ndarray:
    """Quarter of each latent among the living by firings, int [L]: 0 rarest, 3; -1 dead.

    `fired` int [L] counts the tokens on which each fires.
    """
    order = np.argsort(fired, kind="stable")
    order = order[fired[order] > 0]
    quarter = np.full(fired.size, -1)
    quarter[order] = np.arange(order.size) * 4 // max(order.size, 1)
    return quarter
