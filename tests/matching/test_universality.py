"""`universality_credence` on SAEs with planted common latents, and what it refuses."""

import numpy as np
import pytest
from scipy import sparse

from synthsae_jax.errors import ConfigError
from synthsae_jax.matching.universality import universality_credence

N_TOKENS, COMMON, OWN = 20_000, 70, 80  # the shipped model knows 121 candidates and more


def planted(n_saes=3):
    """SAEs whose first latents are the same noisy signals, and the rest are their own."""
    rng = np.random.default_rng(0)
    fires = lambda size: rng.random((N_TOKENS, size)) < 0.005
    signal = fires(COMMON) * (1 + rng.random((N_TOKENS, COMMON)))
    found = []
    for _ in range(n_saes):
        noisy = signal * (1 + 0.1 * rng.random(signal.shape)) * (rng.random(signal.shape) < 0.9)
        own = fires(OWN) * (1 + rng.random((N_TOKENS, OWN)))
        found.append(sparse.csr_matrix(np.hstack([noisy, own]).astype(np.float32)))
    return found


def test_common_latents_are_believed_and_others_not():
    for of_sae in universality_credence(planted()):
        known = np.isfinite(of_sae.reappearance)
        assert known.mean() > 0.9
        common = known & (np.arange(known.size) < COMMON)
        own = known & (np.arange(known.size) >= COMMON)
        # r is .9: in worlds of many features such pairs are as often about the same mixture
        assert of_sae.reappearance[common].min() > 0.4
        assert of_sae.reappearance[own].max() < 0.01
        # one of two witnesses is enough for the one, both count for the other
        assert (of_sae.credence[known] >= of_sae.reappearance[known] - 1e-9).all()


def test_a_silent_latent_has_a_reason_and_no_number():
    codes = planted(2)
    silent = codes[0].tolil()
    silent[:, 3] = 0
    of_a, _ = universality_credence([silent.tocsr(), codes[1]])
    assert np.isnan(of_a.credence[3])
    assert of_a.reason[3] == "it never fires"


def test_too_few_saes_and_unlike_tokens_are_refused():
    codes = planted(2)
    with pytest.raises(ConfigError, match="2 or more"):
        universality_credence(codes[:1])
    with pytest.raises(ConfigError, match="same tokens"):
        universality_credence([codes[0], codes[1][:100]])
