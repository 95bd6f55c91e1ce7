"""Scores against numpy, and what must hold for every registered score."""

import numpy as np
import oracles
import pytest

from synthsae_jax import matching
from synthsae_jax.errors import ConfigError
from synthsae_jax.registry import explain

# float32 rounding of a cosine or a correlation of a few dozen terms
ROUNDING = 1e-5


def inputs(name, n_a=9, n_b=6, seed=0):
    """Two inputs of unlike width, of the kind the score takes; sparse and never dead."""
    rng = np.random.default_rng(seed)
    takes = matching.scores[name].takes
    if takes == "codes":
        shared = rng.random((40, 1)) < 0.5
        draw = lambda m: np.where((rng.random((40, m)) < 0.4) | shared, rng.random((40, m)), 0)
    else:
        draw = lambda m: rng.normal(size=(m, 16) if takes == "rows" else (16, m))
    return draw(n_a).astype(np.float32), draw(n_b).astype(np.float32)


def take(name, v, index):
    """Some latents of one side, in the order of `index`."""
    return v[index] if matching.scores[name].takes == "rows" else v[:, index]


def scale(name, v, factors):
    return v * factors[:, None] if matching.scores[name].takes == "rows" else v * factors[None, :]


@pytest.mark.parametrize("name", ["decoder_cosine", "encoder_cosine"])
def test_cosines_equal_numpy(name):
    rows = inputs("decoder_cosine")
    rows[0][3] = 0
    expected = oracles.cosines(*rows)
    assert (expected[3] == 0).all()
    a, b = rows if name == "decoder_cosine" else (v.T for v in rows)
    np.testing.assert_allclose(matching.score(name, a, b), expected, atol=ROUNDING)
    np.testing.assert_allclose(
        matching.score(name, a, b, absolute=True), np.abs(expected), atol=ROUNDING
    )
    centred = oracles.cosines(*(v - v.mean(0) for v in rows))
    np.testing.assert_allclose(matching.score(name, a, b, centred=True), centred, atol=ROUNDING)


def test_pearson_equals_numpy_and_dead_latents_get_zero():
    a, b = inputs("activation_pearson")
    a[:, 2] = 0  # never fires
    b[:, 1] = 0.1  # always fires, never varies; 0.1 has no exact float32 mean
    s = np.asarray(matching.score("activation_pearson", a, b))
    np.testing.assert_allclose(s, oracles.pearson(a, b), atol=ROUNDING)
    assert (s[2] == 0).all()
    assert (s[:, 1] == 0).all()


def test_half_precision_inputs_are_scored_in_float32():
    # bfloat16 cosines would keep 8 bits: 3 digits, and ties
    a, b = inputs("decoder_cosine")
    half = [v.astype(np.float16) for v in (a, b)]
    s = matching.score("decoder_cosine", *half)
    assert s.dtype == np.float32
    np.testing.assert_allclose(s, oracles.cosines(*half), atol=ROUNDING)


@pytest.mark.parametrize("name", matching.score_names())
class TestEveryScore:
    def test_swapping_the_sides_transposes(self, name):
        a, b = inputs(name)
        s = matching.score(name, a, b)
        assert s.shape == (9, 6)
        np.testing.assert_allclose(matching.score(name, b, a), s.T, atol=ROUNDING)

    def test_permuting_latents_permutes_scores(self, name):
        a, b = inputs(name)
        order = np.random.default_rng(1).permutation(9)
        permuted = matching.score(name, take(name, a, order), b)
        np.testing.assert_allclose(permuted, matching.score(name, a, b)[order], atol=ROUNDING)

    def test_positive_scale_of_a_latent_does_not_count(self, name):
        a, b = inputs(name)
        factors = np.geomspace(1e-3, 1e3, 9).astype(np.float32)
        scaled = matching.score(name, scale(name, a, factors), b)
        np.testing.assert_allclose(scaled, matching.score(name, a, b), atol=ROUNDING)

    def test_a_latent_is_most_like_itself(self, name):
        a, _ = inputs(name)
        s = np.asarray(matching.score(name, a, a))
        np.testing.assert_allclose(np.diag(s), 1.0, atol=ROUNDING)
        assert (s.argmax(1) == np.arange(9)).all()

    def test_unlike_shared_axis_is_refused(self, name):
        a, b = inputs(name)
        shorter = b[:, :-1] if matching.scores[name].takes == "rows" else b[:-1]
        with pytest.raises(ConfigError, match="given"):
            matching.score(name, a, shorter)
        with pytest.raises(ConfigError, match="two matrices"):
            matching.score(name, a, b[0])

    def test_unknown_options_are_refused(self, name):
        a, b = inputs(name)
        with pytest.raises(ConfigError, match=f"option of score '{name}' 'centered'"):
            matching.score(name, a, b, centered=True)

    def test_is_explained(self, name):
        (kind, explanation), *_ = explain(name)
        assert kind == "score"
        assert explanation.what
        assert explanation.formula
        assert explanation.chance


def test_unknown_score_names_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean 'decoder_cosine'"):
        matching.score("decoder_cosin", np.ones((2, 2)), np.ones((2, 2)))
