"""Numbers on pairings of latents, by hand, by brute force and at chance."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from synthsae_jax import similarity
from synthsae_jax.errors import ConfigError


def test_shared_needs_both_cosines_and_one_partner():
    decoder, encoder = np.array([0, 1, 2, -1]), np.array([0, 2, 2, -1])
    found = similarity.shared_at(
        decoder, np.array([0.9, 0.9, 0.8, 0.9]), encoder, np.array([0.9, 0.9, 0.5, 0.9]), [0.4, 0.7]
    )
    np.testing.assert_allclose(found, [0.5, 0.25])


def test_orderedness_is_spearman():
    partner = np.array([4, -1, 0, 9, 2, 7])
    kept = partner >= 0
    expected = scipy.stats.spearmanr(np.flatnonzero(kept), partner[kept]).statistic
    np.testing.assert_allclose(similarity.orderedness(partner), expected, atol=1e-6)
    np.testing.assert_allclose(similarity.orderedness(np.arange(6)[::-1].copy()), -1.0)
    assert np.isnan(similarity.orderedness(np.array([-1, 3, -1, -1, -1, -1])))


def test_co_firing_is_of_all_that_fire():
    # the copy that fires everywhere would score 1 against the other's firings alone
    fires = np.zeros((2, 4, 2), bool)
    fires[0, :1, 0] = True
    fires[1, :, 0] = True
    found = similarity.co_firing(fires)
    assert found[0] == 0.25
    assert np.isnan(found[1])


def test_support_jaccard_of_matched_latents():
    a = np.array([[1, 2, 0], [0, 1, 5], [0, 0, 3.0]])
    b = np.array([[7, 0], [1, 1], [0, 0.0]])
    # A0 ~ B1, A1 ~ B0: {0, 1} v {1}, {1} v {0, 1}, and a sample on which none of these fires
    found = similarity.support_jaccard(a, b, np.array([1, 0, -1]))
    np.testing.assert_allclose(found, 0.5)
    assert np.isnan(similarity.support_jaccard(a, b, np.full(3, -1)))


def test_wrong_arrays_are_refused():
    with pytest.raises(ConfigError, match="whole numbers"):
        similarity.orderedness(np.array([0.0, 1.0]))
    with pytest.raises(ConfigError, match="same L > 0"):
        similarity.shared_at(np.arange(3), np.ones(2), np.arange(3), np.ones(3), [0.7])
    with pytest.raises(ConfigError, match="firings"):
        similarity.co_firing(np.ones((3, 2), bool))
    with pytest.raises(ConfigError, match="same samples"):
        similarity.support_jaccard(np.ones((3, 2)), np.ones((2, 2)), np.arange(2))
