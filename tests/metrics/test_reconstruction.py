"""Reconstruction metrics against float64, streamed, and at their edges."""

import jax
import numpy as np
import oracles
import pytest

from synthsae_jax import metrics
from synthsae_jax.errors import ConfigError
from synthsae_jax.metrics import ActivitySums, ReconstructionSums

N, D, L = 96, 10, 7


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(N, D)) + 2.0).astype(np.float32)
    x_hat = (0.8 * x + 0.1 * rng.normal(size=(N, D))).astype(np.float32)
    latents = ((rng.random((N, L)) < 0.3) * rng.random((N, L))).astype(np.float32)
    latents[:, 2] = 0
    return x, x_hat, latents


def test_arrays_equal_numpy(data):
    x, x_hat, latents = data
    ratio = np.linalg.norm(x_hat, axis=1) / np.linalg.norm(x, axis=1)
    assert metrics.explained_variance(x, x_hat) == pytest.approx(
        oracles.explained_variance(x, x_hat), abs=1e-6
    )
    assert metrics.shrinkage(x, x_hat) == pytest.approx(ratio.mean(), abs=1e-6)
    assert metrics.dead_latents(latents) == 1.0
    assert metrics.l0(latents) == pytest.approx((latents != 0).sum() / N)
    for value in (metrics.explained_variance(x, x_hat), metrics.l0(latents)):
        assert type(value) is float


def test_known_values(data):
    x, _, _ = data
    assert metrics.explained_variance(x, x) == 1.0
    mean = np.broadcast_to(x.mean(0), x.shape)
    assert metrics.explained_variance(x, mean) == pytest.approx(0.0, abs=1e-6)
    # a sign error is worse than no reconstruction
    assert metrics.explained_variance(x, -x) < -3
    assert metrics.shrinkage(x, 0.5 * x) == pytest.approx(0.5)
    # the sign of an activation does not matter for counting
    assert metrics.l0(np.array([[1.0, -1.0, 0.0]])) == 2.0


def test_variance_survives_an_offset_of_a_thousand_standard_deviations():
    rng = np.random.default_rng(1)
    x = (1000 + rng.normal(size=(9000, D))).astype(np.float32)  # more than one block of rows
    x_hat = (x + 0.5 * rng.normal(size=x.shape)).astype(np.float32)
    # float32 holds x itself to 6e-5 of a standard deviation; raw sums of squares hold nothing
    assert metrics.explained_variance(x, x_hat) == pytest.approx(
        oracles.explained_variance(x, x_hat), abs=1e-4
    )


def test_errors_far_below_the_variance_are_seen_in_long_arrays():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(50_000, D)).astype(np.float32)
    x_hat = (x + 1e-3 * rng.normal(size=x.shape)).astype(np.float32)
    unexplained = 1 - oracles.explained_variance(x, x_hat)
    # 1 - ev is 1e-6; sums in blocks keep three digits of it
    assert 1 - metrics.explained_variance(x, x_hat) == pytest.approx(unexplained, rel=1e-3)


def test_streamed_sums_equal_the_arrays(data):
    x, x_hat, latents = data
    batches = [v.reshape(8, 12, -1) for v in data]

    def step(carry, batch):
        sums = ReconstructionSums.of(*batch[:2]), ActivitySums.of(batch[2])
        merged = None if carry is None else tuple(a.merge(b) for a, b in zip(carry, sums))
        return merged, sums

    first = ReconstructionSums.of(x[:12], x_hat[:12]), ActivitySums.of(latents[:12])
    stacked = jax.lax.scan(step, None, tuple(batches))[1]
    merged = jax.lax.scan(step, first, tuple(b[1:] for b in batches))[0]
    expected = {
        "explained_variance": metrics.explained_variance(x, x_hat),
        "shrinkage": metrics.shrinkage(x, x_hat),
        "l0": metrics.l0(latents),
        "dead_latents": metrics.dead_latents(latents),
    }
    from_batches = {k: v for s in stacked for k, v in s.finish(batch_axis=0).items()}
    from_merged = {k: v for s in merged for k, v in s.finish().items()}
    assert from_batches == pytest.approx(expected, abs=1e-6)
    assert from_merged == pytest.approx(expected, abs=1e-6)


def test_sums_of_runs_finish_together(data):
    x, x_hat, latents = data
    xs, zs = x.reshape(8, 12, D), latents.reshape(8, 12, L)
    # axes [run, batch, ...]: the second run reconstructs perfectly and never fires
    hats = np.stack([x_hat.reshape(8, 12, D), xs])
    codes = np.stack([zs, np.zeros_like(zs)])
    sums = jax.vmap(jax.vmap(ReconstructionSums.of), in_axes=(None, 0))(xs, hats)
    activity = jax.vmap(jax.vmap(ActivitySums.of))(codes)
    found = {**sums.finish(batch_axis=1), **activity.finish(batch_axis=1)}
    expected = [metrics.explained_variance(x, x_hat), 1.0]
    np.testing.assert_allclose(found["explained_variance"], expected, atol=1e-6)
    np.testing.assert_allclose(found["shrinkage"], [metrics.shrinkage(x, x_hat), 1.0], atol=1e-6)
    np.testing.assert_allclose(found["l0"], [metrics.l0(latents), 0.0])
    np.testing.assert_array_equal(found["dead_latents"], [1, L])


def test_undefined_numbers_are_nan(data):
    x, x_hat, latents = data
    # 0.1 has no exact float32 mean: what rounding leaves is no variance
    constant = np.full((50, D), 0.1, np.float32)
    assert np.isnan(metrics.explained_variance(constant, constant))
    assert np.isnan(metrics.explained_variance(constant, constant + 1))
    zeros = np.zeros((50, D), np.float32)
    assert np.isnan(metrics.explained_variance(zeros, zeros))
    assert np.isnan(metrics.shrinkage(zeros, zeros + 1))
    broken = x_hat.copy()
    broken[3, 3] = np.nan
    assert np.isnan(metrics.explained_variance(x, broken))
    assert np.isnan(metrics.shrinkage(x, broken))
    nothing = jax.tree.map(np.zeros_like, ActivitySums.of(latents)).finish()
    assert all(np.isnan(v) for v in nothing.values())


def test_short_inputs_have_no_shrinkage():
    x = np.array([[3.0, 4.0], [1e-7, 0.0]], np.float32)
    assert metrics.shrinkage(x, np.ones_like(x)) == pytest.approx(np.sqrt(2) / 5)


def test_wrong_shapes_are_refused(data):
    x, x_hat, latents = data
    with pytest.raises(ConfigError, match="one shape"):
        metrics.explained_variance(x, x_hat[:-1])
    with pytest.raises(ConfigError, match="one shape"):
        metrics.shrinkage(x[0], x_hat[0])
    with pytest.raises(ConfigError, match=r"latents \[n, L\]"):
        metrics.l0(latents[:0])
