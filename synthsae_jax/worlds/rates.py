"""How often each feature is active once hierarchy and exclusion have had their say.

Given the copula factors of a token all features are independent, so the rate of a feature is an
average over factors of a product down its branch. The average runs over Sobol points, everything
below it is exact: no sampling noise, and a 16,384-feature world takes seconds.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from synthsae_jax.modes import fixed
from synthsae_jax.worlds.copula import Copula, positive_share, threshold_of
from synthsae_jax.worlds.forest import feature_levels
from synthsae_jax.worlds.records import Forest, World

_CHUNK = 2**22  # numbers held at once, per array
_MOST_NODES = 64
DENSE_DRAWS = 65_536


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
    """The forest as the order of a computation."""

    parent: np.ndarray  # int [F]
    levels: list[np.ndarray]  # ids on each level; level 0 has no parent
    blocks: list[tuple[int, np.ndarray]]  # (level, rivals [G, m]) by size; m = 1: without rivals


def plan(forest: Forest) -> Plan:
    """Who is computed after whom, and who competes with whom."""
    parent, group = np.asarray(forest.parent), np.asarray(forest.group)[:-1]
    level = feature_levels(forest)
    order = np.argsort(group, kind="stable")
    grouped = order[group[order] >= 0]
    teams = np.split(grouped, np.flatnonzero(np.diff(group[grouped])) + 1) if grouped.size else []
    rivals = [*np.flatnonzero(group < 0)[:, None], *teams]
    by_kind: dict[tuple[int, int], list[np.ndarray]] = {}
    for team in rivals:
        by_kind.setdefault((int(level[team[0]]), len(team)), []).append(team)
    n_levels = int(level.max(initial=0)) + 1
    return Plan(
        parent=parent,
        levels=[np.flatnonzero(level == i) for i in range(n_levels)],
        blocks=[(depth, np.stack(by_kind[depth, size])) for depth, size in sorted(by_kind)],
    )


def wins(raw: np.ndarray) -> np.ndarray:
    """Probability that each rival is the one that stays: `[G, m, n] -> [G, m, n]`.

    `raw` is the probability of a positive value before exclusion, independent among rivals; of
    those positive one stays, each with equal chance. So
    `win_c = raw_c int_0^1 prod_{j != c} (1 - raw_j + raw_j s) ds`, a polynomial that
    Gauss-Legendre integrates exactly (numerically so above 128 rivals).
    """
    size = raw.shape[1]
    if size == 1:
        return raw
    nodes, weights = np.polynomial.legendre.leggauss(min(-(-size // 2), _MOST_NODES))
    total = np.zeros_like(raw)
    for s, weight in zip((1 + nodes) / 2, weights / 2):
        still = 1 - raw * (1 - s)  # at least s > 0, so one rival can be divided out again
        total += weight * still.prod(axis=1, keepdims=True) / still
    return raw * total


def enough_points(n_features: int) -> int:
    """Points of the quadrature where nobody says: as many as a few seconds allow."""
    return int(np.clip(2**27 // n_features, 4096, 2**15))


@fixed
def expected_rates(world: World, n_factors: int | None = None) -> np.ndarray:
    """Probability that each feature is active in a token, float64 [F_base].

    After copula, magnitude (a fired feature whose magnitude is cut to 0 is inactive), exclusion
    and hierarchy. Independent worlds: exact. Low-rank copulas: quadrature over `n_factors` Sobol
    points (None: 8,192 for 16k features, up to 32,768 for fewer); at 4,096 the error is 0.2 % (rms)
    of rates near 1e-3, less above and several per cent at 1e-5. Dense copulas: a plain average
    over at least 65,536 draws, with that sampling error.
    """
    copula = Copula(*(np.asarray(x, np.float64) for x in _copula_arrays(world)))
    probability = np.asarray(world.probabilities, np.float64)
    positive = positive_share(world.mean, world.std)
    return _rates(plan(world.forest), copula, probability, positive, n_factors)


@fixed
def expected_l0(
    world: World, by_level: bool = False, n_factors: int | None = None
) -> float | dict[str, float]:
    """Expected number of active features of a token (one copy of a twin registry).

    A float; with `by_level` a dict: "roots", "level_1", ..., "free" (no parent and no children),
    and "total".
    """
    rates = expected_rates(world, n_factors)
    if not by_level:
        return float(rates.sum())
    level = feature_levels(world.forest)
    roots, free = np.asarray(world.forest.roots), np.asarray(world.forest.free)
    parts = {"roots": float(rates[roots].sum())}
    for depth in range(1, int(level.max(initial=0)) + 1):
        parts[f"level_{depth}"] = float(rates[level == depth].sum())
    return {**parts, "free": float(rates[free].sum()), "total": float(rates.sum())}


def _rates(
    steps: Plan,
    copula: Copula,
    probability: np.ndarray,
    positive: np.ndarray,
    n_factors: int | None,
) -> np.ndarray:
    n_factors = enough_points(len(probability)) if n_factors is None else n_factors
    threshold = threshold_of(probability)
    states = copula.states(max(n_factors, DENSE_DRAWS) if copula.dense else n_factors)
    size = len(probability)
    raw_sum, active_sum = np.zeros(size), np.zeros(size)
    everyone = np.arange(size)
    step = max(1, _CHUNK // size)
    for start in range(0, len(states), step):
        pull = copula.pull(everyone, states[start : start + step])
        raw = copula.fires(everyone, threshold, pull) * positive[:, None]
        raw_sum += raw.sum(axis=1)
        # one array: raw is summed already, and a block of it is read before it is written
        active = raw
        for level, rivals in steps.blocks:
            if rivals.shape[1] > 1:
                active[rivals] = wins(raw[rivals])
            if level > 0:
                flat = rivals.reshape(-1)
                active[flat] *= active[steps.parent[flat]]
        active_sum += active.sum(axis=1)
    return _anchored(steps, active_sum, raw_sum, probability * positive)


def _anchored(steps: Plan, active: np.ndarray, raw: np.ndarray, marginal: np.ndarray) -> np.ndarray:
    """Rates from sums over points, each relative to one that is known better.

    A top feature's rate before exclusion is known exactly, and a child's error goes largely with
    its parent's.
    """
    rate = np.zeros_like(marginal)
    for level, ids in enumerate(steps.levels):
        base = raw[ids] if level == 0 else active[steps.parent[ids]]
        anchor = marginal[ids] if level == 0 else rate[steps.parent[ids]]
        rate[ids] = anchor * np.divide(active[ids], base, out=np.zeros(len(ids)), where=base > 0)
    return rate


def _copula_arrays(world: World) -> tuple:
    return world.factor, world.residual, world.cholesky
