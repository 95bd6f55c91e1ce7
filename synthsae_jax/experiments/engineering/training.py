"""How the groups of each method of engineering@1 are trained.

Universality is scored between groups that share no partner, start, order or tokens; what two SAEs
of one group have in common may have been forced on them. For most methods a group is one SAE.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from synthsae_jax import saes
from synthsae_jax.experiments.engineering.methods import POOL, Method
from synthsae_jax.experiments.engineering.numbers import subject_of
from synthsae_jax.experiments.engineering.pool import pooled
from synthsae_jax.experiments.recovery import train_config
from synthsae_jax.suite import recipes, table
from synthsae_jax.suite.base import Tick
from synthsae_jax.suite.study import Study, Subject, Trained
from synthsae_jax.training import TrainConfig
from synthsae_jax.worlds import World, family, join
from synthsae_jax.worlds.family import Condition, Family, plain_view

# members of the family by number: the model, one equal to it, one without any of its features, and
# for each of the three a partner with the same features in directions of its own
A, EQUAL, DISJOINT = 0, 1, 2
MODELS = (A, EQUAL, DISJOINT)
CONDITIONS = (
    family.IDENTICAL,
    family.DISJOINT_INDEPENDENT,
    Condition("partner of A", shared=1.0),
    Condition("partner of its equal", shared=1.0),
    Condition("partner of the disjoint", shared=0.0),
)
PARTNER = {A: 3, EQUAL: 4, DISJOINT: 5}
SEEDS = 8  # numbers of models that one training may take within its cell


@dataclasses.dataclass(frozen=True)
class Side:
    """One SAE of a pair: how to read it, the columns of its run, whether it diverged."""

    subject: Subject
    columns: Mapping[str, Any]
    ok: bool


@dataclasses.dataclass(frozen=True)
class Groups:
    """What a method trained: nothing is shared between the groups, everything may be within one.

    `between[i]` is the SAE of model i (`MODELS`), each from a group of its own; none for a method
    whose SAE cannot be taken apart. `within` has two SAEs of one group, by how their models relate:
    "identical", "independent" (all features in common, directions of their own) or "disjoint";
    `joint` has SAEs that read both models at once, likewise.
    """

    name: str
    samples: int
    between: list[Side]
    within: list[tuple[str, Side, Side]] = dataclasses.field(default_factory=list)
    joint: list[tuple[str, Side]] = dataclasses.field(default_factory=list)
    pooled_from: list[np.ndarray] = dataclasses.field(default_factory=list)  # seeds per latent
    longer: int = 1  # samples of each SAE, over the scale's


def models_of(study: Study, world: World, seed: int) -> Family:
    """The six models of a world, the same for all methods."""
    return family.init_family(world, study.instance_config, CONDITIONS, seed)


@dataclasses.dataclass(frozen=True)
class Workshop:
    """Where methods are trained: one world with its six models."""

    study: Study
    models: Family
    size: Mapping[str, Any]
    first: int  # the number of model A in rows: the same for all methods
    tick: Tick

    @property
    def dim(self) -> int:
        """D of one model."""
        return self.study.instance_config.hidden_dim

    def config(self, samples: int = 1) -> TrainConfig:
        """The scale's training with so many times its samples."""
        return train_config({**self.size, "n_train": samples * self.size["n_train"]})

    def train(self, sae: saes.SAE, label: str, turn: int = 0, **options: Any) -> Trained:
        """SAEs on each of the three models, in one program; turns share no seed."""
        members = [self.models.instances[i] for i in MODELS]
        return self.study.train(
            label,
            self.models.base,
            [plain_view(member) for member in members],
            sae=sae,
            first=SEEDS * turn,
            tick=lambda done, what: self.tick(0.7 * done, what),
            **options,
        )

    def alone(self, sae: saes.SAE, label: str, turn: int = 0, **options: Any) -> list[Side]:
        """One SAE on each of the three models."""
        trained = self.train(sae, label, turn, **options)
        return [self.side(trained, i, label, sae) for i in MODELS]

    def side(self, trained: Trained, i: int, label: str, sae: saes.SAE) -> Side:
        """The SAE of model i as the only one of its group."""
        subject = subject_of(label, sae, weights_of(trained, i), self.models.instances[i])
        return Side(subject, self.columns(trained, i, i, label), trained.ok(i, 0))

    def columns(self, trained: Trained, i: int, model: int, label: str) -> dict[str, Any]:
        """The columns of a run, with the model's number in the world."""
        number = self.first + model
        return {**table.run_columns(self.study.shared, trained.result, number, i, 0), "sae": label}


def weights_of(trained: Trained, i: int, r: int = 0) -> saes.SAEParams:
    """Finalized weights of one run, without leading axes."""
    return jax.tree.map(lambda leaf: np.asarray(leaf[i, r]), trained.result.params)


def train_method(shop: Workshop, method: Method) -> list[Groups]:
    """All groups of a method; pooling gives two, retrained and with its dictionary frozen."""
    return _HOW[method.how](shop, method)


def _built(shop: Workshop, method: Method, **changes: Any) -> saes.SAE:
    l0, width = shop.study.target_l0, shop.study.d_sae
    if method.sae in recipes.recipe_names():
        return recipes.recipe(method.sae, shop.dim, width, l0, shop.config()).sae
    whole = saes.architectures[method.sae].sparsity == "k per sample"
    given = {"d_in": shop.dim, "d_sae": width, "k": max(1, round(l0)) if whole else l0}
    return saes.build(method.sae, **{**given, **dict(method.numbers), **changes})


def _alone(shop: Workshop, method: Method) -> list[Groups]:
    sae = _built(shop, method)
    sides = shop.alone(sae, method.name, config=shop.config(method.samples))
    return [Groups(method.name, method.samples, sides, longer=method.samples)]


def _shared_init(shop: Workshop, method: Method) -> list[Groups]:
    """One start for all three models: every pair is within a group, none is between groups."""
    start = np.full((len(MODELS), 1), shop.study.seeds(1, 1)[0, 0])
    a, equal, disjoint = shop.alone(_built(shop, method), method.name, init_seeds=start)
    pairs = [("identical", a, equal), ("disjoint", a, disjoint)]
    return [Groups(method.name, method.samples, [], pairs)]


def _pooled(shop: Workshop, method: Method) -> list[Groups]:
    sae = _built(shop, method)
    seeds = shop.train(sae, "seed", runs=POOL)
    found = [pooled([weights_of(seeds, i, r) for r in _usable(seeds, i)]) for i in MODELS]
    weights = jax.tree.map(lambda *of: np.stack(of)[:, None], *(w for w, _ in found))
    support = [n for _, n in found]
    fixed = saes.build("frozen", d_in=shop.dim, d_sae=shop.study.d_sae, k=shop.study.target_l0)
    groups = []
    for turn, (name, last) in enumerate((("retrained", sae), ("frozen", fixed)), start=1):
        label = f"{method.name}, {name}"
        sides = shop.alone(last, label, turn, weights=weights)
        groups.append(Groups(label, method.samples, sides, pooled_from=support))
    return groups


def _usable(trained: Trained, i: int) -> list[int]:
    """The runs on model i that did not diverge; all of them where none is left."""
    return [r for r in range(POOL) if trained.ok(i, r)] or list(range(POOL))


def _joint(shop: Workshop, method: Method) -> list[Groups]:
    """Each model with a partner of its own; and, once more, A with the disjoint model."""
    members = method.sae == "mutual"
    # a second SAE of the same model, or another model with the same features
    partner = {i: i for i in MODELS} if members else PARTNER
    pairs = [(A, partner[A]), (A, DISJOINT)]
    relation = ["identical" if members else "independent", "disjoint"]
    apart = method.sae != "crosscoder"
    if apart:
        pairs += [(i, partner[i]) for i in MODELS if i != A]
    sae = _built(shop, method, d_in=2 * shop.dim, d_sae=(1 + members) * shop.study.d_sae)
    # as many active latents as active features in the union, or in all members together
    fold = [2.0 if members or pair == (A, DISJOINT) else 1.0 for pair in pairs]
    instances = shop.models.instances
    trained = shop.study.train(
        method.name,
        shop.models.registry("factors"),
        [join([instances[i], instances[j]]) for i, j in pairs],
        sae=sae,
        hyper=dataclasses.replace(sae.hyper, k=shop.study.target_l0 * np.array(fold)[:, None]),
        tick=lambda done, what: shop.tick(0.7 * done, what),
    )

    def own(i: int, m: int) -> Side:
        one, weights = saes.member(sae, weights_of(trained, i), m)
        model = pairs[i][m]
        subject = subject_of(method.name, one, weights, instances[model])
        return Side(subject, shop.columns(trained, i, model, method.name), trained.ok(i, 0))

    def whole(i: int) -> Side:
        columns = shop.columns(trained, i, A, method.name)
        return Side(trained.subjects[i][0], columns, trained.ok(i, 0))

    return [
        Groups(
            method.name,
            method.samples,
            between=[own(0, 0), own(2, 0), own(3, 0)] if apart else [],
            within=[(relation[i], own(i, 0), own(i, 1)) for i in (0, 1)] if apart else [],
            joint=[] if members else [(relation[i], whole(i)) for i in (0, 1)],
        )
    ]


_HOW: Mapping[str, Callable[[Workshop, Method], list[Groups]]] = {
    "alone": _alone,
    "shared init": _shared_init,
    "pooled": _pooled,
    "joint": _joint,
}
