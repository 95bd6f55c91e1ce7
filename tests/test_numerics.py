"""Small numerics against numpy in float64, and what they do at zero."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synthsae_jax.numerics import cosine_matrix, row_norms, safe_ratio, unit_rows

# a float32 sum of 9 products
TOLERANCE = 1e-6


@pytest.fixture
def rows():
    rows = np.random.default_rng(0).normal(size=(5, 9)).astype(np.float32)
    rows[2] = 0
    return rows


def test_row_norms_equal_numpy(rows):
    np.testing.assert_allclose(row_norms(rows), np.linalg.norm(rows, axis=1), rtol=TOLERANCE)
    stacked = rows.reshape(1, 5, 9)
    np.testing.assert_array_equal(row_norms(stacked)[0], row_norms(rows))


def test_unit_rows_have_norm_one_and_zero_rows_stay_zero(rows):
    unit = np.asarray(unit_rows(rows))
    norms = np.linalg.norm(unit, axis=1)
    np.testing.assert_allclose(np.delete(norms, 2), 1.0, rtol=TOLERANCE)
    np.testing.assert_array_equal(unit[2], 0)


def test_unit_rows_keep_the_direction_at_any_size(rows):
    for factor in (1e-6, 1e6):
        np.testing.assert_allclose(unit_rows(factor * rows), unit_rows(rows), atol=TOLERANCE)


def test_gradients_at_a_zero_row_are_finite(rows):
    norm_gradient = jax.grad(lambda x: row_norms(x).sum())(jnp.asarray(rows))
    # away from zero the slope of a norm is the unit vector; at zero we say 0
    np.testing.assert_allclose(norm_gradient, unit_rows(rows), atol=TOLERANCE)
    np.testing.assert_array_equal(norm_gradient[2], 0)
    assert np.all(np.isfinite(jax.grad(lambda x: unit_rows(x).sum())(jnp.asarray(rows))))


def test_cosines_equal_numpy(rows):
    others = np.random.default_rng(1).normal(size=(4, 9)).astype(np.float32)
    a, b = rows.astype(np.float64), others.astype(np.float64)
    norms = np.outer(np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1))
    expected = np.divide(a @ b.T, norms, out=np.zeros_like(norms), where=norms > 0)
    np.testing.assert_allclose(cosine_matrix(rows, others), expected, atol=TOLERANCE)


def test_cosine_of_a_row_with_itself_and_its_negative(rows):
    cosines = np.asarray(cosine_matrix(rows, -rows))
    np.testing.assert_allclose(np.delete(np.diag(cosines), 2), -1.0, atol=TOLERANCE)
    np.testing.assert_array_equal(cosines[2], 0)


def test_safe_ratio_is_zero_where_nothing_is_divided_by():
    numerator, denominator = jnp.array([1.0, 2.0, 0.0]), jnp.array([4.0, 0.0, 0.0])
    np.testing.assert_array_equal(safe_ratio(numerator, denominator), [0.25, 0.0, 0.0])
    gradient = jax.grad(lambda d: safe_ratio(numerator, d).sum())(denominator)
    np.testing.assert_allclose(gradient, [-1 / 16, 0.0, 0.0])
