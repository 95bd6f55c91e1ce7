"""SAEs in SAELens' inference format, both ways: `cfg.json` and `sae_weights.safetensors`.

Architectures whose inference is another one's are written as that (BatchTopK and what is built on
it as JumpReLU, p-annealing as standard, ordered as TopK), those of several models for all of them.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from synthsae_jax import saes
from synthsae_jax.errors import ConfigError, require, short, unknown_name
from synthsae_jax.inputs import PathLike
from synthsae_jax.io import saelens_files as files
from synthsae_jax.io.arrays import as_float32, open_arrays
from synthsae_jax.io.saelens_old import of_old_version
from synthsae_jax.io.tensor_files import SAFETENSORS, tensor_files
from synthsae_jax.modes import fixed
from synthsae_jax.strict_json import read_object

CONFIG, WEIGHTS = "cfg.json", "sae_weights.safetensors"
_MOST_CONFIG = 1 << 20  # bytes
# buffers of SAELens' trainer that some published weights carry along
_STRAY = "coefficient_autotuner."
_MUST_BE_NONE = ("normalize_activations", "reshape_activations")


@dataclasses.dataclass(frozen=True)
class _Format:
    """What a folder of one architecture holds: tensors, and options with their value where absent.

    The values are the defaults of SAELens' inference class (6.54). Those of its training class,
    which `saes.build` follows, may differ.
    """

    tensors: tuple[str, ...]
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


_LINEAR = ("W_enc", "b_enc", "W_dec", "b_dec")
_TOP_K = {"k": 100, "rescale_acts_by_decoder_norm": False}
_PURSUIT = {"max_iterations": None, "residual_threshold": 0.01, "stop_on_duplicate_support": True}
_FORMATS = {
    "standard": _Format(_LINEAR),
    "jumprelu": _Format((*_LINEAR, "threshold")),
    "topk": _Format(_LINEAR, _TOP_K),
    "abstopk": _Format(_LINEAR, _TOP_K),
    "gated": _Format(("W_enc", "W_dec", "b_dec", "b_gate", "b_mag", "r_mag")),
    "matching_pursuit": _Format(("W_dec", "b_dec"), _PURSUIT),
}
# our names where theirs differ, and what becomes another architecture when finalized
_THRESHOLDED = (
    *("aligned", "archetypal", "batchtopk", "crosscoder", "frozen", "matryoshka"),
    *("min_firing_batchtopk", "mutual"),
)
_WRITTEN_AS = {
    "abs_topk": "abstopk",
    "crosscoder_l1": "standard",
    "ordered": "topk",
    "p_annealing": "standard",
    **dict.fromkeys(_THRESHOLDED, "jumprelu"),
}
_READ_AS = {"abstopk": "abs_topk"}
_COMMON = (
    *("architecture", "d_in", "d_sae", "dtype", "device", "apply_b_dec_to_input"),
    *("normalize_activations", "reshape_activations", "metadata"),
)


@fixed
def load_saelens_sae(path: PathLike) -> tuple[saes.SAE, saes.SAEParams]:
    """SAE and weights of a folder that SAELens' `save_model` or `save_inference_model` wrote.

    Weights come out as float32 whatever their type. A key that is absent means what SAELens'
    inference class means by it; folders from before its version 6 are read as it reads them.
    Raises `ConfigError` for what would change the numbers and is not done here: normalised or
    reshaped activations, keys and tensors of unknown meaning.
    """
    directory = files.folder(path)
    where = directory / CONFIG
    options = {key for kind in _FORMATS.values() for key in kind.options}
    config = of_old_version(where, read_object(where, most=_MOST_CONFIG), _COMMON, options)
    name = config.get("architecture")
    if name is None:
        raise ConfigError(
            f"{where}: architecture is missing; it must be one of {', '.join(sorted(_FORMATS))}."
        )
    if not isinstance(name, str) or name not in _FORMATS:
        raise ConfigError(f"{where}: {unknown_name('architecture', name, _FORMATS)}")
    files.check_known(where, config, (*_COMMON, *_FORMATS[name].options), "key")
    for key in _MUST_BE_NONE:
        require(
            config.get(key, "none") == "none",
            f"{where}: {key} must be 'none'; got {short(config.get(key))}. Fold it into the "
            "weights (SAELens does when training ends) or transform the activations beforehand.",
        )
    for key in ("d_in", "d_sae"):
        size = config.get(key)
        require(
            isinstance(size, int) and not isinstance(size, bool) and size >= 1,
            f"{where}: {key} must be a whole number of at least 1; got {short(size)}.",
        )
    choices = {key: config.get(key, value) for key, value in _FORMATS[name].options.items()}
    choices["apply_b_dec_to_input"] = config.get("apply_b_dec_to_input", True)
    ours = _READ_AS.get(name, name)
    try:
        sae = saes.build(ours, d_in=config["d_in"], d_sae=config["d_sae"], **choices)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    return sae, _read_weights(directory / WEIGHTS, name, sae)


def weight_files(folder: Path) -> tuple[Path, ...]:
    """The files of a folder that its weights lie in."""
    return tensor_files(folder / WEIGHTS)


@fixed
def save_saelens_sae(
    path: PathLike, sae: saes.SAE, params: saes.SAEParams, *, hyper: Any = None
) -> Path:
    """Write an SAE with finalized weights as a folder that SAELens' `SAE.load_from_disk` reads.

    `hyper` are the numbers of the run where they are not the SAE's own, as for a run of a sweep
    over k. Raises `ConfigError` for an SAE whose inference rule the format has no name for, and for
    weights of several runs or that are not finite. Returns the folder.
    """
    name = _WRITTEN_AS.get(sae.name, sae.name)
    require(
        name in _FORMATS,
        f"SAELens' format has no inference rule for SAE {sae.name!r}; it has "
        f"{', '.join(sorted({*_FORMATS, *_WRITTEN_AS} - {*_READ_AS}))}.",
    )
    shapes = _shapes(sae.d_in, sae.d_sae)
    tensors = {}
    for key in _FORMATS[name].tensors:
        tensor = getattr(params, key)
        require(
            tensor is not None,
            f"The weights have no {key!r}; finalize them first: sae.finalize(params, state).",
        )
        require(
            tensor.shape == shapes[key],
            f"{key} must have shape {list(shapes[key])}; got {list(tensor.shape)} (one run at a "
            "time).",
        )
        tensors[key] = np.asarray(tensor, np.float32)
        require(bool(np.isfinite(tensors[key]).all()), f"{key} holds values that are not finite.")
    if hyper is not None:
        require(
            all(np.ndim(value) == 0 for value in jax.tree.leaves(hyper)),
            "hyper must be the numbers of one run.",
        )
        sae = dataclasses.replace(sae, hyper=hyper)
    choices = sae.config()
    config: dict[str, Any] = {
        "d_in": sae.d_in,
        "d_sae": sae.d_sae,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": choices["apply_b_dec_to_input"],
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {"training_architecture": sae.name},
        **{key: choices[key] for key in _FORMATS[name].options},
        "architecture": name,
    }
    content = {CONFIG: json.dumps(config).encode(), WEIGHTS: files.to_tensors(tensors)}
    return files.write_folder(path, content, content)


def _read_weights(path: Path, name: str, sae: saes.SAE) -> saes.SAEParams:
    names = _FORMATS[name].tensors
    shapes = _shapes(sae.d_in, sae.d_sae)
    with open_arrays(path, SAFETENSORS) as archive:
        stored = {key: key for key in archive if not key.startswith(_STRAY)}
        if "threshold" in names and "threshold" not in stored:
            # before 6.48 SAELens stored the logarithm
            stored = {"threshold" if k == "log_threshold" else k: k for k in stored}
        files.check_known(path, stored, names, "tensor")
        wanted = {stored.get(key, key): shapes[key] for key in names}
        tensors = files.read_tensors(archive, wanted)
    logarithm = tensors.pop("log_threshold", None)
    if logarithm is not None:
        with np.errstate(over="ignore"):
            threshold = np.exp(logarithm.astype(np.float64))
        tensors["threshold"] = as_float32(f"{path}: exp(log_threshold)", threshold)
    return saes.SAEParams(**{key: jnp.asarray(tensors[key]) for key in names})


def _shapes(d_in: int, d_sae: int) -> dict[str, tuple[int, ...]]:
    latent = {name: (d_sae,) for name in ("b_enc", "threshold", "b_gate", "b_mag", "r_mag")}
    return {"W_enc": (d_in, d_sae), "W_dec": (d_sae, d_in), "b_dec": (d_in,), **latent}
