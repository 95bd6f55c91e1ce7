"""Solvers against brute force and scipy, and what must hold for every registered solver."""

import functools

import jax
import numpy as np
import oracles
import pytest
from scipy.optimize import linear_sum_assignment

from synthsae_jax import matching
from synthsae_jax.errors import ConfigError
from synthsae_jax.registry import explain

ONE_TO_ONE = tuple(name for name in matching.solver_names() if name != "argmax")
# first come, first served: by design not a function of the scores alone
ORDER_DEPENDENT = ("first_dedupe",)
JAX = (
    "argmax",
    "mutual_nearest",
    "first_dedupe",
    "greedy",
    "auction",
    "sinkhorn",
    "partial_transport",
)


@functools.cache
def compiled(name):
    """One program per solver and shape: many small ones would take far longer to compile."""
    return jax.jit(lambda s, *given: matching.solve(name, s, *given))


def solve(name, s, threshold=None, alive_a=None, alive_b=None):
    s = np.asarray(s, np.float32)
    if name not in JAX:
        return matching.solve(name, s, threshold, alive_a, alive_b)
    everybody = (np.ones(n, bool) for n in s.shape)
    alive = (a if given is None else given for given, a in zip((alive_a, alive_b), everybody))
    return compiled(name)(s, -np.inf if threshold is None else threshold, *alive)


def pairs(m):
    """The valid pairs as a list of (row, col), in the matching's order."""
    valid = np.asarray(m.valid)
    return list(zip(np.asarray(m.row)[valid].tolist(), np.asarray(m.col)[valid].tolist()))


def total(m):
    return float(np.asarray(m.score, np.float64)[np.asarray(m.valid)].sum())


@pytest.mark.parametrize("shape", [(1, 1), (2, 5), (5, 3), (6, 6)])
def test_assignment_equals_brute_force(shape):
    rng = np.random.default_rng(sum(shape))
    for s in (rng.normal(size=shape), rng.integers(0, 3, shape)):
        m = matching.solve("assignment", s)
        assert len(pairs(m)) == min(shape)
        # float32 rounding of at most six terms
        assert total(m) == pytest.approx(oracles.best_total(s), abs=1e-5)


@pytest.mark.parametrize("shape", [(30, 30), (40, 25), (25, 40)])
def test_assignment_equals_scipy(shape):
    s = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    m = matching.solve("assignment", s)
    row, col = linear_sum_assignment(s, maximize=True)
    np.testing.assert_array_equal(m.row, row)
    np.testing.assert_array_equal(m.col, col)
    np.testing.assert_array_equal(m.score, s[row, col])


def test_assignment_with_ties_reaches_scipys_total():
    s = np.random.default_rng(0).integers(0, 4, (40, 25)).astype(np.float32)
    expected = s[linear_sum_assignment(s, maximize=True)].sum()
    assert total(matching.solve("assignment", s)) == expected


def test_assignment_is_the_optimum_among_the_living():
    rng = np.random.default_rng(2)
    s = rng.normal(size=(40, 25)).astype(np.float32)
    alive_a, alive_b = rng.random(40) < 0.6, rng.random(25) < 0.7
    m = matching.solve("assignment", s, alive_a=alive_a, alive_b=alive_b)
    living = s[np.ix_(alive_a, alive_b)]
    row, col = linear_sum_assignment(living, maximize=True)
    expected = zip(np.flatnonzero(alive_a)[row].tolist(), np.flatnonzero(alive_b)[col].tolist())
    assert pairs(m) == list(expected)


def test_assignment_passes_by_forbidden_pairs_and_drops_what_is_left():
    # row 0 may only take col 1; the better total with (0, 0) is not allowed
    s = np.array([[np.nan, 1.0], [5.0, 4.0]])
    assert pairs(matching.solve("assignment", s)) == [(0, 1), (1, 0)]
    # both rows want the one allowed column: the loser is not matched
    s = np.array([[np.nan, 1.0], [np.inf, 4.0]])
    assert pairs(matching.solve("assignment", s)) == [(1, 1)]


@pytest.mark.parametrize("shape", [(7, 12), (12, 7), (10, 10)])
def test_argmax_takes_the_best_in_either_direction(shape):
    s = np.random.default_rng(1).normal(size=shape)
    to_a = matching.solve("argmax", s, direction="b_to_a")
    assert set(pairs(to_a)) == {(int(i), j) for j, i in enumerate(s.argmax(0))}
    to_b = matching.solve("argmax", s, direction="a_to_b")
    assert pairs(to_b) == [(i, int(j)) for i, j in enumerate(s.argmax(1))]
    assert pairs(matching.solve("argmax", s)) == pairs(to_a)


def test_argmax_direction_is_checked():
    with pytest.raises(ConfigError, match="Did you mean 'a_to_b'"):
        matching.solve("argmax", np.eye(2), direction="a-to-b")


@pytest.mark.parametrize("shape", [(7, 12), (12, 7), (10, 10)])
@pytest.mark.parametrize("kind", ["distinct", "tied"])
def test_mutual_nearest_equals_the_definition(shape, kind):
    rng = np.random.default_rng(4)
    s = rng.normal(size=shape) if kind == "distinct" else rng.integers(0, 3, shape)
    assert set(pairs(matching.solve("mutual_nearest", s))) == oracles.mutual_pairs(s)


def test_mutual_nearest_margin_is_asked_of_row_and_column():
    s = np.array([[0.9, 0.2, 0.0], [0.1, 0.8, 0.75], [0.85, 0.0, 0.3]])
    assert pairs(matching.solve("mutual_nearest", s)) == [(0, 0), (1, 1)]
    # (0, 0) leads its column by .05 only, (1, 1) its row by .05 only
    assert pairs(matching.solve("mutual_nearest", s, margin=0.04)) == [(0, 0), (1, 1)]
    assert pairs(matching.solve("mutual_nearest", s, margin=0.06)) == []
    # without a rival there is no margin to miss
    assert pairs(matching.solve("mutual_nearest", s[:1, :1], margin=0.5)) == [(0, 0)]


def test_half_of_unrelated_latents_are_mutual_nearest():
    # For independent scores each pair is the best of its 2n - 1 rivals with chance 1/(2n - 1):
    # n^2/(2n - 1) pairs are expected. The sd of the count is below that of n coin tosses.
    n = 400
    s = np.random.default_rng(0).normal(size=(n, n))
    found = len(pairs(matching.solve("mutual_nearest", s)))
    assert abs(found - n * n / (2 * n - 1)) < 4.5 * np.sqrt(n / 4)


@pytest.mark.parametrize("name", JAX)
def test_jax_solvers_vmap(name):
    s = np.random.default_rng(0).normal(size=(3, 10, 10)).astype(np.float32)
    alive = np.random.default_rng(1).random((3, 10)) < 0.7
    together = jax.jit(jax.vmap(lambda s, a: matching.solve(name, s, alive_a=a)))(s, alive)
    for i, (scores, living) in enumerate(zip(s, alive)):
        one = jax.tree.map(lambda v, i=i: v[i], together)
        assert pairs(one) == pairs(solve(name, scores, alive_a=living))


@pytest.mark.parametrize("name", matching.solver_names())
class TestEverySolver:
    def test_finds_a_planted_permutation(self, name):
        rng = np.random.default_rng(0)
        s = 0.1 * rng.random((10, 10))
        partner = rng.permutation(10)
        s[np.arange(10), partner] += 0.5
        assert pairs(solve(name, s)) == list(enumerate(partner.tolist()))

    def test_pairs_are_sorted_distinct_and_carry_their_score(self, name):
        s = np.random.default_rng(5).normal(size=(12, 7)).astype(np.float32)
        m = solve(name, s)
        found = pairs(m)
        assert found == sorted(set(found))
        assert (np.diff(m.row) >= 0).all()
        np.testing.assert_array_equal(m.score, s[m.row, m.col])
        assert m.row.dtype == m.col.dtype == np.int32

    def test_one_to_one_where_promised(self, name):
        s = np.random.default_rng(6).normal(size=(12, 7))
        rows, cols = zip(*pairs(solve(name, s)))
        if name in ONE_TO_ONE:
            assert len(set(rows)) == len(rows)
            assert len(set(cols)) == len(cols)
        else:
            assert len(set(zip(rows, cols))) == len(rows)

    def test_permuting_latents_permutes_pairs(self, name):
        rng = np.random.default_rng(7)
        s = rng.normal(size=(10, 10))
        if name in ORDER_DEPENDENT:
            # no latent of A is chosen twice, so there is nobody to come first
            s += 5 * np.eye(10)[rng.permutation(10)]
        by_row, by_col = rng.permutation(10), rng.permutation(10)
        permuted = pairs(solve(name, s[by_row][:, by_col]))
        back = {(int(by_row[i]), int(by_col[j])) for i, j in permuted}
        assert back == set(pairs(solve(name, s)))

    def test_threshold_is_inclusive(self, name):
        s = np.full((10, 10), -1.0)
        s[range(3), range(3)] = 0.25, 0.5, 0.75
        assert pairs(solve(name, s, threshold=0.5)) == [(1, 1), (2, 2)]
        assert pairs(solve(name, s, threshold=0.75)) == [(2, 2)]
        assert pairs(solve(name, s, threshold=1.0)) == []

    def test_dead_latents_are_never_matched(self, name):
        rng = np.random.default_rng(8)
        s = rng.normal(size=(10, 10))
        # the dead ones would be everybody's best
        s[3] = s[:, 4] = 10.0
        alive_a, alive_b = np.arange(10) != 3, np.arange(10) != 4
        m = solve(name, s, alive_a=alive_a, alive_b=alive_b)
        found = pairs(m)
        assert found
        assert all(i != 3 and j != 4 for i, j in found)
        everyone_dead = solve(name, s, alive_a=np.zeros(10, bool))
        assert pairs(everyone_dead) == []

    def test_undefined_scores_are_never_matched(self, name):
        s = np.eye(10)
        s[0, 0] = np.nan
        s[1, 1] = np.inf
        found = pairs(solve(name, s))
        assert (0, 0) not in found
        assert (1, 1) not in found
        assert {(2, 2), (3, 3)} <= set(found)
        assert pairs(solve(name, np.full((10, 10), np.nan))) == []

    def test_wrong_shapes_and_options_are_refused(self, name):
        with pytest.raises(ConfigError, match="alive_a must be bool"):
            matching.solve(name, np.eye(3), alive_a=np.ones(4, bool))
        for not_scores in (np.ones(3), np.ones((0, 3))):
            with pytest.raises(ConfigError, match=r"scores \[L_a, L_b\]"):
                matching.solve(name, not_scores)
        with pytest.raises(ConfigError, match=f"option of solver '{name}'"):
            matching.solve(name, np.eye(3), treshold=0.5)

    def test_positive_scale_of_all_scores_changes_nothing(self, name):
        # a positive scale of all scores is none of the solver's business
        s = np.random.default_rng(9).random((10, 10)).astype(np.float32)
        found = pairs(matching.solve(name, s))
        assert pairs(matching.solve(name, 4.0 * s)) == found
        assert pairs(matching.solve(name, s.astype(np.float64))) == found

    def test_is_explained(self, name):
        (kind, explanation), *_ = explain(name)
        assert kind == "solver"
        assert explanation.what
        assert explanation.formula
        assert explanation.chance


def test_unknown_solver_names_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean 'assignment'"):
        matching.solve("asignment", np.eye(2))
