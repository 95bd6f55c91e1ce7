"""The setting of matching@1: its arms and scales, and what every number of it is about."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from synthsae_jax.suite.design import Arm
from synthsae_jax.suite.scale import TREES_AT, TreesScale, scales_of

SHARED = 0.75  # of the features: the rest must stay single
RUNGS = ORACLE, ENCODER, TRAINED = ("oracle", "encoder", "trained")
TRUTHS = ("agree", "geometric", "functional")  # the default first
PEARSON, Z, PHI = "activation_pearson", "hypergeometric_z_plain", "phi"
FROM_CODES = (PEARSON, PHI, Z, "jaccard")
PRE = "preactivation_pearson"
RAW, ALIGNED, BOTH = "decoder_cosine_raw", "decoder_cosine_aligned", "pearson_and_cosine"
GEOMETRIC = (RAW, ALIGNED, BOTH)  # depend on what geometry the two models share
# name -> (solver, does it see the threshold?)
SOLVERS = {
    "argmax": ("argmax", True),
    "mutual_nearest": ("mutual_nearest", True),
    "assignment": ("assignment", True),
    "assignment_forced": ("assignment", False),
    "assignment_dustbin": ("assignment_dustbin", True),
    "greedy": ("greedy", True),
}
REFERENCE = "mutual_nearest"
FEW = 20  # firings: H6a is about latents with so few, or fewer, in the tokens seen
QUARTERS = ("q1", "q2", "q3", "q4")  # of the living latents of A by firing rate, rarest first
POOLED = "all"  # over the geometries, or the latents


@dataclasses.dataclass(frozen=True)
class Setting:
    """What one number is about."""

    score: str = PEARSON
    solver: str = REFERENCE
    tokens: int = 0
    t: str = POOLED  # shared geometry of the pairs: scores of activity are pooled over it
    stratum: str = POOLED  # of `QUARTERS`, or "few"
    threshold: str = "null"  # each latent's best score by chance; or "published"
    truth: str = TRUTHS[0]

    @property
    def variant(self) -> str:
        """The setting as text."""
        parts = [self.score, self.solver, f"n={self.tokens}"]
        if self.t != POOLED:
            parts.append(f"t={self.t}")
        options = (self.stratum, self.threshold, self.truth)
        return "/".join([*parts, *(r for r in options if r not in (POOLED, "null", TRUTHS[0]))])


@dataclasses.dataclass(frozen=True, kw_only=True)
class MatchingScale(TreesScale):
    """With the geometries that Bs share with A, and the tokens counted."""

    geometry: tuple[float, ...] = (1.0, 0.75, 0.5, 0.25, 0.0)
    tokens: tuple[int, ...] = (1_000, 10_000, 98_304, 999_424)


SCALES = scales_of(
    MatchingScale,
    smoke={
        **TREES_AT["smoke"],
        "arms": ("plain",),
        "geometry": (1.0, 0.0),
        "tokens": (1_000, 8_192),
        "n_train": 51_200,
    },
    small={
        **TREES_AT["small"],
        "geometry": (1.0, 0.5, 0.0),
        "tokens": (1_000, 10_000, 65_536),
        "n_train": 256_000,
        "n_match": 32_768,
    },
    standard=TREES_AT["standard"],
    full=TREES_AT["full"],
)
# of all scales, in order
COUNTS = tuple(sorted({n for scale in SCALES.values() for n in scale.tokens}))
FEWEST = tuple(dict.fromkeys(scale.tokens[0] for scale in SCALES.values()))
MOST = tuple(dict.fromkeys(scale.tokens[-1] for scale in SCALES.values()))


@dataclasses.dataclass(frozen=True)
class Models(Arm):
    """What an arm changes: its preset, or its models."""

    trees: bool = False  # the preset with trees
    crowding: int = 1  # hidden dimensions divided by this
    drop: float = 0.0  # share of firings that do not reach a model, each its own

    def levels(self, scale: MatchingScale) -> dict[str, Sequence[Any]]:
        """The factors of its settings."""
        every = [s for rung in RUNGS for s in settings(self, rung, scale.tokens)]
        names = (field.name for field in dataclasses.fields(Setting))
        values = {name: tuple({getattr(s, name): None for s in every}) for name in names}
        return {**values, "tokens": scale.tokens}


PLAIN, TREES, CROWDED = "plain", "trees", "crowded"
ARMS = (
    Models(PLAIN),
    Models(TREES, trees=True),
    Models(CROWDED, crowding=2),
    Models("dropped", drop=0.3),
)


def sizes(scale: MatchingScale, arm: Models) -> MatchingScale:
    """The sizes of an arm: with trees, another preset."""
    return scale.with_trees() if arm.trees else scale


def settings(arm: Models, rung: str, tokens: Sequence[int]) -> list[Setting]:
    """What is asked of an arm's pairs on a rung; the plain arm's are asked most."""
    fewest, most = tokens[0], tokens[-1]
    wanted = [Setting(tokens=most)]
    if arm.trees:
        wanted += [Setting(solver="argmax", tokens=most, truth=truth) for truth in TRUTHS]
    if arm.name in (PLAIN, CROWDED):
        wanted.append(Setting(PRE, tokens=most))
    if arm.name == PLAIN:
        wanted += _of_claims(fewest, most)
        if rung == TRAINED:
            wanted += _of_board(most)
            wanted += [
                Setting(score, tokens=n, stratum=quarter)
                for score in (PEARSON, Z, PHI)
                for n in tokens
                for quarter in QUARTERS
            ]
    return list(dict.fromkeys(wanted))


def _of_claims(fewest: int, most: int) -> list[Setting]:
    """On every rung: how a verdict on trained SAEs comes out where nothing was trained."""
    rarer = QUARTERS[:2]
    return [
        Setting(solver="argmax", tokens=fewest, stratum="few", threshold="published"),
        Setting(tokens=most, stratum=QUARTERS[0]),
        *(Setting(s, tokens=fewest, stratum=q) for s in (PEARSON, Z, PHI) for q in rarer),
        *(Setting(score, tokens=most, t=t) for score in (PEARSON, ALIGNED) for t in ("1", "0")),
        Setting(BOTH, tokens=most, t="1"),
        *(
            Setting(solver=solver, tokens=most)
            for solver in ("assignment", "assignment_forced", "assignment_dustbin")
        ),
        *(Setting(score, "argmax", tokens=most, threshold="published") for score in (PEARSON, PRE)),
    ]


def _of_board(most: int) -> list[Setting]:
    places = [(score, POOLED) for score in (*FROM_CODES, PRE)]
    places += [(score, t) for score in GEOMETRIC for t in ("1", "0")]
    return [Setting(score, solver, most, t) for score, t in places for solver in SOLVERS]
