"""What a cell of realism@1 trains: TopK seeds and what is held against them, the architectures."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from synthsae_jax.experiments.realism.setting import MODELS, TOPK
from synthsae_jax.suite.context import Context, Trained
from synthsae_jax.suite.cost import Training
from synthsae_jax.suite.observation import Side
from synthsae_jax.suite.reading import Subject
from synthsae_jax.suite.recipes import recipe
from synthsae_jax.worlds.family import Family, plain_view

FEW = 2  # SAEs of what is only compared with itself
# numbers of the first model whose SAEs are wider, and of those by architecture
_FIRST_WIDE, _FIRST_OTHER = 20, 24


@dataclasses.dataclass(frozen=True)
class Member:
    """One SAE, and how its training ended."""

    subject: Subject
    side: Side


Members = Sequence[Member]


@dataclasses.dataclass(frozen=True)
class Group:
    """The SAEs of a cell. All but those on the other models read A."""

    seeds: Members
    early: Members  # the seeds as they were after an eighth of the training
    twice_k: Members
    wide: Members  # of twice the width
    on_others: Members  # one on each B
    by_name: Mapping[str, Members]  # architecture -> its SAEs; of TopK the seeds


def train(context: Context) -> Sequence[Training]:
    """All TopK SAEs of one width are one program; the wider ones and each architecture another."""
    scale = context.scale
    return [
        context.training(TOPK, scale.n_seeds + FEW + len(MODELS)),
        context.training(TOPK, FEW, d_sae=2 * context.d_sae),
        *(context.training(name, FEW) for name in scale.saes_of(context.arm)),
    ]


def train_group(context: Context, models: Family) -> Group:
    """Train them."""
    a, n = plain_view(models.reference), context.scale.n_seeds
    topk = _train_topk(context.part(0.0, 0.5), models)
    early = topk.after(topk.result.config.snapshots[0])
    wide = context.part(0.5, 0.6).train(
        TOPK, models.base, [a] * FEW, first=_FIRST_WIDE, width=2 * context.d_sae
    )
    by_name = {}
    for i, name in enumerate(context.scale.saes_of(context.arm)):
        part = context.part(0.6 + 0.1 * i, 0.7 + 0.1 * i)
        by_name[name] = part.train(name, models.base, [a] * FEW, first=_FIRST_OTHER + FEW * i)
    every = _members(topk)
    return Group(
        seeds=every[:n],
        early=_members(early)[:n],
        twice_k=every[n : n + FEW],
        wide=_members(wide),
        on_others=every[n + FEW :],
        by_name={TOPK: every[:n], **{name: _members(of) for name, of in by_name.items()}},
    )


def _train_topk(context: Context, models: Family) -> Trained:
    """On A at k and at twice k, and one on each B."""
    views = [plain_view(instance) for instance in models.instances]
    n, k = context.scale.n_seeds, context.target_l0
    sae_recipe = recipe(TOPK, context.scale.d_in, context.d_sae, k, context.config)
    whole = max(1, round(k))
    ks = np.array([[whole]] * n + [[2 * whole]] * FEW + [[whole]] * len(MODELS))
    snapshots = (math.ceil(context.config.n_steps / 8),)
    return context.train(
        TOPK,
        models.base,
        [*[views[0]] * (n + FEW), *views[1:]],
        sae=sae_recipe.sae,
        config=dataclasses.replace(sae_recipe.config, snapshots=snapshots),
        hyper=sae_recipe.sae.hyper.replace(k=ks),
    )


def _members(trained: Trained) -> list[Member]:
    return [Member(row[0], trained.side(i)) for i, row in enumerate(trained.subjects)]
