"""A cell of universality@1: one architecture, or its oracles, on a family of models."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from synthsae_jax import keys, protocols
from synthsae_jax.protocols import Context as ProtocolContext
from synthsae_jax.protocols.base import Reconstruct
from synthsae_jax.suite import pairs
from synthsae_jax.suite.context import Context, Trained
from synthsae_jax.suite.cost import Training
from synthsae_jax.suite.design import Arm
from synthsae_jax.suite.families import FamilyPair, Members, family_pairs, train_family
from synthsae_jax.suite.observation import Number, Observation
from synthsae_jax.suite.oracles import ORACLE, known_truth, oracles_of
from synthsae_jax.suite.pair import (
    ALL_RULES,
    TRUTH,
    Pair,
    protocol_numbers,
    rule_numbers,
    truth_numbers,
)
from synthsae_jax.suite.reading import Subject
from synthsae_jax.suite.scale import Scale, scales_of
from synthsae_jax.suite.seeds import run_seed
from synthsae_jax.worlds import Instance, World, family, see
from synthsae_jax.worlds.family import Condition, Family, init_family
from synthsae_jax.worlds.inputs import bare

Array = jax.Array
ARCHITECTURES = ("topk", "batchtopk")
# geometry shared or not, crossed with all, half and none of the features; both zeros
GRID = (
    family.IDENTICAL,
    family.ROTATED,
    family.INDEPENDENT,
    family.HALF_ROTATED,
    family.HALF,
    family.DISJOINT_INDEPENDENT,
    family.DISJOINT_COUPLED,
)
# whose own number is a share of latents that it calls shared
DECLARING = tuple(n for n in protocols.protocols if protocols.protocols[n].primary == "shared")


@dataclasses.dataclass(frozen=True, kw_only=True)
class UniversalityScale(Scale):
    """With the conditions of its families, and how much protocols read and draw."""

    conditions: tuple[str, ...] = tuple(condition.name for condition in GRID)
    protocols: tuple[str, ...] = protocols.protocol_names()
    protocol_tokens: int  # codes are dense for protocols
    draws: int = 19  # of each null
    level_draws: int | None = None  # by which filters set their level; None: enough

    def seeds_of(self, arm: Arm) -> int:
        """SAEs on each model: of an oracle there is but one."""
        return 1 if arm.name == ORACLE else self.seeds


_MINI = {"preset": "mini", "target_l0": 3.6}
SCALES = scales_of(
    UniversalityScale,
    every={"seeds": 2},
    smoke={
        **_MINI,
        "arms": ("topk", ORACLE),
        "conditions": ("rotated", "disjoint_independent"),
        "seeds": 1,
        "n_train": 51_200,
        "n_match": 16_384,
        "batch_size": 256,
        "protocol_tokens": 2048,
        "draws": 2,
        "level_draws": 4,
    },
    small={
        **_MINI,
        "n_train": 512_000,
        "n_match": 98_304,
        "batch_size": 512,
        "protocol_tokens": 8192,
        "level_draws": 20,
    },
    standard={"protocol_tokens": 32_768},
    full={"protocol_tokens": 65_536},
)


def arms(scale: Scale) -> list[Arm]:
    """The architectures, then oracles: what is said when nothing was left to training."""
    return [Arm(name) for name in (*ARCHITECTURES, ORACLE)]


def train(context: Context) -> Sequence[Training]:
    """A and every B in one program; oracles train nothing."""
    if context.arm.name == ORACLE:
        return []
    return [context.training(context.arm.name, 1 + len(context.scale.conditions))]


def measure(context: Context, arm: Arm) -> Iterator[Observation]:
    """What is true of each pair of a family, what rules declare, and what protocols say."""
    conditions = tuple(c for c in GRID if c.name in context.scale.conditions)
    models = models_of(context, conditions, context.world_index)
    if arm.name == ORACLE:
        each = oracle_pairs(context, models, context.world_index)
    else:
        trained = train_models(context.part(0.0, 0.5), models, context.world_index, arm.name)
        part = context.part(0.5, 1.0)
        each = family_pairs(part, models, trained, seed=context.world_index)
    for pair in each:
        yield dataclasses.replace(pair.observe(sharing_numbers), names=_OF_RULES)
        if pair.run == 0:  # protocols are asked of one run of each condition
            numbers = lambda both, of=pair: _protocol_numbers(context, models, of, both)
            tokens = context.scale.protocol_tokens
            yield dataclasses.replace(pair.observe(numbers), tokens=tokens, names=_OF_PROTOCOLS)


def models_of(context: Context, conditions: tuple[Condition, ...], number: int) -> Family:
    """The family of a world that has this number among the benchmark's."""
    context.tick(0.0, "building the family")
    # no two families of a benchmark share an instance key
    seed = context.world_seed % 2**20 + number
    return init_family(context.world(), context.instance_config, conditions, seed)


def train_models(
    context: Context,
    models: Family,
    number: int,
    name: str,
    *,
    own_streams: bool = True,
    **options: Any,
) -> Trained:
    """SAEs of one architecture on all models; no two of a benchmark's runs share a seed.

    Without `own_streams` the runs of a model read one stream of data; those of a pair never do.
    """
    numbers = _numbers_of(models, number)
    seeds = np.array([[run_seed(n, r) for r in range(context.scale.seeds)] for n in numbers])
    data_seeds = seeds if own_streams else seeds[:, 0]
    options |= {"numbers": numbers, "init_seeds": seeds, "data_seeds": data_seeds}
    return train_family(context, models, name, **options)


def oracle_pairs(context: Context, models: Family, number: int) -> Iterator[FamilyPair]:
    """Pairs of oracle SAEs, whose truth is known."""
    first = _numbers_of(models, number)[0]
    oracles: Members = oracles_of(models, context.d_sae, context.world_seed, first)
    return family_pairs(context, models, oracles, seed=number, truth_of=known_truth)


def _numbers_of(models: Family, number: int) -> list[int]:
    n = len(models.instances)
    return [n * number + i for i in range(n)]


def sharing_numbers(pair: Pair) -> Iterator[Number]:
    """What is true of a pair, and what rules declare."""
    true = truth_numbers(pair)
    yield from true
    firings = pairs.median_firings(pair.counts)
    yield Number("held", "median_firings", firings, "all latents are dead", standard=True)
    (common,) = (n.value for n in true if n.metric == "features_shared")
    for number in rule_numbers(pair, ALL_RULES):
        yield number
        if number.metric == "declared":
            yield _error(number, common)


def _error(declared: Number, common: float) -> Number:
    """How far a declared share is from that of the features in common."""
    error = abs(declared.value - common)
    return Number(declared.variant, "sharing_error", error, declared.reason, standard=True)


# (metric, variant) of what is observed, for pairs of which a run diverged
_OF_RULES = (
    *((metric, TRUTH) for metric in ("features_shared", "true_universality")),
    *((f"true_universality_{end}", TRUTH) for end in ("least", "most")),
    ("median_firings", "held"),
    *(
        (metric, rule)
        for rule in ALL_RULES
        for metric in ("declared", "precision", "sharing_error")
    ),
)
_OF_PROTOCOLS = (
    *(("score", f"{name}{of}") for name in protocols.protocols for of in ("", "/chance")),
    *((m, name) for name in protocols.protocols for m in ("precision", "sharing_error")),
)


def _protocol_numbers(
    context: Context, models: Family, of: FamilyPair, pair: Pair
) -> Iterator[Number]:
    """What protocols say of a pair, and how far off those are that declare a share."""
    scale = context.scale
    a, b = (np.asarray(instance.present) for instance in pair.instances)
    common = float((a & b).sum() / a.sum())
    world = models.registry(of.condition.coupling)
    numbers = protocol_numbers(
        pair,
        scale.protocols,
        key=keys.null_key(context.world_index),
        draws=scale.draws,
        n_tokens=scale.protocol_tokens,
        context=protocol_context(pair, world, scale, context.world_index),
    )
    for number in numbers:
        yield number
        if number.metric == "score" and number.variant in DECLARING:
            yield _error(number, common)


def protocol_context(
    pair: Pair, world: World, scale: UniversalityScale, seed: int
) -> ProtocolContext:
    """What protocols may read beside the codes: activations, and what SAEs make of them.

    Tokens carry no labels here, so what a protocol does with token strings is left out. An oracle
    rebuilds nothing from activations: it is told the codes.
    """
    context = ProtocolContext(level_draws=scale.level_draws)
    subjects = pair.a.subject, pair.b.subject
    if any(subject.encoder is None for subject in subjects):
        return context
    a, b = (_activations(s.instance, world, scale.protocol_tokens, seed) for s in subjects)
    rebuild = _rebuild_of(subjects[0]), _rebuild_of(subjects[1])
    return dataclasses.replace(context, activations=(a, b), reconstruct=rebuild)


def _rebuild_of(subject: Subject) -> Reconstruct:
    """x -> x_hat."""
    return functools.partial(_rebuilt, subject.reconstruct, subject.run)


@functools.partial(jax.jit, static_argnums=0)
def _rebuilt(reconstruct: Any, run: Any, x: Array) -> Array:
    return reconstruct(run, None, x)[1]


def _activations(instance: Instance, world: World, n: int, seed: int) -> np.ndarray:
    """What the model's activations are on the first tokens of the match stream, [n, D]."""
    instance = bare(instance)
    blocks = [
        np.asarray(_seen(key, parents, instance))
        for key, parents in pairs.parent_codes(world, n, seed, "match")
    ]
    return np.concatenate(blocks)[:n]


@jax.jit
def _seen(key, parents, instance):
    def batch(at):
        i, codes = at
        return see(jax.random.fold_in(key, i), instance, codes)[1]

    x = jax.lax.map(batch, (jnp.arange(parents.values.shape[0]), parents))
    return x.reshape(-1, x.shape[-1])
