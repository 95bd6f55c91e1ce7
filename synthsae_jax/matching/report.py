"""Match quality: what a matching claims about two SAEs, held against their truth maps."""

from __future__ import annotations

from typing import Any

import numpy as np

from synthsae_jax.errors import require
from synthsae_jax.matching.records import Matching

NAN = float("nan")
Presence = dict[str, np.ndarray]  # side -> bool [F]


def match_report(
    m: Matching,
    truth_a: Any,
    truth_b: Any,
    alive_a: Any = None,
    alive_b: Any = None,
    world: Any = None,
    present_a: Any = None,
    present_b: Any = None,
) -> dict[str, float]:
    """Every quantity that truth allows to say about a matching, as floats; NaN where undefined.

    `truth_a`, `truth_b`: truth maps, int `[L]`. `alive_*` bool `[L]`: latents that fire (None:
    all); a dead one tracks nothing. `world` only serves kinship: its `forest.parent` int
    `[F_base]`, where id `F_base + i` is the twin of id `i`. `present_*` bool `[F]`: the features
    each model has; an absent one is never tracked. None means all where the other side is given;
    where neither is, what depends on presence is undefined. The keys never change, and
    `match_metrics` explains each. By definition precision + false_universality + artefact_rate = 1
    as soon as anything is matched.
    """
    presence = _presence(present_a, present_b)
    truth_a, alive_a = _side("a", truth_a, alive_a, presence)
    truth_b, alive_b = _side("b", truth_b, alive_b, presence)
    row, col, valid = (np.asarray(v) for v in (m.row, m.col, m.valid))
    row, col = row[valid], col[valid]
    require(
        row.size == 0 or (row.max() < truth_a.size and col.max() < truth_b.size),
        f"the matching names latents beyond the truth maps' {truth_a.size} and {truth_b.size}.",
    )
    pair_a, pair_b = truth_a[row], truth_b[col]
    tracked = (pair_a >= 0) & (pair_b >= 0)
    right = tracked & (pair_a == pair_b)
    wrong = tracked & (pair_a != pair_b)
    neither = (pair_a < 0) & (pair_b < 0)

    found_a, counts_a = np.unique(truth_a[truth_a >= 0], return_counts=True)
    found_b, counts_b = np.unique(truth_b[truth_b >= 0], return_counts=True)
    both, in_a, in_b = np.intersect1d(found_a, found_b, assume_unique=True, return_indices=True)
    n_true = np.minimum(counts_a[in_a], counts_b[in_b]).sum()
    smaller = min(alive_a.sum(), alive_b.sum())

    n = row.size
    precision = _ratio(right.sum(), n)
    recall = _ratio(np.unique(pair_a[right]).size, both.size)
    observed, true = _ratio(n, smaller), _ratio(n_true, smaller)
    findable = np.isin(pair_a, both)
    report = {
        "n_matched": n,
        "n_alive_a": alive_a.sum(),
        "n_alive_b": alive_b.sum(),
        "n_tracked_a": found_a.size,
        "n_tracked_b": found_b.size,
        "n_tracked_both": both.size,
        "precision": precision,
        "recall": recall,
        "latent_recall": _latent_recall(truth_a, truth_b, both, row[right], col[right]),
        "f1": _harmonic(precision, recall),
        "accuracy_given_recovery": _ratio((right & findable).sum(), findable.sum()),
        "false_universality": _ratio(wrong.sum(), n),
        **_kinship(world, pair_a[wrong], pair_b[wrong], n),
        "artefact_rate": _ratio((~tracked).sum(), n),
        "shared_artefact_rate": _ratio(neither.sum(), n),
        "missed_universality": 1.0 - recall,
        "observed_universality": observed,
        "true_universality": true,
        "metric_bias": observed - true,
        **_sharing(presence, found_a, found_b, both),
    }
    return {name: float(value) for name, value in report.items()}


def _side(
    side: str, truth: Any, alive: Any, presence: Presence | None
) -> tuple[np.ndarray, np.ndarray]:
    truth = np.asarray(truth)
    require(truth.ndim == 1, f"truth_{side} must be int [L]; given shape {truth.shape}.")
    alive = np.ones(truth.shape, bool) if alive is None else np.asarray(alive, bool)
    require(
        alive.shape == truth.shape,
        f"alive_{side} must be bool [{truth.size}]; given shape {alive.shape}.",
    )
    tracks = alive & (truth >= 0)
    if presence is not None:
        present = presence[side]
        require(
            truth.size == 0 or truth.max() < present.size,
            f"truth_{side} names feature {truth.max(initial=-1)}, and there are {present.size}.",
        )
        tracks &= present[truth]
    return np.where(tracks, truth, -1), alive


def _ratio(part: float, whole: float) -> float:
    return float(part) / float(whole) if whole else NAN


def _harmonic(precision: float, recall: float) -> float:
    # A matcher that finds nothing of what there is to find scores 0: dropping it as undefined
    # would reward silence. With nothing to be found the number stays undefined.
    if recall == 0.0:
        return 0.0
    return 2.0 * precision * recall / (precision + recall)


def _latent_recall(
    truth_a: np.ndarray, truth_b: np.ndarray, both: np.ndarray, row: np.ndarray, col: np.ndarray
) -> float:
    findable = np.isin(truth_a, both).sum() + np.isin(truth_b, both).sum()
    return _ratio(np.unique(row).size + np.unique(col).size, findable)


def _kinship(world: Any, a: np.ndarray, b: np.ndarray, n: int) -> dict[str, float]:
    """Shares of the matching that pair different features which are relatives, or twins."""
    if world is None:
        return {"false_universality_kin": NAN, "false_universality_twin": NAN}
    parent = np.asarray(world.forest.parent)
    base_a, base_b = a % parent.size, b % parent.size
    # the twins' trees are trees of their own, so relatives share the copy
    same_copy = a // parent.size == b // parent.size
    siblings = (parent[base_a] >= 0) & (parent[base_a] == parent[base_b])
    kin = siblings | _descends(parent, base_a, base_b) | _descends(parent, base_b, base_a)
    return {
        "false_universality_kin": _ratio((kin & same_copy).sum(), n),
        "false_universality_twin": _ratio(((base_a == base_b) & ~same_copy).sum(), n),
    }


def _descends(parent: np.ndarray, young: np.ndarray, old: np.ndarray) -> np.ndarray:
    """Is `old` a proper ancestor of `young`? Elementwise, -1 being nobody."""
    found = np.zeros(young.shape, bool)
    ancestor = parent[young]
    while (ancestor >= 0).any():
        found |= ancestor == old
        ancestor = np.where(ancestor >= 0, parent[ancestor], -1)
    return found


def _presence(present_a: Any, present_b: Any) -> Presence | None:
    known = [np.asarray(p, bool) for p in (present_a, present_b) if p is not None]
    if not known:
        return None
    everything = np.ones(known[0].shape, bool)
    a, b = (everything if p is None else np.asarray(p, bool) for p in (present_a, present_b))
    require(
        a.ndim == 1 and a.shape == b.shape,
        f"present_a and present_b must be bool [F] alike; given {a.shape} and {b.shape}.",
    )
    return {"a": a, "b": b}


def _sharing(
    presence: Presence | None,
    found_a: np.ndarray,
    found_b: np.ndarray,
    both: np.ndarray,
) -> dict[str, float]:
    """What there is to share, and how much of it both sides recovered, beside chance."""
    if presence is None:
        return {"shared_recovery": NAN, "shared_recovery_chance": NAN, "true_sharing": NAN}
    a, b = presence["a"], presence["b"]
    shared = a & b
    n_shared = shared.sum()
    recovered_a, recovered_b = (shared[ids].sum() for ids in (found_a, found_b))
    return {
        "shared_recovery": _ratio(both.size, n_shared),
        # two sides that recover their features independently of each other: hypergeometric mean
        "shared_recovery_chance": _ratio(recovered_a * recovered_b, n_shared * n_shared),
        "true_sharing": _ratio(n_shared, (a | b).sum()),
    }
