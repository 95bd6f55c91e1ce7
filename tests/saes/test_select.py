"""Selection by counting against numpy's sort: exact for every float, tie, k and batch."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synthsae_jax.saes import select

N = 37
kth_largest = jax.jit(select.kth_largest)
keep_top_k = jax.jit(select.keep_top_k)
top_k_mask = jax.jit(select.top_k_mask)


def rows(kind: str) -> np.ndarray:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(6, N)).astype(np.float32)
    if kind == "normal":
        return x
    if kind == "positive":
        return np.abs(x)
    if kind == "few_positive":
        return np.where(np.arange(N) % 12 == 0, np.abs(x), -np.abs(x)).astype(np.float32)
    if kind == "ties":
        return np.round(x).astype(np.float32)
    if kind == "constant":
        return np.ones((6, N), np.float32)
    if kind == "wide":  # every exponent, both signs, infinities
        x = x * np.float32(10.0) ** rng.integers(-37, 38, size=x.shape).astype(np.float32)
        x[:, 0], x[:, 1] = np.inf, -np.inf
        x[:, 2:4] = np.array([np.finfo(np.float32).max, np.finfo(np.float32).tiny])
        return x
    if kind == "denormal":
        return rng.integers(0, 2**20, size=x.shape).astype(np.uint32).view(np.float32)
    raise AssertionError(kind)


KINDS = ("normal", "positive", "few_positive", "ties", "constant", "wide", "denormal")


def bits(x) -> np.ndarray:
    return np.asarray(x).view(np.int32)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [1, 2, 9, N - 1, N])
def test_the_kth_largest_is_that_of_a_sort_to_the_last_bit(kind, k):
    x = rows(kind)
    expected = np.sort(x, axis=-1)[:, N - k] + np.float32(0)  # -0 counts as +0
    # compared as bits: XLA may treat denormals as zero in a float comparison
    np.testing.assert_array_equal(bits(kth_largest(x, k)), bits(expected))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [0, 1, 9, N])
def test_the_mask_marks_exactly_k_and_settles_ties_by_position(kind, k):
    x = rows(kind)
    order = np.argsort(-x.astype(np.float64), axis=-1, kind="stable")[:, :k]
    expected = np.zeros(x.shape, bool)
    np.put_along_axis(expected, order, True, axis=-1)
    np.testing.assert_array_equal(top_k_mask(x, k), expected)


@pytest.mark.parametrize("kind", ["normal", "positive", "few_positive", "ties", "constant"])
@pytest.mark.parametrize("k", [0, 1, 9, N])
def test_kept_values_are_the_positive_ones_among_the_k_largest(kind, k):
    x = rows(kind)
    expected = np.where(np.asarray(top_k_mask(x, k)), np.maximum(x, 0), 0)
    np.testing.assert_array_equal(keep_top_k(x, k), expected)


def test_the_batch_rule_counts_over_all_rows():
    x = rows("normal")
    kept = np.asarray(jax.jit(select.keep_top_k_of_batch)(x, 40))
    expected = np.where(x >= np.sort(x, axis=None)[-40], x, 0)
    np.testing.assert_array_equal(kept, expected)
    assert (kept > 0).sum() == 40


def test_equal_values_of_a_batch_are_settled_row_by_row():
    kept = select.keep_top_k_of_batch(jnp.ones((3, 4)), 6)
    np.testing.assert_array_equal(kept, [[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]])


def test_half_precision_is_ranked_by_value():
    x = jnp.asarray(rows("normal"), jnp.bfloat16)
    kept = select.keep_top_k(x, 5)
    assert kept.dtype == jnp.bfloat16
    np.testing.assert_array_equal((kept > 0).sum(-1), 5)


def test_k_outside_the_row_is_the_nearest_that_is_inside():
    x = rows("normal")
    np.testing.assert_array_equal(kth_largest(x, 0), x.max(-1))
    np.testing.assert_array_equal(kth_largest(x, N + 5), x.min(-1))
    assert np.asarray(top_k_mask(x, N + 5)).all()
    assert not np.asarray(top_k_mask(x, -1)).any()


def test_a_nan_is_ranked_first_and_stays_visible():
    x = rows("normal")
    x[2, 4] = np.nan
    assert np.isnan(kth_largest(x, 1)[2])
    assert np.asarray(top_k_mask(x, 1))[2, 4]


def test_vmap_over_runs_and_k_equals_one_at_a_time_in_one_trace():
    x = np.stack([rows("normal"), rows("ties"), rows("constant")])
    k = jnp.array([1, 4, 20])
    traces = []

    def keep(x, k):
        traces.append(0)
        return select.keep_top_k(x, k)

    together = jax.jit(jax.vmap(keep))(x, k)
    assert len(traces) == 1
    for run in range(3):
        np.testing.assert_array_equal(together[run], keep_top_k(x[run], k[run]))


def test_k_may_differ_between_rows():
    x = rows("normal")
    k = jnp.array([1, 2, 3, 0, 5, N])
    np.testing.assert_array_equal(top_k_mask(x, k).sum(-1), k)


@pytest.mark.parametrize("rule", [select.keep_top_k, select.keep_top_k_of_batch])
def test_the_gradient_is_one_at_kept_values_and_zero_elsewhere(rule):
    x = jnp.asarray(rows("ties"))  # the tie-breaking loop runs too
    k = 7
    keep = functools.partial(rule, k=k)
    gradient = jax.jit(jax.grad(lambda x: keep(x).sum()))(x)
    np.testing.assert_array_equal(gradient, (keep(x) > 0).astype(np.float32))
