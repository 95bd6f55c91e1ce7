"""How large an experiment is: one typed record, four rows for all benchmarks."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from synthsae_jax import worlds
from synthsae_jax.errors import check_choice, unknown_name
from synthsae_jax.training import TrainConfig

S = TypeVar("S", bound="Scale")
T = TypeVar("T", bound="TreesScale")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scale:
    """Sizes of worlds, SAEs, training and evaluation. None: as the preset has it.

    A design overrides fields by name (`scales_of`); one that needs a size of its own subclasses
    this record, so that a misspelt size is an error and not a default.
    """

    name: str
    preset: str
    target_l0: float  # mean active latents per sample that SAEs are trained to
    worlds: int
    n_train: int  # training samples of each SAE
    n_match: int  # tokens of each evaluation stream
    batch_size: int
    lr: float
    dead_window: int  # steps without firing after which a latent is dead
    arms: tuple[str, ...] | None = None  # names of the arms that run; None: all
    seeds: int = 1  # SAEs trained on each model
    n_features: int | None = None
    hidden_dim: int | None = None
    width: int | None = None  # latents of each SAE
    mean_l0: float | None = None  # expected active features per sample
    slots: tuple[int, ...] | None = None  # room of sparse codes, see `worlds.WorldConfig`
    measures: tuple[str, ...] = ()  # similarity measures
    protocols: tuple[str, ...] = ()  # published protocols

    @property
    def pilot(self) -> bool:
        """May its numbers not be cited?"""
        return self.name in PILOTS

    @property
    def d_in(self) -> int:
        """Hidden dimensions of a model."""
        return self.hidden_dim or worlds.preset(self.preset).instance.hidden_dim

    @property
    def d_sae(self) -> int:
        """Latents of an SAE."""
        return self.width or worlds.preset(self.preset).d_sae

    def train_config(self, **changes: Any) -> TrainConfig:
        """Training at this scale, with fields of `TrainConfig` replaced.

        The learning rate falls over the last third, as published, however long the training is.
        """
        fields = {
            "n_samples": self.n_train,
            "batch_size": self.batch_size,
            "lr": self.lr,
            "dead_window": self.dead_window,
            **changes,
        }
        steps = -(-fields["n_samples"] // fields["batch_size"])
        return TrainConfig(**{"lr_decay_steps": steps // 3, **fields})

    def spec(self) -> dict[str, Any]:
        """What of it the numbers of a cell depend on: not how many worlds and arms there are."""
        fields = dataclasses.asdict(self)
        return {name: v for name, v in fields.items() if name not in ("name", "worlds", "arms")}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TreesScale(Scale):
    """With a second preset, of worlds with trees; the first is then taken without its trees."""

    trees_preset: str
    trees_l0: float

    def with_trees(self: T) -> T:
        """The sizes of arms with trees."""
        return dataclasses.replace(self, preset=self.trees_preset, target_l0=self.trees_l0)


# for `scales_of`
TREES_AT: Mapping[str, Mapping[str, Any]] = {
    "smoke": {"trees_preset": "mini", "trees_l0": 4.0},
    "small": {"trees_preset": "mini", "trees_l0": 4.0},
    "standard": {"trees_preset": "1k", "trees_l0": 5.6},
    "full": {"trees_preset": "4k", "trees_l0": 12.4},
}
NAMES = ("smoke", "small", "standard", "full")
PILOTS = ("smoke", "small")  # show where to look; a pilot's number may not be cited

# `target_l0` is the L0 of the preset's d_sae most frequent features, on dev worlds
ROWS: Mapping[str, Mapping[str, Any]] = {
    "smoke": {
        "preset": "micro",
        "target_l0": 4.7,
        "worlds": 1,
        "n_train": 25_600,
        "n_match": 8_192,
        "batch_size": 128,
        "lr": 1e-2,
        "dead_window": 50,
    },
    "small": {
        "preset": "micro",
        "target_l0": 4.7,
        "worlds": 5,
        "n_train": 128_000,
        "n_match": 16_384,
        "batch_size": 256,
        "lr": 1e-2,
        "dead_window": 100,
    },
    "standard": {
        "preset": "1k",
        "target_l0": 5.6,
        "worlds": 10,
        "n_train": 4_096_000,
        "n_match": 294_912,
        "batch_size": 1024,
        "lr": 1e-3,
        "dead_window": 500,
    },
    "full": {
        "preset": "4k",
        "target_l0": 12.4,
        "worlds": 20,
        "n_train": 20_480_000,
        "n_match": 999_424,
        "batch_size": 1024,
        "lr": 5e-4,
        "dead_window": 1000,
    },
}


def scales_of(kind: type[S], /, **overrides: Mapping[str, Any]) -> dict[str, S]:
    """The four scales of a design: `ROWS` with its changes by scale, `every` for all of them.

    `scales_of(Scale, every={"seeds": 2}, small={"worlds": 8})`. Raises `ConfigError` for a scale
    or a field that does not exist.
    """
    allowed = [field.name for field in dataclasses.fields(kind)]
    for scale, changes in overrides.items():
        check_choice("scale", scale, (*NAMES, "every"))
        for name in changes:
            if name not in allowed:
                raise unknown_name(f"field of {kind.__name__}", name, allowed)
    every = overrides.get("every", {})
    return {
        name: kind(name=name, **{**ROWS[name], **every, **overrides.get(name, {})})
        for name in NAMES
    }
