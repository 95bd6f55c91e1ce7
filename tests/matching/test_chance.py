"""Chance levels in closed form: what solvers find between dictionaries that share nothing."""

import numpy as np
import pytest

from synthsae_jax import matching
from synthsae_jax.metrics import expected_max_cosine

L, D = 256, 64
DRAWS = 8


@pytest.fixture(scope="module")
def unrelated():
    """Cosines of independent Gaussian dictionaries, [DRAWS, L, L]."""
    rng = np.random.default_rng(0)
    unit = lambda v: v / np.linalg.norm(v, axis=-1, keepdims=True)
    a, b = (unit(rng.normal(size=(DRAWS, L, D))) for _ in range(2))
    return (a @ b.transpose(0, 2, 1)).astype(np.float32)


def within(values, expected, slack=0.0):
    """The mean is within three standard errors (over draws) of what is expected."""
    values = np.asarray(values)
    error = values.std(ddof=1) / np.sqrt(values.size)
    assert abs(values.mean() - expected) < 3 * error + slack


def scores_found(name, s):
    m = matching.solve(name, s)
    return np.asarray(m.score)[np.asarray(m.valid)]


def test_best_of_many(unrelated):
    # The expansion is for normal variables of variance 1/D; cosines in 64 dimensions have thinner
    # tails, and its next term is about 2 % at M = 256.
    expected = expected_max_cosine(L, D)
    means = [scores_found("argmax", s).mean() for s in unrelated]
    within(means, expected, slack=0.025 * expected)
    # the law of the largest of M cosines is known: (x + 1) / 2 ~ Beta((D-1)/2, (D-1)/2)
    from scipy.stats import beta

    x = np.linspace(-1, 1, 20001)
    below = beta.cdf((x + 1) / 2, (D - 1) / 2, (D - 1) / 2) ** L
    within(means, 1 - np.trapezoid(below, x))


def test_assignment_is_a_little_below_the_best_of_many(unrelated):
    best = np.mean([scores_found("argmax", s).mean() for s in unrelated])
    share = [scores_found("assignment", s).mean() / best for s in unrelated]
    assert 0.94 < np.mean(share) < 0.98
    greedy = np.mean([scores_found("greedy", s).mean() / best for s in unrelated])
    # published: .003 to .007 in cosine, of .27
    assert 0 < np.mean(share) - greedy < 0.03


def test_half_are_mutual_nearest(unrelated):
    # independent scores: L^2 / (2L - 1) pairs; cosines of rows are nearly so
    shares = [scores_found("mutual_nearest", s).size / L for s in unrelated]
    within(shares, L / (2 * L - 1), slack=0.01)


def test_the_first_come_are_those_somebody_chose(unrelated):
    # L balls in L urns leave a share 1/e of them empty. Cosines make some rows popular (hubs), a
    # few percent more stay empty; independent scores have no hubs.
    rng = np.random.default_rng(1)
    shares = [scores_found("first_dedupe", rng.normal(size=(L, L))).size / L for _ in range(DRAWS)]
    within(shares, 1 - (1 - 1 / L) ** L)
    found = np.mean([scores_found("first_dedupe", s).size / L for s in unrelated])
    assert 0.5 < found < 1 - 1 / np.e + 0.02


@pytest.mark.parametrize(
    ("shape", "signed", "absolute"), [((16, 16, 8), 0.52, 0.63), ((32, 32, 16), 0.46, 0.52)]
)
def test_small_dictionaries_match_well_by_chance(shape, signed, absolute):
    rng = np.random.default_rng(2)
    n_a, n_b, d = shape

    def mean(take_absolute):
        a, b = rng.normal(size=(n_a, d)), rng.normal(size=(n_b, d))
        s = matching.score("decoder_cosine", a, b, absolute=take_absolute)
        return scores_found("assignment", s).mean()

    # published levels are rounded to two digits
    within([mean(False) for _ in range(60)], signed, slack=0.005)
    within([mean(True) for _ in range(60)], absolute, slack=0.005)


def test_a_thousand_directions_match_well_by_chance_too():
    # 1,024 in R^128: .27 signed and .29 absolute; a mean over as many pairs moves by .002
    rng = np.random.default_rng(4)
    unit = lambda v: v / np.linalg.norm(v, axis=1, keepdims=True)
    a, b = (unit(rng.normal(size=(1024, 128))) for _ in range(2))
    for s, published in ((a @ b.T, 0.27), (np.abs(a @ b.T), 0.29)):
        mean = scores_found("assignment", s.astype(np.float32)).mean()
        assert abs(mean - published) < 0.005 + 3 * 0.002


def test_cycles_of_random_matchings_close_once_in_a_width():
    rng = np.random.default_rng(3)
    width, n = 20, 200
    perm = lambda: matching.solve("assignment", np.eye(width)[rng.permutation(width)])
    closed = [
        matching.cycle_consistency(perm(), perm(), perm())["cycle_consistency"] for _ in range(n)
    ]
    within(closed, 1 / width)
