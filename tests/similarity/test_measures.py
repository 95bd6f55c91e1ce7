"""Every registered measure: equal sets score 1, and what it declares about itself holds."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from synthsae_jax import registry, similarity
from synthsae_jax.errors import ConfigError

# One width on both sides, and the same in the other files: one compiled program per measure serves
# most tests (unlike widths: test_oracles).
N, P = 60, 6
NAMES = similarity.names()
evaluate = jax.jit(similarity.evaluate, static_argnums=0)
# float32 rounding of sums over 60 x 6 entries is near 1e-6; canonical correlations add an SVD
TOLERANCE = 2e-5


def value(name, X, Y):
    return float(evaluate(name, X.astype(np.float32), Y.astype(np.float32))[0])


def reasons(name, X, Y):
    return {reason for reason, here in evaluate(name, X, Y)[1].items() if here}


@pytest.fixture(scope="module")
def points():
    """Two related point sets: Y sees a part of X, bent, with noise and an offset."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, P)) * np.geomspace(3, 0.5, P) + rng.normal(size=P)
    Y = np.tanh(X @ rng.normal(size=(P, P))) + 0.5 * rng.normal(size=(N, P)) + 2
    return X.astype(np.float32), Y.astype(np.float32)


def orthogonal(rng, p):
    return np.linalg.qr(rng.normal(size=(p, p)))[0]


def to_variance(X, total):
    """Scaled so that the centred points' sum of squares is `total`."""
    return X * np.sqrt(total / np.sum(np.square(X - X.mean(axis=0))))


TRANSFORMATIONS = {
    "translation": lambda rng, X: X + rng.normal(size=(1, X.shape[1])),
    # below 1, where the published SVCCA begins to keep other directions
    "scale": lambda rng, X: to_variance(X, 0.95),
    "row_scale": lambda rng, X: X * rng.uniform(0.1, 10, size=(len(X), 1)),
    "column_scale": lambda rng, X: X * rng.uniform(0.1, 10, size=(1, X.shape[1])),
    "row_shift": lambda rng, X: X + rng.normal(size=(len(X), 1)),
    "permutation": lambda rng, X: X[:, rng.permutation(X.shape[1])],
    "orthogonal": lambda rng, X: X @ orthogonal(rng, X.shape[1]),
    "invertible": lambda rng, X: X @ rng.normal(size=(X.shape[1], X.shape[1])),
    "pairing": lambda rng, X: X[rng.permutation(len(X))],
}


def test_every_invariance_has_a_transformation():
    assert TRANSFORMATIONS.keys() == similarity.INVARIANCES.keys()


@pytest.mark.parametrize("name", NAMES)
def test_value_stays_under_exactly_the_declared_transformations(name, points):
    X, Y = points
    before = value(name, X, Y)
    entry = similarity.measures[name]
    moved = {}
    for kind, transform in TRANSFORMATIONS.items():
        # an undeclared one must move the value (a measure that ignores its input passes no test),
        # and once in three draws by more than an unlucky one would
        moved["x", kind] = moved["y", kind] = 0.0
        for seed in range(3):
            x, y = (transform(np.random.default_rng(seed), v) for v in (X, Y))
            moved["x", kind] = max(moved["x", kind], abs(value(name, x, Y) - before))
            moved["y", kind] = max(moved["y", kind], abs(value(name, X, y) - before))
    kept = {key for key, change in moved.items() if change < TOLERANCE}
    assert kept == {("x", kind) for kind in entry.invariant_x} | {
        ("y", kind) for kind in entry.invariant_y
    }
    assert min(change for key, change in moved.items() if key not in kept) > 50 * TOLERANCE


@pytest.mark.parametrize("name", NAMES)
def test_equal_sets_score_one_and_values_stay_in_range(name, points):
    X, Y = points
    low, high = similarity.measures[name].range
    np.testing.assert_allclose(value(name, X, X), 1.0, atol=TOLERANCE)
    assert low <= value(name, X, Y) <= high
    assert value(name, X, Y) < 0.98, "a related set is not an equal one"
    assert reasons(name, X, Y) == set()


@pytest.mark.parametrize("name", NAMES)
def test_row_order_common_to_both_does_not_matter(name, points):
    X, Y = points
    order = np.random.default_rng(2).permutation(N)
    np.testing.assert_allclose(value(name, X[order], Y[order]), value(name, X, Y), atol=TOLERANCE)


@pytest.mark.parametrize("name", NAMES)
def test_declared_symmetry(name, points):
    X, Y = points
    difference = abs(value(name, X, Y) - value(name, Y, X))
    assert (difference < TOLERANCE) == similarity.measures[name].symmetric


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("factor", [1e-15, 1e15])
def test_size_does_not_overflow(name, factor, points):
    # squares of these leave float32, whose range is 1e-38 to 3e38
    X, Y = points
    entry = similarity.measures[name]
    expected = value(name, X, Y)
    if "scale" in entry.invariant_to:
        np.testing.assert_allclose(value(name, factor * X, Y), expected, atol=TOLERANCE)
        # to the ends of the range
        np.testing.assert_allclose(value(name, factor**2 * X, Y), expected, atol=TOLERANCE)
    else:
        assert entry.range[0] <= value(name, factor * X, Y) <= entry.range[1]
        np.testing.assert_allclose(value(name, factor * X, factor * X), 1.0, atol=TOLERANCE)


@pytest.mark.parametrize("name", NAMES)
def test_what_a_measure_is_free_of_costs_no_digits_of_float64(name, points):
    # as float32 these points are 0, infinite, or gaps of 1 between whole numbers
    X, Y = (v.astype(np.float64) for v in points)
    entry = similarity.measures[name]
    expected = value(name, X, Y)
    moved = [X]
    if entry.invariant_x & {"translation", "row_shift"}:
        moved.append(X + 1e7)
    if "scale" in entry.invariant_x:
        moved += [X * 1e-60, X * 1e60]
    if "translation" in entry.invariant_x and "scale" in entry.invariant_x:
        moved.append((X + 1e7) * 1e-60)
    if "row_scale" in entry.invariant_x:
        moved.append(X * np.geomspace(1e-60, 1e60, len(X))[:, None])
    for x in moved:
        got, why = similarity.measure_with_reason(name, x, Y)
        assert why == ""
        np.testing.assert_allclose(got, expected, atol=TOLERANCE)


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_is_computed_with_in_float32(name, points):
    X, Y = (np.asarray(v, np.float16) for v in points)
    wide = value(name, X, Y)
    for kind in (np.float16, jax.numpy.bfloat16):
        exact = wide if kind == np.float16 else value(name, X.astype(kind), Y.astype(kind))
        got = float(similarity.measure(name, X.astype(kind), Y.astype(kind)))
        np.testing.assert_allclose(got, exact, atol=TOLERANCE)


@pytest.mark.parametrize("name", NAMES)
def test_undefined_is_nan_with_a_reason(name, points):
    X, Y = points
    # .1 has no exact float32 mean over 60 rows: rounding must not pass for variance
    constant = np.full_like(X, 0.1)
    broken, endless = X.copy(), X.copy()
    broken[3, 2], endless[5, 0] = np.nan, np.inf
    equal, not_finite = "all points of one side are equal", "an entry is not finite"
    one_point = np.repeat(X[:1], N, axis=0)
    for side, reason in (
        (constant, equal),
        (np.zeros_like(X), equal),
        (one_point, equal),
        (broken, not_finite),
        (endless, not_finite),
    ):
        assert np.isnan(value(name, side, Y))
        assert np.isnan(value(name, Y, side))
        assert np.isnan(value(name, side, side))
        assert reason in reasons(name, side, Y) & reasons(name, Y, side)
    few = similarity.measures[name].least_points - 1
    expected = f"needs at least {few + 1} points, given {few}"
    found, reason = similarity.measure_with_reason(name, X[:few], Y[:few])
    assert np.isnan(found)
    assert reason == (expected if few else "an empty set")
    assert similarity.measure_with_reason(name, X[:, :0], Y[:, :0])[1] == "an empty set"
    assert np.isnan(similarity.measure(name, X[:0], Y[:0]))


@pytest.mark.parametrize("name", NAMES)
def test_wrong_calls_say_what_is_wrong(name, points):
    X, Y = points
    with pytest.raises(ConfigError, match=r"\(60, 6\) and \(59, 6\)"):
        similarity.measure(name, X, Y[1:])
    with pytest.raises(ConfigError, match=r"\(60,\) and \(60, 6\)"):
        similarity.measure(name, X[:, 0], Y)
    with pytest.raises(ConfigError, match="option of measure"):
        similarity.measure(name, X, Y, varianec=0.9)
    if similarity.measures[name].same_space:
        with pytest.raises(ConfigError, match="in one space"):
            similarity.measure(name, X, Y[:, 1:])


@pytest.mark.parametrize("name", NAMES)
def test_every_measure_is_explained(name):
    # a score or an alignment may bear the same name
    explanation = dict(registry.explain(name))["similarity measure"]
    assert all([explanation.what, explanation.formula, explanation.range, explanation.undefined])
    assert explanation.chance
    assert explanation.source
    assert "n" in similarity.measures[name].cost


KNOWN = [name for name in NAMES if np.isfinite(similarity.chance(name, N, P, P))]


@pytest.mark.parametrize("name", KNOWN)
def test_closed_form_of_chance(name):
    rng = np.random.default_rng(3)
    values = np.array([value(name, *rng.normal(size=(2, N, P))) for _ in range(200)])
    standard_error = values.std(ddof=1) / np.sqrt(len(values))
    assert abs(values.mean() - similarity.chance(name, N, P, P)) < 3 * standard_error


def test_measures_with_a_closed_form_of_chance():
    assert {"cka", "mutual_knn", "svcca_rank1", "mmcs", "subspace_overlap"} <= set(KNOWN)


def test_unknown_measure_names_the_nearest(points):
    with pytest.raises(ConfigError, match="Did you mean 'svcca'"):
        similarity.measure("svca", *points)


def test_an_invariance_that_no_test_knows_is_refused():
    with pytest.raises(ValueError, match="not in INVARIANCES"):
        similarity.register_measure(
            "x", registry.Explanation("x"), invariant_to={"luck"}, range=(0, 1)
        )


def test_a_measure_may_return_its_value_alone(points):
    def first_column(X, Y):
        return X[0, 0] * np.nan

    explanation = registry.Explanation("x", undefined="Always.")
    similarity.register_measure("x", explanation, invariant_to=(), range=(0, 1))(first_column)
    try:
        found, reason = similarity.measure_with_reason("x", *points)
    finally:
        similarity.measures.unregister("x")
    assert np.isnan(found)
    assert reason == "Always."
