"""Every registered measure against a plain float64 version of its formula in numpy and scipy."""

from __future__ import annotations

import itertools

import jax
import numpy as np
import pytest
import scipy.linalg
import scipy.optimize
import scipy.stats
from scipy.spatial.distance import cdist, pdist, squareform

from synthsae_jax import similarity

OPTIONS = ("variance", "k", "bandwidth", "debiased", "ridge", "outer", "absolute")
evaluate = jax.jit(similarity.evaluate, static_argnums=0, static_argnames=OPTIONS)
# float32 against float64 on sums over a few hundred entries
TOLERANCE = 2e-5


def centred(X):
    return X - X.mean(axis=0)


def unit_rows(X):
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def cosine(a, b):
    return a @ b / np.sqrt((a @ a) * (b @ b))


def hsic(K, L):
    """HSIC1 as the average over all four different points that it is unbiased by."""
    n, one = len(K), np.ones(len(K))
    K, L = K - np.diag(np.diag(K)), L - np.diag(np.diag(L))
    middle = (one @ K @ one) * (one @ L @ one) / ((n - 1) * (n - 2))
    return (np.trace(K @ L) + middle - 2 / (n - 2) * one @ K @ L @ one) / (n * (n - 3))


def debiased(K, L):
    return hsic(K, L) / np.sqrt(hsic(K, K) * hsic(L, L))


def biased(K, L):
    H = np.eye(len(K)) - 1 / len(K)
    K, L = H @ K @ H, H @ L @ H
    return np.trace(K @ L) / np.sqrt(np.trace(K @ K) * np.trace(L @ L))


def cka(X, Y):
    """From the n x n kernels, where the package works on features."""
    return biased(X @ X.T, Y @ Y.T)


def cka_debiased(X, Y):
    # uncentred kernels on purpose: HSIC1 must not see where the origin is
    return debiased(X @ X.T, Y @ Y.T)


def rv2(X, Y):
    K, L = (centred(v) @ centred(v).T for v in (X, Y))
    off = ~np.eye(len(K), dtype=bool)
    return cosine(K[off], L[off])


def gaussian(X, bandwidth):
    width = bandwidth * np.median(pdist(X))
    return np.exp(-squareform(pdist(X, "sqeuclidean")) / (2 * width**2))


def cka_rbf(X, Y, bandwidth=1.0, unbiased=False):
    K, L = gaussian(X, bandwidth), gaussian(Y, bandwidth)
    return debiased(K, L) if unbiased else biased(K, L)


def orders(alike):
    """The other points, the most alike first, for each point."""
    return [[j for j in np.argsort(-row, kind="stable") if j != i] for i, row in enumerate(alike)]


def cknna(X, Y, k=10):
    K, L = (centred(v) @ centred(v).T for v in (X, Y))
    near = [[set(order[:k]) for order in orders(v)] for v in (K, L)]

    def energy(first, second, A, B):
        return sum(A[i, j] * B[i, j] for i in range(len(A)) for j in first[i] & second[i])

    kk, ll = energy(near[0], near[0], K, K), energy(near[1], near[1], L, L)
    return energy(*near, K, L) / np.sqrt(kk * ll)


def neighbour_lists(X, k, angles):
    alike = unit_rows(X) @ unit_rows(X).T if angles else -cdist(X, X)
    return [order[:k] for order in orders(alike)]


def mutual_knn(X, Y, k=10):
    pairs = zip(neighbour_lists(X, k, False), neighbour_lists(Y, k, False))
    return np.mean([len(set(a) & set(b)) / k for a, b in pairs])


def knn_jaccard(X, Y, k=10):
    pairs = zip(neighbour_lists(X, k, True), neighbour_lists(Y, k, True))
    return np.mean([len(set(a) & set(b)) / len(set(a) | set(b)) for a, b in pairs])


def rank_similarity(X, Y, k=10):
    scores = []
    for a, b in zip(neighbour_lists(X, k, True), neighbour_lists(Y, k, True)):
        ranks = [(a.index(j) + 1, b.index(j) + 1) for j in set(a) & set(b)]
        score = sum(2 / ((1 + abs(r - s)) * (r + s)) for r, s in ranks)
        scores.append(score / sum(1 / m for m in range(1, len(ranks) + 1)) if ranks else 0)
    return np.mean(scores)


def second_order_cosine(X, Y, k=10):
    C, D = (unit_rows(v) @ unit_rows(v).T for v in (X, Y))
    both = zip(neighbour_lists(X, k, True), neighbour_lists(Y, k, True))
    unions = [sorted(set(a) | set(b)) for a, b in both]
    return np.mean([cosine(C[i, u], D[i, u]) for i, u in enumerate(unions)])


def procrustes(X, Y):
    """The cosine left after scipy's own best rotation of the zero-padded sets."""
    X, Y, R = turned(X, Y)
    return np.sum((X @ R) * Y) / (np.linalg.norm(X) * np.linalg.norm(Y))


def turned(X, Y):
    X, Y = centred(X), centred(Y)
    width = max(X.shape[1], Y.shape[1])
    X, Y = (np.pad(v, ((0, 0), (0, width - v.shape[1]))) for v in (X, Y))
    return X, Y, scipy.linalg.orthogonal_procrustes(X, Y)[0]


def procrustes_size(X, Y):
    X, Y, R = turned(X, Y)
    return 1 - np.sum((X @ R - Y) ** 2) / (np.sum(X**2) + np.sum(Y**2))


def principal(X, k):
    _, _, axes = np.linalg.svd(centred(X), full_matrices=False)
    return centred(X) @ axes[:k].T


def mean_cca(X, Y):
    return np.mean(np.cos(scipy.linalg.subspace_angles(X, Y)))


def svcca(X, Y, variance=0.99):
    """PCA each side, then canonical correlations as cosines of the principal angles."""
    kept = []
    for side in (X, Y):
        sigma = np.linalg.svd(centred(side), compute_uv=False)
        k = 1 + np.sum(np.cumsum(sigma**2) / np.sum(sigma**2) < variance)
        kept.append(principal(side, k))
    return mean_cca(*kept)


def svcca_rank1(X, Y):
    """The published rule for the number of components, word for word."""
    kept = []
    for side in (X, Y):
        squares = np.linalg.svd(centred(side), compute_uv=False) ** 2
        shares = np.cumsum(squares / squares.sum())
        kept.append(principal(side, np.argmax(shares >= 0.99 * squares.sum()) + 1))
    return mean_cca(*kept)


def pwcca(X, Y):
    """Canonical variates by the generalised eigenproblem of the covariances."""
    X, Y = centred(X), centred(Y)
    C, S, T = X.T @ Y, X.T @ X, Y.T @ Y
    squares, W = scipy.linalg.eigh(C @ np.linalg.solve(T, C.T), S)
    first = np.argsort(-squares)[: min(X.shape[1], Y.shape[1])]
    h = X @ W[:, first]
    weight = np.abs((h / np.linalg.norm(h, axis=0)).T @ X).sum(axis=1)
    return weight @ np.sqrt(squares[first]) / weight.sum()


def linear_predictivity(X, Y, ridge=0.0):
    """Every point left out in turn, and the map fitted anew to the others."""
    n, p = X.shape
    penalty = ridge * np.sum(centred(X) ** 2) / p
    error = baseline = 0.0
    for i in range(n):
        rest = np.arange(n) != i
        design = np.hstack([np.ones((n - 1, 1)), X[rest]])
        normal = design.T @ design + penalty * np.diag([0.0] + [1.0] * p)
        weights = np.linalg.solve(normal, design.T @ Y[rest])
        error += np.sum((Y[i] - np.append(1, X[i]) @ weights) ** 2)
        baseline += np.sum((Y[i] - Y[rest].mean(axis=0)) ** 2)
    return 1 - error / baseline


def rsa(X, Y, correlate=scipy.stats.spearmanr):
    below = np.tril_indices(len(X), -1)
    return correlate(*(1 - np.corrcoef(side)[below] for side in (X, Y))).statistic


def rsa_cosine(X, Y):
    return scipy.stats.spearmanr(pdist(X, "cosine"), pdist(Y, "cosine")).statistic


def gram_profile(X, Y):
    C, D = (unit_rows(v) @ unit_rows(v).T for v in (X, Y))
    return np.mean(
        [np.corrcoef(np.delete(C[i], i), np.delete(D[i], i))[0, 1] for i in range(len(C))]
    )


def subspace_overlap(X, Y, k=1):
    width = min(X.shape[1], Y.shape[1])  # a common space
    axes = [np.linalg.svd(centred(v[:, :width]))[2][:k].T for v in (X, Y)]
    return np.mean(np.cos(scipy.linalg.subspace_angles(*axes)) ** 2)


def column_cosines(X, Y):
    return unit_rows(X.T) @ unit_rows(Y.T).T


def assigned(alike):
    return alike[scipy.optimize.linear_sum_assignment(alike, maximize=True)]


def soft_matching(X, Y):
    """The linear program itself."""
    alike = column_cosines(centred(X), centred(Y))
    p, q = alike.shape
    marginals = np.vstack([np.kron(np.eye(p), np.ones(q)), np.kron(np.ones(p), np.eye(q))])
    held = np.concatenate([np.full(p, 1 / p), np.full(q, 1 / q)])
    return -scipy.optimize.linprog(-alike.ravel(), A_eq=marginals, b_eq=held).fun


ORACLES = {
    "cka": cka,
    "rv": cka,
    "cka_debiased": cka_debiased,
    "rv2": rv2,
    "cka_rbf": cka_rbf,
    "cknna": cknna,
    "mutual_knn": mutual_knn,
    "knn_jaccard": knn_jaccard,
    "rank_similarity": rank_similarity,
    "second_order_cosine": second_order_cosine,
    "procrustes": procrustes,
    "procrustes_angular": lambda X, Y: 1 - np.arccos(procrustes(X, Y)) / (np.pi / 2),
    "procrustes_size": procrustes_size,
    "cca": lambda X, Y: mean_cca(centred(X), centred(Y)),
    "svcca": svcca,
    "svcca_rank1": svcca_rank1,
    "pwcca": pwcca,
    "linear_predictivity": linear_predictivity,
    "rsa": rsa,
    "rsa_cosine": rsa_cosine,
    "gram_profile": gram_profile,
    "subspace_overlap": subspace_overlap,
    "pw_mcc": lambda X, Y: assigned(column_cosines(X, Y)).mean(),
    "mmcs": lambda X, Y: column_cosines(X, Y).max(axis=1).mean(),
    "mppc": lambda X, Y: column_cosines(centred(X), centred(Y)).max(axis=1).mean(),
    "permutation_procrustes": lambda X, Y: (
        assigned(centred(X).T @ centred(Y)).sum()
        / (np.linalg.norm(centred(X)) * np.linalg.norm(centred(Y)))
    ),
    "soft_matching": soft_matching,
}


def draw(n, p, q):
    rng = np.random.default_rng(n)
    X = rng.normal(size=(n, p)) * np.geomspace(1, 0.1, p) + 1
    Y = X[:, : min(p, 3)] @ rng.normal(size=(min(p, 3), q)) + 0.3 * rng.normal(size=(n, q))
    # rounded first, so both work on the same numbers
    return X.astype(np.float32), Y.astype(np.float32)


def both(name, X, Y, expected=None, **options):
    if similarity.measures[name].same_space:
        width = min(X.shape[1], Y.shape[1])
        X, Y = X[:, :width], Y[:, :width]
    found, _ = evaluate(name, X, Y, **options)
    expected = ORACLES[name] if expected is None else expected
    return float(found), float(expected(X.astype(np.float64), Y.astype(np.float64)))


def test_every_measure_has_an_oracle():
    assert ORACLES.keys() == set(similarity.names())


@pytest.mark.parametrize("name", ORACLES)
def test_value_agrees_with_float64(name):
    np.testing.assert_allclose(*both(name, *draw(60, 6, 6)), atol=TOLERANCE)


# those that do more with the two widths than make two matrices [n, n]
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("procrustes_angular", (60, 4, 7)),
        ("pwcca", (60, 4, 7)),
        ("pwcca", (60, 7, 4)),
        ("linear_predictivity", (60, 7, 4)),
        ("mmcs", (60, 7, 4)),
        ("permutation_procrustes", (60, 7, 4)),
        ("soft_matching", (60, 4, 7)),
    ],
)
def test_unlike_widths(name, shape):
    # the plan of unlike widths is a cooled one: as near as its docstring says
    tolerance = 2e-3 if name == "soft_matching" else TOLERANCE
    np.testing.assert_allclose(*both(name, *draw(*shape)), atol=tolerance)


@pytest.mark.parametrize("name", ["cka", "cka_debiased", "procrustes"])
def test_more_dimensions_than_points(name):
    np.testing.assert_allclose(*both(name, *draw(24, 30, 40)), atol=TOLERANCE)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("cka_rbf", {"bandwidth": 0.5, "debiased": True}, lambda X, Y: cka_rbf(X, Y, 0.5, True)),
        ("cknna", {"k": 59}, rv2),
        ("svcca", {"k": 2}, lambda X, Y: mean_cca(principal(X, 2), principal(Y, 2))),
        ("linear_predictivity", {"ridge": 0.1}, lambda X, Y: linear_predictivity(X, Y, 0.1)),
        ("rsa", {"outer": "pearson"}, lambda X, Y: rsa(X, Y, scipy.stats.pearsonr)),
        ("subspace_overlap", {"k": 2}, lambda X, Y: subspace_overlap(X, Y, 2)),
        ("mmcs", {"absolute": True}, lambda X, Y: np.abs(column_cosines(X, Y)).max(1).mean()),
    ],
)
def test_options_agree_with_float64(name, options, expected):
    np.testing.assert_allclose(*both(name, *draw(60, 6, 6), expected, **options), atol=TOLERANCE)


def test_many_distances_are_ranked_as_few_are():
    # beyond 2^18 pairs ranks are counted; points on a coarse grid, so most are tied
    rng = np.random.default_rng(0)
    X, Y = rng.integers(1, 4, size=(2, 730, 3)).astype(np.float32)
    Y[:200] = X[:200]

    def rounded(X, Y):
        distances = (pdist(v, "cosine").round(6) for v in (X, Y))
        return scipy.stats.spearmanr(*distances).statistic

    np.testing.assert_allclose(*both("rsa_cosine", X, Y, rounded), atol=TOLERANCE)


def test_hsic_is_the_average_over_four_different_points():
    # the formula that three oracles rest on, from its definition on 7 points
    rng = np.random.default_rng(0)
    K, L = (v @ v.T for v in rng.normal(size=(2, 7, 2)))
    terms = [
        K[i, j] * (L[i, j] + L[k, l] - 2 * L[i, k])
        for i, j, k, l in itertools.permutations(range(7), 4)
    ]
    np.testing.assert_allclose(hsic(K, L), np.mean(terms))


@pytest.mark.parametrize("name", ["rsa", "rsa_cosine"])
@pytest.mark.parametrize("n", [80, 800])  # ranks sorted, and counted
@pytest.mark.parametrize("loudness", [1.0, 3e3, 3e5])
def test_ties_are_as_near_as_the_rows_lie(name, n, loudness):
    # one dimension outweighs all others, so that all distances are within 1e-5 of 0 or of 2
    rng = np.random.default_rng(12)
    X = rng.normal(size=(n, 64))
    X[:, 0] *= loudness
    Y = X + rng.normal(size=(n, 64))
    X, Y = X.astype(np.float32), Y.astype(np.float32)

    def distances(rows):
        rows = rows.astype(np.float64)
        if name == "rsa":
            rows = rows - rows.mean(1, keepdims=True)
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return (1 - unit @ unit.T)[np.tril_indices(n, -1)]

    expected = scipy.stats.spearmanr(distances(X), distances(Y)).statistic
    np.testing.assert_allclose(similarity.measure(name, X, Y), expected, atol=TOLERANCE)


def test_equal_distances_are_tied_on_the_scale_of_the_rows():
    # whole numbers give few distances; a constant in all rows brings these near to 0
    rng = np.random.default_rng(13)
    for offset in (0.0, 30.0):
        X = rng.integers(0, 2, size=(60, 6)) + 0.0
        X[:, 0] += offset + 1
        Y = X.copy()
        Y[:, 1:] = X[:, 1:][:, ::-1]
        value = similarity.measure("rsa_cosine", np.float32(X), np.float32(Y))
        np.testing.assert_allclose(value, 1.0, atol=1e-6)
