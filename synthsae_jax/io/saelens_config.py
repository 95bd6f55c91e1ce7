"""SAELens' `synthetic_model_config.json` as a config of ours, both ways without loss."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from synthsae_jax.errors import ConfigError, is_number, require
from synthsae_jax.io.saelens_files import check_known
from synthsae_jax.worlds import laws
from synthsae_jax.worlds.build import WorldConfig
from synthsae_jax.worlds.correlation import LowRank
from synthsae_jax.worlds.forest import HierarchyConfig
from synthsae_jax.worlds.law_base import check_numbers, make

_KEYS = (
    "num_features",
    "hidden_dim",
    "firing_probability",
    "hierarchy",
    "orthogonalization",
    "correlation",
    "std_firing_magnitudes",
    "mean_firing_magnitudes",
    "bias",
    "dtype",
    "seed",
)


@dataclasses.dataclass(frozen=True)
class Orthogonalization:
    """How SAELens pushed the directions apart; a loaded dictionary is used as it is."""

    num_steps: int = 200
    lr: float = 0.01
    chunk_size: int = 1024

    def __post_init__(self):
        check_numbers(self)


@dataclasses.dataclass(frozen=True)
class SaelensModelConfig(WorldConfig):
    """A `WorldConfig` with what SAELens keeps beside it; `to_json` gives its file."""

    hidden_dim: int = 1
    orthogonalization: Orthogonalization | None = None
    correlation_seed: int | None = None  # written by SAELens, read by nobody
    bias: bool | float = 1.0
    dtype: str = "float32"
    seed: int | None = None

    def to_json(self) -> dict[str, Any]:
        """The content of `synthetic_model_config.json`, keys in SAELens' order."""
        low_rank, steps, tree = self.correlation, self.orthogonalization, self.hierarchy
        values = (
            self.n_features,
            self.hidden_dim,
            laws.to_json(self.firing),
            None if tree is None else tree.to_json(),
            None if steps is None else dataclasses.asdict(steps),
            None
            if low_rank is None
            else {
                "rank": low_rank.rank,
                "correlation_scale": low_rank.scale,
                "seed": self.correlation_seed,
            },
            laws.to_json(self.std),
            laws.to_json(self.mean),
            self.bias,
            self.dtype,
            self.seed,
        )
        return dict(zip(_KEYS, values))


def from_json(value: dict[str, Any], path: Path) -> SaelensModelConfig:
    """The config of a file's content; an error names the file and the field."""
    check_known(path, value, _KEYS, "field")
    for key in ("num_features", "hidden_dim", "firing_probability"):
        require(key in value, f"{path}: {key} is missing.")
    where = f"{path}: "
    for key in ("num_features", "hidden_dim"):
        require(_whole(value[key], 1), f"{where}{key} must be a whole number >= 1.")
    bias, dtype, seed = value.get("bias", 1.0), value.get("dtype", "float32"), value.get("seed")
    require(
        isinstance(bias, bool) or is_number(bias),
        f"{where}bias must be true, false or a number; got {bias!r}.",
    )
    require(dtype == "float32", f"{where}dtype must be 'float32'; got {dtype!r}.")
    require(
        seed is None or _whole(seed), f"{where}seed must be a whole number or null; got {seed!r}."
    )
    tree, steps, low_rank = (
        value.get(key) for key in ("hierarchy", "orthogonalization", "correlation")
    )
    rank, low_rank_seed = _low_rank(low_rank, where)
    choices = {
        "n_features": value["num_features"],
        "firing": laws.firing_from_json(value["firing_probability"], f"{where}firing_probability"),
        "hierarchy": None if tree is None else HierarchyConfig.from_json(tree, f"{where}hierarchy"),
        "correlation": rank,
        "mean": _magnitude(value, "mean_firing_magnitudes", 1.0, where),
        "std": _magnitude(value, "std_firing_magnitudes", 0.0, where),
        "hidden_dim": value["hidden_dim"],
        "orthogonalization": None
        if steps is None
        else _record_named(Orthogonalization, steps, f"{where}orthogonalization"),
        "correlation_seed": low_rank_seed,
        "bias": bias,
        "dtype": dtype,
        "seed": seed,
    }
    try:
        return SaelensModelConfig(**choices)
    except ConfigError as error:
        raise ConfigError(f"{where}{error}") from None


def _low_rank(value: Any, where: str) -> tuple[LowRank | None, int | None]:
    if value is None:
        return None, None
    require(isinstance(value, dict), f"{where}correlation: expected an object; got {value!r}.")
    options = dict(value)
    seed = options.pop("seed", None)
    if "correlation_scale" in options:
        options["scale"] = options.pop("correlation_scale")
    return _record_named(LowRank, options, f"{where}correlation"), seed


def _magnitude(value: dict[str, Any], key: str, default: float, where: str):
    return laws.magnitude_from_json(value.get(key, default), where + key)


def _record_named(kind: type, options: Any, where: str):
    require(isinstance(options, dict), f"{where}: expected an object; got {options!r}.")
    try:
        return make(kind, options)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def _whole(value: Any, least: int | None = None) -> bool:
    return (
        isinstance(value, int) and not isinstance(value, bool) and (least is None or value >= least)
    )
