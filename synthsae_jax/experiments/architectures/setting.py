"""The cells of architectures@1: all pairs of architectures in a world, and settings that rank."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from synthsae_jax.suite.design import Arm
from synthsae_jax.suite.encoders import ENCODERS, condition_of
from synthsae_jax.suite.recipes import recipe_names
from synthsae_jax.suite.scale import Scale, scales_of

SAME, OTHER, COPY = "same model", "independent models", "copy"
MATRIX, BASE = "matrix", "base"
WIDE, SCALED = "twice the width", "scaled children"
_FEW = ("batchtopk", "matryoshka", "matching_pursuit", "standard")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ArchitecturesScale(Scale):
    """With the architectures, the sizes of evaluations and what the ranking does otherwise."""

    saes: tuple[str, ...] = recipe_names()
    n_eval: int  # samples of an evaluation
    n_probes: int  # features that sparse probes ask for
    probe_samples: int  # samples that supervised probes are fitted on; 0: none are
    # fields of this record with which the ranking's cells differ
    ranking: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def of_ranking(self) -> ArchitecturesScale:
        """The sizes of the ranking's cells."""
        return dataclasses.replace(self, **self.ranking, ranking={})

    def of_matrix(self) -> ArchitecturesScale:
        """The sizes of the matrix' cells."""
        return dataclasses.replace(self, ranking={})


SCALES = scales_of(
    ArchitecturesScale,
    smoke={
        "arms": (MATRIX,),
        "saes": ("topk", "matching_pursuit"),
        "n_eval": 8_192,
        "n_probes": 4,
        "probe_samples": 0,
    },
    small={
        "saes": ("topk", *_FEW),
        "n_match": 32_768,
        "n_eval": 16_384,
        "n_probes": 16,
        "probe_samples": 16_384,
        # children, exclusion and their like take trees
        "ranking": {"preset": "mini", "target_l0": 4.0, "saes": _FEW},
    },
    standard={"n_eval": 102_400, "n_probes": 32, "probe_samples": 30_000},
    full={
        "n_eval": 512_000,
        "n_probes": 64,
        "probe_samples": 100_000,
        "ranking": {"preset": "1k", "target_l0": 5.6, "n_train": 10_240_000, "lr": 1e-3},
    },
)


@dataclasses.dataclass(frozen=True)
class Matrix(Arm):
    """Each architecture three times in a world, all pairs, and other encoders."""

    def columns(self) -> dict[str, Any]:
        """None: its rows are told by their condition."""
        return {}

    def levels(self, scale: ArchitecturesScale) -> Mapping[str, Sequence[str]]:
        """What is compared, and which architectures."""
        first, *others = scale.saes
        swapped = [f"{sae}, {encoder}" for sae in scale.saes for encoder in ENCODERS]
        return {
            "condition": (SAME, OTHER, COPY, *map(condition_of, ENCODERS)),
            "sae": scale.saes,
            "sae_b": (*others, f"{first}, copied", *swapped),
        }


@dataclasses.dataclass(frozen=True)
class Setting(Arm):
    """A few architectures in a world in which one thing differs from the preset."""

    hierarchy: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    overlap: float = 0.0  # added to the mean-max overlap of random directions
    width: float = 1.0
    l0: float = 1.0

    def columns(self) -> dict[str, Any]:
        """Its factor, which is its condition too."""
        return {"setting": self.name, "condition": self.name}

    def levels(self, scale: ArchitecturesScale) -> Mapping[str, Sequence[str]]:
        """Its architectures."""
        return {"sae": scale.saes}


SETTINGS = (
    Setting(BASE),
    Setting(SCALED, hierarchy={"scale_children_by_parent": True}),
    Setting("no exclusion", hierarchy={"mutually_exclusive_portion": 0.0}),
    Setting("more overlap", overlap=0.15),
    Setting(WIDE, width=2.0),
    Setting("twice the L0", l0=2.0),
)


def arms(scale: ArchitecturesScale) -> list[Arm]:
    """The matrix, then the settings of the ranking."""
    return [Matrix(MATRIX), *SETTINGS]


def sizes(scale: ArchitecturesScale, arm: Arm) -> ArchitecturesScale:
    """The sizes that an arm runs at."""
    return scale.of_ranking() if isinstance(arm, Setting) else scale.of_matrix()


def config(scale: ArchitecturesScale, arm: Arm) -> dict[str, Any]:
    """Its training, where it is another than the scale's."""
    size = sizes(scale, arm)
    return {"n_samples": size.n_train, "lr": size.lr}
