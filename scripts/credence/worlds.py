"""On what the calibrated matcher is fitted and tried: settings, and worlds of three kinds.

Dev worlds are fitted on; held-out worlds have the same laws and other seeds; transport worlds have
another magnitude law, branching and copula, and nothing was ever chosen on them (PROTOCOL 5).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from synthsae_jax import worlds
from synthsae_jax.suite.seeds import DEV, PUBLIC, world_seed
from synthsae_jax.training import TrainConfig
from synthsae_jax.worlds.correlation import LowRank
from synthsae_jax.worlds.family import IDENTICAL, INDEPENDENT, Condition
from synthsae_jax.worlds.firing import ScaledZipf
from synthsae_jax.worlds.forest import HierarchyConfig
from synthsae_jax.worlds.laws import Zipfian
from synthsae_jax.worlds.magnitude import ExponentialMagnitude, FoldedNormal

ID = "credence@1"
SPLITS = ("dev", "held_out", "transport")
_SALTS = {"dev": DEV, "held_out": PUBLIC, "transport": "transport"}

# members of a family after A: seeds of one space, half of its features, all in another space, none
HALF = Condition("half_identical", shared=0.5, sharing=1.0, rotate=False)
ZERO = Condition("zero", shared=0.0, sharing=1.0, rotate=False)
CONDITIONS = (IDENTICAL, HALF, INDEPENDENT, ZERO)
# members that share a dictionary: decoder cosines mean something between them
ONE_SPACE = (0, 1, 2, 4)
ZERO_MEMBER = 4


@dataclasses.dataclass(frozen=True)
class Setting:
    """A kind of world and the SAEs that are trained on it; early snapshots are the bad ones."""

    name: str
    preset: str
    d_sae: int
    sae: str
    options: Mapping[str, Any]
    n_steps: int
    batch_size: int = 256
    lr: float = 1e-2
    n_match: int = 65_536
    dim: int | None = None  # hidden dimension in place of the preset's
    worlds: Mapping[str, int] = dataclasses.field(default_factory=dict)  # split -> how many

    def config(self) -> TrainConfig:
        """Training: linear decay over the last third; weights are kept at an eighth, a third."""
        return TrainConfig(
            n_samples=self.n_steps * self.batch_size,
            batch_size=self.batch_size,
            lr=self.lr,
            lr_decay_steps=self.n_steps // 3,
            dead_window=100,
            snapshots=(math.ceil(self.n_steps / 8), math.ceil(self.n_steps / 3)),
        )


_ONE_OF_ALL = dict.fromkeys(SPLITS, 1)
_NARROW = Setting(
    "1k-topk",
    "1k",
    256,
    "topk",
    {"k": 8},
    2000,
    lr=5e-3,
    worlds={"dev": 1, "held_out": 1},
)
# as many dimensions as language models have
_IN_768 = dataclasses.replace(
    _NARROW,
    name="1k-dim768",
    dim=768,
    sae="batchtopk",
    options={"k": 8.0},
    worlds=_ONE_OF_ALL,
)
SETTINGS = (
    Setting("micro-topk", "micro", 128, "topk", {"k": 5}, 500, worlds=dict.fromkeys(SPLITS, 3)),
    Setting(
        "mini-batchtopk",
        "mini",
        160,
        "batchtopk",
        {"k": 5.0},
        500,
        worlds={"dev": 3, "held_out": 2, "transport": 2},
    ),
    _NARROW,
    Setting(
        "micro-wide",
        "micro",
        320,
        "topk",
        {"k": 8},
        400,
        n_match=1_048_576,
        worlds=_ONE_OF_ALL,
    ),
    Setting(
        "4k-batchtopk",
        "4k",
        1024,
        "batchtopk",
        {"k": 12.0},
        2400,
        lr=5e-3,
        worlds=_ONE_OF_ALL,
    ),
    _IN_768,
    # as many latents as features
    dataclasses.replace(_IN_768, name="1k-dim768-wide", d_sae=1024, n_steps=1500),
    dataclasses.replace(_NARROW, name="1k-dim4096", dim=4096),
)


@dataclasses.dataclass(frozen=True)
class Place:
    """One world of one setting: what a cell of work is named after."""

    setting: Setting
    split: str
    index: int

    @property
    def name(self) -> str:
        """For files and progress."""
        return f"{self.setting.name}-{self.split}-{self.index}"

    @property
    def seed(self) -> int:
        """The world's: from the names alone."""
        return world_seed(f"{ID}/{self.setting.name}", _SALTS[self.split], self.index)

    def instance(self) -> worlds.InstanceConfig:
        """The preset's, or in the setting's dimensions."""
        plain = worlds.preset(self.setting.preset).instance
        if self.setting.dim is None:
            return plain
        # in so many dimensions random directions hardly overlap
        return dataclasses.replace(plain, hidden_dim=self.setting.dim, orthogonalize_steps=0)

    def world(self) -> worlds.WorldConfig:
        """The preset's laws, or the transport family's in their stead."""
        plain = worlds.preset(self.setting.preset).world
        return transported(plain) if self.split == "transport" else plain


def places(settings: tuple[Setting, ...] = SETTINGS) -> list[Place]:
    """All cells of work, in order."""
    return [
        Place(setting, split, index)
        for setting in settings
        for split in SPLITS
        for index in range(setting.worlds.get(split, 0))
    ]


def transported(config: worlds.WorldConfig) -> worlds.WorldConfig:
    """The same size of world under another magnitude law, branching, copula and exponent."""
    tree = config.hierarchy
    deep = tree is not None and tree.max_depth > 2
    if tree is not None:
        tree = HierarchyConfig(
            # the largest tree of three levels has 1 + 6 + 36 + 216 features
            total_root_nodes=config.n_features // 259 if deep else 10,
            branching_factor=(2, 6),
            max_depth=tree.max_depth,
            mutually_exclusive_portion=0.3,
            compensation=tree.compensation,
            scale_children_by_parent=True,
        )
    firing = config.firing
    firing = (
        dataclasses.replace(firing, exponent=0.4)
        if isinstance(firing, ScaledZipf)
        else Zipfian(exponent=0.8, max_prob=0.35, min_prob=3e-3)
    )
    # fixed and roomy: worlds share programs
    slots = (8, 48, 48) if tree is None else (16, 16, 24, 32, 48)
    if deep:
        slots = (24, 160, 48, 64, 96, 224)
    return dataclasses.replace(
        config,
        firing=firing,
        hierarchy=tree,
        correlation=LowRank(rank=4, scale=0.18),
        mean=ExponentialMagnitude(6.0, 1.5),
        std=FoldedNormal(1.0, 0.7),
        slots=slots,
    )
