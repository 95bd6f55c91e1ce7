"""Scores, truth maps and alignments do not depend on how inputs are kept, where they need not."""

import jax.numpy as jnp
import numpy as np
import pytest

from synthsae_jax import matching
from synthsae_jax.matching.alignment import fit_procrustes
from synthsae_jax.matching.gram import gram
from synthsae_jax.matching.linear_maps import alignments, judge_alignment

N, L, D = 120, 10, 16
CODES = [name for name in matching.score_names() if matching.scores[name].takes == "codes"]
DIRECTIONS = [name for name in matching.score_names() if name not in CODES]


def sides(name):
    rng = np.random.default_rng(3)
    takes = matching.scores[name].takes
    if takes == "codes":
        a = (rng.random((N, L)) < 0.3) * rng.uniform(0.5, 1.5, (N, L))
        b = np.where(rng.random((N, L)) < 0.5, a, rng.permutation(a))
        return a, b
    a = rng.normal(size=(L, D))
    b = a + 0.5 * rng.normal(size=(L, D))
    if takes == "columns":
        return a.T, b.T
    return ((a, b.T), (b, a.T)) if takes == "both" else (a, b)


def mapped(side, change):
    return tuple(map(change, side)) if isinstance(side, tuple) else change(side)


def scored(name, a, b):
    return np.asarray(matching.score(name, a, b))


@pytest.mark.parametrize("name", matching.score_names())
@pytest.mark.parametrize("kind", [np.float16, jnp.bfloat16, np.float64])
def test_scores_are_those_of_the_same_numbers_as_float32(name, kind):
    # half precision: 100 times a row of 16 has a squared norm that leaves float16
    a, b = (mapped(side, lambda v: (100 * v).astype(kind)) for side in sides(name))
    single = [mapped(side, lambda v: v.astype(np.float32)) for side in (a, b)]
    got = scored(name, a, b)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, scored(name, *single), atol=2e-6)


@pytest.mark.parametrize("name", matching.score_names())
@pytest.mark.parametrize("factor", [1e-300, 1e-30, 1e-9, 1e30, 1e300])
def test_scores_are_free_of_scale(name, factor):
    a, b = sides(name)
    expected = scored(name, a, b)
    scaled = mapped(a, lambda v: factor * v)
    np.testing.assert_allclose(scored(name, scaled, b), expected, atol=2e-6)
    if 1e-37 < factor < 1e37:
        single = mapped(scaled, lambda v: jnp.asarray(v, jnp.float32))
        np.testing.assert_allclose(scored(name, single, b), expected, atol=2e-6)


@pytest.mark.parametrize("name", ["activation_pearson", "decoder_cosine"])
def test_what_all_have_in_common_is_taken_off_in_float64(name):
    a, b = sides(name)
    options = {"centred": True} if name == "decoder_cosine" else {}
    expected = matching.score(name, a, b, **options)
    far = matching.score(name, a + 1e7, b - 3e7, **options)
    np.testing.assert_allclose(far, expected, atol=2e-6)


def test_moments_of_float64_are_those_of_its_deviations():
    x, y = np.random.default_rng(4).normal(size=(2, 5000, 3))
    near = matching.CoMoments.init(3, 3).update(x, y)
    far = matching.CoMoments.init(3, 3).update(x + 1e7, y - 1e7)
    for field in ("spread_a", "spread_b", "cross"):
        np.testing.assert_allclose(getattr(far, field), getattr(near, field), rtol=1e-5, atol=1e-2)


def test_gram_of_rows_that_leave_half_precision():
    np.testing.assert_allclose(gram(np.diag([300, 300]).astype(np.float16)), np.eye(2))


def test_truth_does_not_ask_for_scale():
    rng = np.random.default_rng(5)
    features = np.linalg.qr(rng.normal(size=(D, D)))[0][:8]
    acts = (rng.random((400, 8)) < 0.2) * rng.uniform(0.5, 1.5, (400, 8))
    order = rng.permutation(8)
    for method in ("agree", "code"):
        for size in (1e-60, 1.0, 1e60):
            given = features[order] * size, acts[:, order] / size, features / size, acts * size
            found = matching.truth_map(*given, method=method)
            np.testing.assert_array_equal(found, order)


@pytest.mark.parametrize("name", alignments.names())
def test_alignments_are_fitted_and_judged_about_the_means(name):
    rng = np.random.default_rng(6)
    x_b = rng.normal(size=(600, D)) * np.geomspace(2, 0.5, D)
    x_a = x_b @ np.linalg.qr(rng.normal(size=(D, D)))[0] + 0.3 * rng.normal(size=(600, D))
    near = matching.fit_alignment(name, x_a[:300], x_b[:300])
    far = matching.fit_alignment(name, x_a[:300] + 1e7, x_b[:300] - 1e7)
    np.testing.assert_allclose(far.matrix, near.matrix, atol=1e-4)
    expected = judge_alignment(near, x_a[300:], x_b[300:])
    found = judge_alignment(far, x_a[300:] + 1e7, x_b[300:] - 1e7)
    assert found["explained_variance"] == pytest.approx(expected["explained_variance"], abs=1e-4)
    assert expected["explained_variance"] > 0.5


def test_procrustes_does_not_ask_for_scale():
    x_a, x_b = np.random.default_rng(7).normal(size=(2, 300, 5))
    expected = fit_procrustes(x_a, x_b)
    np.testing.assert_allclose(
        fit_procrustes(1e200 * (x_a + 1e7), 1e-200 * x_b), expected, atol=1e-5
    )
