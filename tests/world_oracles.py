"""What worlds and hierarchies mean, written plainly in numpy from the definitions; no JAX here."""

from __future__ import annotations

import itertools

import numpy as np


def walk(hierarchy):
    """(feature, chain of features above it, rivals) of each node with a feature.

    `rivals` are the features among which at most one is active, itself included.
    """
    found = []

    def visit(node, above, rivals):
        feature = node.get("feature_index")
        if feature is not None:
            found.append((feature, above, rivals))
            above = [*above, feature]
        children = node.get("children", [])
        real = [c["feature_index"] for c in children if c.get("feature_index") is not None]
        exclusive = node.get("mutually_exclusive_children", False) and len(real) >= 2
        for child in children:
            own = child.get("feature_index")
            visit(child, above, real if exclusive and own is not None else [own])

    for root in hierarchy["roots"]:
        visit(root, [], [root.get("feature_index")])
    return found


def exact_rates(hierarchy, positive):
    """Rates of independent features by trying every pattern of raw values above 0."""
    positive = np.asarray(positive, np.float64)
    n = len(positive)
    place = {feature: (above, rivals) for feature, above, rivals in walk(hierarchy)}
    rates = np.zeros(n)
    for pattern in itertools.product((0, 1), repeat=n):
        raw = np.array(pattern)
        chance = np.prod(np.where(raw, positive, 1 - positive))
        for feature in range(n):
            above, _ = place.get(feature, ([], [feature]))
            stays = 1.0
            for f in [*above, feature]:
                rivals = place.get(f, ([], [f]))[1]
                stays *= raw[f] / max(raw[rivals].sum(), 1)
            rates[feature] += chance * stays
    return rates


def sample(rng, n, hierarchy, threshold, mean, std, gaussian):
    """Dense codes [n, F] feature by feature: copula, magnitude, exclusion, gate and scaling."""
    n_features = len(threshold)
    fired = gaussian > threshold
    magnitude = mean + std * rng.standard_normal((n, n_features))
    raw = np.where(fired, np.maximum(magnitude, 0), 0)

    def visit(node, values, parent, scaled):
        """`values` of the parent feature [n], or None; changes `raw` in place."""
        feature = node.get("feature_index")
        if feature is not None:
            if values is not None:
                raw[:, feature] *= values / mean[parent] if scaled else values > 0
            values, parent = raw[:, feature], feature
        children = node.get("children", [])
        real = [c["feature_index"] for c in children if c.get("feature_index") is not None]
        if node.get("mutually_exclusive_children", False) and len(real) >= 2:
            lot = np.where(raw[:, real] > 0, rng.random((n, len(real))), -1)
            loses = np.arange(len(real)) != lot.argmax(1)[:, None]
            raw[:, real] = np.where(loses, 0, raw[:, real])
        for child in children:
            visit(child, values, parent, node.get("scale_children_by_parent", False))

    for root in hierarchy["roots"]:
        visit(root, None, None, False)
    return raw
