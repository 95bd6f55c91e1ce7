"""Planted answers, answers by hand and refusals of single measures."""

from __future__ import annotations

import functools

import jax
import numpy as np
import pytest
import scipy.linalg
import scipy.spatial.distance
import scipy.stats

from synthsae_jax import similarity
from synthsae_jax.errors import ConfigError
from synthsae_jax.similarity.kernels import median_off_diagonal
from synthsae_jax.similarity.units import transport_plan

# float32 against float64 on sums over a few hundred entries
TOLERANCE = 2e-5
OPTIONS = ("variance", "k", "bandwidth", "debiased", "ridge", "outer", "absolute")
# Compiled whole: operation by operation the many small shapes here cost more to compile. Points
# [60, 6] on both sides share their programs with the other files.
evaluate = jax.jit(similarity.evaluate, static_argnums=0, static_argnames=OPTIONS)


def measure(name, X, Y, **options):
    X, Y = (np.asarray(v, np.float32) for v in (X, Y))
    return np.asarray(evaluate(name, X, Y, **options)[0])


def reasons(name, X, Y, **options):
    """Why the value is NaN."""
    X, Y = (np.asarray(v, np.float32) for v in (X, Y))
    value, found = evaluate(name, X, Y, **options)
    assert np.isnan(value)
    return " and ".join(reason for reason, here in found.items() if here)


def test_unrelated_points_score_zero_where_the_measure_is_debiased():
    # n = 20 points in 30 and 40 dimensions: plain CKA is far above 0, debiased is 0 on average
    keys = jax.random.split(jax.random.key(0), 400)

    def draw(key):
        a, b = jax.random.split(key)
        return jax.random.normal(a, (20, 30)), jax.random.normal(b, (20, 40))

    X, Y = jax.vmap(draw)(keys)
    plain = jax.jit(jax.vmap(functools.partial(similarity.measure, "cka")))(X, Y)
    debiased = np.asarray(
        jax.jit(jax.vmap(functools.partial(similarity.measure, "cka_debiased")))(X, Y)
    )
    assert plain.mean() > 0.5
    assert abs(debiased.mean()) < 4.5 * debiased.std() / np.sqrt(len(keys))
    assert debiased.min() < 0


def test_rsa_averages_ties():
    # rows out of three distinct ones: most distances are tied, exactly so in small integers
    rng = np.random.default_rng(3)
    X = np.eye(3, 4, dtype=np.float32)[rng.integers(0, 3, size=12)]
    Y = np.eye(3, 4, dtype=np.float32)[rng.integers(0, 3, size=12)]
    distances = [1 - np.corrcoef(v)[np.tril_indices(12, -1)].round(9) for v in (X, Y)]
    np.testing.assert_allclose(
        measure("rsa", X, Y), scipy.stats.spearmanr(*distances).statistic, atol=TOLERANCE
    )


def test_rsa_of_equidistant_points_is_nan():
    # an orthonormal frame has one distance for all pairs, so there is nothing to order
    X = np.float32([[1, -1, 0, 0], [0, 0, 1, -1], [1, 1, -1, -1]])
    assert np.isnan(measure("rsa", X, np.float32([[1, 2], [2, 1], [3, 5]])))


def test_procrustes_by_hand():
    # two orthogonal pairs of points; swapping and turning them changes nothing, and against one
    # of the two directions alone sqrt(1/2) of the norm is left
    X = np.float32([[1, 0], [-1, 0], [0, 1], [0, -1]])
    Y = np.float32([[0, 3], [0, -3], [-3, 0], [3, 0]])
    np.testing.assert_allclose(measure("procrustes", X, Y), 1.0, atol=TOLERANCE)
    np.testing.assert_allclose(measure("procrustes", X, Y[:, :1]), 0.5**0.5, atol=TOLERANCE)


def test_svcca_refuses_where_counting_alone_gives_one():
    X, Y = np.random.default_rng(0).normal(size=(2, 12, 8))
    counting = "not more points than directions of both sides together"
    for name in ("pwcca", "svcca"):
        assert reasons(name, X, Y) == counting
    assert not np.isnan(measure("svcca", X, Y, variance=0.3))
    assert "more points than directions + 1" in reasons("linear_predictivity", X[:9], Y[:9])


def test_svcca_variance_share_chooses_directions():
    # one loud shared direction, one quiet private one: .9 keeps the first alone
    rng = np.random.default_rng(1)
    shared = 10 * rng.normal(size=(60, 1))
    X, Y = (np.hstack([shared, rng.normal(size=(60, 1)), np.zeros((60, 4))]) for _ in "xy")
    np.testing.assert_allclose(measure("svcca", X, Y, variance=0.9), 1.0, atol=0.05)
    assert measure("svcca", X, Y, variance=1.0) < 0.7
    directions = jax.jit(similarity.directions_kept, static_argnames=("variance", "k"))
    assert directions(X, variance=0.9) == 1
    assert directions(X, k=3) == 2
    assert reasons("svcca", X, Y, k=3) == "a side has fewer than k = 3 directions"


def test_published_svcca_keeps_more_where_the_variance_is_near_one():
    # its rule compares a share with .99 of the variance: one component from 1.02 on, all that
    # hold .99 at exactly 1, those that hold a half at .5
    rng = np.random.default_rng(1)
    X, Y = rng.normal(size=(2, 60, 6))
    Y[:, :3] = X[:, :3]
    X, Y = (v - v.mean(0) for v in (X, Y))
    found = {}
    for variance in (100.0, 1.02, 1.0, 0.5):
        x, y = (v * np.sqrt(variance / np.sum(v**2)) for v in (X, Y))
        found[variance] = measure("svcca_rank1", x, y)
    first = [np.linalg.svd(v, full_matrices=False)[0][:, 0] for v in (X, Y)]
    correlation = abs(np.corrcoef(*first)[0, 1])
    np.testing.assert_allclose(found[100.0], correlation, atol=TOLERANCE)
    np.testing.assert_allclose(found[1.02], correlation, atol=TOLERANCE)
    np.testing.assert_allclose(found[1.0], measure("svcca", X, Y), atol=TOLERANCE)
    np.testing.assert_allclose(found[0.5], measure("svcca", X, Y, variance=0.495), atol=TOLERANCE)
    assert abs(found[1.0] - correlation) > 0.05


def test_invertible_maps_are_free_where_they_should_be():
    # Y is X under a map of condition 100: the same for regression and CCA, not for CKA
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 6))
    turns = [np.linalg.qr(rng.normal(size=(6, 6)))[0] for _ in range(2)]
    Y = X @ turns[0] @ np.diag(np.geomspace(1, 100, 6)) @ turns[1]
    for name in ("cca", "pwcca", "linear_predictivity"):
        np.testing.assert_allclose(measure(name, X, Y), 1.0, atol=2e-5)
    assert measure("cka", X, Y) < 0.7


def test_linear_predictivity_reads_only_what_is_there():
    # Y has half of X and as much of its own: half its variance one way, half of X the other
    X, Y = np.random.default_rng(0).normal(size=(2, 60, 6))
    Y[:, :3] = X[:, :3] = (X[:, :3] - X[:, :3].mean(0)) / X[:, :3].std(0)
    Y[:, 3:] = (Y[:, 3:] - Y[:, 3:].mean(0)) / Y[:, 3:].std(0)
    # the half that is not there is predicted a little worse than by its mean
    assert 0.4 < measure("linear_predictivity", X, Y) < 0.5
    X[:, 3:] = 0
    np.testing.assert_allclose(measure("linear_predictivity", Y, X), 1.0, atol=TOLERANCE)


def test_linear_predictivity_refuses_a_point_that_decides_alone():
    X = np.random.default_rng(0).normal(size=(60, 6))
    X[:, 0] = 0
    X[4, 0] = 1  # a latent that fires once: left out, nothing is known of it
    assert "one point alone" in reasons("linear_predictivity", X, X)
    assert measure("linear_predictivity", X, X, ridge=0.1) < 1


def test_angular_procrustes_is_a_metric():
    rng = np.random.default_rng(0)
    sets = rng.normal(size=(6, 60, 6)) * np.geomspace(5, 1, 6)
    angle = np.array([[1 - measure("procrustes_angular", a, b) for b in sets] for a in sets])
    assert np.all(angle[:, :, None] <= angle[:, None, :] + angle.T[None, :, :] + TOLERANCE)
    # a planted angle: two directions that have nothing in common, of which Y has one and half
    X, Y = np.zeros((2, 60, 6))
    X[:, 0], own = scipy.linalg.hadamard(64)[1:3, :60]
    X[:, 0] -= X[:, 0].mean()
    own = own - own.mean() - X[:, 0] * (own @ X[:, 0]) / (X[:, 0] @ X[:, 0])
    Y[:, 3], Y[:, 1] = X[:, 0], own * np.sqrt((X[:, 0] @ X[:, 0]) / (own @ own))
    np.testing.assert_allclose(measure("procrustes_angular", X, Y), 0.5, atol=TOLERANCE)


def test_procrustes_size_by_hand():
    # a set and its double: 1 - (|2X| - |X|)^2 / (|2X|^2 + |X|^2) = 1 - 1/5
    X = np.random.default_rng(0).normal(size=(60, 6))
    np.testing.assert_allclose(measure("procrustes_size", X, 2 * X), 0.8, atol=TOLERANCE)


def test_shuffled_columns_are_found_again():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 6))
    Y = X[:, rng.permutation(6)]
    turned = Y @ np.linalg.qr(rng.normal(size=(6, 6)))[0]
    for name in ("pw_mcc", "mmcs", "mppc", "permutation_procrustes", "soft_matching"):
        np.testing.assert_allclose(measure(name, X, Y), 1.0, atol=TOLERANCE)
        assert measure(name, X, turned) < 0.95
    assert measure("pw_mcc", X, -Y) < 0.5
    np.testing.assert_allclose(measure("pw_mcc", X, -Y, absolute=True), 1, atol=TOLERANCE)


def test_soft_matching_by_hand():
    # two columns against those two and a third unlike both: mass 1/3 of each pair fits, the third
    # column takes what is left at correlation 0
    plan = np.asarray(jax.jit(transport_plan)(np.float32([[1, 0, 0], [0, 1, 0]])))
    np.testing.assert_allclose(plan[0, 0] + plan[1, 1], 2 / 3, atol=1e-3)
    np.testing.assert_allclose(plan.sum(0), 1 / 3, atol=1e-6)
    np.testing.assert_allclose(plan.sum(1), 1 / 2, atol=1e-6)
    assert plan.min() >= 0


@pytest.mark.parametrize("n", [5, 6, 12])
def test_median_distance_without_sorting(n):
    # 10, 15 and 66 pairs: an odd number has one middle, an even one two
    X = np.random.default_rng(n).normal(size=(n, 3)).astype(np.float32)
    X[1] = X[0]
    squared = scipy.spatial.distance.squareform(scipy.spatial.distance.pdist(X, "sqeuclidean"))
    expected = np.median(scipy.spatial.distance.pdist(X))
    found = jax.jit(median_off_diagonal)(squared.astype(np.float32))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_cka_rbf_with_a_wide_kernel_is_linear_cka():
    # far inside its width a Gaussian kernel is 1 - |x - y|^2 / (2 s^2), linear after centring
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 6))
    Y = X @ rng.normal(size=(6, 6)) + rng.normal(size=(60, 6))
    wide = measure("cka_rbf", X, Y, bandwidth=10.0)
    np.testing.assert_allclose(wide, measure("cka", X, Y), atol=0.01)
    assert "equal points" in reasons("cka_rbf", np.eye(60)[:, :6], Y)


def test_local_measures_see_neighbours_only():
    # two groups far apart, each turned by itself: neighbours stay, distances between do not; and
    # with partners lost inside the groups cka sees the groups still
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 6))
    Y = X.copy()
    X[:30, 0] += 100
    Y[:30, 1] += 100
    assert measure("mutual_knn", X, Y) > 0.7
    within = np.concatenate([rng.permutation(30), 30 + rng.permutation(30)])
    assert measure("mutual_knn", X, Y[within]) < 0.5
    assert measure("cka", X, Y[within]) > 0.9


def test_reasons_of_too_many_neighbours():
    X, Y = np.random.default_rng(0).normal(size=(2, 12, 8))
    for name, k, words in (
        ("mutual_knn", 11, "k = 11 neighbours need at least 13 points, given 12"),
        ("cknna", 12, "k = 12 neighbours need at least 13 points, given 12"),
        ("subspace_overlap", 8, "k = 8 directions need more than 8 columns and points"),
    ):
        assert words in reasons(name, X, Y, k=k)
    assert reasons("rsa", X[:, :1], Y) == "rows of one column have no correlation"


def test_bad_options_are_refused_in_one_line():
    X = np.random.default_rng(0).normal(size=(12, 8))
    for name, options in (
        ("svcca", {"k": 0}),
        ("svcca", {"k": 2.0}),
        ("mutual_knn", {"k": 0}),
        ("cka_rbf", {"bandwidth": 0}),
        ("linear_predictivity", {"ridge": -1}),
        ("subspace_overlap", {"k": -1}),
        ("rsa", {"outer": "kendal"}),
    ):
        with pytest.raises(ConfigError) as error:
            evaluate(name, X, X, **options)
        assert "\n" not in str(error.value)
