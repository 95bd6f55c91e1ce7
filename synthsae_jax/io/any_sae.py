"""Anybody's SAE from disk: a folder of SAELens, or its plain arrays in one file."""

from __future__ import annotations

import dataclasses
import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from synthsae_jax import saes
from synthsae_jax.errors import ConfigError, require
from synthsae_jax.io import saelens_files as files
from synthsae_jax.io.atomic import PathLike
from synthsae_jax.io.saelens_sae import CONFIG, WEIGHTS, load_saelens_sae

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
        """The hash of each file that was read, by its name."""
        found = {}
        for path in self.files:
            with open(path, "rb") as file:
                found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
        return found


def load_sae(path: PathLike) -> LoadedSAE:
    """The SAE at a path: a folder of SAELens, or an .npz or .safetensors file of plain arrays.

    Arrays, by the names of SAELens: `W_dec [L, D]`, and as far as there are any `W_enc [D, L]`,
    `b_enc [L]`, `b_dec [D]`, `threshold [L]` (a latent fires above it; else above 0), the numbers
    `k` (only the k largest fire) and `apply_b_dec_to_input` (0 or 1: is b_dec taken off the input?
    Architectures differ in it, so it is not guessed). Codes are made by JumpReLU, TopK or ReLU.
    """
    place = Path(path).expanduser()
    if place.is_dir():
        sae, params = load_saelens_sae(place)
        encoder = None if params.W_enc is None else np.asarray(params.W_enc).T
        where = tuple(place / name for name in (CONFIG, WEIGHTS))
        return LoadedSAE(place, sae.name, np.asarray(params.W_dec), encoder, sae, params, where)
    require(place.exists(), f"There is no SAE at '{path}'.")
    require(
        place.suffix in SUFFIXES,
        f"{path}: an SAE is a folder of SAELens or a file of arrays ({', '.join(SUFFIXES)}).",
    )
    return _from_arrays(place, _read(place))


def _read(path: Path) -> dict[str, np.ndarray]:
    if path.suffix == ".safetensors":
        return files.read_tensors(path)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ConfigError(f"{path}: cannot be read as arrays ({error}).") from None


def _from_arrays(path: Path, given: Mapping[str, np.ndarray]) -> LoadedSAE:
    files.check_known(path, given, ARRAYS, "array")
    require("W_dec" in given, f"{path}: array 'W_dec' [L, D] is missing.")
    shape = given["W_dec"].shape
    require(
        len(shape) == 2 and min(shape) > 0,
        f"{path}: W_dec must be [L, D]; got {list(shape)}.",
    )
    n, d = shape
    shapes = {"W_dec": (n, d), "W_enc": (d, n), "b_enc": (n,), "b_dec": (d,), "threshold": (n,)}
    wide = {name: np.asarray(v, np.float32) for name, v in given.items() if name in shapes}
    weights = {name: files.check_shape(path, wide, name, shapes[name]) for name in wide}
    sae, params, why = _codes_of(path, weights, given)
    encoder = weights["W_enc"].T if "W_enc" in weights else None
    kind = "arrays" if sae is None else f"arrays ({sae.name})"
    return LoadedSAE(path, kind, weights["W_dec"], encoder, sae, params, (path,), why)


def _codes_of(
    path: Path, weights: Mapping[str, np.ndarray], given: Mapping[str, np.ndarray]
) -> tuple[saes.SAE | None, saes.SAEParams | None, str]:
    """What makes codes of activations, or why nothing does."""
    numbers = {name: given[name] for name in _NUMBERS if name in given}
    for name, value in numbers.items():
        require(value.size == 1, f"{path}: {name} must be one number; got {list(value.shape)}.")
    if "W_enc" not in weights:
        return None, None, f"{path} has no W_enc"
    if np.any(weights.get("b_dec", 0.0)) and "apply_b_dec_to_input" not in numbers:
        return None, None, f"{path} does not say apply_b_dec_to_input (0 or 1) and has a b_dec"
    n, d = weights["W_dec"].shape
    options = {"apply_b_dec_to_input": bool(np.ravel(numbers.get("apply_b_dec_to_input", 1))[0])}
    require(
        not {"threshold", "k"} <= {*weights, *numbers},
        f"{path}: threshold and k are two rules of firing; give one of them.",
    )
    zeros = {"b_enc": np.zeros(n, np.float32), "b_dec": np.zeros(d, np.float32)}
    params = saes.SAEParams(**{k: jnp.asarray(v) for k, v in {**zeros, **weights}.items()})
    if "threshold" in weights:
        return saes.build("jumprelu", d_in=d, d_sae=n, **options), params, ""
    if "k" in numbers:
        # ranked as they are: a file of arrays says nothing of another unit
        k = {"k": int(np.ravel(numbers["k"])[0]), "rescale_acts_by_decoder_norm": False}
        return saes.build("topk", d_in=d, d_sae=n, **k, **options), params, ""
    return saes.build("standard", d_in=d, d_sae=n, **options), params, ""
