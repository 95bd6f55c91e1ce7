"""Procrustes similarity: how well one point set turns onto the other."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from synthsae_jax.numerics import ratio_or_nan
from synthsae_jax.registry import Explanation
from synthsae_jax.similarity.base import register_measure
from synthsae_jax.similarity.points import centred, centred_and_size, times

Array = jax.Array
_CHANCE = "Far above 0 where p or q comes near n: compare with similarity.shuffled."
_COST = "n p q + min(p, q)^2 max(p, q)"


@register_measure(
    "procrustes",
    Explanation(
        what="Cosine between X and Y after the best orthogonal map, columns centred.",
        formula="||X'Y||_* / (||X||_F ||Y||_F); its arccos is the angular shape distance",
        range="[0, 1]",
        chance=_CHANCE,
        undefined="n < 3 (two points have one shape), or one side has no variance.",
        source="arXiv 2110.14739 (shape metrics, alpha = 1)",
    ),
    invariant_to={"translation", "scale", "orthogonal"},
    range=(0.0, 1.0),
    cost=_COST,
    least_points=3,
)
def procrustes(X: Array, Y: Array) -> Array:
    """Procrustes similarity of `X [n, p]` and `Y [n, q]`; the narrower side counts as padded.

    The sum of the singular values of X'Y is the largest tr(R'X'Y) over orthogonal R, so this is
    the cosine left when rotation and reflection are free.
    """
    X, Y = centred(X), centred(Y)
    scale = jnp.linalg.norm(X) * jnp.linalg.norm(Y)
    return jnp.clip(ratio_or_nan(_nuclear(X, Y), scale), 0.0, 1.0)


@register_measure(
    "procrustes_angular",
    Explanation(
        what="Procrustes as an angle, turned round so that 1 is equal: 1 - theta / (pi / 2). "
        "theta, and so 1 minus this number, is a metric: it obeys the triangle inequality.",
        formula="theta = arccos(||X'Y||_* / (||X||_F ||Y||_F)) = "
        "2 arctan(||XR - Y|| / ||XR + Y||), X and Y at norm 1, R the best orthogonal map",
        range="[0, 1]",
        chance=_CHANCE,
        undefined="n < 3 (two points have one shape), or one side has no variance.",
        source="arXiv 2110.14739 (shape metrics, alpha = 1)",
    ),
    invariant_to={"translation", "scale", "orthogonal"},
    range=(0.0, 1.0),
    cost="n max(p, q)^2 + max(p, q)^3",
    least_points=3,
)
def procrustes_angular(X: Array, Y: Array) -> Array:
    """Angular Procrustes similarity of `X [n, p]` and `Y [n, q]`.

    From the two residuals: an arccos of float32 near 1 is off by 1e-4.
    """
    X, Y = centred(X), centred(Y)
    width = max(X.shape[1], Y.shape[1])
    # the narrower side with zeros: a rotation is square
    X, Y = (jnp.pad(v, ((0, 0), (0, width - v.shape[1]))) for v in (X, Y))
    X, Y = (v * ratio_or_nan(jnp.float32(1), jnp.linalg.norm(v)) for v in (X, Y))
    U, _, Vt = jnp.linalg.svd(times(X.T, Y))
    turned = times(X, times(U, Vt))
    theta = 2 * jnp.arctan2(jnp.linalg.norm(turned - Y), jnp.linalg.norm(turned + Y))
    return jnp.clip(1 - theta / (math.pi / 2), 0.0, 1.0)


@register_measure(
    "procrustes_size",
    Explanation(
        what="Procrustes that asks for equal size too: size-and-shape distance against that of "
        "unrelated sets of these sizes.",
        formula="1 - d^2 / (||X||^2 + ||Y||^2), d^2 = ||X||^2 + ||Y||^2 - 2 ||X'Y||_*",
        range="[0, 1]",
        chance=_CHANCE,
        undefined="n < 3 (two points have one shape), or one side has no variance.",
        source="Schoenemann (1966); as size-and-shape distance: arXiv 2110.14739",
    ),
    invariant_to={"translation", "orthogonal"},
    range=(0.0, 1.0),
    cost=_COST,
    least_points=3,
)
def procrustes_size(X: Array, Y: Array) -> Array:
    """Size-and-shape similarity of `X [n, p]` and `Y [n, q]`; scaling both alike changes nothing.

    It is 2 a / (1 + a^2) times `procrustes`, a the ratio of the two norms.
    """
    (X, x), (Y, y) = centred_and_size(X), centred_and_size(Y)
    a = ratio_or_nan(jnp.linalg.norm(X), jnp.linalg.norm(Y)) * (x / y)
    scale = jnp.linalg.norm(X) * jnp.linalg.norm(Y)
    # 2 / (a + 1 / a): a^2 may leave float32
    sizes = 2 / (a + 1 / a)
    return jnp.clip(ratio_or_nan(_nuclear(X, Y), scale) * sizes, 0.0, 1.0)


def _nuclear(X: Array, Y: Array) -> Array:
    return jnp.sum(jnp.linalg.svd(times(X.T, Y), compute_uv=False))
