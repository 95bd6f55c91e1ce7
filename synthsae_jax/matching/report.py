"""Match quality: what a matching claims about two SAEs, held against their truth maps."""

from __future__ import annotations

from typing import Any

import numpy as np

from synthsae_jax.errors import require
from synthsae_jax.matching.columns import match_metrics
from synthsae_jax.matching.detection import co_recovery, sharedness
from synthsae_jax.matching.kin import largest_true_matching, related, twins
from synthsae_jax.matching.latent_types import ABSORBED
from synthsae_jax.matching.records import Matching
from synthsae_jax.stats import ratio

NAN = float("nan")
# features whose activations correlate more than this are taken for each other with some reason
CORRELATED = 0.2
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
    *,
    feature_correlation: Any = None,
    types_a: Any = None,
    types_b: Any = None,
    rates: Any = None,
    best_a: Any = None,
) -> dict[str, float]:
    """Every quantity that truth allows to say about a matching, as floats; NaN where undefined.

    `truth_a`, `truth_b`: truth maps, int `[L]`. `alive_*` bool `[L]`: latents that fire (None:
    all); a dead one tracks nothing. `world` only serves kinship: its `forest.parent` int
    `[F_base]`, where id `F_base + i` is the twin of id `i`. `present_*` bool `[F]`: the features
    each model has; an absent one is never tracked. None means all where the other side is given;
    where neither is, what depends on presence is undefined. What else some numbers need:
    `feature_correlation [F, F]` of the true activations, `types_*` int `[L]` from `latent_types`,
    `rates [F]` (firing rates, to compare features of like frequency) and `best_a [L_a]`, the
    largest score of each latent of A. The keys never change; `match_metrics` explains each, and
    `why_undefined` says why a number is NaN. By definition
    precision + false_universality + artefact_rate = 1 as soon as anything is matched.
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
    for name, mask, size in (
        ("types_a", types_a, truth_a.size),
        ("types_b", types_b, truth_b.size),
        ("best_a", best_a, truth_a.size),
    ):
        shape = (size,) if mask is None else np.shape(mask)
        require(shape == (size,), f"{name} must be [{size}], one per latent; given shape {shape}.")
    pair_a, pair_b = truth_a[row], truth_b[col]
    tracked = (pair_a >= 0) & (pair_b >= 0)
    right = tracked & (pair_a == pair_b)
    wrong = tracked & (pair_a != pair_b)
    neither = (pair_a < 0) & (pair_b < 0)

    features_a, features_b = (np.unique(t[t >= 0]) for t in (truth_a, truth_b))
    both = np.intersect1d(features_a, features_b, assume_unique=True)
    n_true = largest_true_matching(truth_a, truth_b)
    smaller = min(alive_a.sum(), alive_b.sum())

    n = row.size
    precision = ratio(right.sum(), n)
    recall = ratio(np.unique(pair_a[right]).size, both.size)
    observed, true = ratio(n, smaller), ratio(n_true, smaller)
    findable = np.isin(pair_a, both)
    report = {
        "n_matched": n,
        "n_alive_a": alive_a.sum(),
        "n_alive_b": alive_b.sum(),
        "n_tracked_a": features_a.size,
        "n_tracked_b": features_b.size,
        "n_tracked_both": both.size,
        "precision": precision,
        "recall": recall,
        "latent_recall": _latent_recall(truth_a, truth_b, both, row[right], col[right]),
        "f1": harmonic_mean(precision, recall),
        "accuracy_given_recovery": ratio((right & findable).sum(), findable.sum()),
        "false_universality": ratio(wrong.sum(), n),
        **_kinds_of_wrong(
            world,
            feature_correlation,
            pair_a[wrong],
            pair_b[wrong],
            _absorbed(types_a, types_b, row[wrong], col[wrong]),
            n,
        ),
        "artefact_rate": ratio((~tracked).sum(), n),
        "shared_artefact_rate": ratio(neither.sum(), n),
        "missed_universality": 1.0 - recall,
        "observed_universality": observed,
        "true_universality": true,
        "metric_bias": observed - true,
        **_sharing(presence, features_a, features_b, both, rates),
        **_stability(((truth_a, alive_a, row), (truth_b, alive_b, col))),
        **_detection(best_a, truth_a, presence),
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


def harmonic_mean(precision: float, recall: float) -> float:
    """F1 from precision and recall; NaN where there is nothing to be found."""
    # a matcher that finds nothing of what there is to find scores 0: dropping it as undefined
    # would reward silence
    if recall == 0.0:
        return 0.0
    return 2.0 * precision * recall / (precision + recall)


def _latent_recall(
    truth_a: np.ndarray, truth_b: np.ndarray, both: np.ndarray, row: np.ndarray, col: np.ndarray
) -> float:
    findable = np.isin(truth_a, both).sum() + np.isin(truth_b, both).sum()
    return ratio(np.unique(row).size + np.unique(col).size, findable)


def _kinds_of_wrong(
    world: Any,
    correlation: Any,
    a: np.ndarray,
    b: np.ndarray,
    absorbed: np.ndarray | None,
    n: int,
) -> dict[str, float]:
    """Shares of the matching that pair different features, by what these are to each other."""
    kin = twin = correlated = unrelated = None
    if world is not None:
        parent = world.forest.parent
        kin, twin = related(parent, a, b), twins(parent, a, b)
    if kin is not None and twin is not None and correlation is not None:
        correlation = np.asarray(correlation)
        require(
            max(a.max(initial=-1), b.max(initial=-1)) < len(correlation),
            f"feature_correlation has {len(correlation)} features, and the truth maps name more.",
        )
        alike = np.abs(correlation[a, b]) > CORRELATED
        correlated = alike & ~kin & ~twin
        unrelated = ~alike & ~kin & ~twin
    share = lambda which: NAN if which is None else ratio(which.sum(), n)
    return {
        "false_universality_kin": share(kin),
        "false_universality_absorbed": share(
            None if kin is None or absorbed is None else kin & absorbed
        ),
        "false_universality_twin": share(twin),
        "false_universality_correlated": share(correlated),
        "false_universality_unrelated": share(unrelated),
    }


def _absorbed(types_a: Any, types_b: Any, row: np.ndarray, col: np.ndarray) -> np.ndarray | None:
    """Is either latent of the pair an absorbed parent? None where types are not given."""
    if types_a is None or types_b is None:
        return None
    return (np.asarray(types_a)[row] == ABSORBED) | (np.asarray(types_b)[col] == ABSORBED)


def _stability(sides: tuple) -> dict[str, float]:
    """The 2 x 2 of (true or artefact) x (matched or not) over the living latents of both sides."""
    table = np.zeros((2, 2), int)
    for truth, alive, ends in sides:
        matched = np.isin(np.arange(truth.size), ends)
        cell = (truth >= 0)[alive].astype(int) * 2 + matched[alive]
        table += np.bincount(cell, minlength=4).reshape(2, 2)
    (artefact_lone, artefact_matched), (true_lone, true_matched) = table
    return {
        "n_true_matched": true_matched,
        "n_true_unmatched": true_lone,
        "n_artefact_matched": artefact_matched,
        "n_artefact_unmatched": artefact_lone,
        "stability_precision": ratio(true_matched, true_matched + artefact_matched),
        "stability_recall": ratio(true_matched, true_matched + true_lone),
        "artefact_reproduction": ratio(artefact_matched, artefact_matched + artefact_lone),
    }


def _detection(best_a: Any, truth_a: np.ndarray, presence: Presence | None) -> dict[str, float]:
    if best_a is None or presence is None:
        return {"sharedness_auroc": NAN, "sharedness_ap": NAN}
    detection = sharedness(best_a, truth_a, presence["b"])
    return {"sharedness_auroc": detection["auroc"][0], "sharedness_ap": detection["ap"][0]}


def _presence(present_a: Any, present_b: Any) -> Presence | None:
    stated = [np.asarray(p, bool) for p in (present_a, present_b) if p is not None]
    if not stated:
        return None
    everything = np.ones(stated[0].shape, bool)
    a, b = (everything if p is None else np.asarray(p, bool) for p in (present_a, present_b))
    require(
        a.ndim == 1 and a.shape == b.shape,
        f"present_a and present_b must be bool [F] alike; given {a.shape} and {b.shape}.",
    )
    return {"a": a, "b": b}


def _sharing(
    presence: Presence | None,
    features_a: np.ndarray,
    features_b: np.ndarray,
    both: np.ndarray,
    rates: Any,
) -> dict[str, float]:
    """What there is to share, and how much of it both sides recovered, beside chance."""
    names = ("shared_recovery", "shared_recovery_chance", "co_recovery_log_odds", "true_sharing")
    if presence is None:
        return dict.fromkeys(names, NAN)
    a, b = presence["a"], presence["b"]
    shared = np.flatnonzero(a & b)
    if rates is not None:
        rates = np.asarray(rates)
        require(
            rates.shape == a.shape,
            f"rates must be [{a.size}], one per feature; given shape {rates.shape}.",
        )
    in_a, in_b = np.isin(shared, features_a), np.isin(shared, features_b)
    n = shared.size
    values = (
        ratio(both.size, n),
        # two sides that recover their features independently of each other: hypergeometric mean
        ratio(in_a.sum() * in_b.sum(), n * n),
        co_recovery(in_a, in_b, None if rates is None else rates[shared]),
        ratio(n, (a | b).sum()),
    )
    return dict(zip(names, values))


def why_undefined(report: dict[str, float]) -> dict[str, str]:
    """The reason for each number of a report that is NaN, in words."""
    explanations = {name: match_metrics.explanation(name) for name in report}
    undefined = {name: e for name, e in explanations.items() if np.isnan(report[name])}
    return {name: e.undefined if e else "" for name, e in undefined.items()}
