"""Our samples of saelens-1k against the statistics that SAELens sampled from it, at 4.5 sigma."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synthsae_jax import io, keys, worlds

BATCH, BATCHES = 8192, 49  # 401,408 tokens, as many as SAELens drew
SIGMA = 4.5


@pytest.fixture(scope="module")
def model(golden):
    return io.load_saelens_model(golden / "saelens-1k")


@pytest.fixture(scope="module")
def theirs(golden):
    folder = golden / "saelens-1k"
    with np.load(folder / "sampled_statistics.npz") as arrays:
        return {**json.loads((folder / "sampled_statistics.json").read_text()), **arrays}


@pytest.fixture(scope="module")
def ours(model):
    """Counts and sums over 400k tokens, float64."""
    world, instance = model
    n = world.n_features

    @jax.jit
    def batch(step):
        key = jax.random.fold_in(keys.data_key(0, "report"), step)
        codes, x = worlds.draw(key, world, instance, BATCH)
        dense = worlds.densify(codes, n)
        fired = (dense > 0).astype(jnp.float32)
        l0 = fired.sum(1)
        scale = jnp.square(x).sum(1)
        return {
            "fired": fired.sum(0),
            "joint": fired.T @ fired,  # exact below 2^24
            "value": dense.sum(0),
            "square": jnp.square(dense).sum(0),
            "l0": l0.sum(),
            "l0_square": jnp.square(l0).sum(),
            "norm": jnp.sqrt(scale).sum(),
            "norm_square": scale.sum(),
            "x": x.sum(0),
            "xx": x.T @ x,
            "overflow": codes.overflow.sum(),
        }

    total = None
    for step in range(BATCHES):
        new = {k: np.asarray(v, np.float64) for k, v in batch(step).items()}
        total = new if total is None else {k: total[k] + new[k] for k in new}
    return {**total, "n": BATCH * BATCHES}


def z_of_rates(a, n_a, b, n_b):
    """Standard normal scores of the difference of two measured rates."""
    p = (a * n_a + b * n_b) / (n_a + n_b)
    return (a - b) / np.sqrt(np.maximum(p * (1 - p), 1e-12) * (1 / n_a + 1 / n_b))


def test_every_feature_fires_as_often(ours, theirs):
    rates = ours["fired"] / ours["n"]
    z = z_of_rates(rates, ours["n"], theirs["firing_rate"], theirs["samples"])
    assert np.abs(z).max() < SIGMA
    assert 0.9 < np.sqrt(np.mean(z**2)) < 1.1  # neither off nor suspiciously equal


def test_l0_has_their_mean_and_spread(ours, theirs):
    n = ours["n"]
    mean = ours["l0"] / n
    sd = np.sqrt(ours["l0_square"] / n - mean**2)
    error = theirs["sd_l0"] * np.sqrt(1 / n + 1 / theirs["samples"])
    assert abs(mean - theirs["mean_l0"]) < SIGMA * error
    # the sd of an sd is about sd / sqrt(2 n), a little more for skewed counts
    assert abs(sd - theirs["sd_l0"]) < SIGMA * error


def test_magnitudes_have_their_means(ours, theirs):
    often = ours["fired"] > 100
    mean = ours["value"] / np.maximum(ours["fired"], 1)
    spread = np.sqrt(np.maximum(ours["square"] / np.maximum(ours["fired"], 1) - mean**2, 1e-12))
    firings = (theirs["firing_rate"] * theirs["samples"]).clip(1)
    error = spread * np.sqrt(1 / ours["fired"].clip(1) + 1 / firings)
    per_firing = theirs["mean_value"] / np.maximum(theirs["firing_rate"], 1e-12)
    assert np.abs((mean - per_firing) / error)[often].max() < SIGMA


def test_hierarchy_and_exclusion_are_never_violated(model, ours):
    world, _ = model
    parent = np.asarray(world.forest.parent)
    children = np.flatnonzero(parent >= 0)
    joint, fired = ours["joint"], ours["fired"]
    np.testing.assert_array_equal(joint[children, parent[children]], fired[children])
    group = np.asarray(world.forest.group)[:-1]
    same = (group[:, None] == group[None]) & (group >= 0)[:, None]
    np.fill_diagonal(same, False)
    assert same.sum() > 0
    assert joint[same].sum() == 0


def test_pairs_of_free_features_go_together_as_the_copula_says(model, ours):
    world, _ = model
    from scipy.stats import multivariate_normal

    free = np.asarray(world.forest.free)[:12]
    factor = np.asarray(world.factor, np.float64)
    edge = np.asarray(world.threshold, np.float64)
    positive = [0.5 * (1 + _erf(world.mean[i] / (world.std[i] * np.sqrt(2)))) for i in free]
    for a in range(12):
        for b in range(a):
            i, j = free[a], free[b]
            r = factor[i] @ factor[j]
            both = multivariate_normal([0, 0], [[1, r], [r, 1]]).cdf([-edge[i], -edge[j]])
            expected = both * positive[a] * positive[b] * ours["n"]
            # counts of rare events: Poisson, so at least a few events of room
            assert abs(ours["joint"][i, j] - expected) < SIGMA * np.sqrt(expected + 1) + 1


def test_hidden_mean_norm_and_covariance(model, ours, theirs):
    _, instance = model
    n = ours["n"]
    mean = ours["x"] / n
    features = np.asarray(instance.dictionary, np.float64)
    expected = (ours["value"] / n) @ features + np.asarray(instance.bias, np.float64)
    np.testing.assert_allclose(mean, expected, atol=2e-3)  # float32 sums of 8,192 values near 1
    variance = np.trace(ours["xx"] / n - np.outer(mean, mean))
    norm = ours["norm"] / n
    sd_norm = np.sqrt(ours["norm_square"] / n - norm**2)
    error = sd_norm * np.sqrt(1 / n + 1 / theirs["samples"])
    assert abs(norm - theirs["mean_norm"]) < SIGMA * error
    # sd of |x - mean|^2 is of the order of its mean times the relative spread of L0 (.65)
    error = theirs["total_variance"] * 0.8 * np.sqrt(1 / n + 1 / theirs["samples"])
    assert abs(variance - theirs["total_variance"]) < SIGMA * error


def test_no_sample_overflowed(ours):
    assert ours["overflow"] == 0


def _erf(x):
    from scipy.special import erf

    return erf(float(x))
