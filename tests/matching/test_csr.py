"""Counts from sparse codes: equal to those of dense arrays, however they are stored and cut."""

import tracemalloc

import jax
import numpy as np
import oracles
import pytest
from scipy import sparse

from synthsae_jax import matching
from synthsae_jax.errors import ConfigError
from synthsae_jax.matching import PairCounts, csr, strata
from synthsae_jax.matching.csr import count_blocks

L_A, L_B, N = 9, 6, 240


@pytest.fixture(scope="module")
def dense():
    """Latents of all rates, dead ones, one that is always on, one that is negative; empty rows."""
    rng = np.random.default_rng(0)
    draw = lambda m: (rng.random((N, m)) < rng.uniform(0.02, 0.6, m)) * rng.gamma(2.0, size=(N, m))
    a, b = draw(L_A), draw(L_B)
    b[:, 4] = a[:, 6] * rng.uniform(0.5, 1.5, N)
    a[:, 1] = b[:, 2] = 0
    a[7] = b[7] = a[9] = b[11] = 0
    a[:, 3] = 5 + 0.01 * rng.normal(size=N)
    a[:, 5] *= -1
    return a.astype(np.float32), b.astype(np.float32)


@pytest.fixture(scope="module")
def from_dense(dense):
    return PairCounts.init(L_A, L_B).update(*dense)


def same(found, expected):
    """Counts equal; float32 sums of 240 values of order 1 to 25 to some rounding."""
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected)):
        assert one.dtype == other.dtype
        if one.dtype == np.int32:
            np.testing.assert_array_equal(one, other)
        else:
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=5e-3)


@pytest.mark.parametrize("meetings", [csr.MEETINGS, 7])
def test_counts_equal_those_of_arrays(dense, from_dense, monkeypatch, meetings):
    # 7: shares of a latent or two, and latents that take many pieces
    monkeypatch.setattr(csr, "MEETINGS", meetings)
    a, b = map(sparse.csr_matrix, dense)
    found = matching.pair_counts_from_codes(a, b)
    same(found, from_dense)
    on_a, on_b = (v != 0 for v in dense)
    np.testing.assert_array_equal(found.joint, on_a.T.astype(int) @ on_b.astype(int))
    x, y = (v.astype(np.float64) - v.mean(0, dtype=np.float64) for v in dense)
    # rounded once to float32, from float64: of the latent that is always on, too
    np.testing.assert_allclose(found.moments.cross, x.T @ y, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(found.moments.spread_a, (x**2).sum(0), rtol=1e-6)
    np.testing.assert_allclose(
        found.score("activation_pearson"), oracles.pearson(*dense), rtol=1e-5, atol=1e-6
    )


def test_any_sparse_matrix_will_do(dense, from_dense):
    a, b = dense
    same(matching.pair_counts_from_codes(sparse.csc_array(a), sparse.coo_matrix(b)), from_dense)
    # out of order, with a zero stored and a value in two parts
    tidy = sparse.csr_matrix(a)
    first = tidy.indptr[:-1][np.diff(tidy.indptr) > 0]
    data, indices = np.repeat(tidy.data / 2, 2), np.repeat(tidy.indices, 2)
    data = np.insert(data, 2 * first, 0.0)
    indices = np.insert(indices, 2 * first, L_A - 1)
    indptr = 2 * tidy.indptr + np.concatenate([[0], np.cumsum(np.diff(tidy.indptr) > 0)])
    untidy = sparse.csr_matrix((data, indices, indptr), shape=a.shape)
    assert untidy.nnz > 2 * tidy.nnz
    assert not untidy.has_sorted_indices
    same(matching.pair_counts_from_codes(untidy, sparse.csr_matrix(b)), from_dense)


def test_parts_merge(dense, from_dense):
    cut = [(v[:100], v[100:]) for v in dense]
    first, second = (matching.pair_counts_from_codes(*map(sparse.csr_matrix, v)) for v in zip(*cut))
    same(first.merge(second), from_dense)
    same(second.merge(PairCounts.init(L_A, L_B).update(cut[0][0], cut[1][0])), from_dense)


def test_strata_may_be_given(dense):
    some = np.random.default_rng(2).integers(0, strata.N_STRATA, N)
    a, b = map(sparse.csr_matrix, dense)
    found = matching.pair_counts_from_codes(a, b, strata=some)
    for side, on in ((found.strata_a, dense[0] != 0), (found.strata_b, dense[1] != 0)):
        expected = np.zeros((strata.N_STRATA, on.shape[1]), int)
        np.add.at(expected, some, on)
        np.testing.assert_array_equal(side, expected)
    np.testing.assert_array_equal(found.tokens, np.bincount(some, minlength=strata.N_STRATA))
    for wrong in (some[1:], np.full(N, strata.N_STRATA), np.full(N, -1)):
        with pytest.raises(ConfigError, match="strata must be int"):
            matching.pair_counts_from_codes(a, b, strata=wrong)


def test_all_scores_by_blocks(dense, from_dense, monkeypatch):
    monkeypatch.setattr(csr, "ROWS", 4)
    names = [name for name in matching.count_scores if name != "preactivation_pearson"]
    a, b = map(sparse.csr_matrix, dense)
    found = matching.scores_from_codes(names, a, b)
    assert list(found) == names
    for name in names:
        assert found[name].dtype == np.float32
        # the scores of the streamed counts differ by the rounding of their sums
        np.testing.assert_allclose(found[name], from_dense.score(name), atol=2e-5, rtol=1e-4)
    blocks = list(count_blocks(a, b, rows=4))
    assert [part for part, _ in blocks] == [slice(0, 4), slice(4, 8), slice(8, 9)]
    with pytest.raises(ConfigError, match="rows must be"):
        next(count_blocks(a, b, rows=0))
    with pytest.raises(ConfigError, match="activation_pearson"):
        matching.scores_from_codes(["activation_person"], a, b)


def test_no_tokens_and_nothing_that_fires():
    none = matching.pair_counts_from_codes(sparse.csr_matrix((0, 3)), sparse.csr_matrix((0, 2)))
    same(none, PairCounts.init(3, 2))
    silent = matching.pair_counts_from_codes(sparse.csr_matrix((5, 3)), sparse.csr_matrix((5, 2)))
    assert int(silent.n) == 5
    assert not np.asarray(silent.alive_a).any()
    assert np.isnan(silent.score("jaccard")).all()
    np.testing.assert_array_equal(silent.score("activation_pearson"), np.zeros((3, 2)))


def test_a_diverged_latent_spoils_its_own_scores_alone(dense):
    a = dense[0].copy()
    a[17, 2] = np.nan
    sides = sparse.csr_matrix(a), sparse.csr_matrix(dense[1])
    pearson = matching.scores_from_codes(["activation_pearson"], *sides)["activation_pearson"]
    assert np.isnan(pearson[2]).all()
    expected = oracles.pearson(*dense)
    keep = np.arange(L_A) != 2
    np.testing.assert_allclose(pearson[keep], expected[keep], rtol=1e-5, atol=1e-6)


def test_what_is_no_pair_of_codes_is_refused(dense):
    a, b = map(sparse.csr_matrix, dense)
    with pytest.raises(ConfigError, match=r"same token.* 240 and 239"):
        matching.pair_counts_from_codes(a, b[1:])
    with pytest.raises(ConfigError, match=r"two scipy sparse matrices.*csr_matrix and ndarray"):
        matching.pair_counts_from_codes(a, dense[1])


def test_blocks_of_wide_codes_take_little_memory():
    # 3,000 x 3,000 latents: the counts as a whole take 72 MB, a block of 256 latents 6 MB
    rng = np.random.default_rng(3)
    n, width = 400, 3000
    codes = sparse.csr_matrix(
        (np.ones(n * 5, np.float32), rng.integers(0, width, n * 5), np.arange(n + 1) * 5),
        shape=(n, width),
    )
    tracemalloc.start()
    total = sum(int(counts.joint.sum()) for _, counts in count_blocks(codes, codes, rows=256))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == int((np.diff(csr.clean_codes(codes).indptr) ** 2).sum())
    # numpy's own: the block's joint and cross, shares in four threads, strata of both sides (35 MB)
    assert peak < 64e6
