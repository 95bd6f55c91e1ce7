"""Sets of latents that explain one: planted splits, and non-negative least squares by scipy."""

import itertools

import numpy as np
import pytest
from scipy.optimize import nnls

from synthsae_jax.errors import ConfigError
from synthsae_jax.matching.sets import match_sets

WIDTH, DIM = 12, 30


@pytest.fixture(scope="module")
def rows_b():
    return np.random.default_rng(0).normal(size=(WIDTH, DIM))


def members(found, i):
    return set(found.members[i][found.members[i] >= 0].tolist())


def test_planted_sets_come_back(rows_b):
    rng = np.random.default_rng(1)
    weights = np.zeros((9, WIDTH))
    sets = [set(rng.choice(WIDTH, 1 + i % 3, replace=False).tolist()) for i in range(9)]
    for i, chosen in enumerate(sets):
        weights[i, list(chosen)] = rng.uniform(0.7, 1.3, len(chosen))
    found = match_sets(weights @ rows_b, rows_b)
    np.testing.assert_array_equal(found.sizes, [len(chosen) for chosen in sets])
    for i, chosen in enumerate(sets):
        assert members(found, i) == chosen
        in_order = found.weights[i, : len(chosen)]
        np.testing.assert_allclose(in_order, weights[i, found.members[i, : len(chosen)]], atol=1e-4)
    np.testing.assert_allclose(found.residual, 0, atol=1e-6)
    # one latent alone explains a sum of three badly, and itself fully
    single = np.array([len(chosen) == 1 for chosen in sets])
    np.testing.assert_allclose(found.single[single], 0, atol=1e-6)
    assert (found.single[~single] > 0.1).all()


def test_residual_is_that_of_scipys_fit_on_the_set_found(rows_b):
    rows_a = np.random.default_rng(2).normal(size=(8, DIM))
    found = match_sets(rows_a, rows_b, min_gain=0.0)
    for i, row in enumerate(rows_a):
        share = lambda chosen, row=row: nnls(rows_b[list(chosen)].T, row)[1] ** 2 / (row @ row)
        assert found.residual[i] == pytest.approx(share(members(found, i)), abs=1e-6)
        assert found.single[i] == pytest.approx(min(share([j]) for j in range(WIDTH)), abs=1e-6)
        best = min(share(c) for c in itertools.combinations(range(WIDTH), 3))
        # greedy, on rows that are far from orthogonal: within a fifth of what the best set explains
        assert best - 1e-6 <= found.residual[i] <= 1 - 0.8 * (1 - best)
    assert (found.weights >= 0).all()


def test_small_gains_are_not_worth_another_latent(rows_b):
    row = rows_b[3] / np.linalg.norm(rows_b[3]) + 0.1 * rows_b[7] / np.linalg.norm(rows_b[7])
    assert members(match_sets(row[None], rows_b), 0) == {3}
    assert members(match_sets(row[None], rows_b, min_gain=1e-3), 0) == {3, 7}


def test_scale_and_order_of_rows_do_not_count(rows_b):
    rng = np.random.default_rng(3)
    rows_a = rng.normal(size=(5, DIM))
    order, scales = rng.permutation(WIDTH), rng.uniform(0.1, 10, WIDTH)
    found = match_sets(rows_a, rows_b)
    other = match_sets(7 * rows_a, (rows_b * scales[:, None])[order], block=2)
    np.testing.assert_allclose(other.residual, found.residual, atol=1e-6)
    for i in range(5):
        assert {int(order[j]) for j in members(other, i)} == members(found, i)


def test_a_negated_latent_explains_nothing(rows_b):
    found = match_sets(-rows_b[:1], rows_b[:1])
    assert members(found, 0) == set()
    assert found.residual[0] == found.single[0] == 1


def test_dead_and_undefined_rows_are_left_out(rows_b):
    rows_a = np.stack([rows_b[0], np.full(DIM, np.nan), np.zeros(DIM), rows_b[3]])
    broken = rows_b.copy()
    broken[1] = np.nan
    alive_a, alive_b = np.array([True, True, True, False]), np.arange(WIDTH) != 0
    found = match_sets(rows_a, broken, alive_a=alive_a, alive_b=alive_b)
    np.testing.assert_array_equal(np.isnan(found.residual), [False, True, True, True])
    assert members(found, 0) & {0, 1} == set()
    nobody = match_sets(rows_b, rows_b, alive_b=np.zeros(WIDTH, bool))
    assert (nobody.sizes == 0).all()
    np.testing.assert_array_equal(nobody.residual, 1.0)


def test_wrong_inputs_are_refused(rows_b):
    with pytest.raises(ConfigError, match="one space"):
        match_sets(rows_b, rows_b[:, :-1])
    with pytest.raises(ConfigError, match="size must be 1 to 5"):
        match_sets(rows_b, rows_b, 6)
    with pytest.raises(ConfigError, match="alive_a must be bool"):
        match_sets(rows_b, rows_b, alive_a=np.ones(3, bool))
