"""Measures of thousands of pairs: the registered ones from sums, or on a stated part of them."""

import numpy as np
import pytest

from synthsae_jax import similarity
from synthsae_jax.protocols import many_points
from synthsae_jax.protocols.many_points import cut, measured

SUMS = ("svcca", "svcca_rank1", "cka_debiased")


@pytest.fixture
def few(monkeypatch):
    """Sizes at which the forms for many points set in: 40, and 60 compared with each other."""
    monkeypatch.setattr(many_points, "FROM_SUMS", 40)
    monkeypatch.setattr(many_points, "MOST_POINTS", 60)


def rows(seed=0, n=120, dims=(12, 9)):
    """Two decoders of which B's is a noisy map of A's, with directions of unlike variance."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(n, dims[0])) * np.exp(rng.normal(size=dims[0])) + 3.0
    b = a[:, : dims[1]] @ rng.normal(size=(dims[1], dims[1])) + rng.normal(size=(n, dims[1]))
    return a.astype(np.float32), b.astype(np.float32)


@pytest.mark.parametrize("name", SUMS)
@pytest.mark.parametrize("size", [1.0, 0.02])
def test_sums_give_the_registered_measure(name, size, few):
    # svcca_rank1 knows of size: below a variance of 1 it keeps other directions
    a, b = (np.float32(size) * v for v in rows())
    rng = np.random.default_rng(1)
    row = rng.permutation(len(a))[:100]
    for col in (row, rng.permutation(row)):
        value, why = measured((name,), a, row, b, col)[name]
        # float32 against float64
        assert value == pytest.approx(float(similarity.measure(name, a[row], b[col])), abs=2e-5)
        assert why == ""


def test_a_side_is_read_once_however_its_partners_are_dealt_out(few, monkeypatch):
    a, b = rows(2)
    read = []
    whole = many_points._read
    monkeypatch.setattr(many_points, "_read", lambda *given: read.append(1) or whole(*given))
    rng = np.random.default_rng(0)
    for _ in range(3):
        measured(SUMS, a, np.arange(100), b, rng.permutation(100))
    assert len(read) == 2
    # other rows, or other contents, are another side
    measured(SUMS, a, np.arange(99), b, np.arange(99))
    measured(SUMS, a.copy(), np.arange(100), b, np.arange(100))
    assert len(read) == 5


def test_what_compares_points_with_each_other_sees_a_part_of_them_and_says_so(few):
    a, b = rows(3)
    index = np.arange(100)
    found = measured(("rsa_cosine", "svcca"), a, index, b, index)
    part = np.sort(np.random.default_rng(0).choice(100, 60, replace=False))
    expected = float(similarity.measure("rsa_cosine", a[part], b[part]))
    assert found["rsa_cosine"][0] == pytest.approx(expected, abs=1e-6)
    assert cut(("rsa_cosine", "svcca"), 100) == (
        "rsa_cosine: on 60 of 100 pairs, the same in all draws (seed 0), since all would take "
        "100 x 100 distances"
    )
    assert cut(("rsa_cosine",), 60) == ""
    assert cut(SUMS, 100) == ""


@pytest.mark.parametrize("name", SUMS)
def test_what_is_undefined_says_why_as_the_registered_measure_does(name, few):
    a, b = rows(4)
    index = np.arange(100)
    holed, flat = a.copy(), np.ones_like(a)
    holed[5, 2] = np.nan
    wide = np.random.default_rng(0).normal(size=(2, 100, 90)).astype(np.float32)
    for x, y in ((holed, b), (a, flat[:, :9])):
        value, why = measured((name,), x, index, y, index)[name]
        assert np.isnan(value)
        assert why == similarity.measure_with_reason(name, x[index], y[index])[1]
    if name == "svcca":
        value, why = measured((name,), wide[0], index, wide[1], index)[name]
        assert np.isnan(value)
        assert why == similarity.measure_with_reason(name, *wide)[1]
