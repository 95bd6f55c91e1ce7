"""How alike the directions of two dictionaries are, each row with its partner."""

from __future__ import annotations

import numpy as np

from synthsae_jax import matching


def assigned_cosine(a: np.ndarray, b: np.ndarray, *, absolute: bool = False) -> float:
    """Mean cosine of the rows of `a [p, D]` and `b [q, D]` under the best one-to-one assignment.

    min(p, q) pairs count. Of decoder rows this is PW-MCC (arXiv 2505.20254): signed as released,
    `absolute` as written.
    """
    cosine = np.asarray(matching.score("decoder_cosine", a, b, absolute=absolute))
    m = matching.solve("assignment", cosine)
    return float(np.asarray(m.score)[np.asarray(m.valid)].mean())
