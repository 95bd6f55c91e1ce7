"""Nulls: each keeps what it promises to keep, and destroys the matching."""

import jax
import numpy as np
import pytest

from synthsae_jax import matching
from synthsae_jax.matching import SideInputs
from synthsae_jax.registry import explain

N, L, D = 200, 24, 32


@pytest.fixture(scope="module")
def side():
    rng = np.random.default_rng(0)
    latents = (rng.random((N, L)) < 0.2) * rng.random((N, L))
    return SideInputs(
        latents=latents.astype(np.float32),
        decoder=rng.normal(size=(L, D)).astype(np.float32),
        encoder=rng.normal(size=(L, D)).astype(np.float32),
    )


@pytest.mark.parametrize("name", matching.null_names())
def test_every_null_keeps_shapes_and_is_a_function_of_its_key(name, side):
    null = matching.nulls[name]
    first = null(jax.random.key(0), side)
    again = null(jax.random.key(0), side)
    other = null(jax.random.key(1), side)
    leaves = [jax.tree.leaves(s) for s in (side, first, again, other)]
    for given, got, same, _ in zip(*leaves):
        assert got.shape == given.shape
        np.testing.assert_array_equal(got, same)
    assert any((a != b).any() for a, b in zip(leaves[1], leaves[3]))
    assert jax.tree.leaves(null(jax.random.key(0), SideInputs())) == []
    (kind, explanation), *_ = explain(name)
    assert kind == "null"
    assert explanation.what


def test_random_dictionary_redraws_unit_rows_and_leaves_codes(side):
    drawn = matching.nulls["random_dictionary"](jax.random.key(0), side)
    np.testing.assert_array_equal(drawn.latents, side.latents)
    for rows in (drawn.decoder, drawn.encoder):
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-6)
    assert (drawn.decoder != drawn.encoder).any()
    same = lambda s: np.diag(matching.score("decoder_cosine", side.decoder, s.decoder))
    np.testing.assert_allclose(same(side), 1.0, atol=1e-6)
    # the mean of L cosines of sd 1/sqrt(D)
    assert abs(same(drawn).mean()) < 4.5 / np.sqrt(L * D)


def test_token_shift_rolls_all_codes_by_one_number_and_never_by_zero(side):
    shift = matching.nulls["token_shift"]
    for seed in range(20):
        rolled = np.asarray(shift(jax.random.key(seed), side).latents)
        shifts = [k for k in range(N) if (np.roll(side.latents, k, axis=0) == rolled).all()]
        assert len(shifts) == 1
        assert shifts[0] != 0
    # two tokens can only be swapped
    two = SideInputs(latents=np.array([[1.0], [2.0]]))
    np.testing.assert_array_equal(shift(jax.random.key(0), two).latents, [[2.0], [1.0]])


def test_token_shift_takes_the_correlation_away(side):
    rolled = matching.nulls["token_shift"](jax.random.key(0), side)
    same = np.diag(matching.score("activation_pearson", side.latents, rolled.latents))
    # independent tokens: correlations of sd 1/sqrt(N)
    assert abs(same.mean()) < 4.5 / np.sqrt(N * L)
    np.testing.assert_array_equal(rolled.decoder, side.decoder)
