"""Chance levels: formulas against simulation and published figures, and every metric explained."""

import jax
import numpy as np
import pytest

from synthsae_jax import metrics
from synthsae_jax.errors import ConfigError
from synthsae_jax.registry import explain


def unit(n, d, rng):
    x = rng.normal(size=(n, d))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_random_decoders_lie_at_the_simulated_chance():
    rng = np.random.default_rng(0)
    observed = [metrics.mcc(unit(256, 128, rng), unit(1024, 128, rng)) for _ in range(4)]
    chance = metrics.random_mcc(256, 1024, 128, jax.random.key(0), draws=4)
    # Means over 256 near-maximal cosines differ by about .001 between draws; and a matched random
    # latent is far from the 0 that an uncorrected reading takes for chance.
    assert np.mean(observed) == pytest.approx(chance, abs=0.004)
    assert 0.28 < chance < 0.33


@pytest.mark.parametrize(
    ("n", "d", "signed", "published"),
    [(16, 8, True, 0.52), (16, 8, False, 0.63), (32, 16, True, 0.46), (32, 16, False, 0.52)],
)
def test_toy_dimensions_have_a_high_chance_level(n, d, signed, published):
    # mean over optimal assignments of independent dictionaries, quoted to two digits; the sd of
    # one draw is about .02
    chance = metrics.random_mcc(n, n, d, jax.random.key(1), draws=30, signed=signed)
    assert chance == pytest.approx(published, abs=0.02)


def test_uniqueness_of_random_choices():
    # distinct values among L = 256 draws from F = 1024: sd of the share is below .015
    rng = np.random.default_rng(0)
    shares = [np.unique(rng.integers(0, 1024, 256)).size / 256 for _ in range(400)]
    assert metrics.uniqueness_chance(256, 1024) == pytest.approx(np.mean(shares), abs=0.003)
    assert metrics.uniqueness_chance(4096, 16384) == pytest.approx(0.885, abs=5e-4)
    assert metrics.uniqueness_chance(1, 7) == pytest.approx(1.0)
    assert metrics.uniqueness_chance(7, 1) == pytest.approx(1 / 7)


def test_a_random_decoder_is_near_the_uniqueness_formula():
    rng = np.random.default_rng(1)
    found = metrics.uniqueness(unit(256, 128, rng), unit(1024, 128, rng))
    # the sd is below .015; hubs and crowding move the mean by about as much
    assert found == pytest.approx(metrics.uniqueness_chance(256, 1024), abs=0.06)


@pytest.mark.parametrize(
    ("m", "d", "value"),
    [(1024, 128, 0.290), (16384, 768, 0.144), (32768, 768, 0.150), (131072, 4096, 0.070)],
)
def test_expected_maximum_cosine(m, d, value):
    assert metrics.expected_max_cosine(m, d) == pytest.approx(value, abs=6e-4)


def test_expected_maximum_cosine_equals_simulation():
    rng = np.random.default_rng(2)
    best = [(unit(1, 128, rng) @ unit(1024, 128, rng).T).max() for _ in range(300)]
    # 300 maxima of sd .02; the expansion itself is good to about 1 %
    assert metrics.expected_max_cosine(1024, 128) == pytest.approx(np.mean(best), abs=0.008)


def test_senseless_sizes_are_refused():
    with pytest.raises(ConfigError, match="n_vectors >= 3"):
        metrics.expected_max_cosine(2, 8)
    with pytest.raises(ConfigError, match="d_sae, n_features >= 1"):
        metrics.uniqueness_chance(0, 8)
    with pytest.raises(ConfigError, match="draws >= 1"):
        metrics.random_mcc(4, 4, 4, jax.random.key(0), draws=0)


@pytest.mark.parametrize(
    "name",
    [
        *("mcc", "uniqueness", "precision", "recall", "f1", "accuracy", "explained_variance"),
        *("shrinkage", "dead_latents", "l0", "true_l0"),
    ],
)
def test_every_metric_is_explained(name):
    explanation = dict(explain(name))["metric"]
    assert explanation.what
    assert explanation.formula
    assert explanation.range
    assert explanation.source
