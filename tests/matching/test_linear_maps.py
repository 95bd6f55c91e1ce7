"""Linear maps between spaces: planted maps come back, and are judged on tokens they never saw."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import lstsq

from synthsae_jax import matching
from synthsae_jax.errors import ConfigError
from synthsae_jax.matching.linear_maps import (
    add_activations,
    alignment_from_moments,
    alignments,
    joint_moments,
    judge_alignment,
)
from synthsae_jax.registry import explain

N, D_A, D_B = 400, 6, 8
HALF = slice(0, N // 2), slice(N // 2, N)


def tokens(d, seed=1):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(N, d)) * np.geomspace(1, 3, d) + 2.0


def isometry(d_b, d_a, seed=0):
    """[d_b, d_a] with orthonormal columns, d_a <= d_b."""
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(d_b, d_b)))[0][:, :d_a]


def fit_and_judge(name, x_a, x_b, **options):
    fitted = matching.fit_alignment(name, x_a[HALF[0]], x_b[HALF[0]], **options)
    return fitted, judge_alignment(fitted, x_a[HALF[1]], x_b[HALF[1]])


# what each map recovers: B is A's space, embedded and offset, times `factor`, or mixed by any map
EXACT = {
    "procrustes": ("rotation",),
    "procrustes_scaled": ("rotation", "scaled"),
    "ridge": ("rotation", "scaled", "mixed"),
    "cca": ("rotation", "scaled", "mixed"),
}
OPTIONS = {"ridge": {"ridge": 0.0}, "cca": {"ridge": 0.0, "rank": D_A}}


@pytest.mark.parametrize("name", alignments.names())
@pytest.mark.parametrize("kind", ["rotation", "scaled", "mixed"])
def test_planted_maps_come_back_where_the_family_holds_them(name, kind):
    x_a = tokens(D_A)
    mix = np.random.default_rng(4).normal(size=(D_A, D_A))
    change = {"rotation": np.eye(D_A), "scaled": 3 * np.eye(D_A), "mixed": mix}[kind]
    x_b = x_a @ change @ isometry(D_B, D_A).T + 5.0
    fitted, judged = fit_and_judge(name, x_a, x_b, **OPTIONS.get(name, {}))
    assert fitted.matrix.shape == (D_B, D_A)
    assert np.isnan(judged["raw"])
    if kind in EXACT[name]:
        assert judged["explained_variance"] == pytest.approx(1, abs=1e-4)
        inner = (change @ isometry(D_B, D_A).T) @ np.asarray(fitted.matrix)
        np.testing.assert_allclose(inner, np.eye(D_A), atol=1e-3)
    else:
        assert judged["explained_variance"] < 0.9


def test_ridge_equals_least_squares_and_full_rank_cca_too():
    x_a = tokens(D_A)
    x_b = tokens(D_B, 2)
    x_b[:, :4] += x_a[:, :4]
    expected = lstsq(x_b - x_b.mean(0), x_a - x_a.mean(0))[0]
    for name, options in OPTIONS.items():
        fitted = matching.fit_alignment(name, x_a, x_b, **options)
        np.testing.assert_allclose(fitted.matrix, expected, atol=1e-4)
    strong = matching.fit_alignment("ridge", x_a, x_b, ridge=10.0)
    assert np.linalg.norm(strong.matrix) < 0.5 * np.linalg.norm(expected)


def test_low_rank_cca_has_its_rank_and_keeps_what_correlates():
    # the three widest directions of A are in B, the others are noise there
    x_a = tokens(D_A)
    x_b = tokens(D_B, 2)
    x_b[:, 3:6] = x_a[:, 3:] + 0.1 * x_b[:, 3:6]
    fitted, judged = fit_and_judge("cca", x_a, x_b)
    assert np.linalg.matrix_rank(np.asarray(fitted.matrix), tol=1e-4) == 3
    _, full = fit_and_judge("cca", x_a, x_b, rank=D_A)
    variance = x_a[HALF[1]].var(0)
    # less 1 % noise on what is shared, and a few percent lost to 200 tokens
    assert judged["explained_variance"] == pytest.approx(
        variance[3:].sum() / variance.sum(), abs=0.04
    )
    # what the rest of the full map adds was noise of the first half
    assert judged["explained_variance"] > full["explained_variance"]


def test_unrelated_activations_explain_nothing_on_tokens_not_seen():
    x_a, x_b = tokens(D_A), tokens(D_B, 2)
    _, unseen = fit_and_judge("ridge", x_a, x_b)
    fitted = matching.fit_alignment("ridge", x_a[HALF[0]], x_b[HALF[0]])
    seen = judge_alignment(fitted, x_a[HALF[0]], x_b[HALF[0]])
    # 8 regressors on 200 tokens: about 8/200 seen, minus that much unseen
    assert 0 < seen["explained_variance"] < 0.08
    assert -0.15 < unseen["explained_variance"] < 0.01


def test_same_space_needs_no_map():
    x = tokens(D_A)
    fitted, judged = fit_and_judge("procrustes", x, x)
    assert judged["raw"] == 1
    np.testing.assert_allclose(fitted.matrix, np.eye(D_A), atol=1e-4)


def test_directions_that_write_and_that_read():
    # B's space is a linear image of A's: x_b = x_a M'. A latent of B that reads e from x_b reads
    # M' e from x_a, and one that writes w there writes w M in A's.
    rng = np.random.default_rng(5)
    mix = rng.normal(size=(D_A, D_A)) + 3 * np.eye(D_A)
    x_a = tokens(D_A)
    fitted = matching.fit_alignment("ridge", x_a, x_a @ mix, ridge=0.0)
    rows = rng.normal(size=(4, D_A))
    np.testing.assert_allclose(fitted.encoder_rows(rows), rows @ mix.T, rtol=1e-2, atol=1e-2)
    np.testing.assert_allclose(
        fitted.decoder_rows(rows), rows @ np.linalg.inv(mix), rtol=1e-2, atol=1e-3
    )
    turned = matching.fit_alignment("procrustes", x_a, x_a @ isometry(D_B, D_A).T)
    wide = rng.normal(size=(4, D_B))
    np.testing.assert_allclose(turned.encoder_rows(wide), turned.decoder_rows(wide), atol=1e-4)


@pytest.mark.parametrize("name", alignments.names())
def test_every_alignment_streams_and_is_explained(name):
    x_a, x_b = tokens(D_A), tokens(D_B, 2)
    moments = joint_moments(D_A, D_B)
    for part in np.split(np.arange(N), 4):
        moments = add_activations(moments, jnp.asarray(x_a[part]), jnp.asarray(x_b[part]))
    streamed = alignment_from_moments(name, moments, D_A)
    whole = matching.fit_alignment(name, x_a, x_b)
    np.testing.assert_allclose(streamed.matrix, whole.matrix, atol=1e-4)
    np.testing.assert_allclose(streamed.mean_a, x_a.mean(0), rtol=1e-5)
    np.testing.assert_allclose(streamed.mean_b, x_b.mean(0), rtol=1e-5)
    (kind, explanation), *_ = explain(name)
    assert explanation.formula
    assert "alignment" in [kind, *(k for k, _ in explain(name))]


def test_wrong_inputs_are_refused():
    x_a, x_b = tokens(D_A), tokens(D_B)
    with pytest.raises(ConfigError, match="same n > 1 tokens"):
        matching.fit_alignment("ridge", x_a[:-1], x_b)
    with pytest.raises(ConfigError, match="finite activations"):
        matching.fit_alignment("ridge", x_a * np.nan, x_b)
    with pytest.raises(ConfigError, match="1 <= rank <= 6"):
        matching.fit_alignment("cca", x_a, x_b, rank=7)
    with pytest.raises(ConfigError, match="ridge must be"):
        matching.fit_alignment("ridge", x_a, x_b, ridge=-1.0)
    with pytest.raises(ConfigError, match="do not vary"):
        matching.fit_alignment("procrustes_scaled", x_a, np.ones((N, D_B)))
    with pytest.raises(ConfigError, match="Did you mean 'ridge'"):
        matching.fit_alignment("rigde", x_a, x_b)
