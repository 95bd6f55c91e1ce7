"""Sparse codes as `.npz`: an SAE's latents on many tokens, most of them 0.

The file is what `scipy.sparse.save_npz` writes for a CSR matrix (indptr, indices, data, shape,
format; nothing pickled), so either reads what the other wrote. A dense `[n, L]` array saved as
`.npy` is read as well, memory-mapped.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from scipy import sparse

from synthsae_jax.errors import require, short
from synthsae_jax.inputs import PathLike, check_memory
from synthsae_jax.io import atomic
from synthsae_jax.io.array_entry import Entry
from synthsae_jax.io.arrays import as_float32, map_array, open_arrays
from synthsae_jax.io.numpy_files import NPY, NPZ
from synthsae_jax.matching.csr import clean_codes

BLOCK = 65_536  # tokens per block
MOST_LATENTS = 1 << 24
_LONGEST_WORD = 1024  # bytes


def save_codes(path: PathLike, codes: sparse.csr_matrix, compressed: bool = False) -> Path:
    """Write codes `[n, L]` (any scipy sparse matrix) as a CSR `.npz`; returns the path.

    Values are float32, zeros are not stored, latents are in order within a token. Compressing
    takes ten times as long and saves about a half.
    """
    path = Path(path)
    require(path.suffix == ".npz", f"codes are written as .npz; given {path.name!r}.")
    csr = clean_codes(codes)
    as_float32(str(path), csr.data, "codes")
    buffer = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(
        buffer,
        indices=csr.indices,
        indptr=csr.indptr,
        format=b"csr",
        shape=np.array(csr.shape),
        data=csr.data,
    )
    return atomic.write_bytes(path, buffer.getvalue())


def load_codes(path: PathLike) -> sparse.csr_matrix:
    """Codes `[n, L]` as float32 CSR, sorted and without zeros, from `.npz` or dense `.npy`.

    A file that is no such matrix is a `ConfigError`: it says what is wrong with it. Values must be
    finite, since one that is not spoils every score of its latent.
    """
    return sparse.csr_matrix(sparse.vstack(list(_blocks(path, BLOCK, whole=True)), format="csr"))


def iter_codes(path: PathLike, rows: int = BLOCK) -> Iterator[sparse.csr_matrix]:
    """The same codes in blocks of `rows` tokens (the last may be shorter), in bounded memory.

    What is held at once is a block, and the file's indptr: 8 bytes per token.
    """
    require(rows >= 1, f"rows must be at least 1; given {rows}.")
    yield from _blocks(path, rows, whole=False)


def _blocks(path: PathLike, rows: int, whole: bool) -> Iterator[sparse.csr_matrix]:
    path = Path(path)
    if path.name.lower().endswith(NPY):
        yield from _dense_blocks(path, rows)
    else:
        yield from _sparse_blocks(path, rows, whole)


def _dense_blocks(path: Path, rows: int) -> Iterator[sparse.csr_matrix]:
    latents = map_array(path)
    require(
        latents.ndim == 2,
        f"{path} must hold codes [n, L] of numbers; it has {latents.dtype} {list(latents.shape)}.",
    )
    _check_width(path, latents.shape[1])
    for start in range(0, max(len(latents), 1), rows):
        where = f"{path} from token {start:,}"
        block = np.asarray(latents[start : start + rows])
        check_memory(where, block.size * 4)
        yield sparse.csr_matrix(as_float32(where, block, "codes"))


_MEMBERS = ("format", "shape", "indptr", "indices", "data")


def _sparse_blocks(path: Path, rows: int, whole: bool) -> Iterator[sparse.csr_matrix]:
    with open_arrays(path, NPZ) as archive:
        missing = [name for name in _MEMBERS if name not in archive]
        require(
            not missing,
            f"{path} is no sparse matrix as scipy.sparse.save_npz writes it: "
            f"it lacks {', '.join(missing)}.",
        )
        members = {name: archive[name] for name in _MEMBERS}
        kind = _word(members["format"])
        require(
            kind == "csr",
            f"{path} holds a {short(kind)} matrix; save codes as CSR (.tocsr()).",
        )
        n, width = _shape(members["shape"])
        _check_width(path, width)
        _check_members(path, members, n)
        indptr = members["indptr"].read().astype(np.int64)
        indices, data = members["indices"], members["data"]
        _check_indptr(path, indptr, n, indices.size, data.size)
        # a value and its latent take 8 bytes, and blocks are put together by copying
        starts = np.append(indptr[:-1:rows], indptr[-1])
        largest = indptr[-1] if whole else np.diff(starts).max(initial=0)
        check_memory(str(path), (16 if whole else 8) * int(largest))
        with indices.stream() as latents, data.stream() as values:
            for start in range(0, max(n, 1), rows):
                ends = indptr[start : start + rows + 1]
                count = int(ends[-1] - ends[0])
                block = latents.take(count), values.take(count)
                yield _rows(path, start, *block, ends - ends[0], width)


def _word(entry: Entry) -> str:
    """The one word of an array, which scipy writes as bytes or as text."""
    require(
        entry.size == 1 and entry.dtype.kind in "SU" and entry.dtype.itemsize <= _LONGEST_WORD,
        f"{entry.where} must be one word such as 'csr'; got {entry.dtype} {list(entry.shape)}.",
    )
    word = entry.read().item()
    return word.decode("ascii", "replace") if isinstance(word, bytes) else word


def _shape(entry: Entry) -> tuple[int, int]:
    require(
        entry.shape == (2,) and entry.dtype.kind in "iu",
        f"{entry.where} must be two whole numbers, codes are [n, L]; its shape is "
        f"{list(entry.shape)}, of {entry.dtype}.",
    )
    n, width = (int(size) for size in entry.read())
    return n, width


def _check_width(path: Path, width: int) -> None:
    # of each latent there are counts and moments, so an empty file could ask for any memory
    require(
        1 <= width <= MOST_LATENTS,
        f"{path} has {width:,} latents; from 1 to {MOST_LATENTS:,} are read.",
    )


def _check_members(path: Path, members: Mapping[str, Entry], n: int) -> None:
    """Raise where what would be read is of another kind or size than codes have."""
    for name, kinds in (("indptr", "iu"), ("indices", "iu"), ("data", "fiub")):
        entry = members[name]
        what = "integers" if kinds == "iu" else "real numbers"
        require(
            entry.dtype.kind in kinds and len(entry.shape) == 1,
            f"{entry.where} must be {what} in one dimension; got {entry.type} {list(entry.shape)}.",
        )
    require(
        members["indptr"].size == n + 1,
        f"{path} is no CSR matrix: for {n} rows, indptr must have {n + 1} numbers; it has "
        f"{members['indptr'].size}.",
    )


def _check_indptr(path: Path, indptr: np.ndarray, n: int, n_indices: int, n_data: int) -> None:
    require(
        indptr.size == n + 1
        and indptr[0] == 0
        and bool(np.all(np.diff(indptr) >= 0))
        and indptr[-1] == n_indices == n_data,
        f"{path} is no CSR matrix: for {n} rows, indptr must rise from 0 to the {n_indices} "
        f"indices and {n_data} values in {n + 1} steps.",
    )


def _rows(
    path: Path, start: int, indices: np.ndarray, data: np.ndarray, indptr: np.ndarray, width: int
) -> sparse.csr_matrix:
    inside = indices.size == 0 or (int(indices.min()) >= 0 and int(indices.max()) < width)
    require(inside, f"{path} names latents outside of its {width:,} after token {start:,}.")
    values = as_float32(f"{path} from token {start:,}", data, "codes")
    parts = values, indices.astype(np.int32), indptr.astype(np.int32)
    return clean_codes(sparse.csr_matrix(parts, shape=(indptr.size - 1, width)))
