"""The methods of engineering@1, each with what it costs and the baseline it is held against.

Strengths are those of four with the highest MCC on a dev world (the stronger at a tie), and the
learning rate is the baseline's by the same rule, so that methods had no more trials than it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from synthsae_jax.suite.design import Arm
from synthsae_jax.suite.scale import Scale, scales_of
from synthsae_jax.worlds import family

# two SAEs of different groups, or of one: what the latter have in common may be forced
BETWEEN, WITHIN = "between", "within"
# how the models of a pair relate: one and the same, all features in directions of their own, and
# none in common, which is read under each coupling of their firing
SHARED, INDEPENDENT, DISJOINT = "identical", "independent", "disjoint"
COUPLINGS = {condition.name: condition.coupling for condition in family.ZEROS}
ZEROS = tuple(COUPLINGS)
RETRAINED, FROZEN = "pooled, retrained", "pooled, frozen"
POOL = 4  # seeds; a fifth training starts from what they have in common
TWICE, POOL_TIMES = "batchtopk, 2 x", "batchtopk, 5 x"
BASELINES = ("batchtopk", "topk", TWICE, POOL_TIMES)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EngineeringScale(Scale):
    """With the samples of an evaluation, and how models without a common feature may fire."""

    n_eval: int
    zeros: tuple[str, ...] = ZEROS


SCALES = scales_of(
    EngineeringScale,
    smoke={
        "arms": ("batchtopk", "consistency"),
        "zeros": ("disjoint_independent",),
        "n_eval": 8_192,
    },
    small={
        "n_train": 96_000,
        "batch_size": 160,
        "dead_window": 60,
        "n_match": 8_192,
        "n_eval": 8_192,
    },
    standard={"dead_window": 250, "n_eval": 102_400},
    full={"n_eval": 512_000},
)


@dataclasses.dataclass(frozen=True)
class Method(Arm):
    """One way to train. `samples`: those that all SAEs of a group see, over one SAE's."""

    sae: str = "batchtopk"
    how: str = "alone"  # or "shared init", "pooled", "joint"
    numbers: tuple[tuple[str, Any], ...] = ()  # options of the SAE besides k
    samples: int = 1
    against: str = "batchtopk"  # the baseline with as many samples

    @property
    def results(self) -> tuple[str, ...]:
        """Its name in rows; pooling comes to two dictionaries."""
        return (RETRAINED, FROZEN) if self.how == "pooled" else (self.name,)

    @property
    def members(self) -> bool:
        """Does a joint training hold several SAEs of one model, and not one of several models?"""
        return self.sae == "mutual"

    @property
    def apart(self) -> bool:
        """Do its SAEs read one model each? A crosscoder's latents need both."""
        return self.sae != "crosscoder"

    @property
    def between(self) -> bool:
        """Has it pairs of SAEs from different groups?"""
        return self.apart and self.how != "shared init"

    @property
    def within(self) -> tuple[str, ...]:
        """How the models of two SAEs of one group relate; () where a group is a single SAE."""
        if self.how == "shared init" or self.members:
            return (SHARED, DISJOINT)
        return (INDEPENDENT, DISJOINT) if self.how == "joint" and self.apart else ()

    @property
    def implies(self) -> bool:
        """Do the norms of its SAE's latents imply how much two models share?"""
        return self.how == "joint" and not self.members

    def columns(self) -> dict[str, Any]:
        """Its samples, and its name where it comes to one dictionary."""
        single = {"method": self.name} if len(self.results) == 1 else {}
        return {**single, "samples": self.samples}

    def levels(self, scale: Scale) -> Mapping[str, Sequence[Any]]:
        """Groups and pairs of models that its rows are about."""
        assert isinstance(scale, EngineeringScale)
        pairs = [*((SHARED, DISJOINT) if self.between else ()), *self.within]
        conditions = [c for pair in pairs for c in read_as(pair, scale.zeros)]
        conditions += [INDEPENDENT, DISJOINT] if self.implies else []
        inside = bool(self.within) or self.implies
        return {
            "method": self.results,
            "group": (*((BETWEEN,) if self.between else ()), *((WITHIN,) if inside else ())),
            "condition": tuple(dict.fromkeys(conditions)),
        }


def read_as(relation: str, zeros: tuple[str, ...] = ZEROS) -> tuple[str, ...]:
    """The conditions under which two models are read that relate so."""
    return zeros if relation == DISJOINT else (relation,)


def _aligned(alignment: float, orthogonality: float) -> tuple[tuple[str, Any], ...]:
    """Penalties of both kinds in one program."""
    names = ("exact", "alignment_coefficient", "orthogonality_coefficient")
    return tuple(zip(names, (False, alignment, orthogonality), strict=True))


METHODS = {
    method.name: method
    for method in (
        Method("batchtopk"),
        Method("topk", sae="topk"),
        Method(TWICE, samples=2, against=TWICE),
        Method(POOL_TIMES, samples=POOL + 1, against=POOL_TIMES),
        Method("shared init", how="shared init"),
        Method("orthogonal", sae="aligned", numbers=_aligned(0.0, 10.0)),
        Method("aligned", sae="aligned", numbers=_aligned(10.0, 0.0)),
        Method("ordered", sae="ordered", numbers=(("prefix_loss_weight", 1.0),)),
        Method("archetypal", sae="archetypal", numbers=(("relaxation_bound", 3.0),)),
        Method("matryoshka", sae="matryoshka"),
        Method("pooled", how="pooled", samples=POOL + 1, against=POOL_TIMES),
        Method(
            "consistency",
            sae="mutual",
            how="joint",
            numbers=(("mutual_coefficient", 1.0),),
            samples=2,
            against=TWICE,
        ),
        Method("universal", sae="universal", how="joint", samples=2, against=TWICE),
        Method("crosscoder", sae="crosscoder", how="joint", samples=2, against=TWICE),
    )
}
# every dictionary by its name in rows, with the method that it comes from
RESULTS = {result: method for method in METHODS.values() for result in method.results}
