"""Logistic regression on a few columns, on the host."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from synthsae_jax.errors import require


def logistic_weights(x: np.ndarray, y: np.ndarray, ridge: float) -> np.ndarray:
    """The weights `[k]` with the least mean log loss plus `ridge |w|^2 / 2`, float64.

    `x [n, k]` (a column of ones is a constant, and is shrunk like all others), `y` bool `[n]`. The
    ridge keeps the weights finite where the classes can be separated. scipy's trust-region method.
    """
    x, sign = np.asarray(x, np.float64), 2.0 * np.asarray(y, bool) - 1.0
    require(
        x.ndim == 2 and x.shape[0] == sign.size > 0 and ridge > 0,
        f"logistic_weights needs x [n, k], y [n] and ridge > 0; given {x.shape}, {sign.shape} and "
        f"ridge = {ridge}.",
    )

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        # By logaddexp and expit, margins of hundreds neither overflow nor lose digits.
        margin = sign * (x @ w)
        slope = -(x.T @ (sign * expit(-margin))) / len(x) + ridge * w
        return float(np.logaddexp(0, -margin).mean() + ridge / 2 * w @ w), slope

    def curvature(w: np.ndarray) -> np.ndarray:
        p = expit(x @ w)
        return (x * (p * (1 - p))[:, None]).T @ x / len(x) + ridge * np.eye(x.shape[1])

    start = np.zeros(x.shape[1])
    return minimize(loss, start, jac=True, hess=curvature, method="trust-exact").x
