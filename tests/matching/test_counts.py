"""Streamed counts: equal to the whole, however the tokens are cut, and accurate at 1e6 tokens."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from synthsae_jax import matching
from synthsae_jax.errors import ConfigError
from synthsae_jax.matching import PairCounts, strata
from synthsae_jax.matching.sparse import slots_of

L_A, L_B, N = 7, 5, 96


def stream(counts, a, b):
    add = lambda c, batch: (c.update(*batch), None)
    return jax.lax.scan(add, counts, (a, b))[0]


update = jax.jit(PairCounts.update)
update_slots = jax.jit(PairCounts.update_slots)
update_all = jax.jit(lambda c, a, b, pre_a, pre_b: c.update(a, b, pre_a=pre_a, pre_b=pre_b))
streamed = jax.jit(stream)


@pytest.fixture(scope="module")
def codes():
    rng = np.random.default_rng(0)
    draw = lambda m: (rng.random((N, m)) < 0.3) * rng.gamma(2.0, size=(N, m))
    a, b = draw(L_A).astype(np.float32), draw(L_B).astype(np.float32)
    a[:, 1] = b[:, 2] = 0
    return a, b


@pytest.fixture(scope="module")
def with_pre(codes):
    """Pre-activations behind the codes, and the counts of both."""
    rng = np.random.default_rng(1)
    pre = tuple((v + rng.normal(size=v.shape)).astype(np.float32) for v in codes)
    return pre, update_all(PairCounts.init(L_A, L_B, preactivations=True), *codes, *pre)


def test_counts_of_one_batch_equal_numpy(codes):
    a, b = codes
    counts = update(PairCounts.init(L_A, L_B), a, b)
    assert int(counts.n) == N
    np.testing.assert_array_equal(counts.fired_a, (a > 0).sum(0))
    np.testing.assert_array_equal(counts.fired_b, (b > 0).sum(0))
    np.testing.assert_array_equal(counts.joint, (a > 0).T.astype(int) @ (b > 0).astype(int))
    np.testing.assert_array_equal(counts.alive_a, np.arange(L_A) != 1)
    np.testing.assert_array_equal(counts.alive_b, np.arange(L_B) != 2)
    np.testing.assert_allclose(counts.score("activation_pearson"), oracles.pearson(a, b), atol=1e-6)


def test_the_cut_into_batches_does_not_matter(codes):
    a, b = codes
    whole = update(PairCounts.init(L_A, L_B), a, b)
    batches = a.reshape(8, 12, L_A), b.reshape(8, 12, L_B)
    scanned = streamed(PairCounts.init(L_A, L_B), *batches)
    halves = [streamed(PairCounts.init(L_A, L_B), *(v[i : i + 4] for v in batches)) for i in (0, 4)]
    merged = halves[0].merge(halves[1])
    for other in (scanned, merged):
        # sums of ~100 terms of order 1 to 10, in another order
        chex.assert_trees_all_close(other, whole, atol=1e-3, rtol=1e-5)
        np.testing.assert_array_equal(other.joint, whole.joint)


def test_merging_with_nothing_changes_nothing(codes):
    counts = update(PairCounts.init(L_A, L_B), *codes)
    empty = PairCounts.init(L_A, L_B)
    chex.assert_trees_all_equal(empty.merge(counts), counts)
    chex.assert_trees_all_equal(counts.merge(empty), counts)
    nothing = empty.merge(empty)
    assert (np.asarray(nothing.score("activation_pearson")) == 0).all()
    assert not np.asarray(nothing.alive_a).any()


def test_a_leading_axis_of_pairs_vmaps(codes):
    a, b = codes
    pairs = np.stack([a, a[::-1]]).reshape(2, 8, 12, L_A), np.stack([b, b]).reshape(2, 8, 12, L_B)
    empty = jax.tree.map(lambda v: jnp.stack([v, v]), PairCounts.init(L_A, L_B))
    counts = jax.vmap(stream)(empty, *pairs)
    scores = jax.vmap(lambda c: c.score("activation_pearson"))(counts)
    np.testing.assert_allclose(scores[0], oracles.pearson(a, b), atol=1e-6)
    np.testing.assert_allclose(scores[1], oracles.pearson(a[::-1], b), atol=1e-6)
    assert counts.alive_a.shape == (2, L_A)


@pytest.mark.parametrize("name", matching.count_scores.names())
def test_every_streamed_score_equals_the_one_from_arrays(name, codes, with_pre):
    pre, counts = with_pre
    given = pre if name == "preactivation_pearson" else codes
    # two orders of the same float32 sums
    np.testing.assert_allclose(counts.score(name), matching.score(name, *given), atol=2e-6)


def test_all_scores_come_from_one_set_of_counts_in_parts(codes, with_pre):
    # thirds, merged from the left and from the right: one result, up to float32
    pre, whole = with_pre
    empty = PairCounts.init(L_A, L_B, preactivations=True)
    parts = [
        update_all(empty, *(v[third] for v in (*codes, *pre)))
        for third in np.split(np.arange(N), 3)
    ]
    left = parts[0].merge(parts[1]).merge(parts[2])
    right = parts[0].merge(parts[1].merge(parts[2]))
    back = parts[2].merge(parts[0]).merge(parts[1])
    for name in matching.count_scores.names():
        for other in (left, right, back):
            np.testing.assert_allclose(other.score(name), whole.score(name), atol=5e-6)
    for other in (left, right, back):
        for field in ("fired_a", "fired_b", "joint", "tokens", "strata_a", "strata_b"):
            np.testing.assert_array_equal(getattr(other, field), getattr(whole, field))


def test_strata_hold_every_token_and_firing_once(codes):
    a, b = codes
    counts = update(PairCounts.init(L_A, L_B), a, b)
    assert int(counts.tokens.sum()) == N
    np.testing.assert_array_equal(counts.strata_a.sum(0), counts.fired_a)
    np.testing.assert_array_equal(counts.strata_b.sum(0), counts.fired_b)
    # small numbers of firing latents have bins of their own: count one stratum by hand
    two, one = (a != 0).sum(1) == 2, (b != 0).sum(1) == 1
    here = 2 * strata.N_BINS + 1
    assert int(counts.tokens[here]) == (two & one).sum() > 0
    np.testing.assert_array_equal(counts.strata_a[here], (a[two & one] != 0).sum(0))
    # strata of one's own
    own = np.arange(N) % 3
    mine = update(PairCounts.init(L_A, L_B), a, b, strata=own)
    np.testing.assert_array_equal(mine.tokens[:4], [N / 3, N / 3, N / 3, 0])


def test_slots_count_as_dense_codes_do(codes):
    a, b = (v.copy() for v in codes)
    a[:, 0] = 100 + 0.1 * a[:, 0]  # always on, with a mean of many standard deviations
    slots = [slots_of(jnp.asarray(v), k) for v, k in ((a, 4), (b, 3))]
    slots = jax.tree.map(np.asarray, slots)
    fits = ~(slots[0].overflow | slots[1].overflow)
    np.testing.assert_array_equal(fits, ((a != 0).sum(1) <= 4) & ((b != 0).sum(1) <= 3))
    assert 0 < (~fits).sum() < N / 4
    n = fits.sum() // 2 * 2
    index = np.flatnonzero(fits)[:n]
    # two batches in a row, against dense ones of the same shape
    sparse = dense = PairCounts.init(L_A, L_B)
    for part in np.split(index, 2):
        sparse = update_slots(sparse, *jax.tree.map(lambda v, p=part: v[p], slots))
        dense = update(dense, a[part], b[part])
    for field in ("fired_a", "fired_b", "joint", "tokens", "strata_a", "strata_b"):
        np.testing.assert_array_equal(getattr(sparse, field), getattr(dense, field))
    found, expected = (c.score("activation_pearson") for c in (sparse, dense))
    # the always-on column keeps three digits of its correlation in float32
    atol = np.where(np.arange(L_A) == 0, 1e-3, 1e-5)[:, None]
    assert (np.abs(np.asarray(found - expected)) <= atol).all()


def test_preactivations_are_counted_by_both_or_by_none(codes):
    a, b = codes
    with pytest.raises(ConfigError, match="preactivations=True"):
        PairCounts.init(L_A, L_B).update(a, b, pre_a=a, pre_b=b)
    with pytest.raises(ConfigError, match="preactivations=True"):
        PairCounts.init(L_A, L_B, preactivations=True).update(a, b)
    with pytest.raises(ConfigError, match="preactivations=True"):
        PairCounts.init(L_A, L_B).score("preactivation_pearson")
    with pytest.raises(ConfigError, match="do not merge"):
        PairCounts.init(L_A, L_B).merge(PairCounts.init(L_A, L_B, preactivations=True))
    with pytest.raises(ConfigError, match="0 < k <= 7"):
        slots_of(jnp.asarray(a), 8)


def test_unknown_streamed_score_is_refused(codes):
    with pytest.raises(ConfigError, match="activation_pearson"):
        PairCounts.init(1, 1).score("pearson")


def test_pearson_of_a_million_tokens_keeps_four_digits():
    # Columns: fires ten times in all; 1 in 1000; always on with a mean of 200 standard deviations
    # (where raw float32 sums lose every digit); half of the time.
    n, batch = 1_000_000, 4000
    rng = np.random.default_rng(3)
    rates = np.array([1e-5, 1e-3, 1.0, 0.5])
    common = rng.normal(size=n)
    fires = rng.random((n, 4)) < rates

    def side():
        size = np.array([5, 5, 100, 5]) + 0.3 * rng.normal(size=(n, 4)) + 0.4 * common[:, None]
        # a tenth of the firings are the side's own
        own = rng.random((n, 4)) < 0.1
        on = np.where(own, rng.random((n, 4)) < rates, fires)
        return (on * size).astype(np.float32)

    a, b = side(), side()
    expected = oracles.pearson(a, b)
    # the four latents do correlate with their counterparts, the rarest too
    assert (np.diag(expected) > 0.5).all()
    counts = streamed(PairCounts.init(4, 4), a.reshape(-1, batch, 4), b.reshape(-1, batch, 4))
    np.testing.assert_allclose(counts.score("activation_pearson"), expected, atol=2e-5)
    np.testing.assert_allclose(matching.score("activation_pearson", a, b), expected, atol=2e-5)
    np.testing.assert_array_equal(counts.joint, (a > 0).T.astype(int) @ (b > 0).astype(int))
