"""Plain calibrators of a row's best score, fitted on the same rows, to hold the matcher against."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import isotonic_regression

from credence.rows import Rows
from synthsae_jax.logistic import logistic_weights
from synthsae_jax.matching.credence_laws import WEIGHT_FORMS

_RIDGE = 1e-3


def baselines(form: str, dev: Rows) -> dict[str, Any]:
    """Calibrators that give a probability at once: logistic and isotonic.

    log-odds = a + b atanh(s) + c log(n p_i) + d log(n p_j); isotonic in the score alone.
    """
    order = np.argsort(dev.best, kind="stable")
    shares = isotonic_regression(dev.right[0][order].astype(float)).x
    columns = _columns(form, dev)
    weights = logistic_weights(columns, dev.right[0], _RIDGE / len(columns))
    return {
        "logistic": lambda rows: _sigmoid(_columns(form, rows) @ weights),
        "isotonic": lambda rows: np.interp(rows.best, dev.best[order], shares),
    }


def _columns(form: str, rows: Rows) -> np.ndarray:
    score = np.arctanh(np.clip(rows.best, -0.999, 0.999))
    parts = [np.ones(len(rows)), score]
    if form not in WEIGHT_FORMS:
        parts += [np.log(rows.firings), np.log(rows.best_firings)]
    return np.stack(parts, axis=1)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x, -40, 40)))
