"""Files of codes: what scipy wrote is read and the reverse, in blocks, what is wrong is told."""

import zipfile

import ml_dtypes
import numpy as np
import pytest
from scipy import sparse

from synthsae_jax import inputs, io
from synthsae_jax.errors import ConfigError

N, L = 50, 12


@pytest.fixture
def codes():
    rng = np.random.default_rng(0)
    dense = (rng.random((N, L)) < 0.2) * rng.gamma(2.0, size=(N, L))
    dense[3] = dense[N - 1] = 0
    dense[:, 5] = 0
    return sparse.csr_matrix(dense.astype(np.float32))


def assert_same(codes, expected):
    assert isinstance(codes, sparse.csr_matrix)
    assert codes.dtype == np.float32
    assert codes.shape == expected.shape
    assert codes.has_canonical_format
    np.testing.assert_array_equal(codes.toarray(), expected.toarray())


@pytest.mark.parametrize("compressed", [False, True])
def test_round_trip_and_scipy_reads_it(tmp_path, codes, compressed):
    path = io.save_codes(tmp_path / "deep" / "codes.npz", codes, compressed)
    assert_same(io.load_codes(path), codes)
    assert_same(sparse.csr_matrix(sparse.load_npz(path)), codes)


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csr_array])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
def test_what_scipy_wrote_is_read(tmp_path, codes, kind, dtype):
    stored = kind((codes.data.astype(dtype), codes.indices, codes.indptr), shape=codes.shape)
    sparse.save_npz(tmp_path / "codes.npz", stored)
    assert_same(io.load_codes(tmp_path / "codes.npz"), codes.astype(dtype).astype(np.float32))


def test_untidy_codes_are_tidied(tmp_path):
    # token 0 names latent 2 twice and out of order, token 1 stores a zero
    data, indices, indptr = [1.0, 2.0, 3.0, 0.0], [2, 0, 2, 1], [0, 3, 4]
    untidy = sparse.csr_matrix((data, indices, indptr), shape=(2, 3))
    expected = sparse.csr_matrix([[2.0, 0, 4.0], [0, 0, 0]])
    sparse.save_npz(tmp_path / "a.npz", untidy)
    found = io.load_codes(tmp_path / "a.npz")
    assert_same(found, expected)
    assert found.nnz == 2
    assert untidy.nnz == 4  # what was given is left alone
    assert_same(io.load_codes(io.save_codes(tmp_path / "b.npz", untidy)), expected)


@pytest.mark.parametrize("rows", [1, 7, 50, 1000])
def test_blocks_make_up_the_whole(tmp_path, codes, rows):
    path = io.save_codes(tmp_path / "codes.npz", codes)
    blocks = list(io.iter_codes(path, rows))
    assert [b.shape[0] for b in blocks[:-1]] == [rows] * (len(blocks) - 1)
    assert all(b.dtype == np.float32 and b.shape[1] == L for b in blocks)
    assert_same(sparse.csr_matrix(sparse.vstack(blocks)), codes)


def test_blocks_are_read_as_they_are_asked_for(tmp_path, codes):
    # the last values are damaged, which only the block that has them can know
    path = io.save_codes(tmp_path / "codes.npz", codes)
    data = codes.data.copy()
    data[-1] = np.inf
    sparse.save_npz(path, sparse.csr_matrix((data, codes.indices, codes.indptr), shape=codes.shape))
    blocks = io.iter_codes(path, 40)
    assert_same(next(blocks), codes[:40])
    with pytest.raises(ConfigError, match="from token 40: 1 codes are not finite"):
        next(blocks)


def test_dense_arrays_are_read(tmp_path, codes):
    np.save(tmp_path / "codes.npy", codes.toarray().astype(np.float16))
    expected = sparse.csr_matrix(codes.toarray().astype(np.float16).astype(np.float32))
    assert_same(io.load_codes(tmp_path / "codes.npy"), expected)
    assert [b.shape[0] for b in io.iter_codes(tmp_path / "codes.npy", 20)] == [20, 20, 10]


def test_no_tokens_are_codes_too(tmp_path):
    empty = sparse.csr_matrix((0, L), dtype=np.float32)
    assert_same(io.load_codes(io.save_codes(tmp_path / "codes.npz", empty)), empty)
    np.save(tmp_path / "codes.npy", np.zeros((0, L), np.float32))
    assert_same(io.load_codes(tmp_path / "codes.npy"), empty)


def wrong_files(codes):
    members = {
        "format": b"csr",
        "shape": np.array(codes.shape),
        "indptr": codes.indptr,
        "indices": codes.indices,
        "data": codes.data,
    }
    outside = np.where(np.arange(codes.nnz) == 3, L, codes.indices)
    falls = codes.indptr.copy()
    falls[2] = codes.nnz
    return members, [
        ({"format": b"coo"}, "holds a 'coo' matrix"),
        ({"data": None}, "lacks data"),
        ({"shape": np.array([N + 1, L])}, "is no CSR matrix: for 51 rows"),
        ({"shape": np.array([N, L, 1])}, "two whole numbers"),
        ({"indptr": falls}, "is no CSR matrix"),
        ({"data": codes.data[1:]}, "is no CSR matrix"),
        ({"indices": outside}, "names latents outside of its 12"),
        ({"indices": codes.indices - 1}, "names latents outside"),
        ({"indices": codes.indices.astype(float)}, "indices must be integers"),
        ({"data": codes.data.astype(complex)}, "data must be real numbers"),
        ({"data": codes.data.astype(object)}, "data holds pickled Python objects"),
        ({"data": codes.data[:, None]}, "in one dimension"),
        ({"data": np.full(codes.nnz, np.nan, np.float32)}, "are not finite"),
    ]


def test_files_that_are_no_codes_say_why(tmp_path, codes):
    path = tmp_path / "codes.npz"
    members, cases = wrong_files(codes)
    for change, message in cases:
        kept = {name: v for name, v in {**members, **change}.items() if v is not None}
        np.savez(path, **kept)
        with pytest.raises(ConfigError, match=message):
            io.load_codes(path)
    path.write_bytes(b"no archive")
    with pytest.raises(ConfigError, match=r"is no \.npz file"):
        io.load_codes(path)
    with zipfile.ZipFile(path, "w") as archive:
        for name in members:
            archive.writestr(f"{name}.npy", b"no array")
    with pytest.raises(ConfigError, match="format is damaged"):
        io.load_codes(path)
    with pytest.raises(ConfigError, match="no such file"):
        io.load_codes(tmp_path / "missing.npz")
    with pytest.raises(ConfigError, match="rows must be"):
        next(io.iter_codes(path, 0))
    for array, message in (
        (np.zeros(3), "must hold codes"),
        (np.array([["a"]]), "real numbers are needed"),
        (np.array([[None]]), "pickled Python objects"),
    ):
        np.save(tmp_path / "codes.npy", array)
        with pytest.raises(ConfigError, match=message):
            io.load_codes(tmp_path / "codes.npy")


def test_the_format_may_be_text_and_values_bfloat16(tmp_path, codes):
    path = tmp_path / "codes.npz"
    members, _ = wrong_files(codes)
    np.savez(path, **{**members, "format": "csr"})
    assert_same(io.load_codes(path), codes)
    half = codes.data.astype(ml_dtypes.bfloat16)
    np.savez(path, **{**members, "data": half})
    rounded = half.astype(np.float32)
    assert_same(
        io.load_codes(path), sparse.csr_matrix((rounded, codes.indices, codes.indptr), (N, L))
    )
    for word, message in (("x" * 2000, "must be one word"), ("\x1b[2J", r"'\\x1b\[2J'")):
        np.savez(path, **{**members, "format": word})
        with pytest.raises(ConfigError, match=message):
            io.load_codes(path)


def test_codes_that_float32_has_no_number_for_are_refused(tmp_path, codes):
    sparse.save_npz(tmp_path / "codes.npz", codes.astype(np.float64) * 1e300)
    np.save(tmp_path / "codes.npy", codes.toarray().astype(np.float64) * 1e300)
    for name in ("codes.npz", "codes.npy"):
        with pytest.raises(ConfigError, match="101 codes are too large for float32"):
            io.load_codes(tmp_path / name)


def test_small_files_that_declare_much_are_refused_at_once(tmp_path, codes):
    path = tmp_path / "codes.npz"
    members, _ = wrong_files(codes)
    empty = {"indptr": np.zeros(2, int), "indices": np.zeros(0, int), "data": np.zeros(0)}
    for change, message in (
        ({"shape": [1, 10**12], **empty}, "has 1,000,000,000,000 latents; from 1 to 16,777,216"),
        ({"shape": [1, 0], **empty}, "has 0 latents"),
        ({"shape": [10**11, L], **empty}, "for 100000000000 rows"),
        ({"shape": [-1, L], **empty}, "no CSR matrix"),
        ({"shape": [1.5, 2.0], **empty}, "two whole numbers"),
    ):
        np.savez(path, **{**members, **change})
        with pytest.raises(ConfigError, match=message):
            io.load_codes(path)
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (100000000000, 0)}"
    text = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()
    (tmp_path / "codes.npy").write_bytes(text)
    with pytest.raises(ConfigError, match="has 0 latents"):
        io.load_codes(tmp_path / "codes.npy")


def test_a_bomb_is_refused_before_memory_is_taken(tmp_path, codes, monkeypatch):
    path = tmp_path / "codes.npz"
    members, _ = wrong_files(codes)
    n = 3_000_000
    np.savez_compressed(
        path,
        **{
            **members,
            "indptr": np.array([0, n]),
            "shape": np.array([1, L]),
            "indices": np.zeros(n, np.int32),
            "data": np.zeros(n, np.float32),
        },
    )
    assert path.stat().st_size < n / 100
    monkeypatch.setattr(inputs, "memory", lambda: 50_000_000)
    with pytest.raises(ConfigError, match="would take 48 MB of memory; at most 25 MB"):
        io.load_codes(path)


def test_what_cannot_be_written_is_refused(tmp_path, codes):
    with pytest.raises(ConfigError, match=r"written as \.npz"):
        io.save_codes(tmp_path / "codes.npy", codes)
    codes.data[0] = np.nan
    with pytest.raises(ConfigError, match="not finite"):
        io.save_codes(tmp_path / "codes.npz", codes)
    assert not list(tmp_path.iterdir())
