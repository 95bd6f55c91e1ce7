"""Causal attribution against switching by hand in a loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synthsae_jax.errors import ConfigError
from synthsae_jax.matching import TruthCounts, causal_counts, truth_from_counts
from synthsae_jax.matching.truth_causal import CausalCounts

N, F, L, D = 12, 6, 9, 8


@pytest.fixture(scope="module")
def toy():
    """Features in D dimensions, and latents that read mixtures of them above a threshold."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(F, D)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    encoder = (features[rng.integers(0, F, L)] + 0.2 * rng.normal(size=(L, D))).astype(np.float32)
    acts = ((rng.random((N, F)) < 0.3) * (1 + rng.random((N, F)))).astype(np.float32)
    level = acts.sum(0) / np.maximum((acts > 0).sum(0), 1)
    respond = lambda z: jax.nn.relu(z @ features @ encoder.T - 0.3)
    return features, encoder, acts, level, respond


def by_hand(features, encoder, acts, level):
    respond = lambda z: np.maximum(z @ features @ encoder.T - 0.3, 0)
    response, switched = np.zeros((L, F)), np.zeros((L, F), int)
    for g in range(F):
        for token in acts:
            on, off = token.copy(), token.copy()
            on[g] = token[g] if token[g] > 0 else level[g]
            off[g] = 0
            f_on, f_off = respond(on), respond(off)
            response[:, g] += f_on - f_off
            switched[:, g] += (f_on > 0).astype(int) - (f_off > 0)
    return response, switched


def attribute(counts, decoder, switch, present):
    """tau by the definition, feature by feature."""
    size = np.linalg.norm(decoder, axis=1)
    tau, best = np.full(L, -1), np.zeros(L)
    for g in np.flatnonzero(present):
        response = size * np.asarray(counts.response[:, g]) / N
        i = int(response.argmax())
        if response[i] > best[i]:
            tau[i], best[i] = g, response[i]
    rate = np.asarray(counts.switched) / N
    return np.array([g if g >= 0 and rate[i, g] >= switch else -1 for i, g in enumerate(tau)])


def test_counts_equal_switching_by_hand_and_merge(toy):
    features, encoder, acts, level, respond = toy
    counts = causal_counts(respond, acts, level)
    response, switched = by_hand(features, encoder, acts, level)
    np.testing.assert_array_equal(counts.n, N)
    np.testing.assert_array_equal(counts.switched, switched)
    # sums of 12 float32 differences of size 1
    np.testing.assert_allclose(counts.response, response, atol=1e-4)
    fed = CausalCounts.init(L, F)
    for half in (acts[:8], acts[8:]):
        for g in range(F):
            on = half.copy()
            on[:, g] = np.where(half[:, g] > 0, half[:, g], level[g])
            off = half.copy()
            off[:, g] = 0
            fed = fed.update(g, respond(on), respond(off))
    np.testing.assert_array_equal(fed.switched, counts.switched)
    np.testing.assert_allclose(fed.response, counts.response, atol=1e-4)
    merged = fed.merge(CausalCounts.init(L, F))
    np.testing.assert_array_equal(merged.n, fed.n)


def test_attribution_equals_the_definition(toy):
    features, encoder, acts, level, respond = toy
    causal = causal_counts(respond, acts, level)
    counts = TruthCounts.init(L, F).update(respond(acts), jnp.asarray(acts))
    alive = np.asarray(counts.alive)
    tracked = []
    for switch, present in (
        (0.0, np.ones(F, bool)),
        (0.6, np.ones(F, bool)),
        (0.0, np.arange(F) != 2),
    ):
        found = truth_from_counts(
            encoder, counts, features, "causal", causal=causal, switch=switch, present=present
        )
        expected = np.where(alive, attribute(causal, encoder, switch, present), -1)
        np.testing.assert_array_equal(found, expected)
        tracked.append((expected >= 0).sum())
    assert tracked[0] > tracked[1] > 0


def test_one_latent_leads_each_feature_in_the_models_own_units():
    # latents: weak copy in small units, the leader of 0, a latent on 1 and 2, its exact duplicate
    reads = np.array([[1, 0, 0], [0.5, 0, 0], [0, 1, 2], [0, 1, 2]], np.float32)
    decoder = np.diag([0.1, 1, 1, 1]).astype(np.float32)
    acts, level = np.zeros((4, 3), np.float32), np.ones(3, np.float32)
    causal = causal_counts(lambda z: z @ reads.T, acts, level)
    counts = TruthCounts.init(4, 3).update(np.ones((4, 4)), acts)
    found = truth_from_counts(decoder, counts, np.eye(3, 4), "causal", causal=causal)
    # latent 0 changes more in its own units; 3 is 2 over again and leads nothing
    np.testing.assert_array_equal(found, [-1, 0, 2, -1])


def test_a_diverged_latent_leads_nothing():
    causal = CausalCounts.init(2, 2)
    causal = causal.update(0, jnp.array([[jnp.inf, 1.0]]), jnp.zeros((1, 2)))
    counts = TruthCounts.init(2, 2).update(jnp.ones((1, 2)), jnp.ones((1, 2)))
    found = truth_from_counts(np.eye(2), counts, np.eye(2), "causal", causal=causal)
    # feature 1 was never switched
    np.testing.assert_array_equal(found, [-1, 0])


def test_unlike_shapes_are_refused(toy):
    _, _, acts, level, respond = toy
    with pytest.raises(ConfigError, match=r"feature_acts \[n, F\] and level \[F\]"):
        causal_counts(respond, acts, level[:-1])
    counts = TruthCounts.init(L, F)
    with pytest.raises(ConfigError, match="same L latents and F features"):
        truth_from_counts(
            np.eye(L, D), counts, np.eye(F, D), "causal", causal=CausalCounts.init(L + 1, F)
        )
