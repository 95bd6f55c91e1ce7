"""Small numerics against numpy in float64, and what they do at zero."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.sparse import csr_matrix

from synthsae_jax.numerics import (
    cosine_matrix,
    fires,
    firings,
    host_unit_rows,
    is_alive,
    narrow,
    narrow_together,
    row_norms,
    safe_ratio,
    unit_rows,
)

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
    for factor in (1e-34, 1e-9, 1e-6, 1e6, 1e37):
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


@pytest.mark.parametrize("kind", [np.float16, jnp.bfloat16])
def test_half_precision_neither_overflows_nor_underflows(kind):
    # 300 squared leaves float16, and so does 1e-4 squared
    for size in (300.0, 1e-4):
        diagonal = np.diag([size, size]).astype(kind)
        exact = float(diagonal[0, 0])
        np.testing.assert_allclose(row_norms(diagonal), exact, rtol=TOLERANCE)
        for unit in (unit_rows(jnp.asarray(diagonal)), host_unit_rows(diagonal)):
            assert unit.dtype == np.float32
            np.testing.assert_allclose(unit, np.eye(2), atol=TOLERANCE)
        np.testing.assert_allclose(cosine_matrix(diagonal, np.eye(2)), np.eye(2), atol=TOLERANCE)


def test_a_row_with_a_nan_is_no_zero_row(rows):
    rows[1, 3] = np.nan
    assert np.isnan(row_norms(rows)[1])
    assert np.isnan(unit_rows(rows)[1]).all()
    assert np.isfinite(np.delete(unit_rows(rows), 1, axis=0)).all()


def test_ordinary_numbers_keep_their_bits(rows):
    # scaling is by powers of two
    norms = row_norms(rows)
    plain = jnp.asarray(rows) / jnp.where(norms > 0, norms, 1)[:, None]
    np.testing.assert_array_equal(unit_rows(rows), plain)
    np.testing.assert_array_equal(narrow(rows), rows)
    scaled = np.asarray(narrow(rows, scale=(0, 1)))
    factor = abs(scaled).max() / abs(rows).max()
    np.testing.assert_array_equal(scaled, rows * factor)
    assert 0.5 <= abs(scaled).max() < 1


def test_float64_is_centred_and_scaled_before_it_is_narrowed():
    x = np.random.default_rng(2).normal(size=(50, 3))
    expected = x - x.mean(0)
    np.testing.assert_allclose(narrow(x + 1e7, centre=0), expected, atol=1e-6)
    for factor in (1e-200, 1e200):
        unit = np.asarray(narrow(factor * (x + 1e7), centre=0, scale=(0, 1)))
        np.testing.assert_allclose(unit / unit[0, 0], expected / expected[0, 0], rtol=1e-4)
    # whole numbers have more digits than float32 too
    np.testing.assert_array_equal(narrow(2**30 + np.arange(3)[:, None], centre=0)[:, 0], [-1, 0, 1])
    a, b = narrow_together(x + 1e7, x + 1e7 + 0.25)
    ratio = np.square(np.asarray(a - b)).sum() / (50 * np.asarray(a).var(0).sum())
    np.testing.assert_allclose(ratio, 150 / 16 / np.square(expected).sum(), rtol=1e-5)


def test_what_fires_in_float64_fires_as_float32():
    codes = np.array([[1e-300, 0.0], [1e30, -1e-40], [0.0, 1e-200]])
    np.testing.assert_array_equal(fires(codes), codes != 0)
    np.testing.assert_array_equal(fires(narrow(codes, scale=(0,))), codes != 0)
    one = np.array([[1e30], [1e-12]], np.float32)
    np.testing.assert_array_equal(fires(narrow(jnp.asarray(one), scale=(0,))), one != 0)


def test_who_fires_and_who_is_dead_is_decided_once():
    codes = np.array([[1.0, 0.0, -2.0], [0.0, 0.0, np.nan]])
    for kind in (codes, jnp.asarray(codes), csr_matrix(codes)):
        np.testing.assert_array_equal(firings(kind), [1, 0, 2])
        np.testing.assert_array_equal(is_alive(firings(kind)), [True, False, True])
    stored_zero = csr_matrix((np.array([0.0, 3.0]), [0, 1], [0, 2]), shape=(1, 3))
    np.testing.assert_array_equal(firings(stored_zero), [0, 1, 0])
