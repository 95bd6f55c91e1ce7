"""SAE configs that name no SAELens version, or one before 6, in the keys of today.

SAELens 6 translates such a `cfg.json` while it loads (`handle_pre_6_0_config`); what it takes from
there, and what it takes for granted, is taken the same way here.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from synthsae_jax.errors import ConfigError, require, short, unknown_name

_FIRST = 6  # the first version with the keys of today
_ACTIVATION = ("activation_fn", "activation_fn_str", "activation_fn_kwargs")


def of_old_version(
    where: Path, config: dict[str, Any], common: Iterable[str], options: Iterable[str]
) -> dict[str, Any]:
    """The config in today's keys: `common` ones, and the `options` of all architectures.

    Without architecture it is "standard". Other keys, of training and of the language model, are
    dropped from a config that has no `metadata` for them, but for what looks like a misspelling.
    """
    if _version(where, config) >= _FIRST:
        return config
    options = set(options)
    config = _with_activation(where, dict(config))
    if config.get("architecture") is None:
        others = sorted(options & set(config))
        require(
            not others,
            f"{where}: architecture is missing: SAELens takes it for 'standard' then, which has no "
            f"{', '.join(others)}.",
        )
        config["architecture"] = "standard"
    require(
        not config.pop("finetuning_scaling_factor", False),
        f"{where}: finetuning_scaling_factor must be false; fold the factor into the weights.",
    )
    normalize = config.get("normalize_activations")
    if normalize is None or isinstance(normalize, bool):
        config["normalize_activations"] = "expected_average_only_in" if normalize else "none"
    hook = config.get("hook_name", config.get("hook_point"))
    if isinstance(hook, str) and "hook_z" in hook:
        config.setdefault("reshape_activations", "hook_z")
    if "metadata" in config:
        return config
    allowed = {*common, *options}
    for key in set(config) - allowed:
        if difflib.get_close_matches(key, allowed, n=1, cutoff=0.8):
            raise ConfigError(f"{where}: {unknown_name('key', key, allowed)}")
        del config[key]
    return config


def _version(where: Path, config: dict[str, Any]) -> int:
    """The major version of SAELens that wrote the config; 0 where it says nothing."""
    metadata = config.get("metadata")
    inner = metadata.get("sae_lens_version") if isinstance(metadata, dict) else None
    version = config.get("sae_lens_version") or inner
    if version is None:
        return 0
    number = re.match(r"\d{1,6}", version) if isinstance(version, str) else None
    require(
        number is not None,
        f"{where}: sae_lens_version must be a version such as '6.54.12'; got {short(version)}.",
    )
    return int(number[0])


def _with_activation(where: Path, config: dict[str, Any]) -> dict[str, Any]:
    """The config with its old activation function as an architecture of today."""
    activations = [config.pop(key, None) for key in _ACTIVATION]
    name = activations[0] if activations[0] is not None else activations[1]
    if name == "topk":
        k = activations[2].get("k") if isinstance(activations[2], dict) else None
        require(k is not None, f"{where}: activation_fn 'topk' needs activation_fn_kwargs with k.")
        return {**config, "architecture": "topk", "k": k}
    require(
        name in (None, "relu"),
        f"{where}: activation_fn must be 'relu' or 'topk'; got {short(name)}.",
    )
    return config
