"""Pairs of architectures as matrices, in the order of a tree by the features that they find."""

from __future__ import annotations

from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

from synthsae_jax.experiments.architectures.quantities import (
    BY_COSINE,
    CO_RECOVERY,
    DECLARED,
    JACCARD,
    PRECISION,
    SUPPORT,
    TRUE,
    of_pair,
)
from synthsae_jax.experiments.architectures.setting import OTHER, SAME
from synthsae_jax.report import matrix, tables
from synthsae_jax.report.blocks import Figure, Reader
from synthsae_jax.report.canvas import Plot
from synthsae_jax.suite.quantity import Quantity
from synthsae_jax.suite.recipes import recipe_names

# a number of pairs under a condition, each as a matrix of architectures
MATRICES = (
    (CO_RECOVERY, SAME),
    (CO_RECOVERY, OTHER),
    (TRUE, SAME),
    (DECLARED, SAME),
    (BY_COSINE, SAME),
    (PRECISION, SAME),
    (SUPPORT, SAME),
)
_CALLED = {SAME: "one model", OTHER: "independent models"}
_PAIRS = tuple(combinations_with_replacement(recipe_names(), 2))


def _by_pair(of: Quantity, condition: str) -> dict[tuple[str, str], Quantity]:
    return {(a, b): of_pair(of.at(condition=condition), a, b) for a, b in _PAIRS}


TOGETHER = _by_pair(JACCARD, SAME)


def _estimates(reader: Reader, by_pair: dict[tuple[str, str], Quantity]) -> dict[Any, float]:
    estimates = {pair: reader.estimate(of) for pair, of in by_pair.items()}
    return {pair: estimate.value for pair, estimate in estimates.items() if estimate.known}


def clusters(reader: Reader) -> tuple[list[str], list[dict[str, Any]]]:
    """Architectures in order of a tree by features found, and its merges from the first on."""
    jaccard = _estimates(reader, TOGETHER)
    names = list(dict.fromkeys(name for pair in jaccard for name in pair))
    if len(names) < 2:
        return names, []
    far = 1 - np.eye(len(names))  # what no pair was scored of has nothing in common
    for (a, b), value in jaccard.items():
        i, j = names.index(a), names.index(b)
        far[i, j] = far[j, i] = 0.0 if i == j else 1 - value
    tree = hierarchy.linkage(squareform(far, checks=False), "average")
    members = [[name] for name in names]
    merges = []
    listed = lambda some: ", ".join(map(reader.name, some))
    for i, j, height, _ in tree:
        one, other = members[int(i)], members[int(j)]
        like = [1 - jaccard[n, n] for n in (*one, *other) if (n, n) in jaccard]
        merges.append(
            {
                "merge": f"{listed(one)} with {listed(other)}",
                "1 - Jaccard": round(float(height), 3),
                "two runs of each": round(float(np.mean(like)), 3) if like else None,
            }
        )
        members.append([*one, *other])
    return [names[i] for i in hierarchy.leaves_list(tree)], merges


def merges_of(reader: Reader) -> tables.Table | None:
    """The merges of that tree; None where there is nothing to merge."""
    merges = clusters(reader)[1]
    return tables.plain(merges) if merges else None


def matrix_of(of: Quantity, condition: str) -> Figure:
    """A number of pairs under a condition, architectures by architectures, means over worlds."""
    by_pair = _by_pair(of, condition)
    title = f"{of.title}, {_CALLED[condition]}"

    def plot(reader: Reader) -> Plot | None:
        values = _estimates(reader, by_pair)
        values |= {(b, a): value for (a, b), value in values.items()}
        order = clusters(reader)[0]
        if not values or not order:
            return None
        records = [
            {"one": reader.name(a), "other": reader.name(b), "estimate": values.get((a, b))}
            for a in order
            for b in order
        ]
        return matrix.matrix_plot(records, "one", "other", title=title)

    name = f"{of.needs[0].metric}-{of.needs[0].variant}-{condition.split()[0]}"
    read = (*by_pair.values(), *TOGETHER.values())
    return Figure(name, read, plot, f"Means over worlds: {title}.")
