"""Who is the same, and who is family: relations between latents that follow from truth maps."""

from __future__ import annotations

from typing import Any

import numpy as np

from synthsae_jax.errors import require


def largest_true_matching(truth_a: Any, truth_b: Any) -> int:
    """Pairs in the largest one-to-one matching of latents that track the same feature.

    `sum_g min(latents of A on g, latents of B on g)`: the relation falls apart by feature.
    """
    sides = [np.asarray(t) for t in (truth_a, truth_b)]
    (ids_a, n_a), (ids_b, n_b) = (np.unique(t[t >= 0], return_counts=True) for t in sides)
    _, in_a, in_b = np.intersect1d(ids_a, ids_b, assume_unique=True, return_indices=True)
    return int(np.minimum(n_a[in_a], n_b[in_b]).sum())


def graded_relation(
    features_a: Any, weights_a: Any, features_b: Any, weights_b: Any, n_features: int
) -> np.ndarray:
    """How much of the same features two latents' codes are made of, float64 `[L_a, L_b]`.

    `sum_g pi_ig pi_jg` in [0, 1], with pi a latent's regression weights as shares of their sum:
    `features [L, K]` and `relative [L, K]` of a `CodeFit`. 0 for a latent without any.
    """
    sides = []
    for ids, weights in ((features_a, weights_a), (features_b, weights_b)):
        ids, weights = np.asarray(ids), np.asarray(weights, np.float64)
        require(
            ids.shape == weights.shape and ids.ndim == 2 and ids.max(initial=-1) < n_features,
            f"graded_relation needs feature ids [L, K] below {n_features} with a weight each.",
        )
        made_of = np.zeros((len(ids), n_features))
        rows = np.broadcast_to(np.arange(len(ids))[:, None], ids.shape)
        np.add.at(made_of, (rows[ids >= 0], ids[ids >= 0]), weights[ids >= 0])
        total = made_of.sum(1, keepdims=True)
        sides.append(made_of / np.where(total > 0, total, 1.0))
    return sides[0] @ sides[1].T


def related(parent: Any, g: Any, h: Any) -> np.ndarray:
    """Are two features ancestor and descendant, or siblings? Elementwise over ids g and h.

    `parent` int `[F_base]`, -1 for nobody. Id `F_base + i` is the twin of id i, in a forest of
    the same shape: twins, and their families, are no relatives of each other. Nobody is a relative
    of itself, nor is -1 of anybody.
    """
    parent, g, h = (np.asarray(v) for v in (parent, g, h))
    comparable = (g >= 0) & (h >= 0) & (g // parent.size == h // parent.size)
    g, h = np.where(comparable, g % parent.size, 0), np.where(comparable, h % parent.size, 0)
    siblings = (parent[g] >= 0) & (parent[g] == parent[h]) & (g != h)
    return comparable & (siblings | _descends(parent, g, h) | _descends(parent, h, g))


def twins(parent: Any, g: Any, h: Any) -> np.ndarray:
    """Is one feature the other's twin? Elementwise; see `related`."""
    n_base = np.asarray(parent).size
    g, h = np.asarray(g), np.asarray(h)
    return (g >= 0) & (h >= 0) & (g != h) & (g % n_base == h % n_base)


def _descends(parent: np.ndarray, young: np.ndarray, old: np.ndarray) -> np.ndarray:
    """Is `old` a proper ancestor of `young`? Elementwise, -1 being nobody."""
    descends = np.zeros(np.broadcast_shapes(young.shape, old.shape), bool)
    ancestor = parent[young]
    # No path is longer than there are features: whoever has an ancestor left after that goes round
    # in a circle.
    for _ in range(parent.size):
        if not (ancestor >= 0).any():
            return descends
        descends |= (ancestor == old) & (ancestor >= 0)
        ancestor = np.where(ancestor >= 0, parent[ancestor], -1)
    require(not (ancestor >= 0).any(), "parent has a cycle: it is no forest.")
    return descends
