"""A cell of validity@1: a family of models, their SAEs, and what every score says of each pair."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator, Sequence
from typing import cast

import jax
import numpy as np
from scipy import sparse, stats

from synthsae_jax.experiments.validity.arms import FEW, TURNED, FamilyArm
from synthsae_jax.matching import TruthSweep
from synthsae_jax.protocols import Context as ProtocolContext
from synthsae_jax.suite.context import Context
from synthsae_jax.suite.cost import Training
from synthsae_jax.suite.families import FamilyPair, family_of, family_pairs, train_family
from synthsae_jax.suite.observation import Number, Observation
from synthsae_jax.suite.pair import (
    Pair,
    measure_numbers,
    protocol_numbers,
    rule_numbers,
    truth_numbers,
)
from synthsae_jax.suite.reading import Reading
from synthsae_jax.worlds import InstanceConfig
from synthsae_jax.worlds.family import Condition

PLANTED = ("planted_truth", "planted_geometry", "planted_constant")
_FEWER = 8  # one in so many of the tokens


def train(context: Context) -> Sequence[Training]:
    """All members of the family; once more where the Bs' SAEs are of another width."""
    arm = context.arm
    members = 1 + len(context.scale.of(arm))
    dim = _instance_config(context, arm).hidden_dim
    return [
        context.training(arm.sae, members, d_in=dim, d_sae=width, label=arm.name)
        for width in dict.fromkeys((context.d_sae, _width(context, arm)))
    ]


def pairs(context: Context) -> int:
    """Pairs that a cell scores, each view of one counted."""
    conditions = context.scale.of(context.arm)
    return sum(1 + len((TURNED, FEW)) * _is_seen_otherwise(context.arm, c) for c in conditions)


def measure(context: Context, arm: FamilyArm) -> Iterator[Observation]:
    """A beside each B; the rotated pairs of the reference arm seen otherwise too."""
    context.tick(0.0, "building the family")
    conditions = context.scale.of(arm)
    config = _instance_config(context, arm)
    family = family_of(context, context.world(**arm.world), conditions, config)
    seeds = context.seeds(len(family.instances), 1)
    trained = functools.partial(
        train_family,
        context.part(0.0, 0.6),
        family,
        arm.sae,
        target_l0=arm.k * context.target_l0,
        init_seeds=np.full_like(seeds, seeds[0, 0]) if arm.same_init else None,
    )
    a = trained()
    b = a if arm.width == 1 else trained(width=_width(context, arm))
    for pair in family_pairs(context.part(0.6, 1.0), family, a, b):
        condition = pair.condition
        views = [pair]
        if _is_seen_otherwise(arm, condition):
            views += _seen_otherwise(pair, context.number(0))
        for view in views:
            yield view.observe(
                functools.partial(_numbers, context, condition, view.run),
                shared=condition.shared,
                t=condition.sharing,
                gram_correlation=family.gram_correlation(conditions.index(condition)),
            )


def _is_seen_otherwise(arm: FamilyArm, condition: Condition) -> bool:
    return arm.name == "random" and condition.alignable and condition.shared == 1


def _instance_config(context: Context, arm: FamilyArm) -> InstanceConfig:
    return dataclasses.replace(context.instance_config, **arm.instance)


def _width(context: Context, arm: FamilyArm) -> int:
    return round(arm.width * context.d_sae)


def _numbers(context: Context, condition: Condition, run: int, pair: Pair) -> Iterator[Number]:
    truth = truth_numbers(pair)
    yield from truth
    yield from planted(condition, truth)
    yield from rule_numbers(pair)
    yield from measure_numbers(pair)
    # a null is asked for where the right answer is known to be chance
    draws = context.scale.draws if condition.shared == 0 else 0
    key = jax.random.fold_in(jax.random.key(context.number(0)), run)
    names = context.scale.protocols
    yield from protocol_numbers(
        pair, names, key=key, draws=draws, context=ProtocolContext(level_draws=8)
    )
    if condition.shared == 0 and not draws:
        yield from (Number(name, "p", math.nan, "no null is drawn at this scale") for name in names)


def planted(condition: Condition, truth: Sequence[Number]) -> list[Number]:
    """Scores whose place on the board is known: the truth, the geometry's knob, a constant."""
    true = next(n for n in truth if n.metric == "true_universality")
    values = (true.value, condition.sharing, 0.5)
    return [
        Number(name, "score", value, true.reason)
        for name, value in zip(PLANTED, values, strict=True)
    ]


def _seen_otherwise(pair: FamilyPair, seed: int) -> list[FamilyPair]:
    """The same pair with B turned round, and on an eighth of the tokens."""
    name = pair.condition.name
    return [
        dataclasses.replace(
            pair,
            condition=dataclasses.replace(pair.condition, name=name + TURNED),
            make=lambda: turned(pair.pair, seed),
        ),
        dataclasses.replace(
            pair,
            condition=dataclasses.replace(pair.condition, name=name + FEW),
            make=lambda: on_fewer_tokens(pair.pair),
            tokens=pair.tokens // _FEWER,
        ),
    ]


def turned(pair: Pair, seed: int) -> Pair:
    """The pair with an equivalent form of B's SAE.

    Latents are permuted, each scaled by a positive number that its decoder row undoes, and the
    whole space is rotated, with the alignment that undoes the rotation.
    """
    rng = np.random.default_rng(seed)
    b = pair.b
    order = rng.permutation(b.latents.shape[1])
    scale = np.exp(rng.normal(size=order.size)).astype(np.float32)
    turn = stats.special_ortho_group.rvs(b.subject.decoder.shape[1], random_state=seed)
    turn = turn.astype(np.float32)
    encoder = b.subject.encoder
    subject = dataclasses.replace(
        b.subject,
        decoder=(b.subject.decoder[order] / scale[:, None]) @ turn,
        encoder=None if encoder is None else (encoder[order] * scale[:, None]) @ turn,
    )
    latents = cast(sparse.csr_matrix, b.latents[:, order].multiply(scale[None]).tocsr())
    truth = TruthSweep(b.truth.settings, b.truth.maps[:, order])
    back = turn.T if pair.turn is None else turn.T @ pair.turn
    return dataclasses.replace(pair, b=Reading(subject, latents, truth), turn=back)


def on_fewer_tokens(pair: Pair) -> Pair:
    """The pair as an eighth of its tokens show it."""
    n = pair.a.latents.shape[0] // _FEWER
    a, b = (dataclasses.replace(side, latents=side.latents[:n]) for side in (pair.a, pair.b))
    return dataclasses.replace(pair, a=a, b=b)
