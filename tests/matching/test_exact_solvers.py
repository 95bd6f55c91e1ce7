"""Solvers of the assignment problem and its variants, and greedy ones, against scipy and loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from synthsae_jax import matching
from synthsae_jax.errors import ConfigError
from synthsae_jax.matching.pruned import assign_candidates, nearest_rows

SHAPES = ((12, 7), (7, 12), (10, 10))
EPSILON = 1e-3


@jax.jit
def auction(s, unmatched, max_rounds=100_000):
    options = {"unmatched": unmatched, "epsilon": EPSILON, "max_rounds": max_rounds}
    return matching.solve("auction", s, **options)


def pairs(m):
    valid = np.asarray(m.valid)
    return set(zip(np.asarray(m.row)[valid].tolist(), np.asarray(m.col)[valid].tolist()))


def total(m):
    return float(np.asarray(m.score, np.float64)[np.asarray(m.valid)].sum())


def matrices(shape, n=6):
    """Random, planted and tied scores of one shape."""
    rng = np.random.default_rng(shape[0])
    for kind in range(n):
        if kind % 3 == 0:
            s = rng.normal(size=shape)
        elif kind % 3 == 1:
            s = 0.1 * rng.normal(size=shape)
            index = np.arange(min(shape))
            s[rng.permutation(shape[0])[index], rng.permutation(shape[1])[index]] += 0.8
        else:
            s = rng.integers(0, 3, shape)
        yield s.astype(np.float32)


def optimum(s, unmatched=None):
    """Best total by scipy; in excess of `unmatched` where singles are allowed."""
    if unmatched is not None:
        s = np.maximum(s - unmatched, 0)
    return s[linear_sum_assignment(s, maximize=True)].sum(dtype=float)


# (12, 7) is solved as (7, 12)
@pytest.mark.parametrize("shape", [(12, 7), (10, 10)])
def test_auction_reaches_the_optimum_and_its_gap_is_a_bound(shape):
    for s in matrices(shape):
        # being single is worth so little that all are paired, as without the option
        m = auction(s, s.min() - np.ptp(s))
        assert len(pairs(m)) == min(shape)
        missed = optimum(s) - total(m)
        # float32 totals of a dozen scores of order 1
        assert missed <= float(m.gap) + 1e-5
        assert float(m.gap) <= 2 * min(shape) * EPSILON * np.ptp(s) + 1e-5
        part = auction(s, 0.5)
        missed = optimum(s, 0.5) - (total(part) - 0.5 * len(pairs(part)))
        assert missed <= float(part.gap) + 1e-5
        assert float(part.gap) <= 2 * min(shape) * EPSILON * max(np.ptp(s), 1) + 1e-5


def test_an_auction_that_is_cut_short_says_so():
    s = np.random.default_rng(0).random((12, 7)).astype(np.float32)
    m = auction(s, -1.0, 2)
    assert optimum(s) - total(m) <= float(m.gap) + 1e-5 + (7 - len(pairs(m)))
    assert float(m.gap) > 0.1
    with pytest.raises(ConfigError, match="epsilon"):
        matching.solve("auction", s, epsilon=0.0)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("unmatched", [None, 0.5])
def test_pruned_assignment(shape, unmatched):
    for s in matrices(shape):
        best = optimum(s, unmatched)
        excess = 0.0 if unmatched is None else unmatched
        of_all = matching.solve("assignment_pruned", s, unmatched=unmatched)
        assert total(of_all) - excess * len(pairs(of_all)) == pytest.approx(best, abs=1e-5)
        assert float(of_all.gap) == pytest.approx(0, abs=1e-4)
        few = matching.solve("assignment_pruned", s, unmatched=unmatched, candidates=2)
        if unmatched is not None or len(pairs(few)) == min(shape):
            missed = best - (total(few) - excess * len(pairs(few)))
            assert -1e-5 <= missed <= float(few.gap) + 1e-4


def test_pruning_that_costs_nothing_is_proved():
    # planted partners are far ahead, so two candidates do, and the prices show it
    rng = np.random.default_rng(1)
    s = 0.1 * rng.normal(size=(60, 60))
    s[np.arange(60), rng.permutation(60)] += 0.8
    m = matching.solve("assignment_pruned", s, candidates=2, unmatched=0.4)
    assert pairs(m) == pairs(matching.solve("assignment", s, 0.4))
    assert float(m.gap) == pytest.approx(0, abs=1e-9)
    with pytest.raises(ConfigError, match="candidates"):
        matching.solve("assignment_pruned", s, candidates=0)


def test_more_candidates_join_until_the_optimum_is_proved():
    # two thirds are noise: one candidate a row misses pairs, and the prices say which might help
    rng = np.random.default_rng(3)
    s = rng.normal(size=(90, 70)).astype(np.float32)
    index = np.arange(30)
    s[index, rng.permutation(70)[:30]] += 9
    s[40], s[:, 5] = -np.inf, np.nan
    best = optimum(np.where(np.isfinite(s), s, 0), 0.5)
    gaps = []
    for rounds in (0, 1, 20):
        options = {"unmatched": 0.5, "candidates": 1, "rounds": rounds}
        m = matching.solve("assignment_pruned", s, **options)
        missed = best - (total(m) - 0.5 * len(pairs(m)))
        assert -1e-4 <= missed <= float(m.gap) + 1e-4
        gaps.append(float(m.gap))
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] == pytest.approx(0, abs=1e-6)
    with pytest.raises(ConfigError, match="rounds"):
        matching.solve("assignment_pruned", s, rounds=-1)


@pytest.mark.parametrize("name", ["assignment", "assignment_dustbin", "assignment_pruned"])
def test_numpy_scores_are_solved_as_jax_ones_and_left_alone(name):
    s = np.random.default_rng(4).normal(size=(12, 10)).astype(np.float32)
    s[2, 3], s[4, 4] = np.nan, np.inf
    given = s.copy()
    alive = np.arange(12) != 7
    here = matching.solve(name, s, 0.1, alive_a=alive)
    there = matching.solve(name, jnp.asarray(s), 0.1, alive_a=alive)
    jax.tree.map(np.testing.assert_array_equal, here, there)
    assert 7 not in here.row[here.valid]
    np.testing.assert_array_equal(s, given)


def test_candidates_from_rows_need_no_matrix():
    rng = np.random.default_rng(2)
    b = rng.normal(size=(50, 24))
    partner = rng.permutation(50)[:40]
    a = b[partner] + 0.05 * rng.normal(size=(40, 24))
    row, col, cosine = nearest_rows(a, b, 3, block=16)
    full = np.asarray(matching.score("decoder_cosine", a, b))
    np.testing.assert_allclose(cosine, full[row, col], atol=1e-5)
    np.testing.assert_allclose(
        np.sort(cosine.reshape(40, 3), 1), np.sort(full, 1)[:, -3:], atol=1e-5
    )
    found = assign_candidates(row, col, cosine, (40, 50), 0.0)
    np.testing.assert_array_equal(found.col, partner[found.row])
    assert found.row.size == 40
    nothing = assign_candidates(row, col, cosine, (40, 50), 2.0)
    assert nothing.row.size == 0
    with pytest.raises(ConfigError, match="one space"):
        nearest_rows(a, b[:, :-1], 3)


@pytest.mark.parametrize("shape", SHAPES)
def test_dustbin_leaves_single_what_gains_nothing(shape):
    for s in matrices(shape):
        m = matching.solve("assignment_dustbin", s, unmatched=0.5)
        assert total(m) - 0.5 * len(pairs(m)) == pytest.approx(optimum(s, 0.5), abs=1e-5)
        assert all(s[i, j] >= 0.5 for i, j in pairs(m))


def test_dustbin_is_not_a_threshold():
    # all three must pair, or two may pair well: (0, 1) and (1, 0) with junk in between
    s = np.array([[0.9, 0.8], [0.85, 0.1]])
    assert pairs(matching.solve("assignment", s, 0.5)) == {(0, 1), (1, 0)}
    s = np.array([[0.9, 0.55], [0.6, 0.0]])
    # forced: .55 + .6 beats .9 + 0; free to stay single: .9 - .5 beats .05 + .1
    assert pairs(matching.solve("assignment", s, 0.5)) == {(0, 1), (1, 0)}
    assert pairs(matching.solve("assignment_dustbin", s, unmatched=0.5)) == {(0, 0)}
    with pytest.raises(ConfigError, match="unmatched"):
        matching.solve("assignment_dustbin", s, unmatched=np.nan)


@pytest.mark.parametrize("shape", SHAPES)
def test_greedy_equals_one_by_one(shape):
    for s in matrices(shape):
        free, expected = s.copy(), set()
        while np.isfinite(free).any():
            i, j = np.unravel_index(np.argmax(free), shape)
            expected.add((int(i), int(j)))
            free[i], free[:, j] = -np.inf, -np.inf
        assert pairs(matching.solve("greedy", s)) == expected


@pytest.mark.parametrize("shape", SHAPES)
def test_first_come_keeps_the_lowest_index(shape):
    for s in matrices(shape):
        chosen, expected = set(), set()
        for j in range(shape[1]):
            i = int(s[:, j].argmax())
            if i not in chosen:
                expected.add((i, j))
            chosen.add(i)
        assert pairs(matching.solve("first_dedupe", s)) == expected
        back = pairs(matching.solve("first_dedupe", s.T, direction="a_to_b"))
        assert {(j, i) for i, j in back} == expected


def test_first_come_is_not_kept_by_the_dead():
    # without a living partner column 0 chooses nobody, and row 0 goes to column 1
    s = np.array([[np.nan, 0.5, 0.9], [np.nan, 0.1, 0.2]])
    assert pairs(matching.solve("first_dedupe", s)) == {(0, 1)}
    assert pairs(matching.solve("first_dedupe", s, threshold=0.6)) == set()
