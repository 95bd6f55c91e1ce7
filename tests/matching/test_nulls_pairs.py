"""Nulls of chosen pairs, and positive controls: what is kept, and what is known of the answer."""

import jax
import numpy as np
import pytest

from synthsae_jax import matching
from synthsae_jax.errors import ConfigError
from synthsae_jax.matching import Matching, SideInputs
from synthsae_jax.matching.controls import control_permutation, controls
from synthsae_jax.matching.pair_nulls import pair_nulls
from synthsae_jax.registry import explain

N, L, D = 300, 16, 24
KEYS = [jax.random.key(seed) for seed in range(40)]


def matching_of(row, col):
    row, col = np.asarray(row), np.asarray(col)
    return Matching(row, col, np.ones(row.size, np.float32), np.ones(row.size, bool))


@pytest.fixture(scope="module")
def side():
    rng = np.random.default_rng(0)
    latents = (rng.random((N, L)) < 0.2) * rng.gamma(2.0, size=(N, L))
    return SideInputs(
        latents=latents.astype(np.float32),
        decoder=rng.normal(size=(L, D)).astype(np.float32),
        encoder=rng.normal(size=(L, D)).astype(np.float32),
    )


def test_partner_shuffle_deals_the_same_latents_out_anew():
    m = matching_of([0, 2, 3, 5, 8], [4, 1, 0, 9, 7])
    m = m.replace(valid=np.array([True, True, False, True, True]))
    left = []
    for key in KEYS:
        drawn = matching.pair_nulls["partner_shuffle"](key, m)
        assert drawn.row.tolist() == [0, 2, 5, 8]
        assert sorted(drawn.col.tolist()) == [1, 4, 7, 9]
        assert drawn.valid.all()
        assert np.isnan(drawn.score).all()
        left.append((drawn.col == [4, 1, 9, 7]).sum())
    # fixed points of a random permutation: mean 1, variance 1
    assert abs(np.mean(left) - 1) < 3 / np.sqrt(len(KEYS))


def test_random_latents_replaces_latents_and_keeps_who_is_in_several_pairs():
    m = matching_of([0, 0, 1], [3, 4, 4])
    alive_a, alive_b = np.arange(6) != 2, np.arange(5) > 0
    seen_a, seen_b = set(), set()
    for key in KEYS:
        drawn = matching.pair_nulls["random_latents"](key, m, alive_a=alive_a, alive_b=alive_b)
        seen_a |= set(drawn.row.tolist())
        seen_b |= set(drawn.col.tolist())
        assert np.unique(drawn.row).size == np.unique(drawn.col).size == 2
        assert len(set(zip(drawn.row.tolist(), drawn.col.tolist()))) == 3
    assert seen_a == {0, 1, 3, 4, 5}
    assert seen_b == {1, 2, 3, 4}
    with pytest.raises(ConfigError, match="alive_a has 1"):
        matching.pair_nulls["random_latents"](
            KEYS[0], m, alive_a=np.arange(6) == 2, alive_b=alive_b
        )


def test_random_pairs_are_a_subset_of_the_pool():
    m, pool = matching_of([0, 1], [0, 1]), matching_of(range(6), [5, 4, 3, 2, 1, 0])
    counts = np.zeros(6)
    for key in KEYS:
        drawn = matching.pair_nulls["random_pairs"](key, m, pool=pool)
        assert (drawn.row + drawn.col == 5).all()
        assert np.unique(drawn.row).size == 2
        counts[drawn.row] += 1
    # each pair in a third of the draws
    assert abs(counts - len(KEYS) / 3).max() < 4.5 * np.sqrt(len(KEYS) * 2 / 9)
    with pytest.raises(ConfigError, match="draws 6 pairs, but its pool has 2"):
        matching.pair_nulls["random_pairs"](KEYS[0], pool, pool=m)


@pytest.mark.parametrize("name", pair_nulls.names())
def test_nothing_matched_stays_nothing(name):
    empty = matching_of(np.zeros(0, int), np.zeros(0, int))
    options = {
        "random_latents": {"alive_a": np.ones(3), "alive_b": np.ones(3)},
        "random_pairs": {"pool": empty},
    }.get(name, {})
    assert matching.pair_nulls[name](KEYS[0], empty, **options).row.size == 0
    assert dict(explain(name))["null of pairs"].formula


@pytest.mark.parametrize("name", controls.names())
def test_every_control_keeps_shapes_and_is_a_function_of_its_key(name, side):
    control = controls[name]
    first, again, other = (control(KEYS[i], side) for i in (0, 0, 1))
    leaves = [jax.tree.leaves(s) for s in (side, first, again, other)]
    for given, got, same, _ in zip(*leaves, strict=True):
        assert got.shape == given.shape
        np.testing.assert_array_equal(got, same)
    assert any((a != b).any() for a, b in zip(leaves[1], leaves[3]))
    assert jax.tree.leaves(control(KEYS[0], SideInputs())) == []
    assert dict(explain(name))["positive control"].formula


def test_a_permuted_copy_is_found_whole(side):
    copy = controls["permuted_copy"](KEYS[0], side)
    order = np.asarray(control_permutation(KEYS[0], side))
    assert sorted(order.tolist()) == list(range(L))
    np.testing.assert_allclose(
        copy.latents @ copy.decoder, side.latents @ side.decoder, rtol=1e-4, atol=1e-4
    )
    for score, a, b in (
        ("decoder_cosine", side.decoder, copy.decoder),
        ("encoder_cosine", side.encoder.T, copy.encoder.T),
        ("activation_pearson", side.latents, copy.latents),
    ):
        m = matching.solve("assignment", matching.score(score, a, b))
        np.testing.assert_array_equal(order[m.col], m.row)
        np.testing.assert_allclose(m.score, 1.0, atol=1e-5)


def test_a_rotated_copy_keeps_relations_and_no_direction(side):
    copy = controls["rotated_copy"](KEYS[0], side)
    np.testing.assert_array_equal(copy.latents, side.latents)
    gram = lambda s: np.asarray(s.decoder) @ np.asarray(s.encoder).T
    np.testing.assert_allclose(gram(copy), gram(side), atol=1e-4)
    cosine = np.diag(matching.score("decoder_cosine", side.decoder, copy.decoder))
    # <w, R w> / |w|^2 of one rotation: sd 1/sqrt(D) each, hardly dependent
    assert abs(cosine.mean()) < 4.5 / np.sqrt(L * D)


def test_a_noisy_copy_is_turned_by_the_angle(side):
    copy = controls["noisy_copy"](KEYS[0], side, angle=0.8)
    cosine = lambda a, b: np.diag(matching.score("decoder_cosine", a, b))
    np.testing.assert_allclose(cosine(side.decoder, copy.decoder), np.cos(0.8), atol=1e-5)
    np.testing.assert_allclose(cosine(side.encoder, copy.encoder), np.cos(0.8), atol=1e-5)
    np.testing.assert_allclose(
        np.linalg.norm(copy.decoder, axis=1), np.linalg.norm(side.decoder, axis=1), rtol=1e-5
    )


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_a_replaced_copy_has_so_many_strangers(side, share):
    copy = controls["replaced_copy"](KEYS[0], side, share=share)
    kept = (np.asarray(copy.decoder) == side.decoder).all(1)
    assert kept.sum() == L - round(share * L)
    np.testing.assert_array_equal((np.asarray(copy.encoder) == side.encoder).all(1), kept)
    np.testing.assert_array_equal((np.asarray(copy.latents) == side.latents).all(0), kept)
    # strangers keep their rates and norms
    np.testing.assert_array_equal((copy.latents != 0).sum(0), (side.latents != 0).sum(0))
    np.testing.assert_allclose(
        np.linalg.norm(copy.decoder, axis=1), np.linalg.norm(side.decoder, axis=1), rtol=1e-5
    )
    with pytest.raises(ConfigError, match="share must be in"):
        controls["replaced_copy"](KEYS[0], side, share=1.5)
