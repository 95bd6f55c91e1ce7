"""Nulls of inputs: each keeps what it promises to keep, and destroys the matching."""

import dataclasses
import itertools

import jax
import numpy as np
import pytest
from scipy.sparse import csr_array, csr_matrix

from synthsae_jax import matching
from synthsae_jax.errors import ConfigError
from synthsae_jax.matching import SideInputs
from synthsae_jax.matching.pair_nulls import pair_nulls
from synthsae_jax.registry import explain

N, L, D = 200, 24, 32
SUPPLIED = [name for name in matching.null_names() if matching.nulls[name].count is not None][1:]


def make_side(seed):
    rng = np.random.default_rng(seed)
    latents = (rng.random((N, L)) < np.linspace(0.05, 0.4, L)) * rng.random((N, L))
    return SideInputs(
        latents=latents.astype(np.float32),
        decoder=rng.normal(size=(L, D)).astype(np.float32),
        encoder=rng.normal(size=(L, D)).astype(np.float32),
    )


@pytest.fixture(scope="module")
def side():
    return make_side(0)


def fields(side):
    return [np.asarray(v) for v in (side.latents, side.decoder, side.encoder)]


@pytest.mark.parametrize("name", matching.null_names())
def test_every_null_keeps_shapes_and_is_a_function_of_its_key(name, side):
    null = matching.nulls[name]
    if name in SUPPLIED:
        stand_ins = tuple(make_side(seed) for seed in (1, 2))
        side = dataclasses.replace(side, stand_ins={name: stand_ins})
    draws = [fields(null(jax.random.key(seed), side)) for seed in (0, 0, *range(1, 7))]
    for given, got, again in zip(fields(side), *draws[:2]):
        assert got.shape == given.shape
        np.testing.assert_array_equal(got, again)
    assert any((a != b).any() for draw in draws[2:] for a, b in zip(draws[0], draw))
    if name not in SUPPLIED:
        assert jax.tree.leaves(null(jax.random.key(0), SideInputs())) == []
    (kind, explanation), *_ = explain(name)
    assert kind == "null"
    assert f"({null.label}" in explanation.what
    assert explanation.formula


def test_the_list_of_nulls_is_complete():
    labels = {matching.nulls[name].label for name in matching.null_names()}
    # N2 and N3 act on chosen pairs
    assert labels == {"N0", "N1", "N4", "N5", "N6", "N7"}
    of_pairs = " ".join(dict(explain(name))["null of pairs"].what for name in pair_nulls.names())
    assert "(N2)" in of_pairs
    assert "(N3)" in of_pairs


REDRAWN = [name for name in matching.null_names() if name.startswith("random_")]


def test_random_dictionary_redraws_directions_and_leaves_codes(side):
    drawn = matching.nulls["random_dictionary"](jax.random.key(0), side)
    np.testing.assert_array_equal(drawn.latents, side.latents)
    same = lambda s: np.diag(matching.score("decoder_cosine", side.decoder, s.decoder))
    np.testing.assert_allclose(same(side), 1.0, atol=1e-6)
    # the mean of L cosines of sd 1/sqrt(D)
    assert abs(same(drawn).mean()) < 4.5 / np.sqrt(L * D)


def angles(decoder, encoder):
    unit = [
        v / np.linalg.norm(v, axis=1, keepdims=True) for v in map(np.asarray, (decoder, encoder))
    ]
    return (unit[0] * unit[1]).sum(1)


@pytest.mark.parametrize("name", REDRAWN)
def test_nulls_of_directions_keep_norms_and_what_ties_an_encoder_to_its_decoder(name, side):
    null = matching.nulls[name]
    rng = np.random.default_rng(11)
    size = np.exp(rng.normal(size=(2, L, 1))).astype(np.float32)
    close = side.decoder + 0.5 * side.encoder
    dead = (np.arange(L) > 0)[:, None]
    for encoder in (side.encoder, side.decoder, close):
        given = SideInputs(decoder=size[0] * side.decoder * dead, encoder=size[1] * encoder)
        drawn = null(jax.random.key(1), given)
        for rows in ("decoder", "encoder"):
            norms = [np.linalg.norm(getattr(s, rows), axis=1) for s in (given, drawn)]
            np.testing.assert_allclose(norms[1], norms[0], rtol=1e-5)
        was, now = (angles(s.decoder[1:], s.encoder[1:]) for s in (given, drawn))
        np.testing.assert_allclose(now, was, atol=2e-6)
    # tied weights are tied to the rounding
    tied = null(jax.random.key(1), SideInputs(decoder=side.decoder, encoder=side.decoder))
    np.testing.assert_allclose(tied.encoder, tied.decoder, atol=2e-6)


def test_random_rotation_keeps_all_that_latents_have_among_themselves(side):
    offset = dataclasses.replace(side, decoder=side.decoder + 3, encoder=side.encoder + 3)
    drawn = matching.nulls["random_rotation"](jax.random.key(2), offset)
    np.testing.assert_array_equal(drawn.latents, side.latents)
    both = [np.concatenate([s.decoder, s.encoder]) for s in (offset, drawn)]
    inner = [rows @ rows.T for rows in both]
    np.testing.assert_allclose(inner[1], inner[0], rtol=1e-4, atol=1e-3)
    # a common direction goes along, and away from where it was
    mean = [rows.mean(0) / np.linalg.norm(rows.mean(0)) for rows in both]
    assert abs(mean[0] @ mean[1]) < 4.5 / np.sqrt(D)


def test_random_dictionary_may_keep_what_all_rows_have_in_common():
    rng = np.random.default_rng(3)
    # far more rows than dimensions: moments are known to a few percent
    rows = rng.normal(size=(4000, 3)) * [3.0, 1.0, 0.1] + [2.0, 0.0, 0.0]
    side = SideInputs(decoder=rows.astype(np.float32))
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    drawn = np.asarray(
        matching.nulls["random_dictionary_covariance"](jax.random.key(0), side).decoder
    )
    size = np.linalg.norm(rows, axis=1)
    np.testing.assert_allclose(np.linalg.norm(drawn, axis=1), size, rtol=1e-5)
    # normal rows put on the sphere keep the shape of the law, not its moments to the digit
    drawn = drawn / size[:, None]
    expected = rng.multivariate_normal(unit.mean(0), np.cov(unit.T), 4000)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(drawn.mean(0), expected.mean(0), atol=0.08)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(expected.T), atol=0.05)
    plain = np.asarray(matching.nulls["random_dictionary"](jax.random.key(0), side).decoder)
    plain = plain / size[:, None]
    assert abs(plain.mean(0)).max() < 0.05 < drawn.mean(0)[0]


def test_token_shift_rolls_all_codes_by_one_number_and_never_by_zero(side):
    null = matching.nulls["token_shift"]
    for seed in range(20):
        rolled = np.asarray(null(jax.random.key(seed), side).latents)
        shifts = [k for k in range(N) if (np.roll(side.latents, k, axis=0) == rolled).all()]
        assert len(shifts) == 1
        assert shifts[0] != 0
    # two tokens can only be swapped
    two = SideInputs(latents=np.array([[1.0], [2.0]]))
    np.testing.assert_array_equal(null(jax.random.key(0), two).latents, [[2.0], [1.0]])
    # all different draws, each once
    three = SideInputs(latents=np.arange(3.0)[:, None])
    assert null.count(three) == 2
    every = [np.asarray(null.nth(three, i).latents)[:, 0].tolist() for i in range(2)]
    assert every == [[2, 0, 1], [1, 2, 0]]
    with pytest.raises(ConfigError, match="more than one token"):
        null(jax.random.key(0), SideInputs(latents=np.ones((1, 2))))


def test_token_shift_takes_the_correlation_away(side):
    rolled = matching.nulls["token_shift"](jax.random.key(0), side)
    same = np.diag(matching.score("activation_pearson", side.latents, rolled.latents))
    # independent tokens: correlations of sd 1/sqrt(N)
    assert abs(same.mean()) < 4.5 / np.sqrt(N * L)
    np.testing.assert_array_equal(rolled.decoder, side.decoder)


def test_activity_shift_rolls_each_bin_by_a_number_of_its_own():
    # bins of 5, 1, 2 and 12 tokens, mixed; a token's code is its own number
    bins = np.random.default_rng(4).permutation(np.repeat([7, 2, 9, 4], [5, 1, 2, 12]))
    n = bins.size
    side = SideInputs(latents=np.arange(n, dtype=np.float32)[:, None], token_bins=bins)
    seen = {b: set() for b in np.unique(bins)}
    for seed in range(40):
        drawn = matching.nulls["activity_shift"](jax.random.key(seed), side)
        source = np.asarray(drawn.latents)[:, 0].astype(int)
        np.testing.assert_array_equal(bins[source], bins)
        for b in seen:
            at = np.flatnonzero(bins == b)
            shifts = [k for k in range(at.size) if (np.roll(at, k) == source[at]).all()]
            assert len(shifts) == 1
            seen[b].add(shifts[0])
    # every shift of a small bin comes up in 40 draws, staying in place among them
    assert seen[7] == set(range(5))
    assert seen[2] == {0}
    assert seen[9] == {0, 1}
    assert len(seen[4]) > 6
    with pytest.raises(ConfigError, match=r"one per token; given \(3,\)"):
        matching.nulls["activity_shift"](
            jax.random.key(0), dataclasses.replace(side, token_bins=bins[:3])
        )


def test_token_bins_are_of_equal_size_and_of_like_activity():
    rng = np.random.default_rng(5)
    n = 1600
    rates = rng.uniform(0.05, 0.6, size=(2, n, 1))
    a, b = (rng.random((2, n, 20)) < rates) * 1.0
    bins = np.asarray(matching.token_bins(a, b, tokens_per_bin=100))
    np.testing.assert_array_equal(np.bincount(bins), 100)
    # the first side cuts into quarters, the second each quarter into quarters
    for quarter in range(4):
        of_b = [(b[bins == 4 * quarter + k] != 0).sum(1) for k in range(4)]
        assert all(x.max() <= y.min() for x, y in itertools.pairwise(of_b))
    of_a = [(a[bins // 4 == quarter] != 0).sum(1) for quarter in range(4)]
    assert all(x.max() <= y.min() for x, y in itertools.pairwise(of_a))
    # as many fire on every token, and all loudly: the sizes of the codes decide
    strength = rng.permutation(n)
    topk = np.ones((n, 3)) * (n + strength[:, None])
    np.testing.assert_array_equal(matching.token_bins(topk, tokens_per_bin=200), strength // 200)
    # few tokens are one bin
    np.testing.assert_array_equal(matching.token_bins(a[:20], b[:20]), 0)
    with pytest.raises(ConfigError, match="on the same samples"):
        matching.token_bins(a, b[:-1])
    with pytest.raises(ConfigError, match="tokens_per_bin must be > 0"):
        matching.token_bins(a, tokens_per_bin=0)


def test_token_bins_where_as_many_latents_fire_on_every_token():
    rng = np.random.default_rng(6)
    n, width = 2000, 12
    level = rng.integers(1, 5, size=n)  # how many of the four firings are loud
    level[:90] = 0

    def topk():
        # four of twelve fire; those beyond the token's level faintly
        sizes = np.where(np.arange(4) < level[:, None], rng.uniform(2, 3, (n, 4)), 0.01)
        codes = np.zeros((n, width))
        np.put_along_axis(codes, rng.random((n, width)).argsort(1)[:, :4], sizes, axis=1)
        return codes

    a, b = topk(), topk()
    b[:30] = b[200:230]  # silent in A alone
    bins = np.asarray(matching.token_bins(a, b, tokens_per_bin=125))
    alone = [set(bins[where]) for where in (slice(0, 30), slice(30, 90))]
    assert [len(found) for found in alone] == [1, 1]
    assert not (alone[0] | alone[1]) & set(bins[90:])
    assert alone[0] != alone[1]
    sizes = np.bincount(bins[90:])
    assert sizes.max() == 125
    within = level[90:] - (np.bincount(bins[90:], level[90:]) / sizes)[bins[90:]]
    assert np.var(within) < 0.1 * np.var(level[90:])
    # one side with even counts is enough, and sparse codes are binned alike
    plain = (rng.random((n, width)) < 0.1 * level[:, None]) * 1.0
    for other in (b, plain):
        dense = np.asarray(matching.token_bins(a, other))
        sparse = np.asarray(matching.token_bins(csr_matrix(a), csr_array(other)))
        # sums in another order may swap neighbours
        assert (sparse == dense).mean() > 0.95
    silent, heard = plain.sum(1) == 0, (plain.sum(1) > 0) & (level > 0)
    assert set(dense[silent]).isdisjoint(dense[heard])


def test_frequency_permuted_deals_directions_out_among_latents_of_like_rate(side):
    drawn = matching.nulls["frequency_permuted"](jax.random.key(0), side)
    np.testing.assert_array_equal(drawn.latents, side.latents)
    owner = [
        int(np.flatnonzero((side.decoder == row).all(1))[0]) for row in np.asarray(drawn.decoder)
    ]
    assert sorted(owner) == list(range(L))
    # encoder rows go along with decoder rows
    np.testing.assert_array_equal(drawn.encoder, side.encoder[owner])
    order = np.argsort((side.latents != 0).sum(0), kind="stable")
    rank = np.argsort(order)
    # 24 latents make three bins of eight
    np.testing.assert_array_equal(rank[owner] // 8, rank // 8)
    assert (np.array(owner) != np.arange(L)).sum() > L / 2
    with pytest.raises(ConfigError, match="needs latents"):
        matching.nulls["frequency_permuted"](jax.random.key(0), SideInputs(decoder=side.decoder))


@pytest.mark.parametrize("name", SUPPLIED)
def test_stand_ins_take_the_place_of_a_side(name, side):
    null = matching.nulls[name]
    stand_ins = tuple(make_side(seed) for seed in (1, 2, 3))
    given = dataclasses.replace(side, stand_ins={name: stand_ins, "other": ()})
    assert null.count(given) == 3
    assert [null.nth(given, i) is stand_ins[i] for i in range(3)] == [True] * 3
    drawn = {id(null(jax.random.key(seed), given)) for seed in range(20)}
    assert drawn == set(map(id, stand_ins))
    # what is missing, and what would do
    with pytest.raises(ConfigError, match=f"stand_ins={{'{name}'") as error:
        null(jax.random.key(0), side)
    assert null.needs[0] in str(error.value)
    assert null.needs[0] in dict(explain(name))["null"].what
    short = dataclasses.replace(stand_ins[0], latents=side.latents[:-1])
    with pytest.raises(ConfigError, match=f"same {N} samples"):
        null.nth(dataclasses.replace(side, stand_ins={name: (short,)}), 0)
