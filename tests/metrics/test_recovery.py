"""Recovery metrics against numpy, on planted decoders, and streamed."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from synthsae_jax import metrics
from synthsae_jax.errors import ConfigError
from synthsae_jax.metrics import ClassificationCounts, latent_targets
from synthsae_jax.metrics.recovery import bits_of_samples

L, F, D, N = 14, 10, 12, 64
# float32 cosines
ROUNDING = 1e-6


def rows(n, d=D, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(("n", "m"), [(L, F), (F, L), (F, F)])
def test_mcc_equals_numpy(n, m, signed):
    w_dec, features = rows(n, seed=1), rows(m, seed=2)
    expected = oracles.mcc(w_dec, features, signed)
    assert metrics.mcc(w_dec, features, signed=signed) == pytest.approx(expected, abs=ROUNDING)


def test_mcc_of_tiny_cases_equals_brute_force():
    w_dec, features = rows(4, seed=3), rows(6, seed=4)
    best = oracles.best_total(np.abs(oracles.cosines(w_dec, features)))
    assert metrics.mcc(w_dec, features) == pytest.approx(best / 4, abs=ROUNDING)


@pytest.mark.parametrize("change", ["identical", "negated", "permuted", "scaled", "part"])
def test_a_decoder_of_true_features_scores_one(change):
    features = rows(F)
    order = np.random.default_rng(1).permutation(F)
    w_dec = {
        "identical": features,
        "negated": -features,
        "permuted": features[order],
        "scaled": features * np.geomspace(1e-3, 1e3, F, dtype=np.float32)[:, None],
        "part": features[order[:4]],
    }[change]
    assert metrics.mcc(w_dec, features) == pytest.approx(1.0, abs=ROUNDING)
    assert metrics.uniqueness(w_dec, features) == 1.0
    if change == "negated":
        assert metrics.mcc(w_dec, features, signed=True) < 0.5


def test_a_zero_row_has_cosine_zero():
    features = np.eye(4, dtype=np.float32)
    w_dec = features.copy()
    w_dec[3] = 0
    assert metrics.mcc(w_dec, features) == pytest.approx(3 / 4)


def test_uniqueness_counts_distinct_nearest_features():
    features = np.eye(4, dtype=np.float32)
    w_dec = np.array([[1, 0.1, 0, 0], [-1, 0, 0, 0], [0, 0, 1, 0]], np.float32)
    assert metrics.uniqueness(w_dec, features) == pytest.approx(2 / 3)
    np.testing.assert_array_equal(latent_targets(w_dec, features), [0, 0, 2])


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(5)
    features, w_dec = rows(F, seed=6), rows(L, seed=7)
    acts = ((rng.random((N, F)) < 0.3) * rng.random((N, F))).astype(np.float32)
    targets = np.abs(oracles.cosines(w_dec, features)).argmax(1)
    noise = rng.random((N, L)) < 0.2
    latents = np.where(noise, 1.0, acts[:, targets]).astype(np.float32)
    latents[:, 3] = 0  # a dead latent
    latents[0, 4] = -1.0  # counts as firing: it is not 0
    return latents, acts, w_dec, features


def test_classification_equals_counting(data):
    expected = {k: np.mean(v) for k, v in oracles.confusion(*data).items()}
    found = metrics.classification(*data)
    assert found == pytest.approx(expected)
    assert all(isinstance(v, float) for v in found.values())
    # the mean of F1s is not the F1 of means
    means = found["precision"], found["recall"]
    assert found["f1"] != pytest.approx(2 * means[0] * means[1] / sum(means), abs=1e-3)


def test_classification_by_hand():
    features = np.eye(2, dtype=np.float32)
    acts = np.array([[1, 0], [1, 0], [0, 1], [0, 0]], np.float32)
    # latent 0 fires with feature 0 once and once alone; latent 1 never fires
    latents = np.array([[1, 0], [0, 0], [1, 0], [0, 0]], np.float32)
    found = metrics.classification(latents, acts, features, features)
    assert found == {"precision": 0.25, "recall": 0.25, "f1": 0.25, "accuracy": (0.5 + 0.75) / 2}


def test_streamed_classification_equals_the_whole(data):
    latents, acts, w_dec, features = data
    target = latent_targets(w_dec, features)
    batches = latents.reshape(4, 16, L), acts.reshape(4, 16, F)
    add = lambda counts, batch: (counts.update(*batch), None)
    scan = lambda z: jax.lax.scan(add, ClassificationCounts.init(target), (z, batches[1]))[0]
    counts = jax.jit(scan)(batches[0])
    assert counts.finish() == pytest.approx(metrics.classification(*data))
    np.testing.assert_allclose(counts.per_latent()["f1"], oracles.confusion(*data)["f1"])

    halves = [
        ClassificationCounts.init(target).update(latents[h], acts[h])
        for h in np.split(np.arange(N), 2)
    ]
    chex.assert_trees_all_equal(halves[0].merge(halves[1]), counts)

    # an axis of runs: the second one is all dead
    runs = jax.vmap(scan)(np.stack([batches[0], np.zeros_like(batches[0])]))
    both = runs.finish()
    for name, value in counts.finish().items():
        assert both[name].shape == (2,)
        assert both[name][0] == pytest.approx(value)
    assert both["f1"][1] == both["precision"][1] == both["recall"][1] == 0


def test_without_samples_classification_is_undefined(data):
    empty = ClassificationCounts.init(latent_targets(data[2], data[3])).finish()
    assert all(np.isnan(v) for v in empty.values())


def test_a_diverged_decoder_has_no_score(data):
    latents, acts, w_dec, features = data
    broken = w_dec.copy()
    broken[2, 1] = np.nan
    assert np.isnan(metrics.mcc(broken, features))
    assert np.isnan(metrics.uniqueness(broken, features))
    found = metrics.classification(latents, acts, broken, features)
    assert set(found) == {"precision", "recall", "f1", "accuracy"}
    assert all(np.isnan(v) for v in found.values())


def test_unlike_shapes_are_refused(data):
    latents, acts, w_dec, features = data
    with pytest.raises(ConfigError, match="given"):
        metrics.mcc(w_dec, features[:, :-1])
    with pytest.raises(ConfigError, match="classification needs"):
        metrics.classification(latents, acts[:-1], w_dec, features)
    with pytest.raises(ConfigError, match="classification needs"):
        metrics.classification(latents[:, :-1], acts, w_dec, features)


@pytest.mark.parametrize("n", [1, 32, 45, 64])
def test_features_as_bits_are_counted_as_dense_ones(n):
    rng = np.random.default_rng(n)
    latents = jnp.asarray((rng.random((n, 6)) < 0.4) * rng.normal(size=(n, 6)), jnp.float32)
    acts = jnp.asarray((rng.random((n, 9)) < 0.3) * rng.gamma(2.0, size=(n, 9)), jnp.float32)
    empty = ClassificationCounts.init(jnp.array([0, 3, 3, 8, 1, 5], jnp.int32))
    dense = empty.update(latents, acts)
    words = bits_of_samples(acts > 0)
    assert words.shape == (-(-n // 32), 9)
    jax.tree.map(np.testing.assert_array_equal, empty.update_packed(latents, words), dense)
