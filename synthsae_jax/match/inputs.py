"""What `match_saes` is given, read and checked: SAEs, activations or codes on paired tokens."""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
from scipy import sparse

from synthsae_jax.errors import printable, require
from synthsae_jax.inputs import expanded
from synthsae_jax.io.any_sae import LoadedSAE, load_sae
from synthsae_jax.io.arrays import as_float32, map_array
from synthsae_jax.io.codes import load_codes
from synthsae_jax.io.numpy_files import NPY
from synthsae_jax.numerics import firings
from synthsae_jax.suite.progress import Reporter

PathLike = str | os.PathLike[str]
MODES = ("acts", "codes", "weights_only")
_BLOCK_BYTES = 64 << 20  # of dense codes, or activations, at a time
_MOST_CODES = 1 << 30  # values that are not 0, of one SAE: 8 GB


@dataclasses.dataclass(frozen=True)
class Side:
    """One SAE with what is known of its latents."""

    name: str
    loaded: LoadedSAE
    codes: sparse.csr_matrix | None = None  # float32 [n, L]
    acts: np.ndarray | None = None  # [n, D], memory-mapped
    read: Path | None = None  # the file of activations or codes

    @property
    def fired(self) -> np.ndarray | None:
        """int [L]: tokens on which each latent fires."""
        if self.codes is None:
            return None
        return firings(self.codes)


def read_sides(
    paths: Sequence[PathLike],
    acts: Sequence[PathLike],
    codes: Sequence[PathLike],
    weights_only: bool,
    same_space: str,
    report: Reporter,
) -> list[Side]:
    """The SAEs with their codes on paired tokens; what does not fit together is a `ConfigError`."""
    require(len(paths) >= 2, f"match takes two SAEs or more; given {len(paths)}.")
    modes = [name for name, v in zip(MODES, (acts, codes, weights_only)) if v]
    require(
        len(modes) == 1,
        "match takes one of --acts (model activations on paired tokens), --codes (latents on "
        f"paired tokens) and --weights-only; given {' and '.join(modes) or 'none'}.",
    )
    _check_files(len(paths), [Path(p) for p in acts], [Path(p) for p in codes])
    loaded = [load_sae(path) for path in paths]
    sides = [Side(name, sae) for name, sae in zip(_names(paths), loaded)]
    # before the work on the first pair, whichever pair it is
    for a, b in itertools.combinations(sides, 2):
        one_space, why = space(a, b, same_space)
        require(one_space or not weights_only, f"Nothing to match {a.name} and {b.name} by: {why}.")
    if weights_only:
        return sides
    if codes:
        read = [(Path(p), _codes(Path(p), side.loaded)) for p, side in zip(codes, sides)]
        _check_tokens([(path, matrix.shape[0]) for path, matrix in read])
        return [dataclasses.replace(s, codes=c, read=p) for s, (p, c) in zip(sides, read)]
    files = [Path(p) for p in (list(acts) * len(paths) if len(acts) == 1 else acts)]
    arrays = {path: _array(path) for path in dict.fromkeys(files)}
    _check_tokens([(path, len(array)) for path, array in arrays.items()])
    for path, side in zip(files, sides):
        width, sae = arrays[path].shape[1], side.loaded
        require(
            width == sae.d_in,
            f"{path} has activations of {width} dimensions, {sae.path} reads {sae.d_in}.",
        )
        require(
            sae.sae is not None,
            f"No codes can be made with this SAE: {sae.no_codes}. Give --codes or --weights-only.",
        )
    encoded = []
    for i, (path, side) in enumerate(zip(files, sides)):
        report(i / len(sides), f"codes of {side.name}")
        matrix = _encoded(path, arrays[path], side.loaded)
        encoded.append(dataclasses.replace(side, codes=matrix, acts=arrays[path], read=path))
    return encoded


def space(a: Side, b: Side, declared: str) -> tuple[bool, str]:
    """Are the directions of two SAEs compared as they stand, and why."""
    widths = a.loaded.d_in, b.loaded.d_in
    if widths[0] != widths[1]:
        why = f"they read {widths[0]} and {widths[1]} dimensions"
        require(
            declared != "yes", f"{a.name} and {b.name} cannot share an activation space: {why}."
        )
        return False, why
    if declared != "auto":
        return declared == "yes", "declared"
    if a.acts is not None and b.acts is not None:
        if a.read == b.read:
            return True, "they read the same file of activations"
    elif a.codes is None:
        return True, "taken for granted from weights alone"
    return False, "one activation space is not declared (same_space)"


def _check_files(n: int, acts: list[Path], codes: list[Path]) -> None:
    fits = not acts or len(acts) in (1, n)
    require(
        fits,
        f"{n} SAEs take {n} files of --acts, or one for all; given {len(acts)}.",
    )
    require(
        not codes or len(codes) == n,
        f"{n} SAEs take {n} files of --codes; given {len(codes)}.",
    )
    for path in (*acts, *codes):
        require(os.path.lexists(path), f"There is no file '{path}'.")


def _names(paths: Sequence[PathLike]) -> list[str]:
    """The last part of each path, or with its number where two would be alike, printable."""
    names = [printable(os.path.basename(os.path.realpath(expanded(p)))) for p in paths]
    return names if len(set(names)) == len(names) else [f"{i}:{n}" for i, n in enumerate(names)]


def _check_tokens(files: Sequence[tuple[Path, int]]) -> None:
    (first, n), *others = files
    for path, m in others:
        require(
            m == n,
            f"Tokens must be paired, row by row: {first} has {n}, {path} has {m}.",
        )
    require(n > 1, f"{first} has {n} tokens: more than one is needed.")


def _array(path: Path) -> np.ndarray:
    """A matrix in an .npy file, left on disk."""
    require(
        path.name.lower().endswith(NPY),
        f"{path}: activations are read from an {NPY} file, as numpy.save writes it.",
    )
    array = map_array(path)
    require(
        array.ndim == 2 and array.dtype.kind in "fiu" and array.shape[1] > 0,
        f"{path}: needs numbers [n, width] in an .npy file; got {array.dtype} {list(array.shape)}.",
    )
    return array


def _codes(path: Path, sae: LoadedSAE) -> sparse.csr_matrix:
    """The codes of a file, one column per latent of the SAE."""
    codes = load_codes(path)
    width = codes.shape[1]
    require(width == sae.d_sae, f"{path} has codes of {width} latents, {sae.path} has {sae.d_sae}.")
    return codes


def _encoded(path: Path, x: np.ndarray, loaded: LoadedSAE) -> sparse.csr_matrix:
    """Codes of all tokens, by the SAE's inference rule, a block at a time."""
    assert loaded.sae is not None
    rows = min(len(x), max(16, _BLOCK_BYTES // (4 * loaded.d_sae)))
    encode = jax.jit(loaded.sae.encode)

    def blocks() -> Iterator[np.ndarray]:
        for start in range(0, len(x), rows):
            block = as_float32(f"{path} from token {start:,}", np.asarray(x[start : start + rows]))
            # the last block is filled up, so that it runs the same program
            filled = np.pad(block, ((0, rows - len(block)), (0, 0)))
            yield np.asarray(encode(loaded.params, jnp.asarray(filled)))[: len(block)]

    parts, total = [], 0
    for block in blocks():
        parts.append(sparse.csr_matrix(block))
        total += parts[-1].nnz
        require(
            bool(np.isfinite(parts[-1].data).all()),
            f"{loaded.path} makes codes that are not finite.",
        )
        require(
            total <= _MOST_CODES,
            f"{loaded.path} makes more than {_MOST_CODES:,} codes that are not 0: give fewer "
            "tokens.",
        )
    return cast(sparse.csr_matrix, sparse.vstack(parts, format="csr"))
