"""The truth map against loops, and on dictionaries where the answer is known."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from synthsae_jax.errors import ConfigError
from synthsae_jax.matching import (
    TRUTH_METHODS,
    TruthCounts,
    causal_counts,
    truth_from_counts,
    truth_map,
)
from synthsae_jax.matching.truth_causal import CausalCounts
from synthsae_jax.matching.truth_methods import TruthRule, geometric_chance

L, F, D, N = 12, 8, 10, 64
# the others have tests of their own
BY_COUNTS = ("geometric", "functional", "agree")


@pytest.fixture(scope="module")
def world():
    """Features, and latents that track them with more or less error, in code and direction."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(F, D))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    acts = (rng.random((N, F)) < 0.25) * (1 + rng.random((N, F)))
    source = rng.integers(0, F, L)
    angle = np.linspace(0, 0.5, L)[:, None]
    w_dec = features[source] + angle * rng.normal(size=(L, D))
    wrong = rng.random((N, L)) < np.linspace(0, 0.3, L)
    latents = np.where(wrong, rng.random((N, L)) < 0.25, acts[:, source] > 0) * 1.0
    latents[:, 5] = 0
    return tuple(v.astype(np.float32) for v in (w_dec, latents, features, acts))


@pytest.mark.parametrize("method", BY_COUNTS)
@pytest.mark.parametrize("thresholds", [(0.7, 0.5, 0.1), (0.5, 0.7, 0.3), (-1.0, 0.0, 0.0)])
@pytest.mark.parametrize("absent", [(), (0, 3), tuple(range(1, F))])
def test_equals_the_definition(world, method, thresholds, absent):
    cosine, f1, margin = thresholds
    present = ~np.isin(np.arange(F), absent)
    given = {"cosine": cosine, "f1": f1, "margin": margin, "present": present}
    found = truth_map(*world, method=method, **given)
    assert found.dtype == jnp.int32
    np.testing.assert_array_equal(found, oracles.truth(*world, method=method, **given))


@pytest.mark.parametrize("method", TRUTH_METHODS)
def test_oracle_dictionary_is_the_identity(world, method):
    _, _, features, acts = world
    order = np.random.default_rng(1).permutation(F)
    # a small latent with a long row is the same latent
    scale = np.linspace(0.1, 10, F, dtype=np.float32)
    causal = causal_counts(lambda z: z[:, order] / scale[None, :], acts, np.ones(F, np.float32))
    # a forest in which nobody has children
    with_child = TruthCounts.init(F, F)
    found = truth_map(
        features[order] * scale[:, None],
        acts[:, order] / scale[None, :],
        features,
        acts,
        method,
        causal=causal,
        with_child=with_child,
    )
    np.testing.assert_array_equal(found, order)


@pytest.mark.parametrize("method", TRUTH_METHODS)
def test_unrelated_latents_track_nothing(method):
    rng = np.random.default_rng(2)
    n, dim = 400, 64
    # the largest of 8 cosines in 64 dimensions is about .2, F1 at rate .2 about .2 +- .05
    w_dec, features = rng.normal(size=(L, dim)), rng.normal(size=(F, dim))
    latents, acts = rng.random((n, L)) < 0.2, rng.random((n, F)) < 0.2
    found = truth_map(
        w_dec,
        latents * 1.0,
        features,
        acts * 1.0,
        method,
        causal=CausalCounts.init(L, F).replace(n=jnp.full(F, 9)),
        with_child=TruthCounts.init(L, F),
    )
    np.testing.assert_array_equal(found, -1)


def test_methods_see_what_they_are_named_after(world):
    _, _, features, acts = world
    swap = np.roll(np.arange(F), 1)
    # right directions, wrong firing
    found = {m: truth_map(features, acts[:, swap], features, acts, m) for m in BY_COUNTS}
    np.testing.assert_array_equal(found["geometric"], np.arange(F))
    np.testing.assert_array_equal(found["functional"], swap)
    np.testing.assert_array_equal(found["agree"], np.full(F, -1))
    # a negated direction is not the feature
    negated = truth_map(-features, acts, features, acts, "geometric")
    np.testing.assert_array_equal(negated, np.full(F, -1))


def test_a_latent_between_two_features_tracks_neither():
    features = np.eye(4, dtype=np.float32)
    acts = np.eye(4, dtype=np.float32)
    w_dec = np.array([[1, 0.95, 0, 0], [1, 0.5, 0, 0]], np.float32)  # cosines .72/.69, .89/.45
    latents = acts[:, :2]
    found = truth_map(w_dec, latents, features, acts, "geometric")
    np.testing.assert_array_equal(found, [-1, 0])
    found = truth_map(w_dec, latents, features, acts, "geometric", margin=0.0)
    np.testing.assert_array_equal(found, [0, 0])


@pytest.mark.parametrize("method", BY_COUNTS)
def test_dead_and_diverged_latents_track_nothing(world, method):
    _, _, features, acts = world
    w_dec, latents = features.copy(), acts.copy()
    latents[:, 2] = 0
    w_dec[4] = np.nan
    found = np.asarray(truth_map(w_dec, latents, features, acts, method))
    assert found[2] == -1
    if method != "functional":
        assert found[4] == -1


def test_streamed_counts_are_exact_and_give_the_same_map(world):
    w_dec, latents, features, acts = world
    batches = latents.reshape(4, 16, L), acts.reshape(4, 16, F)
    add = lambda counts, batch: (counts.update(*batch), None)
    run = lambda batches: jax.lax.scan(add, TruthCounts.init(L, F), batches)[0]
    counts = jax.jit(run)(batches)
    assert int(counts.n) == N
    np.testing.assert_array_equal(counts.fired, (latents > 0).sum(0))
    np.testing.assert_array_equal(counts.active, (acts > 0).sum(0))
    np.testing.assert_array_equal(
        counts.joint, (latents > 0).T.astype(int) @ (acts > 0).astype(int)
    )
    halves = [TruthCounts.init(L, F).update(latents[h], acts[h]) for h in np.split(np.arange(N), 2)]
    chex.assert_trees_all_equal(halves[0].merge(halves[1]), counts)
    found = truth_from_counts(w_dec, counts, features)
    np.testing.assert_array_equal(found, truth_map(*world))

    # an axis of runs: other decoders, other latents
    runs = jax.vmap(lambda z: TruthCounts.init(L, F).update(z, acts))(
        np.stack([latents, latents[:, ::-1]])
    )
    both = jax.vmap(lambda w, c: truth_from_counts(w, c, features))(
        np.stack([w_dec, w_dec[::-1]]), runs
    )
    np.testing.assert_array_equal(both[0], found)
    np.testing.assert_array_equal(both[1], found[::-1])


def test_unknown_methods_name_the_known(world):
    with pytest.raises(
        ConfigError, match=r"'agree'.*absorption_aware, agree, causal, code, functional, geometric"
    ):
        truth_map(*world, method="aggree")


@pytest.mark.parametrize(
    ("method", "lacking"), [("code", "moments and feature_correlation"), ("causal", "causal")]
)
def test_missing_evidence_is_named(world, method, lacking):
    w_dec, latents, features, acts = world
    counts = TruthCounts.init(L, F).update(latents, acts)
    with pytest.raises(ConfigError, match=f"truth method '{method}' needs {lacking}"):
        truth_from_counts(w_dec, counts, features, method)


@pytest.mark.parametrize(("n_features", "dim"), [(64, 16), (256, 64)])
def test_chance_of_the_largest_cosine(n_features, dim):
    rng = np.random.default_rng(0)
    rows, features = rng.normal(size=(400, dim)), rng.normal(size=(400, n_features, dim))
    features /= np.linalg.norm(features, axis=2, keepdims=True)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    largest = np.einsum("nd,nfd->nf", rows, features).max(1)
    mean, sd = geometric_chance(n_features, dim)
    # 4.5 standard errors of the mean, and of the sd (about sd / sqrt(2n) for near-normal values)
    assert abs(largest.mean() - mean) < 4.5 * sd / 20
    assert abs(largest.std() / sd - 1) < 4.5 / np.sqrt(800)


def test_the_default_threshold_lies_out_of_reach_of_chance():
    mean, sd = geometric_chance(16384, 768)
    assert mean + 5 * sd < TruthRule().cosine
    # .40 is the largest of 1024 cosines in 64 dimensions
    assert geometric_chance(1024, 64)[0] == pytest.approx(0.40, abs=0.01)


def test_unlike_shapes_are_refused(world):
    w_dec, latents, features, acts = world
    with pytest.raises(ConfigError, match="same samples"):
        truth_map(w_dec, latents[:-1], features, acts)
    with pytest.raises(ConfigError, match="L latents and F features"):
        truth_map(w_dec, latents[:, :-1], features, acts)
    with pytest.raises(ConfigError, match="present must be bool"):
        truth_map(w_dec, latents, features, acts, present=np.ones(F + 1, bool))
