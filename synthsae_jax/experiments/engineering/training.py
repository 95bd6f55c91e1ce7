"""How the groups of each method of engineering@1 are trained.

Universality is scored between groups that share no partner, start, order or tokens; what two SAEs
of one group have in common may have been forced on them. For most methods a group is one SAE.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from synthsae_jax import saes
from synthsae_jax.experiments.engineering.methods import (
    DISJOINT,
    INDEPENDENT,
    POOL,
    SHARED,
    Method,
)
from synthsae_jax.experiments.engineering.numbers import subject_of
from synthsae_jax.experiments.engineering.pool import pooled
from synthsae_jax.suite import recipes, table
from synthsae_jax.suite.context import Context, Trained
from synthsae_jax.suite.cost import Training
from synthsae_jax.suite.observation import Side
from synthsae_jax.suite.reading import Subject
from synthsae_jax.worlds import family, join
from synthsae_jax.worlds.family import Condition, Family, plain_view

# members of the family by number: the model, one equal to it, one without any of its features, and
# for each of the three a partner with the same features in directions of its own
A, EQUAL, OTHER = 0, 1, 2
MODELS = (A, EQUAL, OTHER)
CONDITIONS = (
    family.IDENTICAL,
    family.DISJOINT_INDEPENDENT,
    Condition("partner of A", shared=1.0),
    Condition("partner of its equal", shared=1.0),
    Condition("partner of the disjoint", shared=0.0),
)
PARTNER = {A: 3, EQUAL: 4, OTHER: 5}
_SEEDS = 8  # numbers of models that one training may take within its cell
_TRAINING = 0.7  # share of a cell's work


@dataclasses.dataclass(frozen=True, eq=False)
class Member:
    """One SAE of a group: who it is, and how to read it."""

    side: Side
    subject: Subject


@dataclasses.dataclass(frozen=True)
class Groups:
    """What a method trained: nothing is shared between the groups, everything may be within one.

    `between[i]` is the SAE of model i (`MODELS`), each from a group of its own; none for a method
    whose SAE cannot be taken apart. `within` has two SAEs of one group, by how their models relate;
    `joint` has SAEs that read both models at once, likewise.
    """

    name: str
    between: Sequence[Member]
    within: Sequence[tuple[str, Member, Member]] = ()
    joint: Sequence[tuple[str, Member]] = ()
    pooled_from: Sequence[np.ndarray] = ()  # seeds that have each latent, of model i [L]


def planned(context: Context) -> Sequence[Training]:
    """What a method trains."""
    method: Method = context.arm
    n = len(MODELS)
    if method.how == "pooled":
        each = {"seed": (method.sae, POOL), "retrained": (method.sae, 1), "frozen": ("frozen", 1)}
        return [context.training(sae, n, runs=r, label=label) for label, (sae, r) in each.items()]
    if method.how == "joint":
        both = {"d_in": 2 * context.scale.d_in, "d_sae": (1 + method.members) * context.d_sae}
        return [context.training(method.sae, len(_pairs(method)), label=method.name, **both)]
    return [context.training(method.sae, n, label=method.name)]


@dataclasses.dataclass(frozen=True)
class Workshop:
    """Where methods are trained: one world with its six models, the same for all methods."""

    context: Context
    models: Family

    def number(self, model: int) -> int:
        """A model's number in rows: the same for all methods."""
        return len(self.models.instances) * self.context.world_index + model

    def train(self, sae: saes.SAE, label: str, turn: int = 0, **options: Any) -> Trained:
        """SAEs on each of the three models, in one program; turns share no seed."""
        turns = len(planned(self.context))
        part = self.context.part(_TRAINING * turn / turns, _TRAINING * (turn + 1) / turns)
        return part.train(
            self.context.arm.sae,
            self.models.base,
            [plain_view(self.models.instances[i]) for i in MODELS],
            label=label,
            sae=sae,
            first=_SEEDS * turn,
            numbers=[self.number(i) for i in MODELS],
            **options,
        )

    def alone(self, sae: saes.SAE, label: str, turn: int = 0, **options: Any) -> list[Member]:
        """One SAE on each of the three models."""
        trained = self.train(sae, label, turn, **options)
        return [
            Member(
                trained.side(i),
                subject_of(label, sae, weights_of(trained, i), self.models.instances[i]),
            )
            for i in MODELS
        ]


def weights_of(trained: Trained, i: int, r: int = 0) -> saes.SAEParams:
    """Finalized weights of one run, without leading axes."""
    return jax.tree.map(lambda leaf: np.asarray(leaf[i, r]), trained.result.params)


def train_method(shop: Workshop, method: Method) -> list[Groups]:
    """All groups of a method; pooling gives two, retrained and with its dictionary frozen."""
    return _HOW[method.how](shop, method)


def _built(shop: Workshop, method: Method, **changes: Any) -> saes.SAE:
    context = shop.context
    dim, width, l0 = context.scale.d_in, context.d_sae, context.target_l0
    if method.sae in recipes.recipe_names():
        return recipes.recipe(method.sae, dim, width, l0, context.config).sae
    whole = saes.architectures[method.sae].sparsity == "k per sample"
    sizes = {"d_in": dim, "d_sae": width, "k": max(1, round(l0)) if whole else l0}
    return saes.build(method.sae, **{**sizes, **dict(method.numbers), **changes})


def _alone(shop: Workshop, method: Method) -> list[Groups]:
    return [Groups(method.name, shop.alone(_built(shop, method), method.name))]


def _shared_init(shop: Workshop, method: Method) -> list[Groups]:
    """One start for all three models: every pair is within a group, none is between groups."""
    start = np.full((len(MODELS), 1), shop.context.seeds(1, 1)[0, 0])
    a, equal, disjoint = shop.alone(_built(shop, method), method.name, init_seeds=start)
    pairs = [(SHARED, a, equal), (DISJOINT, a, disjoint)]
    return [Groups(method.name, [], pairs)]


def _pooled(shop: Workshop, method: Method) -> list[Groups]:
    sae, context = _built(shop, method), shop.context
    seeds = shop.train(sae, "seed", runs=POOL)
    each = [pooled([weights_of(seeds, i, r) for r in _usable(seeds, i)]) for i in MODELS]
    weights = jax.tree.map(lambda *of: np.stack(of)[:, None], *(w for w, _ in each))
    support = [n for _, n in each]
    fixed = saes.build("frozen", d_in=context.scale.d_in, d_sae=context.d_sae, k=context.target_l0)
    return [
        Groups(label, shop.alone(last, label, turn, weights=weights), pooled_from=support)
        for turn, (label, last) in enumerate(zip(method.results, (sae, fixed), strict=True), 1)
    ]


def _usable(trained: Trained, i: int) -> list[int]:
    """The runs on model i that did not diverge; all of them where none is left."""
    return [r for r in range(POOL) if trained.ok(i, r)] or list(range(POOL))


def _pairs(method: Method) -> list[tuple[int, int]]:
    """The models of each joint training: A with its partner, A with the disjoint model, the rest.

    The partner is the model itself for a second SAE of it, else a model with the same features.
    """
    partner = {i: i for i in MODELS} if method.members else PARTNER
    pairs = [(A, partner[A]), (A, OTHER)]
    return pairs + ([(i, partner[i]) for i in MODELS if i != A] if method.apart else [])


def _joint(shop: Workshop, method: Method) -> list[Groups]:
    """Each model with a partner of its own; and, once more, A with the disjoint model."""
    context, instances, pairs = shop.context, shop.models.instances, _pairs(method)
    relations = (SHARED if method.members else INDEPENDENT, DISJOINT)
    width = (1 + method.members) * context.d_sae
    sae = _built(shop, method, d_in=2 * context.scale.d_in, d_sae=width)
    # as many active latents as active features in the union, or in all members together
    fold = [2.0 if method.members or pair == (A, OTHER) else 1.0 for pair in pairs]
    trained = context.part(0.0, _TRAINING).train(
        method.sae,
        shop.models.registry("factors"),
        [join([instances[i], instances[j]]) for i, j in pairs],
        label=method.name,
        sae=sae,
        hyper=dataclasses.replace(sae.hyper, k=context.target_l0 * np.array(fold)[:, None]),
        numbers=[shop.number(i) for i, _ in pairs],
    )

    def member(i: int, m: int) -> Member:
        """The SAE of the m-th model of a pair."""
        one, weights = saes.member(sae, weights_of(trained, i), m)
        model = pairs[i][m]
        # the same run, seen on its other model
        columns = table.run_columns(context.shared, trained.result, shop.number(model), i, 0)
        side = dataclasses.replace(trained.side(i), columns={**columns, "sae": method.name})
        return Member(side, subject_of(method.name, one, weights, instances[model]))

    whole = lambda i: Member(trained.side(i), trained.subjects[i][0])
    return [
        Groups(
            method.name,
            between=[member(i, 0) for i in (0, 2, 3)] if method.apart else [],
            within=[(relations[i], member(i, 0), member(i, 1)) for i in (0, 1) if method.apart],
            joint=[(relations[i], whole(i)) for i in (0, 1) if method.implies],
        )
    ]


_HOW: Mapping[str, Callable[[Workshop, Method], list[Groups]]] = {
    "alone": _alone,
    "shared init": _shared_init,
    "pooled": _pooled,
    "joint": _joint,
}
