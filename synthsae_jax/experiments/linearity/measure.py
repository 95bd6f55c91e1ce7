"""What linearity@1 trains and measures: the same models at every strength of a departure."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence

import jax
import numpy as np

from synthsae_jax import worlds
from synthsae_jax.suite.context import Context
from synthsae_jax.suite.cost import Training
from synthsae_jax.suite.design import Arm
from synthsae_jax.suite.explained import explained_variance
from synthsae_jax.suite.families import family_of, family_pairs
from synthsae_jax.suite.observation import Number, Observation
from synthsae_jax.suite.pair import Pair, protocol_numbers, rule_numbers, truth_numbers
from synthsae_jax.suite.scale import Scale, scales_of
from synthsae_jax.suite.seeds import run_seed
from synthsae_jax.worlds import World, family
from synthsae_jax.worlds.family import Family

# rotated, so that scores of aligned directions have something to find; and the zero
CONDITIONS = (family.ROTATED, family.DISJOINT_INDEPENDENT)
SHARED, DISJOINT = (condition.name for condition in CONDITIONS)
_MEMBERS = 1 + len(CONDITIONS)
DEPARTURES = {
    "turning": "directions turn with magnitude",
    "circle": "features lie on circles",
    "plane": "features have two dimensions",
    "family": "children's directions are mixed with their parents'",
    "squash": "activations pass a pointwise nonlinearity",
}
HALF, WHOLE = 0.5, 1.0
RULES = ("best_correlation_0.1", "decoder_cosine_0.7_aligned")
TRUTHS = ("agree", "geometric", "functional", "code", "causal")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LinearityScale(Scale):
    """With the strengths of a departure, and the roots of the one world that has trees."""

    roots: int
    slots: tuple[int, ...] = (16, 40, 40)
    strengths: tuple[float, ...] = (0.0, 0.25, HALF, WHOLE)


_SMALL = {
    "n_features": 128,
    "hidden_dim": 64,
    "width": 64,
    "roots": 8,
    "mean_l0": 4.0,
    "target_l0": 3.0,
    "batch_size": 256,
    "dead_window": 100,
    "protocols": ("mppc2024", "song2025"),
}
_LARGE = {
    "preset": "1k",
    "n_features": 1024,
    "hidden_dim": 128,
    "width": 256,
    "roots": 64,
    "mean_l0": 8.0,
    "target_l0": 6.0,
    "slots": (32, 96, 72),
    "protocols": ("mppc2024", "song2025"),
    "dead_window": 500,
}
SCALES = scales_of(
    LinearityScale,
    smoke={**_SMALL, "arms": ("turning",), "strengths": (0.0, HALF, WHOLE)},
    small=_SMALL,
    standard=_LARGE,
    full={
        **_LARGE,
        "n_features": 4096,
        "hidden_dim": 256,
        "width": 1024,
        "roots": 256,
        "mean_l0": 12.0,
        "target_l0": 9.0,
        "slots": (64, 160, 120),
        "n_match": 294_912,
    },
)


@dataclasses.dataclass(frozen=True)
class Departure(Arm):
    """One departure from linear features, at all strengths."""

    def columns(self) -> dict[str, str]:
        """Its factor."""
        return {"departure": self.name}


def train(context: Context) -> Sequence[Training]:
    """One program: every member of the families of all strengths."""
    return [context.training("topk", _MEMBERS * len(context.scale.strengths))]


def measure(context: Context, arm: Departure) -> Iterator[Observation]:
    """Families of equal seeds at every strength, trained together; then their pairs."""
    strengths = context.scale.strengths
    context.tick(0.0, "building the families")
    world = departed_world(context, arm.name)
    families = [departed_family(context, world, arm.name, s) for s in strengths]
    members = [instance for f in families for instance in f.instances]
    numbers = [context.number(i) for i in range(_MEMBERS)] * len(families)
    seeds = np.array([[run_seed(i, 0)] for i in numbers])
    trained = context.part(0.0, 0.5).train(
        "topk",
        world,
        [family.plain_view(instance) for instance in members],
        seen_as=members,
        init_seeds=seeds,
        data_seeds=seeds,
    )
    for j, (strength, members_of) in enumerate(zip(strengths, families, strict=True)):
        part = context.part(0.5 + 0.5 * j / len(families), 0.5 + 0.5 * (j + 1) / len(families))
        for pair in family_pairs(part, members_of, trained, first=j * _MEMBERS):
            yield pair.observe(
                lambda both, of=members_of: _numbers(context, of, both),
                strength=strength,
                shared=pair.condition.shared,
            )


def departed_world(context: Context, departure: str) -> World:
    """The world of a departure: with trees at equal rates where it is about parents.

    Three children below each of the most frequent features.
    """
    scale = context.scale
    assert scale.slots is not None  # each scale of this experiment has its own
    root, top, code = scale.slots
    law = worlds.ScaledZipf(exponent=0.7, mean_l0=scale.mean_l0)
    plain = context.world(n_features=scale.n_features, firing=law, slots=scale.slots)
    if departure != "family":
        return plain
    trees = worlds.HierarchyConfig(total_root_nodes=scale.roots, branching_factor=3, max_depth=1)
    return worlds.variant(
        plain, hierarchy=trees, seed=context.world_seed, slots=(root, top, code, code)
    )


def departed_family(context: Context, world: World, departure: str, strength: float) -> Family:
    config = worlds.InstanceConfig(
        hidden_dim=context.scale.d_in,
        bias_norm=0.5,
        orthogonalize_steps=0,
        departure=departure,
        strength=strength,
    )
    return family_of(context, world, CONDITIONS, config)


def _numbers(context: Context, members: Family, pair: Pair) -> Iterator[Number]:
    yield from truth_numbers(pair)
    sides = pair.a, pair.b
    for method in TRUTHS:
        tracked = np.mean([(s.truth.of(method, 0.7)[s.alive] >= 0).mean() for s in sides])
        yield Number(method, "tracked", float(tracked), "all latents of a side are dead")
    yield from rule_numbers(pair, RULES)
    key = jax.random.key(context.number(0))
    yield from protocol_numbers(pair, context.scale.protocols, key=key, draws=0)
    subject, world = pair.a.subject, members.registry("factors")
    explained = explained_variance(subject, world, context.number(0))
    yield Number("held", "explained_variance", explained, "the activations do not vary")
    linear = np.asarray(worlds.linear_share(subject.instance))
    linear = linear[np.asarray(subject.instance.present)] if linear.size else linear
    share = float(linear.mean()) if linear.size else math.nan
    yield Number("held", "linear_share", share, "the nonlinearity acts on the sum of features")
