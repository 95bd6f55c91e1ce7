"""Two pilots on models that share every feature: what matching finds, what relations say.

Pilot A: SAEs of one model, of another model with independent directions, and one that is badly
tuned; matched by the correlation of codes. Pilot B: relational measures of the matched decoder
rows, for a second seed, a rotated and an independent dictionary. `scripts/check_matching` runs both
at full size.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from synthsae_jax import keys, matching, metrics, saes, similarity, worlds
from synthsae_jax.matching import PairCounts, TruthSweep
from synthsae_jax.suite.reading import Subject, read_latents, read_truth, subjects
from synthsae_jax.training import TrainConfig, train
from synthsae_jax.worlds import InstanceConfig, World, WorldConfig
from synthsae_jax.worlds import family as families
from synthsae_jax.worlds.inputs import bare

MEASURES = ("svcca_rank1", "svcca", "cka_debiased", "rsa", "procrustes", "mutual_knn")
# the SAEs by name: instance of the family, init seed. Bsame begins where A0 does
GOOD = {"A0": (0, 0), "A1": (0, 1), "C0": (1, 2), "C1": (1, 3), "B0": (2, 4), "Bsame": (2, 0)}
BAD = "A0L1"


@dataclasses.dataclass(frozen=True)
class PilotPlan:
    """A world without trees and correlation, the SAEs on it, and how they are trained and read."""

    world: WorldConfig
    instance: InstanceConfig
    d_sae: int
    k: int
    n_steps: int
    names: tuple[str, ...] = tuple(GOOD)
    batch_size: int = 256
    lr: float = 1.5e-2
    l1_coefficient: float = 0.02  # far below what sparse codes take
    bad_steps: int = 2000
    bad_lr: float = 3e-3
    n_truth: int = 16_384
    n_match: int = 32_768
    seed: int = 0

    def config(self, n_steps: int, lr: float) -> TrainConfig:
        """Training: linear decay over the second half, no clipping, latents revived early."""
        return TrainConfig(
            n_samples=n_steps * self.batch_size,
            batch_size=self.batch_size,
            lr=lr,
            lr_decay_steps=n_steps // 2,
            dead_window=50,
            grad_clip=None,
        )


@dataclasses.dataclass(frozen=True)
class Pilot:
    """Trained SAEs by name, and which features their latents track under every truth."""

    plan: PilotPlan
    registry: World
    saes: Mapping[str, Subject]
    truth: Mapping[str, TruthSweep]
    explained_variance: Mapping[str, float]
    l0: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class PilotPair:
    """Two SAEs matched one-to-one by the correlation of their codes above a threshold."""

    row: np.ndarray
    col: np.ndarray
    declared: float  # share of the smaller side's living latents
    truths: tuple[tuple[str, float], ...]  # method and threshold, the default first
    reports: tuple[Mapping[str, float], ...]  # under each of them

    def over_thresholds(self, method: str, quantity: str) -> list[float]:
        """A quantity of the reports under one truth method, at its thresholds."""
        named = zip(self.truths, self.reports, strict=True)
        return [report[quantity] for (name, _), report in named if name == method]


def plan_of(preset: str, k: int, n_steps: int, **options: Any) -> PilotPlan:
    """The pilots on a preset, with as many latents as features."""
    made = worlds.preset(preset)
    n = made.world.n_features
    return PilotPlan(made.world, made.instance, n, k, n_steps, **options)


def run_pilot(plan: PilotPlan, told: Callable[[str], None] = lambda what: None) -> Pilot:
    """Train the plan's good SAEs in one program and the bad one, and find what they track."""
    world = worlds.init_world(keys.world_key(plan.seed), plan.world, seed=plan.seed)
    conditions = (families.ROTATED, families.INDEPENDENT)
    family = families.init_family(world, plan.instance, conditions, plan.seed)
    views = family.training_views()
    dim = plan.instance.hidden_dim
    good = saes.build("topk", d_in=dim, d_sae=plan.d_sae, k=plan.k)
    by_model = [[n for n in plan.names if GOOD[n][0] == i] for i in range(3)]
    inits = np.array([[GOOD[n][1] for n in row] for row in by_model])
    config = plan.config(plan.n_steps, plan.lr)
    told("training")
    result = train(world, views, good, config, init_seeds=inits, data_seed=[0, 1, 2])
    trained = subjects("topk", result, family.instances)
    named = {n: s for row, names in zip(trained, by_model) for s, n in zip(row, names)}
    told("training the badly tuned one")
    bad = saes.build("standard", d_in=dim, d_sae=plan.d_sae, l1_coefficient=plan.l1_coefficient)
    first = jax.tree.map(lambda leaf: leaf[:1], views)
    config = plan.config(plan.bad_steps, plan.bad_lr)
    dense = train(world, first, bad, config, init_seeds=[[9]], data_seed=[9])
    named[BAD] = subjects("standard", dense, family.instances[:1])[0][0]
    told("truth")
    registry = family.registry("factors")
    truth = {n: read_truth(s, registry, plan.n_truth, plan.seed) for n, s in named.items()}
    quality = {n: _quality(s, registry, plan.seed) for n, s in named.items()}
    ev, l0 = ({n: q[i] for n, q in quality.items()} for i in range(2))
    return Pilot(plan, registry, named, truth, ev, l0)


def match_pair(
    pilot: Pilot, a: str, b: str, threshold: float = 0.1, shuffle: bool = False
) -> PilotPair:
    """The best one-to-one matching of two SAEs by codes, with what is true under every truth.

    `shuffle` deals B's tokens out anew: chance with best of many.
    """
    plan = pilot.plan
    read = lambda name: read_latents(
        pilot.saes[name], pilot.registry, plan.n_match, plan.seed, "match"
    ).toarray()
    codes_a, codes_b = read(a), read(b)
    if shuffle:
        codes_b = codes_b[np.random.default_rng(plan.seed).permutation(len(codes_b))]
    counts = _counted(codes_a, codes_b)
    alive = np.asarray(counts.alive_a), np.asarray(counts.alive_b)
    found = matching.solve(
        "assignment", np.asarray(counts.score("activation_pearson")), threshold, *alive
    )
    valid = np.asarray(found.valid)
    reports = tuple(
        matching.match_report(found, of_a, of_b, *alive)
        for of_a, of_b in zip(pilot.truth[a].maps, pilot.truth[b].maps, strict=True)
    )
    row, col = np.asarray(found.row)[valid], np.asarray(found.col)[valid]
    declared = valid.sum() / min(alive[0].sum(), alive[1].sum())
    return PilotPair(row, col, declared, pilot.truth[a].settings, reports)


def relations(
    pilot: Pilot, a: str, b: str, pair: PilotPair, draws: int = 20, n: int | None = None
) -> dict[str, tuple[float, float, float]]:
    """Each measure of the matched decoder rows: value, mean and sd with partners shuffled.

    `n`: only the first so many pairs, so that pairs of SAEs share compiled programs.
    """
    X = pilot.saes[a].decoder[pair.row[:n]]
    Y = pilot.saes[b].decoder[pair.col[:n]]
    rng = np.random.default_rng(pilot.plan.seed)
    dealt = np.stack([Y, *(rng.permutation(Y) for _ in range(draws))])
    found = {}
    for name in MEASURES:
        values = np.asarray(_measured(name, X, dealt), np.float64)
        null = values[1:]
        found[name] = (float(values[0]), float(null.mean()), float(null.std(ddof=1)))
    return found


_counted = jax.jit(lambda a, b: PairCounts.init(a.shape[1], b.shape[1]).update(a, b))


@functools.partial(jax.jit, static_argnums=0)
def _measured(name, X, dealt):
    return jax.lax.map(lambda Y: similarity.evaluate(name, X, Y)[0], dealt)


def _quality(subject: Subject, registry: World, seed: int) -> tuple[float, float]:
    """Explained variance and L0 on 4,096 samples of the report stream."""
    key = keys.data_key(seed, "report")
    x, x_hat, latents = _seen(
        subject.reconstruct, key, bare(registry), bare(subject.instance), subject.run
    )
    return float(metrics.explained_variance(x, x_hat)), float(metrics.l0(latents))


@functools.partial(jax.jit, static_argnums=0)
def _seen(reconstruct, key, world, instance, run):
    codes, x = worlds.draw(key, world, instance, 4096)
    latents, x_hat = reconstruct(run, codes, x)
    return x, x_hat, latents
