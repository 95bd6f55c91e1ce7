"""Sparse codes as `.npz`: an SAE's latents on many tokens, most of them 0.

The file is what `scipy.sparse.save_npz` writes for a CSR matrix (indptr, indices, data, shape,
format; nothing pickled), so either reads what the other wrote. A dense `[n, L]` array saved as
`.npy` is read as well, memory-mapped.
"""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy import sparse

from synthsae_jax.errors import ConfigError, require
from synthsae_jax.io import atomic
from synthsae_jax.matching.csr import clean_codes

PathLike = str | os.PathLike[str]
BLOCK = 65_536  # tokens per block


def save_codes(path: PathLike, codes: sparse.csr_matrix, compressed: bool = False) -> Path:
    """Write codes `[n, L]` (any scipy sparse matrix) as a CSR `.npz`; returns the path.

    Values are float32, zeros are not stored, latents are in order within a token. Compressing
    takes ten times as long and saves about a half.
    """
    path = Path(path)
    require(path.suffix == ".npz", f"codes are written as .npz; given {path.name!r}.")
    csr = clean_codes(codes)
    _check_finite(str(path), csr.data)
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
    return sparse.csr_matrix(sparse.vstack(list(iter_codes(path)), format="csr"))


def iter_codes(path: PathLike, rows: int = BLOCK) -> Iterator[sparse.csr_matrix]:
    """The same codes in blocks of `rows` tokens (the last may be shorter), in bounded memory.

    What is held at once is a block, and the file's indptr: 8 bytes per token.
    """
    require(rows >= 1, f"rows must be at least 1; given {rows}.")
    path = Path(path)
    require(path.is_file(), f"No file of codes at {path}.")
    if path.suffix == ".npy":
        yield from _dense_blocks(path, rows)
    else:
        yield from _sparse_blocks(path, rows)


def _dense_blocks(path: Path, rows: int) -> Iterator[sparse.csr_matrix]:
    try:
        latents = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ConfigError(f"{path} is no .npy array of numbers: {error}.") from error
    require(
        latents.ndim == 2 and latents.dtype.kind in "fiub",
        f"{path} must hold codes [n, L] of numbers; it has {latents.dtype} {latents.shape}.",
    )
    for start in range(0, max(len(latents), 1), rows):
        block = sparse.csr_matrix(np.asarray(latents[start : start + rows], np.float32))
        _check_finite(f"{path} from token {start:,}", block.data)
        yield block


def _sparse_blocks(path: Path, rows: int) -> Iterator[sparse.csr_matrix]:
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise ConfigError(f"{path} is no .npz file: {error}.") from error
    with archive:
        missing = {f"{name}.npy" for name in _MEMBERS} - set(archive.namelist())
        require(
            not missing,
            f"{path} is no sparse matrix as scipy.sparse.save_npz writes it: "
            f"it lacks {', '.join(sorted(missing))}.",
        )
        read = lambda name: _Member(path, archive, name)
        with read("format") as stored:
            kind = bytes(stored.take(stored.size)[0]).decode("ascii", "replace")
        require(kind == "csr", f"{path} holds a {kind} matrix; save codes as CSR (.tocsr()).")
        with read("shape") as stored:
            shape = tuple(int(size) for size in stored.take(stored.size))
        require(len(shape) == 2, f"{path} must hold codes [n, L]; its shape is {shape}.")
        with read("indptr") as stored:
            indptr = stored.take(stored.size).astype(np.int64)
        with read("indices") as indices, read("data") as data:
            _check_indptr(path, indptr, shape[0], indices.size, data.size)
            for start in range(0, max(shape[0], 1), rows):
                ends = indptr[start : start + rows + 1]
                count = int(ends[-1] - ends[0])
                block = indices.take(count), data.take(count)
                yield _rows(path, start, *block, ends - ends[0], shape[1])


_MEMBERS = ("format", "shape", "indptr", "indices", "data")


class _Member:
    """One array of an archive, read from its start to its end in pieces."""

    def __init__(self, path: Path, archive: zipfile.ZipFile, name: str):
        self.where = f"{path}: {name}"
        self.file = archive.open(f"{name}.npy")
        try:
            version = np.lib.format.read_magic(self.file)
            read = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }[version]
            shape, _, self.dtype = read(self.file)
        except (ValueError, KeyError) as error:
            raise ConfigError(f"{self.where} is no array: {error}.") from error
        require(
            not self.dtype.hasobject and len(shape) <= 1,
            f"{self.where} must be a plain array of numbers in one dimension.",
        )
        self.size = shape[0] if shape else 1

    def __enter__(self) -> _Member:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def take(self, count: int) -> np.ndarray:
        """The next `count` numbers."""
        try:
            raw = self.file.read(count * self.dtype.itemsize)
        except zipfile.BadZipFile as error:
            raise ConfigError(f"{self.where} is damaged: {error}.") from error
        require(len(raw) == count * self.dtype.itemsize, f"{self.where} ends too early.")
        return np.frombuffer(raw, self.dtype)


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
    require(
        indices.dtype.kind in "iu" and data.dtype.kind in "fiub",
        f"{path}: indices must be integers and data numbers; "
        f"given {indices.dtype} and {data.dtype}.",
    )
    inside = indices.size == 0 or (int(indices.min()) >= 0 and int(indices.max()) < width)
    require(inside, f"{path} names latents outside of its {width:,} after token {start:,}.")
    _check_finite(f"{path} from token {start:,}", data)
    parts = data.astype(np.float32), indices.astype(np.int32), indptr.astype(np.int32)
    return clean_codes(sparse.csr_matrix(parts, shape=(indptr.size - 1, width)))


def _check_finite(where: str, values: np.ndarray) -> None:
    bad = values[~np.isfinite(values)]
    require(bad.size == 0, f"{where}: {bad.size:,} codes are not finite, such as {bad[:1]}.")
