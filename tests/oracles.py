"""Slow, plain references in numpy and scipy, written from the definitions; no JAX in here."""

from __future__ import annotations

import itertools

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching


def cosines(a, b):
    """Cosines of rows in float64; a zero row has cosine 0 with all."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    out = np.zeros((len(a), len(b)))
    for i, j in itertools.product(range(len(a)), range(len(b))):
        norms = np.linalg.norm(a[i]) * np.linalg.norm(b[j])
        out[i, j] = a[i] @ b[j] / norms if norms > 0 else 0.0
    return out


def pearson(a, b):
    """Correlations of columns in float64, 0 where a column is constant."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    varies = np.outer(np.ptp(a, axis=0) > 0, np.ptp(b, axis=0) > 0)
    a, b = a - a.mean(0), b - b.mean(0)
    scale = np.sqrt(np.outer((a**2).sum(0), (b**2).sum(0)))
    return np.where(varies, (a.T @ b) / np.where(varies, scale, 1.0), 0.0)


def best_total(s):
    """Largest sum over one-to-one pairings of min(n, m) pairs, by trying all of them."""
    s = np.asarray(s, np.float64)
    s = s if s.shape[0] <= s.shape[1] else s.T
    rows = range(s.shape[0])
    choices = itertools.permutations(range(s.shape[1]), s.shape[0])
    return max(sum(s[i, j] for i, j in zip(rows, cols)) for cols in choices)


def mutual_pairs(s):
    """The set of (i, j) that are each other's best; the lower index wins ties."""
    s = np.asarray(s)
    pairs = ((i, int(s[i].argmax())) for i in range(s.shape[0]))
    return {(i, j) for i, j in pairs if s[:, j].argmax() == i}


def mcc(w_dec, features, signed=False):
    """Mean matched cosine, by scipy in float64."""
    c = cosines(w_dec, features)
    c = c if signed else np.abs(c)
    return c[linear_sum_assignment(-c)].mean()


def confusion(latents, feature_acts, w_dec, features):
    """precision, recall, f1, accuracy per latent, counted in loops."""
    targets = np.abs(cosines(w_dec, features)).argmax(1)
    rows = {"precision": [], "recall": [], "f1": [], "accuracy": []}
    for i, g in enumerate(targets):
        fires, active = latents[:, i] != 0, feature_acts[:, g] > 0
        tp = sum(f and a for f, a in zip(fires, active))
        fp = sum(f and not a for f, a in zip(fires, active))
        fn = sum(a and not f for f, a in zip(fires, active))
        precision = tp / (tp + fp) if tp + fp else 0.0
        recall = tp / (tp + fn) if tp + fn else 0.0
        both = precision + recall
        rows["precision"].append(precision)
        rows["recall"].append(recall)
        rows["f1"].append(2 * precision * recall / both if both else 0.0)
        rows["accuracy"].append(sum(f == a for f, a in zip(fires, active)) / len(fires))
    return rows


def explained_variance(x, x_hat):
    """1 - E|x - x_hat|^2 / (E|x|^2 - |E x|^2) in float64, as it is written."""
    x, x_hat = np.asarray(x, np.float64), np.asarray(x_hat, np.float64)
    error = ((x - x_hat) ** 2).sum(1).mean()
    return 1 - error / ((x**2).sum(1).mean() - (x.mean(0) ** 2).sum())


def truth(w_dec, latents, features, feature_acts, method, cosine, f1, margin, present):
    """The truth map, latent by latent."""
    c = cosines(w_dec, features)
    ids = np.flatnonzero(present)
    out = []
    for i in range(len(w_dec)):
        fires = set(np.flatnonzero(latents[:, i]))
        by_cosine = sorted(ids, key=lambda g: -c[i, g])
        best = by_cosine[0]
        lead = c[i, best] - c[i, by_cosine[1]] if len(ids) > 1 else np.inf
        geometric = best if c[i, best] >= cosine and lead >= margin else -1
        overlap = {}
        for g in ids:
            active = set(np.flatnonzero(feature_acts[:, g]))
            total = len(fires) + len(active)
            overlap[g] = 2 * len(fires & active) / total if total else 0.0
        best = max(ids, key=lambda g: overlap[g])
        functional = best if overlap[best] >= f1 and fires else -1
        agree = geometric if geometric == functional else -1
        found = {"geometric": geometric, "functional": functional, "agree": agree}[method]
        out.append(found if fires else -1)
    return np.array(out)


def relatives(parent, g, h):
    """Are two features ancestor and descendant, or siblings?"""

    def ancestors(x):
        found = []
        while parent[x] >= 0:
            x = parent[x]
            found.append(x)
        return found

    siblings = g != h and parent[g] >= 0 and parent[g] == parent[h]
    return g in ancestors(h) or h in ancestors(g) or siblings


def match_quality(pairs, truth_a, truth_b, parent):
    """The shares of a matching by kind of pair, and the sizes of what there was to find.

    The largest true one-to-one matching comes from a graph algorithm, not from counting.
    """
    kinds = {"right": 0, "wrong": 0, "kin": 0, "artefact": 0, "shared_artefact": 0}
    shown = set()
    for i, j in pairs:
        g, h = truth_a[i], truth_b[j]
        if g < 0 or h < 0:
            kinds["artefact"] += 1
            kinds["shared_artefact"] += g < 0 and h < 0
        elif g == h:
            kinds["right"] += 1
            shown.add(g)
        else:
            kinds["wrong"] += 1
            kinds["kin"] += relatives(parent, g, h)
    relation = np.array([[g == h and g >= 0 for h in truth_b] for g in truth_a])
    partner = maximum_bipartite_matching(csr_array(relation), perm_type="column")
    both = (set(truth_a) & set(truth_b)) - {-1}
    return kinds, len(shown), len(both), int((partner >= 0).sum())
