"""Scores of firing against the 2x2 table in numpy and scipy; what strata take away."""

import jax
import numpy as np
import pytest
import scipy.sparse
from scipy.stats import hypergeom, pearsonr

from synthsae_jax import cli, matching
from synthsae_jax.matching import PairCounts, strata
from synthsae_jax.registry import Explanation, explain

N = 64


@pytest.fixture(scope="module")
def fires():
    rng = np.random.default_rng(0)
    a, b = rng.random((N, 6)) < 0.3, rng.random((N, 5)) < 0.4
    b[:, 0] = a[:, 2]
    b[:, 1] = ~a[:, 3]  # never together
    a[:, 5] = b[:, 4] = False  # dead
    b[:, 3] = True  # always on
    return a, b


def law_of(n, n_a, n_b):
    """Mean and variance of the joint count, from the hypergeometric law itself."""
    k = np.arange(min(n_a, n_b) + 1)
    p = hypergeom.pmf(k, n, n_a, n_b)
    return p @ k, p @ k**2 - (p @ k) ** 2


def table(a, b):
    """By definition, pair by pair in float64: every score of two bool vectors, NaN undefined."""
    n, n_a, n_b, both = len(a), a.sum(), b.sum(), (a & b).sum()
    mean, variance = law_of(n, n_a, n_b)
    p_a, p_b, p_both = n_a / n, n_b / n, both / n
    with np.errstate(divide="ignore", invalid="ignore"):
        dead = n_a == 0 or n_b == 0
        constant = dead or n_a == n or n_b == n
        pmi = np.log(p_both / (p_a * p_b)) / -np.log(p_both) if both else -1.0
        return {
            "jaccard": np.nan if dead else both / (a | b).sum(),
            "firing_f1": np.nan if dead else 2 * both / (n_a + n_b),
            "phi": np.nan if constant else pearsonr(a * 1.0, b * 1.0)[0],
            "lift": np.nan if dead else p_both / (p_a * p_b),
            "npmi": np.nan if dead else pmi,
            "hypergeometric_z_plain": np.nan if constant else (both - mean) / np.sqrt(variance),
        }


NAMES = tuple(table(np.array([True, False]), np.array([True, False])))


@pytest.mark.parametrize("name", NAMES)
def test_equals_the_definition(fires, name):
    a, b = fires
    expected = np.array([[table(x, y)[name] for y in b.T] for x in a.T])
    found = matching.score(name, a * 2.5, b * 0.5)
    # float32 arithmetic on counts of up to 64
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert np.isnan(expected[5]).all()
    assert np.isnan(expected[:, 4]).all()


def test_worked_example():
    # 64 tokens: i on 16, j on 20, both on 8
    a, b = np.zeros((N, 6)), np.zeros((N, 5))
    a[:16, 0], b[8:28, 0] = 2.0, 3.0
    value = lambda name: float(matching.score(name, a, b)[0, 0])
    assert value("jaccard") == pytest.approx(8 / 28)
    assert value("firing_f1") == pytest.approx(16 / 36)
    assert value("lift") == pytest.approx(64 * 8 / (16 * 20))
    assert value("npmi") == pytest.approx(np.log(1.6) / np.log(8), rel=1e-5)
    root = np.sqrt(16 * 20 * 48 * 44)
    assert value("phi") == pytest.approx((64 * 8 - 16 * 20) / root, rel=1e-5)
    z = (8 - 5) / (root / (64 * np.sqrt(63)))
    assert value("hypergeometric_z_plain") == pytest.approx(z, rel=1e-5)
    assert value("activation_cosine") == pytest.approx(8 / np.sqrt(320), rel=1e-5)


@pytest.mark.parametrize("name", matching.count_scores.names())
def test_a_diverged_latent_has_no_score(fires, name):
    a, b = (v * 1.0 for v in fires)
    a[3, 1] = np.nan
    b[5, 2] = np.inf
    # a NaN counts as firing, which may move a token to another stratum
    own = {"strata": np.zeros(N, int)} if name == "hypergeometric_z" else {}
    before = matching.score(name, *(v * 1.0 for v in fires), **own)
    s = np.asarray(matching.score(name, a, b, **own))
    assert np.isnan(s[1]).all()
    assert np.isnan(s[:, 2]).all()
    # the others are what they were
    np.testing.assert_allclose(s[0, 0], before[0, 0], rtol=1e-4)
    found = matching.solve("assignment", s)
    assert 1 not in found.row[found.valid]
    assert 2 not in found.col[found.valid]


def test_cosine_of_codes_equals_numpy(fires):
    rng = np.random.default_rng(1)
    a, b = (v * rng.random(v.shape) for v in fires)
    norms = np.outer(np.linalg.norm(a, axis=0), np.linalg.norm(b, axis=0))
    expected = np.where(norms > 0, a.T @ b / np.where(norms > 0, norms, 1), np.nan)
    np.testing.assert_allclose(matching.score("activation_cosine", a, b), expected, atol=1e-6)


def test_stratified_z_is_the_sum_of_the_strata_by_hand(fires):
    a, b = fires
    own = np.arange(N) % 3
    excess, variance = np.zeros((6, 5)), np.zeros((6, 5))
    for k in range(3):
        here = own == k
        for i, j in np.ndindex(6, 5):
            x, y = a[here, i], b[here, j]
            mean, spread = law_of(here.sum(), x.sum(), y.sum())
            excess[i, j] += (x & y).sum() - mean
            variance[i, j] += spread
    # always on or never: the law's variance is 0 up to rounding
    varies = variance > 1e-9
    expected = np.where(varies, excess / np.sqrt(np.where(varies, variance, 1)), np.nan)
    found = matching.score("hypergeometric_z", a * 1.0, b * 1.0, strata=own)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    # a single stratum is the plain score
    one = matching.score("hypergeometric_z", a * 1.0, b * 1.0, strata=np.zeros(N, int))
    plain = matching.score("hypergeometric_z_plain", a * 1.0, b * 1.0)
    np.testing.assert_allclose(one, plain, rtol=1e-5)


def test_strata_take_away_what_busy_tokens_do_to_unrelated_latents():
    # Two sides without a latent in common, but with one factor that makes tokens busy in both.
    rng = np.random.default_rng(2)
    n, width = 8000, 60
    busy = np.exp(0.6 * rng.normal(size=(n, 1)))
    side = lambda: (rng.random((n, width)) < np.minimum(0.12 * busy, 0.9)).astype(np.float32)
    a, b = side(), side()
    b[:, 0] = a[:, 0]
    counts = jax.jit(PairCounts.update)(PairCounts.init(width, width), a, b)
    unrelated = ~np.eye(width, dtype=bool)
    unrelated[0] = unrelated[:, 0] = False
    z = np.asarray(counts.score("hypergeometric_z"))[unrelated]
    plain = np.asarray(counts.score("hypergeometric_z_plain"))[unrelated]
    # z of pairs that share a latent hang together: the mean's sd is nearer 1/width than 1/n pairs
    assert abs(z.mean()) < 4.5 / width + 0.15
    assert 0.9 < z.std() < 1.1
    assert plain.mean() > 3
    # and the true pair still stands out
    assert counts.score("hypergeometric_z")[0, 0] > 50


def test_strata_of_activity():
    ids = np.asarray(strata.strata_of(np.array([0, 1, 2, 6, 10**6]), np.array([0, 0, 3, 1, 10**6])))
    bins = ids // strata.N_BINS, ids % strata.N_BINS
    # edges 1, 2, 3, 4, 5, 7, ...: 6 shares a bin with 5
    np.testing.assert_array_equal(bins[0], [0, 1, 2, 5, strata.N_BINS - 1])
    np.testing.assert_array_equal(bins[1], [0, 0, 3, 1, strata.N_BINS - 1])
    assert ids.max() == strata.N_STRATA - 1


def test_a_new_firing_score_is_one_decorator(capsys):
    explanation = Explanation(what="Share of A's firings on which B fires.", formula="n_ij / n_i")
    try:

        @matching.register_firing_score("confidence", explanation)
        def confidence(counts):
            return counts.joint / counts.fired_a[:, None]

        rng = np.random.default_rng(3)
        a, b = ((rng.random((300, 5)) < 0.3) * rng.uniform(0.5, 1, (300, 5)) for _ in range(2))
        a[:, 4] = 0
        expected = ((a != 0).T.astype(float) @ (b != 0)) / (a != 0).sum(0)[:, None].clip(1)
        expected[4] = np.nan  # a latent that never fires has no score
        counts = PairCounts.init(5, 5).update(np.float32(a[:100]), np.float32(b[:100]))
        counts = counts.update(np.float32(a[100:]), np.float32(b[100:]))
        codes = scipy.sparse.csr_matrix(a), scipy.sparse.csr_matrix(b)
        sides = [matching.SideInputs(latents=np.float32(v)) for v in (a, b)]
        pipeline = matching.Pipeline(score="confidence", solver="argmax")
        for found in (
            matching.score("confidence", a, b),
            counts.score("confidence"),
            matching.scores_from_codes(["confidence"], *codes)["confidence"],
            pipeline.run(*sides).evidence.s,
        ):
            living = np.isfinite(found)
            np.testing.assert_array_equal(living, np.isfinite(expected))
            np.testing.assert_allclose(found, expected, rtol=1e-6)
        assert "confidence" in matching.score_names()
        assert cli.main(["explain", "confidence"]) == 0
        assert "Share of A's firings" in capsys.readouterr().out
        assert dict(explain("confidence"))["score"] is explanation
    finally:
        for registry in (matching.scores, matching.count_scores):
            registry.unregister("confidence")
