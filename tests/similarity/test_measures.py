"""Every registered measure: equal sets score 1, and what it declares about itself holds."""

from __future__ import annotations

import functools

import jax
import numpy as np
import pytest

from synthsae_jax import registry, similarity
from synthsae_jax.errors import ConfigError

N, P, Q = 60, 7, 5
NAMES = similarity.names()
# one compiled program per measure serves all tests of one shape
compiled = {name: jax.jit(functools.partial(similarity.measure, name)) for name in NAMES}
# float32 rounding of sums over 60 x 7 entries is near 1e-6; canonical correlations add an SVD
TOLERANCE = 2e-5


@pytest.fixture(scope="module")
def points():
    """Two related point sets: Y sees a part of X, bent, with noise and an offset."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, P)) * np.geomspace(3, 0.5, P) + rng.normal(size=P)
    Y = np.tanh(X @ rng.normal(size=(P, Q))) + 0.5 * rng.normal(size=(N, Q)) + 2
    return X.astype(np.float32), Y.astype(np.float32)


def orthogonal(rng, p):
    return np.linalg.qr(rng.normal(size=(p, p)))[0]


TRANSFORMATIONS = {
    "translation": lambda rng, X: X + rng.normal(size=(1, X.shape[1])),
    "scale": lambda rng, X: 37.5 * X,
    "row_scale": lambda rng, X: X * rng.uniform(0.1, 10, size=(len(X), 1)),
    "permutation": lambda rng, X: X[:, rng.permutation(X.shape[1])],
    "orthogonal": lambda rng, X: X @ orthogonal(rng, X.shape[1]),
}


def test_every_invariance_has_a_transformation():
    assert TRANSFORMATIONS.keys() == similarity.INVARIANCES.keys()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", TRANSFORMATIONS)
def test_value_stays_under_exactly_the_declared_transformations(name, kind, points):
    X, Y = points
    before = compiled[name](X, Y)
    # an undeclared one must move the value: a measure that ignores its input passes no test here
    rng = np.random.default_rng(1)
    moved_x = compiled[name](TRANSFORMATIONS[kind](rng, X).astype(np.float32), Y)
    moved_y = compiled[name](X, TRANSFORMATIONS[kind](rng, Y).astype(np.float32))
    change = max(abs(float(moved_x - before)), abs(float(moved_y - before)))
    if kind in similarity.measures[name].invariant_to:
        assert change < TOLERANCE
    else:
        assert change > 100 * TOLERANCE


@pytest.mark.parametrize("name", NAMES)
def test_equal_sets_score_one_and_values_stay_in_range(name, points):
    X, Y = points
    low, high = similarity.measures[name].range
    np.testing.assert_allclose(compiled[name](X, X), 1.0, atol=TOLERANCE)
    assert low <= compiled[name](X, Y) <= high
    assert compiled[name](X, Y) < 0.98, "a related set is not an equal one"


@pytest.mark.parametrize("name", NAMES)
def test_row_order_common_to_both_does_not_matter(name, points):
    X, Y = points
    order = np.random.default_rng(2).permutation(N)
    np.testing.assert_allclose(
        compiled[name](X[order], Y[order]), compiled[name](X, Y), atol=TOLERANCE
    )


@pytest.mark.parametrize("name", NAMES)
def test_declared_symmetry(name, points):
    X, Y = points
    difference = abs(float(compiled[name](X, Y) - compiled[name](Y, X)))
    assert (difference < TOLERANCE) == similarity.measures[name].symmetric


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("factor", [1e-15, 1e15])
def test_size_does_not_overflow(name, factor, points):
    # squares of these leave float32, whose range is 1e-38 to 3e38
    X, Y = points
    small = np.float32(factor) * (X - X.mean(axis=0))
    expected = compiled[name](X - X.mean(axis=0), Y)
    np.testing.assert_allclose(compiled[name](small, Y), expected, atol=TOLERANCE)


@pytest.mark.parametrize("name", NAMES)
def test_undefined_is_nan(name, points):
    X, Y = points
    # .1 has no exact float32 mean over 60 rows: rounding must not pass for variance
    constant = np.full_like(X, 0.1)
    broken = X.copy()
    broken[3, 2] = np.nan
    for side in (constant, broken, np.zeros_like(X)):
        assert np.isnan(compiled[name](side, Y))
        assert np.isnan(compiled[name](Y, side))
    assert np.isnan(similarity.measure(name, X[:1], Y[:1]))
    assert np.isnan(similarity.measure(name, X[:, :0], Y))


@pytest.mark.parametrize("name", NAMES)
def test_wrong_calls_say_what_is_wrong(name, points):
    X, Y = points
    with pytest.raises(ConfigError, match=r"\(60, 7\) and \(59, 5\)"):
        similarity.measure(name, X, Y[1:])
    with pytest.raises(ConfigError, match="option of measure"):
        similarity.measure(name, X, Y, varianec=0.9)


@pytest.mark.parametrize("name", NAMES)
def test_every_measure_is_explained(name):
    (kind, explanation), *_ = registry.explain(name)
    assert kind == "similarity measure"
    assert all([explanation.what, explanation.formula, explanation.range, explanation.undefined])


def test_unknown_measure_names_the_nearest(points):
    with pytest.raises(ConfigError, match="Did you mean 'svcca'"):
        similarity.measure("svca", *points)


def test_an_invariance_that_no_test_knows_is_refused():
    with pytest.raises(ValueError, match="not in INVARIANCES"):
        similarity.register_measure(
            "x", registry.Explanation("x"), invariant_to={"luck"}, range=(0, 1)
        )
