"""Overlap of the leading subspaces of two point sets in one space; the points need no partners."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from synthsae_jax.errors import require
from synthsae_jax.registry import Explanation
from synthsae_jax.similarity.base import Reasons, register_measure
from synthsae_jax.similarity.cca import SMALLEST
from synthsae_jax.similarity.points import NAN, centred, times

Array = jax.Array


@register_measure(
    "subspace_overlap",
    Explanation(
        what="How much of the one set's leading k-dimensional subspace lies in the other's; both "
        "in one space (align models first).",
        formula="||V_x' V_y||_F^2 / k, V the top k right singular vectors of centred points",
        range="[0, 1]",
        chance="k / p",
        undefined="k >= p (the whole space), or a side has fewer than k directions.",
        source="Mean squared cosine of the principal angles, Bjorck and Golub (1973)",
    ),
    invariant_to={"translation", "scale", "pairing"},
    range=(0.0, 1.0),
    cost="n p^2",
    same_space=True,
    chance=lambda n, p, q, k=1: k / p if k < p else float("nan"),
)
def subspace_overlap(X: Array, Y: Array, *, k: int = 1) -> tuple[Array, Reasons]:
    """Subspace overlap of `X [n, p]` and `Y [n, p]`; k = 1 is the squared cosine of the first PCs.

    A rotation changes it on one side, and leaves it on both alike. Where the k-th and the next
    singular value are equal the subspace is not one, and neither is the number.
    """
    require(
        isinstance(k, int) and k >= 1,
        f"subspace_overlap: k must be a whole number of at least 1, got {k!r}.",
    )
    n, p = X.shape
    if k >= p or k > n - 1:
        return NAN, {
            f"k = {k} directions need more than {k} columns and points, given [{n}, {p}]": True
        }
    (V_x, few_x), (V_y, few_y) = (_leading_axes(centred(v), k) for v in (X, Y))
    overlap = jnp.sum(jnp.square(times(V_x, V_y.T))) / k
    return jnp.clip(overlap, 0.0, 1.0), {f"a side has fewer than k = {k} directions": few_x | few_y}


def _leading_axes(X: Array, k: int) -> tuple[Array, Array]:
    """The first k right singular vectors `[k, p]`, and whether there are fewer."""
    _, sigma, Vt = jnp.linalg.svd(X, full_matrices=False)
    # below that the axes are whatever the solver fills up with
    return Vt[:k], sigma[k - 1] <= SMALLEST * sigma[0]
