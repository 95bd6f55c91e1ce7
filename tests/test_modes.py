"""Numbers do not change with JAX's modes: 64 bits, and a stop at the first NaN."""

import jax
import numpy as np
import pytest

from synthsae_jax import matching, metrics, similarity

N, P = 60, 6
MODES = {"x64": lambda: jax.enable_x64(True), "debug_nans": lambda: jax.debug_nans(True)}


@pytest.fixture(params=MODES)
def mode(request):
    return MODES[request.param]


def points():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, P)) + rng.normal(size=P)
    Y = np.tanh(X @ rng.normal(size=(P, P))) + 0.5 * rng.normal(size=(N, P)) + 2
    return X.astype(np.float32), Y.astype(np.float32)


def codes():
    rng = np.random.default_rng(1)
    a = (rng.random((N, P)) < 0.4) * rng.uniform(0.5, 1.5, (N, P))
    return a.astype(np.float32), np.where(rng.random((N, P)) < 0.7, a, 0).astype(np.float32)


def same(call, mode):
    plain = jax.tree.map(np.asarray, call())
    with mode():
        other = jax.tree.map(np.asarray, call())
    for one, two in zip(jax.tree.leaves(plain), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(two, one, atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("name", similarity.names())
def test_measures(name, mode):
    same(lambda: similarity.measure_with_reason(name, *points())[0], mode)


@pytest.mark.parametrize("name", matching.score_names())
def test_scores(name, mode):
    a, b = codes() if matching.scores[name].takes == "codes" else points()
    if matching.scores[name].takes == "both":
        a, b = (a, b.T), (b, a.T)
    same(lambda: matching.score(name, a, b), mode)


@pytest.mark.parametrize("name", [n for n in matching.solver_names()])
def test_solvers(name, mode):
    s = np.random.default_rng(2).normal(size=(8, 8)).astype(np.float32)
    found = lambda: matching.solve(name, s)
    same(lambda: (found().row[found().valid], found().col[found().valid]), mode)


@pytest.mark.parametrize(
    "method", [m for m in matching.truth_method_names() if m not in ("causal", "absorption_aware")]
)
def test_truth_maps(method, mode):
    rng = np.random.default_rng(3)
    features = np.linalg.qr(rng.normal(size=(16, 16)))[0][:P].astype(np.float32)
    acts, latents = codes()
    same(lambda: matching.truth_map(features, latents, features, acts, method), mode)


def test_metrics(mode):
    acts, latents = codes()
    rng = np.random.default_rng(4)
    features = rng.normal(size=(P, 16)).astype(np.float32)
    decoder = features + 0.3 * rng.normal(size=(P, 16)).astype(np.float32)
    X, Y = points()
    calls = (
        lambda: metrics.mcc(decoder, features),
        lambda: metrics.classification(latents, acts, decoder, features),
        lambda: (metrics.explained_variance(X, Y), metrics.shrinkage(X, Y)),
        lambda: (metrics.l0(latents), metrics.dead_latents(latents)),
    )
    for call in calls:
        same(call, mode)
