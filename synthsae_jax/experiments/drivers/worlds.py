"""The worlds of drivers@1: what each arm sets, what it leaves as it was, and the fraction."""

from __future__ import annotations

import dataclasses
import itertools
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from synthsae_jax import worlds
from synthsae_jax.suite.context import Context
from synthsae_jax.suite.design import Arm
from synthsae_jax.suite.scale import Scale
from synthsae_jax.worlds import World
from synthsae_jax.worlds.nodes import Nodes

DEEPEST = 5
# levels of the factors that the fraction crosses: (low, high)
LEVELS: Mapping[str, tuple[float, float]] = {
    "overlap": (0.2, 0.3),
    "correlation": (0.0, 0.2),
    "depth": (0, 3),
    "exponent": (0.7, 1.0),
    "noise": (0.0, 0.1),
}
_SLOTS_PER_LEVEL = 24


@dataclasses.dataclass(frozen=True)
class Intervention(Arm):
    """What differs from the base arm; numbers of the base elsewhere."""

    overlap: float = LEVELS["overlap"][0]
    way: str = "coherence"  # how an overlap beyond the base's is reached: "dim", "features"
    geometry: str = "random"
    features: float = 1.0  # relative to the scale's; width goes along
    depth: int = 0
    exclusive: bool = False
    scaled: bool = False
    correlation: float = 0.0  # scale of the copula's factors
    rank: int = 10
    exponent: float = LEVELS["exponent"][0]
    noise: float = 0.0
    sae: str = "topk"
    block: bool = False  # is it a run of the fraction?
    between: bool = False  # are SAEs on it also paired with SAEs on the base arm's world?

    def columns(self) -> dict[str, Any]:
        """Its factors."""
        fields = dataclasses.asdict(self)
        return {n: v for n, v in fields.items() if n not in ("name", "sae", "between")}

    def levels(self, scale: Scale) -> dict[str, Sequence[str]]:
        """What its pairs are called."""
        return {"condition": (self.name, *([self.beside_base] if self.between else []))}

    @property
    def beside_base(self) -> str:
        """The pair of an SAE on it and one on the base arm's world."""
        return f"{self.name} / base"

    def without_codes(self) -> Intervention:
        """The same directions and firing law, with neither trees nor correlation."""
        return dataclasses.replace(self, depth=0, correlation=0.0)


def fraction() -> tuple[Intervention, ...]:
    """Half of the 2^5 settings, resolution V: the fifth factor is minus the product of the others.

    Main effects and interactions of two are apart from each other; the base is its first run.
    """
    names = list(LEVELS)
    runs = []
    for signs in itertools.product((-1, 1), repeat=4):
        full = (*signs, -int(np.prod(signs)))
        chosen = {n: LEVELS[n][s > 0] for n, s in zip(names, full, strict=True)}
        label = "+".join(n for n, s in zip(names, full, strict=True) if s > 0) or "base"
        runs.append(Intervention(label, **chosen, block=True))  # type: ignore[arg-type]
    return tuple(runs)


def interventions() -> tuple[Intervention, ...]:
    """The fraction first, then one factor at a time from the base."""
    return (
        *fraction(),
        Intervention("dim .10", overlap=0.10, way="dim"),
        Intervention("dim .15", overlap=0.15, way="dim"),
        Intervention("dim .30", overlap=0.30, way="dim"),
        Intervention("coherence .25", overlap=0.25),
        Intervention("coherence .30", overlap=0.30),
        Intervention("orthogonal", geometry="orthogonal"),
        Intervention("twice the features", features=2.0, way="features"),
        Intervention("dim of twice the features", features=2.0, way="dim"),
        *(Intervention(f"depth {d}", depth=d, between=d == 3) for d in range(1, DEEPEST + 1)),
        Intervention("exclusive", depth=3, exclusive=True),
        Intervention("scaled", depth=3, scaled=True),
        Intervention("correlation .1", correlation=0.1),
        Intervention("correlation .2", correlation=0.2, between=True),
        # of the same rms correlation, scale^2 sqrt(rank), as the arm before
        Intervention("correlation .2, rank 40", correlation=0.2 * (10 / 40) ** 0.25, rank=40),
        Intervention("exponent .4", exponent=0.4),
        Intervention("exponent 1", exponent=1.0),
        Intervention("noise .1", noise=0.1),
        Intervention("matryoshka", sae="matryoshka"),
        Intervention("matryoshka, depth 3", sae="matryoshka", depth=3),
    )


class Shape(NamedTuple):
    """Sizes of an arm."""

    n_features: int
    dim: int
    width: int


def shape(scale: Scale, arm: Intervention) -> Shape:
    """Features F, dimensions D and width L of an arm."""
    assert scale.n_features is not None  # every scale of the design has it
    n, width = scale.n_features, scale.d_sae
    base = worlds.dim_for_overlap(n, LEVELS["overlap"][0])
    if arm.way == "features":
        return Shape(round(arm.features * n), base, round(arm.features * width))
    if arm.features != 1:  # the overlap that so many features would have, by dimensions
        same = worlds.overlap_of(round(arm.features * n), base)
        return Shape(n, worlds.dim_for_overlap(n, same), width)
    if arm.way == "dim":
        return Shape(n, worlds.dim_for_overlap(n, arm.overlap), width)
    return Shape(n, base, width)


def instance_config(scale: Scale, arm: Intervention) -> worlds.InstanceConfig:
    """Random directions, paired where coherence is what moves the overlap."""
    paired = arm.way == "coherence" and arm.overlap > LEVELS["overlap"][0]
    return worlds.InstanceConfig(
        hidden_dim=shape(scale, arm).dim,
        bias_norm=0.5,
        orthogonalize_steps=0,
        geometry=arm.geometry,
        overlap=arm.overlap if paired else None,
        noise=arm.noise,
    )


def firing_law(scale: Scale, arm: Intervention) -> worlds.ScaledZipf:
    """How often the features of an arm fire."""
    return worlds.ScaledZipf(exponent=arm.exponent, mean_l0=scale.mean_l0)


def rates_of(scale: Scale, arm: Intervention) -> np.ndarray:
    """Rates of the arm's features, [F]: those of its law."""
    return firing_law(scale, arm).values(shape(scale, arm).n_features, None)


def arm_world(context: Context, arm: Intervention) -> tuple[World, worlds.RateMatch]:
    """The world of an arm, and how well its rates are those of the firing law.

    Without a forest the law's rates are exact. With one, realised rates are held within 2 %
    (`compensation="exact"`): a variant of the world without it, over the same copula.
    """
    scale = context.scale
    slots = _slots(scale, arm)
    plain = context.world(
        n_features=shape(scale, arm).n_features,
        firing=firing_law(scale, arm),
        correlation=worlds.LowRank(arm.rank, arm.correlation),
        slots=slots[:2] + slots[-1:],
    )
    rates = rates_of(scale, arm)
    if not arm.depth:
        return plain, worlds.RateMatch(0, 0.0, float(rates.sum()), float(rates.sum()))
    trees = forest(rates, arm.depth, arm.exclusive, arm.scaled)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # missed rates are rows of the table
        grown = worlds.variant(plain, hierarchy=trees, seed=context.world_seed, slots=slots)
    return grown, worlds.rate_match(grown, rates)


def forest(rates: np.ndarray, depth: int, exclusive: bool = False, scaled: bool = False) -> Nodes:
    """Trees over the same features whatever their depth: R roots, each with five below it.

    Down to the last level a tree is a chain; what is left of its five hangs there side by side, so
    depth 1 is five children of a root and depth 5 a chain of five. R is 6 of 128 features; the
    levels of a chain are spread over the ranks, so that a child is rarer than its parent.
    """
    n = rates.size
    roots = max(1, 6 * n // 128)
    order = np.argsort(-rates, kind="stable")
    below = (np.array([0, 6, 12, 70, 95, 122]) * n / 128).astype(int)  # first rank of each place
    members = [order[start : start + roots] for start in below]
    feature, parent = [], []
    index: dict[int, int] = {}
    level_of = [0, *(min(j, depth) for j in range(1, DEEPEST + 1))]
    places = [(j, tree) for j in range(DEEPEST + 1) for tree in range(roots)]
    # breadth first, siblings side by side, as exclusion among them is read
    for j, tree in sorted(places, key=lambda p: (level_of[p[0]], p[1], p[0])):
        above = -1 if j == 0 else index[int(members[level_of[j] - 1][tree])]
        index[int(members[j][tree])] = len(feature)
        feature.append(int(members[j][tree]))
        parent.append(above)
    return Nodes(
        feature=np.array(feature),
        parent=np.array(parent),
        exclusive=np.full(len(feature), exclusive),
        scaled=np.full(len(feature), scaled),
    )


def _slots(scale: Scale, arm: Intervention) -> tuple[int, ...]:
    """Ample room, equal over the arms of a depth, so that they share compiled programs."""
    assert scale.slots is not None  # as above
    root, top, code = scale.slots
    if not arm.depth:
        return root, top, code
    return (root, top, *[_SLOTS_PER_LEVEL] * arm.depth, code)
