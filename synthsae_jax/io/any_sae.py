"""Anybody's SAE from disk: a folder of SAELens, or its plain arrays in one file."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import os
import warnings
from collections.abc import Mapping
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from synthsae_jax import saes
from synthsae_jax.errors import ConfigError, printable, require
from synthsae_jax.inputs import PathLike, expanded, is_folder
from synthsae_jax.io import saelens_files as files
from synthsae_jax.io.arrays import Archive, open_arrays
from synthsae_jax.io.saelens_sae import CONFIG, load_saelens_sae, weight_files
from synthsae_jax.io.tensor_files import tensor_files
from synthsae_jax.modes import fixed

SUFFIXES = (".npz", ".safetensors")
_VECTORS = ("b_enc", "b_dec", "threshold")
_NUMBERS = ("k", "apply_b_dec_to_input")
ARRAYS = ("W_dec", "W_enc", *_VECTORS, *_NUMBERS)


@dataclasses.dataclass(frozen=True)
class LoadedSAE:
    """What was read: directions on the host, and where possible what turns activations to codes."""

    path: Path
    architecture: str
    decoder: np.ndarray  # float32 [L, D]
    encoder: np.ndarray | None  # float32 [L, D], W_enc.T; None: it has none
    sae: saes.SAE | None  # None: `no_codes` says why
    params: saes.SAEParams | None
    files: tuple[Path, ...]
    no_codes: str = ""

    @property
    def d_in(self) -> int:
        """D: dimensions of the activations it reads."""
        return self.decoder.shape[1]

    @property
    def d_sae(self) -> int:
        """L: its latents."""
        return self.decoder.shape[0]

    def sha256(self) -> dict[str, str]:
        """The hash of each file that was read, by its (printable) name."""
        hashes = {}
        for path in self.files:
            with open(path, "rb") as file:
                hashes[printable(path.name)] = hashlib.file_digest(file, "sha256").hexdigest()
        return hashes


@fixed
def load_sae(path: PathLike) -> LoadedSAE:
    """The SAE at a path: a folder of SAELens, or an .npz or .safetensors file of plain arrays.

    Arrays, by the names of SAELens: `W_dec [L, D]`, and as far as there are any `W_enc [D, L]`,
    `b_enc [L]`, `b_dec [D]`, `threshold [L]` (a latent fires above it; else above 0), the numbers
    `k` (only the k largest fire) and `apply_b_dec_to_input` (0 or 1: is b_dec taken off the input?
    Architectures differ in it, so it is not guessed). Codes are made by JumpReLU, TopK or ReLU.
    """
    source = expanded(path)
    if is_folder(source):
        sae, params = load_saelens_sae(source)
        encoder = None if params.W_enc is None else np.asarray(params.W_enc).T
        where = (source / CONFIG, *weight_files(source))
        return LoadedSAE(source, sae.name, np.asarray(params.W_dec), encoder, sae, params, where)
    parts = tensor_files(source)
    require(os.path.lexists(source) or len(parts) > 1, f"There is no SAE at '{path}'.")
    require(
        source.name.lower().endswith(SUFFIXES),
        f"{path}: an SAE is a folder of SAELens or a file of arrays ({', '.join(SUFFIXES)}).",
    )
    with open_arrays(source, *SUFFIXES) as archive:
        return _from_arrays(source, archive, parts)


def _from_arrays(path: Path, archive: Archive, parts: tuple[Path, ...]) -> LoadedSAE:
    files.check_known(path, archive, ARRAYS, "array")
    require("W_dec" in archive, f"{path}: array 'W_dec' [L, D] is missing.")
    shape = archive["W_dec"].shape
    require(
        len(shape) == 2 and min(shape) > 0,
        f"{path}: W_dec must be [L, D]; got {list(shape)}.",
    )
    n, d = shape
    _check_not_transposed(path, archive, n, d)
    weights = files.read_tensors(
        archive, {k: v for k, v in _shapes(n, d).items() if k in archive}, "array"
    )
    numbers = {name: _number(path, archive, name) for name in _NUMBERS if name in archive}
    sae, params, why = _codes_of(path, weights, numbers)
    encoder = weights["W_enc"].T if "W_enc" in weights else None
    kind = "arrays" if sae is None else f"arrays ({sae.name})"
    return LoadedSAE(path, kind, weights["W_dec"], encoder, sae, params, parts, why)


def _shapes(n: int, d: int) -> dict[str, tuple[int, ...]]:
    return {"W_dec": (n, d), "W_enc": (d, n), "b_enc": (n,), "b_dec": (d,), "threshold": (n,)}


def _check_not_transposed(path: Path, archive: Archive, n: int, d: int) -> None:
    """Raise where vectors say that L and D are the other way round; warn where nothing says it."""
    sizes = {k: archive[k].size for k in ("b_enc", "b_dec", "threshold") if k in archive}
    telling = {k: size for k, size in sizes.items() if size in (n, d) and n != d}
    as_read = [k for k, size in telling.items() if _shapes(n, d)[k] == (size,)]
    swapped = [k for k in telling if k not in as_read]
    both = "W_enc" not in archive or archive["W_enc"].shape == (d, n)
    require(
        not (both and swapped and not as_read),
        f"{path}: W_dec {[n, d]} has a latent per row, but {' and '.join(swapped)} belong to {d} "
        f"latents of {n} dimensions: transpose W_dec and W_enc.",
    )
    if n < d and both and not telling:
        warnings.warn(
            f"{path}: W_dec {[n, d]} is read as {n} latents of {d} dimensions, a latent per row; "
            "if it is the other way round, transpose W_dec and W_enc.",
            stacklevel=4,
        )


def _number(path: Path, archive: Archive, name: str) -> int | bool:
    value = archive[name].number()
    if name == "k":
        whole = not isinstance(value, bool) and math.isfinite(value) and value == int(value)
        require(whole, f"{path}: k must be a whole number; got {value!r}.")
        return int(value)
    require(value in (0, 1), f"{path}: {name} must be 0 or 1; got {value!r}.")
    return bool(value)


def _codes_of(
    path: Path, weights: Mapping[str, np.ndarray], numbers: Mapping[str, int | bool]
) -> tuple[saes.SAE | None, saes.SAEParams | None, str]:
    """What makes codes of activations, or why nothing does."""
    if "W_enc" not in weights:
        return None, None, f"{path} has no W_enc"
    if np.any(weights.get("b_dec", 0.0)) and "apply_b_dec_to_input" not in numbers:
        return None, None, f"{path} does not say apply_b_dec_to_input (0 or 1) and has a b_dec"
    n, d = weights["W_dec"].shape
    options = {"apply_b_dec_to_input": numbers.get("apply_b_dec_to_input", True)}
    require(
        not {"threshold", "k"} <= {*weights, *numbers},
        f"{path}: threshold and k are two rules of firing; give one of them.",
    )
    zeros = {"b_enc": np.zeros(n, np.float32), "b_dec": np.zeros(d, np.float32)}
    params = saes.SAEParams(**{k: jnp.asarray(v) for k, v in {**zeros, **weights}.items()})
    name = "standard"
    if "threshold" in weights:
        name = "jumprelu"
    elif "k" in numbers:
        name = "topk"
        # ranked as they are: a file of arrays says nothing of another unit
        options |= {"k": numbers["k"], "rescale_acts_by_decoder_norm": False}
    try:
        return saes.build(name, d_in=d, d_sae=n, **options), params, ""
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
