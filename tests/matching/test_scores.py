"""Scores against numpy, and what must hold for every registered score."""

import jax
import numpy as np
import oracles
import pytest

from synthsae_jax import matching
from synthsae_jax.errors import ConfigError
from synthsae_jax.registry import explain

# scores whose value for a latent with itself depends on how often it fires
UNBOUNDED = ("lift", "hypergeometric_z", "hypergeometric_z_plain")
# float32 rounding of a cosine or a correlation of a few dozen terms
ROUNDING = 1e-5


# which axis of each of a side's matrices is that of the latents
LATENT_AXES = {"rows": (0,), "columns": (1,), "both": (0, 1), "own_rows": (0,), "codes": (1,)}


def inputs(name, n_a=9, n_b=6, seed=0):
    """Two inputs of unlike width, of the kind the score takes; sparse and never dead."""
    rng = np.random.default_rng(seed)
    takes = matching.scores[name].takes
    if takes == "codes":
        shared = rng.random((40, 1)) < 0.5
        draw = lambda m: np.where((rng.random((40, m)) < 0.4) | shared, rng.random((40, m)), 0)
    else:
        shape = lambda m, axis: (m, 16) if axis == 0 else (16, m)
        draw = lambda m: tuple(rng.normal(size=shape(m, axis)) for axis in LATENT_AXES[takes])
        if takes != "both":
            draw = lambda m, both=draw: both(m)[0]
    return tuple(
        jax.tree.map(lambda v: v.astype(np.float32), side) for side in (draw(n_a), draw(n_b))
    )


def each(name, side, change):
    """The side with `change(matrix, axis of the latents)` applied to each of its matrices."""
    axes = LATENT_AXES[matching.scores[name].takes]
    if isinstance(side, tuple):
        return tuple(change(v, axis) for v, axis in zip(side, axes))
    return change(side, axes[0])


def take(name, side, index):
    """Some latents of one side, in the order of `index`."""
    return each(name, side, lambda v, axis: np.take(v, index, axis))


def scale(name, side, factors):
    return each(name, side, lambda v, axis: v * np.expand_dims(factors, 1 - axis))


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


def test_combined_cosine_is_the_mean_or_the_smaller():
    (dec_a, enc_a), (dec_b, enc_b) = a, b = inputs("combined_cosine")
    decoder = oracles.cosines(dec_a, dec_b)
    encoder = oracles.cosines(enc_a.T, enc_b.T)
    score = lambda **options: matching.score("combined_cosine", a, b, **options)
    np.testing.assert_allclose(score(), (decoder + encoder) / 2, atol=ROUNDING)
    np.testing.assert_allclose(score(how="min"), np.minimum(decoder, encoder), atol=ROUNDING)
    absolute = (np.abs(decoder) + np.abs(encoder)) / 2
    np.testing.assert_allclose(score(absolute=True), absolute, atol=ROUNDING)
    centred = oracles.cosines(dec_a - dec_a.mean(0), dec_b - dec_b.mean(0))
    enc = [(v.T - v.T.mean(0)) for v in (enc_a, enc_b)]
    np.testing.assert_allclose(
        score(centred=True), (centred + oracles.cosines(*enc)) / 2, atol=ROUNDING
    )
    with pytest.raises(ConfigError, match="Did you mean 'min'"):
        score(how="mim")
    with pytest.raises(ConfigError, match="two pairs"):
        matching.score("combined_cosine", dec_a, dec_b)


def test_preactivations_are_rectified():
    a, b = inputs("preactivation_pearson")
    a, b = a - 0.3, b - 0.3
    expected = oracles.pearson(np.maximum(a, 0), np.maximum(b, 0))
    np.testing.assert_allclose(matching.score("preactivation_pearson", a, b), expected, atol=1e-5)


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

    def test_a_latent_is_like_nobody_more_than_itself(self, name):
        a, _ = inputs(name)
        s = np.asarray(matching.score(name, a, a))
        assert (np.diag(s) >= s.max(1) - ROUNDING * np.abs(s).max()).all()
        if name not in UNBOUNDED:
            np.testing.assert_allclose(np.diag(s), 1.0, atol=ROUNDING)
            assert (s.argmax(1) == np.arange(9)).all()

    def test_unlike_inputs_are_refused(self, name):
        a, b = inputs(name)
        with pytest.raises(ConfigError, match="takes two"):
            matching.score(name, a, np.ones(3))
        if matching.scores[name].takes != "own_rows":
            shorter = each(name, b, lambda v, axis: np.delete(v, 0, 1 - axis))
            with pytest.raises(ConfigError, match="given"):
                matching.score(name, a, shorter)

    def test_unknown_options_are_refused(self, name):
        a, b = inputs(name)
        with pytest.raises(ConfigError, match=f"option of score '{name}' 'centered'"):
            matching.score(name, a, b, centered=True)

    def test_is_explained(self, name):
        explanation = dict(explain(name))["score"]
        assert explanation.what
        assert explanation.formula
        assert explanation.chance


def test_unknown_score_names_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean 'decoder_cosine'"):
        matching.score("decoder_cosin", np.ones((2, 2)), np.ones((2, 2)))
