"""A cell of partial@1: SAEs of each model by itself, or one SAE of both."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence

import jax
import numpy as np

from synthsae_jax import matching
from synthsae_jax.experiments.partial.joint import joint_numbers, train_joint
from synthsae_jax.matching.detection import sharedness
from synthsae_jax.suite import pairs
from synthsae_jax.suite.context import Context
from synthsae_jax.suite.cost import Training
from synthsae_jax.suite.design import Arm
from synthsae_jax.suite.families import family_of, family_pairs, train_family
from synthsae_jax.suite.observation import Number, Observation
from synthsae_jax.suite.pair import Pair, protocol_numbers, rule_numbers, truth_numbers
from synthsae_jax.suite.reading import read
from synthsae_jax.suite.scale import Scale, scales_of
from synthsae_jax.worlds import expected_rates
from synthsae_jax.worlds.family import Condition, shares

R_RULE, COSINE_RULE = "best_correlation_0.1", "decoder_cosine_0.7_aligned"
SCORES = ("activation_pearson", "activation_cosine", "jaccard", "hypergeometric_z", "phi")
ALIGNED = "decoder_cosine_aligned"
BINS = 4  # of frequency


@dataclasses.dataclass(frozen=True)
class Overlap(Arm):
    """Models that share none to all of their features, and SAEs of each or one of both."""

    t: float = 0.0  # geometry: 1 rotated copies of the directions, 0 directions of their own
    joint: bool = False

    def conditions(self, scale: PartialScale) -> tuple[Condition, ...]:
        """A partner of A for every level of what is shared."""
        return tuple(shares(level, self.t) for level in scale.levels)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PartialScale(Scale):
    """With the levels of what is shared, and the latents of an SAE of both models."""

    levels: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)
    joint_width: int


ROTATED, INDEPENDENT = Overlap("rotated", t=1.0), Overlap("independent")
JOINT = ("crosscoder", "crosscoder_l1", "universal")
ARMS = (ROTATED, INDEPENDENT, *(Overlap(name, joint=True) for name in JOINT))
SCALES = scales_of(
    PartialScale,
    every={"protocols": ("ours@1",)},
    smoke={
        "arms": ("rotated", "crosscoder"),
        "levels": (0.5,),
        "joint_width": 192,
        "protocols": (),
    },
    small={"joint_width": 192, "n_match": 32_768},
    standard={"joint_width": 384},
    full={"joint_width": 1536},
)


def train(context: Context) -> Sequence[Training]:
    """A and every B, or one SAE of A beside each B."""
    scale, arm = context.scale, context.arm
    if not arm.joint:
        return [context.training("topk", 1 + len(scale.levels))]
    both = {"d_in": 2 * scale.d_in, "d_sae": scale.joint_width}
    return [context.training(arm.name, len(scale.levels), **both)]


def measure(context: Context, arm: Overlap) -> Iterator[Observation]:
    """What every way of counting says of each pair of models."""
    yield from (_of_both if arm.joint else _of_each)(context, arm)


def _of_each(context: Context, arm: Overlap) -> Iterator[Observation]:
    """SAEs of each model by itself: what rules declare, and what scores detect."""
    context.tick(0.0, "building the family")
    family = family_of(context, context.world(), arm.conditions(context.scale))
    trained = train_family(context.part(0.0, 0.6), family, "topk")
    rates = np.tile(expected_rates(family.base), 2)
    for pair in family_pairs(context.part(0.6, 1.0), family, trained):
        numbers = functools.partial(_pair_numbers, context, arm, rates, pair.run)
        yield pair.observe(numbers, shared=pair.condition.shared)


def _pair_numbers(
    context: Context, arm: Overlap, rates: np.ndarray, run: int, pair: Pair
) -> Iterator[Number]:
    yield from truth_numbers(pair)
    yield from rule_numbers(pair, (R_RULE, COSINE_RULE))
    yield from detection_numbers(pair, rates)
    if arm == ROTATED:
        key = jax.random.fold_in(jax.random.key(context.number(0)), run)
        yield from protocol_numbers(pair, context.scale.protocols, key=key)


def _of_both(context: Context, arm: Overlap) -> Iterator[Observation]:
    """One SAE of both models: which latents its decoder norms call shared."""
    context.tick(0.0, "building the family")
    conditions = arm.conditions(context.scale)
    family = family_of(context, context.world(), conditions)
    # the family's members have numbers of their own
    trained = train_joint(context.part(0.0, 0.6), family, arm.name, len(family.instances))
    registry, reference = family.registry("factors"), np.asarray(family.reference.present)
    seed, n = context.number(0), context.n_match
    for i, condition in enumerate(conditions):
        context.tick(0.6 + 0.4 * i / len(conditions), condition.name)
        present = reference, np.asarray(family.partner(i).present)

        def numbers(subject=trained.subjects[i][0], present=present) -> list[Number]:
            reading = read(subject, registry, n, seed)
            return joint_numbers(reading.subject, reading.truth, reading.alive, present)

        yield Observation(
            (trained.side(i),),
            numbers,
            {"condition": condition.name, "shared": condition.shared},
            pairs.tokens(n),
        )


def detection_numbers(pair: Pair, rates: np.ndarray) -> Iterator[Number]:
    """Does a latent's best score say whether the other model has its feature? By frequency.

    `rates [F]` of the features. Latents of A that track a feature; q1 is the rarest quarter.
    """
    present = np.asarray(pair.instances[1].present)
    alive = np.asarray(pair.counts.alive_b)
    tables = {name: np.asarray(pair.counts.score(name)) for name in SCORES}
    view = pair.view
    tables[ALIGNED] = np.asarray(
        matching.score("decoder_cosine", view.W_dec_a, view.W_dec_b_aligned)
    )
    for name, scores in tables.items():
        best = np.where(alive[None], scores, -np.inf).max(1)
        best = np.where(pair.a.alive, best, np.nan)
        areas = sharedness(best, pair.a.tracked, present, rates, BINS)
        for group, value in enumerate(areas["auroc"]):
            why = _undetected(areas["n_shared"][group], areas["n_exclusive"][group])
            yield Number(name, auroc_of(group), float(value), why)


def auroc_of(quarter: int) -> str:
    """The metric of a quarter of the features by frequency; 0: of all."""
    return f"sharedness_auroc_q{quarter}" if quarter else "sharedness_auroc"


def _undetected(n_shared: int, n_exclusive: int) -> str:
    if not n_shared and not n_exclusive:
        return "no living latent of A tracks such a feature"
    return f"B has {'all' if n_shared else 'none'} of the features that latents of A track"
