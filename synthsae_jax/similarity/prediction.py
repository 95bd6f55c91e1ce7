"""Linear predictivity: how much of one side can be read off the other, at points not fitted to."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from synthsae_jax.errors import require
from synthsae_jax.numerics import ratio_or_nan
from synthsae_jax.registry import Explanation
from synthsae_jax.similarity.base import Reasons, register_measure
from synthsae_jax.similarity.cca import keep, principal_directions
from synthsae_jax.similarity.points import centred, row_energies, times

Array = jax.Array


@register_measure(
    "linear_predictivity",
    Explanation(
        what="Share of Y's variance that a linear map of X predicts at points it was not fitted "
        "to: every point is predicted from all others. Call it both ways.",
        formula="R^2 = 1 - sum |y_i - y^_(-i)|^2 / sum |y_i - mean_(-i)|^2; the map has an "
        "intercept and penalty ridge times X's mean squared singular value",
        range="(-inf, 1]: below 0 where the mean would have done better",
        chance="-p / (n - p - 3) without ridge: below 0, since what is fitted to noise misleads",
        undefined="n <= p + 1 without ridge; without ridge a point that alone decides a direction "
        "(a latent that fires once); Y has no variance.",
        source="Leave-one-out in closed form: Allen (1974), doi 10.1080/00401706.1974.10489157",
    ),
    invariant_to={"translation", "scale", "orthogonal"},
    also_x={"invertible"},
    range=(-float("inf"), 1.0),
    cost="n p^2 + n p q",
    symmetric=False,
    least_points=3,
    chance=lambda n, p, q: -p / (n - p - 3) if n > p + 3 else float("nan"),
)
def linear_predictivity(X: Array, Y: Array, *, ridge: float = 0.0) -> tuple[Array, Reasons]:
    """Leave-one-out R^2 of `X [n, p] -> Y [n, q]`, pooled over Y's columns.

    With H the hat matrix of the ridge regression the left-out residual is e_i / (1 - H_ii): n
    fits for the price of one, and no folds to choose. Where points come in groups that resemble
    each other, give one point per group. With `ridge > 0` an invertible map of X changes the
    value; a rotation does not. Nested choice of the penalty: the largest over a few values is
    optimistic by little, as only one number is chosen.
    """
    require(ridge >= 0, f"linear_predictivity: ridge must be at least 0, got {ridge}.")
    n = X.shape[0]
    U, sigma, usable = principal_directions(centred(X))
    U = keep(U, usable)
    squares = jnp.where(usable, jnp.square(sigma), 0.0)
    rank = jnp.maximum(jnp.sum(usable), 1)
    penalty = ridge * jnp.sum(squares) / rank
    shrunk = jnp.where(usable, squares / jnp.where(usable, squares + penalty, 1.0), 0.0)
    Y = centred(Y)
    residual = Y - times(U, shrunk[:, None] * times(U.T, Y))
    # the intercept takes 1/n of every point
    left = 1 - 1 / n - jnp.sum(jnp.square(U) * shrunk[None, :], axis=1)
    safe = jnp.where(left > 0, left, 1.0)
    error = jnp.sum(row_energies(residual) / jnp.square(safe))
    baseline = jnp.sum(row_energies(Y)) / (1 - 1 / n) ** 2
    reasons: Reasons = {}
    if ridge == 0:
        reasons = {
            "without ridge needs more points than directions + 1": n <= rank + 1,
            # its leverage is 1 but for rounding, and its left-out residual 0 / 0
            "without ridge one point alone decides a direction": jnp.any(left < 1e-5),
        }
    return 1 - ratio_or_nan(error, baseline), reasons
