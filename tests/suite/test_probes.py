"""Probes on a few latents: planted codes, and a probe that always says yes."""

import numpy as np
import pytest
from scipy import sparse

from synthsae_jax.suite.probes import probe_numbers_of, sparse_probes


def test_probes_find_the_latent_that_fires_with_a_feature():
    rng = np.random.default_rng(0)
    on = rng.random((4000, 3)) < [0.02, 0.2, 0.3]
    latents = rng.random((4000, 6)) * (rng.random((4000, 6)) < 0.1)
    latents[:, 0] += 3 * on[:, 0]
    # the second is spread over two latents; the third is in none
    first = rng.random(4000) < 0.5
    latents[:, 1] += 3 * (on[:, 1] & first)
    latents[:, 2] += 3 * (on[:, 1] & ~first)
    one, five = (sparse_probes(sparse.csr_matrix(latents), on, k) for k in (1, 5))
    assert one[0] == pytest.approx(1, abs=0.02)
    # half of its tokens by one latent: F1 2/3
    assert one[1] == pytest.approx(2 / 3, abs=0.05)
    assert five[1] == pytest.approx(1, abs=0.02)
    assert five[2] < 0.2


def test_chance_is_a_probe_that_always_says_yes():
    # only the second half is scored: rates 1/2 and 0
    on = np.array([[1, 1], [1, 1], [1, 0], [0, 0]], bool)
    numbers = {(n.variant, n.metric): n.value for n in probe_numbers_of({1: np.array([0.5])}, on)}
    assert numbers["sparse_probes", "k1"] == 0.5
    assert numbers["sparse_probes/chance", "k1"] == pytest.approx((2 / 3 + 0) / 2)
