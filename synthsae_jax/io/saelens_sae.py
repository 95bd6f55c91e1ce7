"""SAEs in SAELens' inference format, both ways: `cfg.json` and `sae_weights.safetensors`.

Architectures whose inference is another one's are written as that (BatchTopK and what is built on
it as JumpReLU, p-annealing as standard, ordered as TopK), those of several models for all of them.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from synthsae_jax import saes
from synthsae_jax.errors import ConfigError, require, unknown_name
from synthsae_jax.io import saelens_files as files
from synthsae_jax.io.atomic import PathLike

CONFIG, WEIGHTS = "cfg.json", "sae_weights.safetensors"
# buffers of SAELens' trainer that some published weights carry along
_STRAY = "coefficient_autotuner."
_MUST_BE_NONE = ("normalize_activations", "reshape_activations")


@dataclasses.dataclass(frozen=True)
class _Format:
    """What a folder of one architecture holds, and by which options of ours it is built."""

    tensors: tuple[str, ...]
    options: tuple[str, ...] = ()


_FORMATS = {
    "standard": _Format(("W_enc", "b_enc", "W_dec", "b_dec")),
    "jumprelu": _Format(("W_enc", "b_enc", "W_dec", "b_dec", "threshold")),
    "topk": _Format(("W_enc", "b_enc", "W_dec", "b_dec"), ("k", "rescale_acts_by_decoder_norm")),
    "abstopk": _Format(("W_enc", "b_enc", "W_dec", "b_dec"), ("k", "rescale_acts_by_decoder_norm")),
    "gated": _Format(("W_enc", "W_dec", "b_dec", "b_gate", "b_mag", "r_mag")),
    "matching_pursuit": _Format(
        ("W_dec", "b_dec"), ("max_iterations", "residual_threshold", "stop_on_duplicate_support")
    ),
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


def load_saelens_sae(path: PathLike) -> tuple[saes.SAE, saes.SAEParams]:
    """SAE and weights of a folder that SAELens' `save_model` or `save_inference_model` wrote.

    Weights come out as float32 whatever their type. Raises `ConfigError` for what would change the
    numbers and is not done here: normalised or reshaped activations, keys and tensors of unknown
    meaning.
    """
    place = files.folder(path)
    where = place / CONFIG
    config = files.read_object(where)
    name = config.get("architecture")
    if name not in _FORMATS:
        raise ConfigError(f"{where}: {unknown_name('architecture', name, _FORMATS)}")
    files.check_known(where, config, (*_COMMON, *_FORMATS[name].options), "key")
    for key in _MUST_BE_NONE:
        require(
            config.get(key, "none") == "none",
            f"{where}: {key} must be 'none'; got {config.get(key)!r}. Fold it into the weights "
            "(SAELens does when training ends) or transform the activations beforehand.",
        )
    for key in ("d_in", "d_sae"):
        require(isinstance(config.get(key), int), f"{where}: {key} must be a whole number.")
    options = {key: config[key] for key in _FORMATS[name].options if key in config}
    options["apply_b_dec_to_input"] = config.get("apply_b_dec_to_input", True)
    ours = _READ_AS.get(name, name)
    try:
        sae = saes.build(ours, d_in=config["d_in"], d_sae=config["d_sae"], **options)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    return sae, _read_weights(place / WEIGHTS, name, sae)


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
    tensors = {
        key: tensor
        for key, tensor in files.read_tensors(path).items()
        if not key.startswith(_STRAY)
    }
    known = _FORMATS[name].tensors
    if "threshold" in known and "log_threshold" in tensors:
        # before 6.48 SAELens stored the logarithm
        tensors.setdefault("threshold", np.exp(tensors.pop("log_threshold").astype(np.float64)))
    files.check_known(path, tensors, known, "tensor")
    shapes = _shapes(sae.d_in, sae.d_sae)
    wide = {key: np.asarray(tensor, np.float32) for key, tensor in tensors.items()}
    return saes.SAEParams(
        **{key: jnp.asarray(files.check_shape(path, wide, key, shapes[key])) for key in known}
    )


def _shapes(d_in: int, d_sae: int) -> dict[str, tuple[int, ...]]:
    latent = {name: (d_sae,) for name in ("b_enc", "threshold", "b_gate", "b_mag", "r_mag")}
    return {"W_enc": (d_in, d_sae), "W_dec": (d_sae, d_in), "b_dec": (d_in,), **latent}
