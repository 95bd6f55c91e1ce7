"""Raising raw firing probabilities so that a hierarchy does not lower the rates.

A child is active only with its parent, and an exclusive sibling only where it wins, so realised
rates fall below the firing law. "saelens" is SynthSAEBench's correction, a formula in the law's
own probabilities. Its worlds are defined by it, though it misses the law: with many crowded levels
rates fall short, with rare siblings they overshoot. "exact" solves for the raw probabilities level
by level.
"""

from __future__ import annotations

import warnings

import numpy as np
from scipy.special import ndtr, ndtri

from synthsae_jax.errors import check_choice, require
from synthsae_jax.worlds.copula import Copula, independent, positive_share, threshold_of
from synthsae_jax.worlds.forest import COMPENSATIONS
from synthsae_jax.worlds.rates import Plan, enough_points, plan, wins
from synthsae_jax.worlds.records import Forest

_BLOCK = 2**21  # numbers held at once, per array
_STAGES = ((512, 40), (2048, 12))  # (points, most iterations), each starting from the last
_LAST = 6  # iterations on the full set of points
_FULL = 0.998  # exclusive siblings are given this much of what their parent has, not all
_CLOSE = 2e-3  # of a rate, where an iteration stops
_MISSED = 0.02
_NEARLY = 1 - 1e-7  # a probability counts as 1 from here
_LEAST, _MOST = 1e-12, 1 - 1e-9


def compensate(
    forest: Forest,
    base: np.ndarray,
    method: str,
    *,
    copula: Copula | None = None,
    mean: np.ndarray | float = 1.0,
    std: np.ndarray | float = 0.0,
) -> np.ndarray:
    """Raw firing probabilities float64 [F] for the rates `base` of a firing law.

    "none": `base` itself. "saelens": `min(1, base_c / base_p * (1 + sum_rivals base_j / base_p))`
    with p the parent (1 for none). "exact": realised rates equal `base` within 2 %, after copula,
    exclusion and magnitudes cut at 0; features that cannot reach it (exclusive siblings that want
    more than their parent has, children of such) come as near as they can, and one warning counts
    them. The averages over copula factors are as good as in `expected_rates`: below rates of some
    1e-4, or with a copula that takes most of the variance, an error of several per cent is left.
    """
    check_choice("compensation", method, COMPENSATIONS)
    base = np.asarray(base, np.float64)
    if method == "none":
        return base
    if method == "saelens":
        return _by_formula(forest, base)
    copula = copula or independent(len(base))
    require(
        not copula.dense,
        "compensation='exact' needs a low-rank correlation or none; for a dense copula use "
        "'saelens' or 'none'.",
    )
    positive = positive_share(*np.broadcast_arrays(mean, std, base)[:2])
    return _solve(plan(forest), copula, base, positive)


def _by_formula(forest: Forest, base: np.ndarray) -> np.ndarray:
    parent, group = np.asarray(forest.parent), np.asarray(forest.group)[:-1]
    above = np.where(parent >= 0, base[parent], 1.0)
    above = np.where(above > 0, above, np.inf)  # under a parent that never fires nothing is raised
    raised = np.where(np.isinf(above), base, base / above)
    n_groups = int(group.max(initial=-1)) + 1
    total = np.bincount(group[group >= 0], base[group >= 0], minlength=n_groups + 1)
    rivals = np.where(group >= 0, np.maximum(0.0, total[group] - base), 0.0)
    return np.minimum(raised * (1 + rivals / above), 1.0)


def _solve(steps: Plan, copula: Copula, base: np.ndarray, positive: np.ndarray) -> np.ndarray:
    alone = np.divide(base, positive, out=np.ones_like(base), where=positive > 0)
    probability = np.minimum(alone, 1.0)  # right for a feature without parent and rivals
    # Only parents' activity is kept for every state: the leaves, most features, would be F x
    # states.
    heads = np.unique(steps.parent[steps.parent >= 0])
    row = np.full(len(base), -1)  # where a parent's activity given the states is kept
    row[heads] = np.arange(len(heads))
    rates = probability * positive
    for n_points, n_iterations in (*_STAGES, (enough_points(len(base)), _LAST)):
        states = copula.states(n_points)
        active = np.zeros((len(heads), len(states)))
        for level, rivals in steps.blocks:
            if level == 0 and rivals.shape[1] == 1:
                lone = rivals[row[rivals[:, 0]] >= 0][:, 0]
                fired = copula.fires(
                    lone, threshold_of(probability[lone]), copula.pull(lone, states)
                )
                active[row[lone]] = fired
                continue
            stride = max(1, _BLOCK // (rivals.shape[1] * len(states)))
            for start in range(0, len(rivals), stride):
                team = rivals[start : start + stride]
                above = steps.parent[team[:, 0]]
                weight = active[row[above]] if level else np.ones((len(team), len(states)))
                rate_above = rates[above] if level else np.ones(len(team))
                weight = _ratio(weight, weight.mean(axis=1, keepdims=True))
                probability[team], won = _solve_teams(
                    copula=copula,
                    team=team,
                    probability=probability[team],
                    positive=positive[team],
                    target=_attainable(_ratio(base[team], rate_above[:, None]), positive[team]),
                    states=states,
                    weight=weight,
                    n_iterations=n_iterations,
                )
                won *= weight[:, None]
                # Relative to the parent's rate, which is nearer than the points' own average of it,
                # as in `rates`.
                rates[team] = rate_above[:, None] * won.mean(axis=-1)
                inner = row[team] >= 0
                active[row[team[inner]]] = won[inner]
    _warn(base, rates)
    return probability


def _solve_teams(
    copula: Copula,
    team: np.ndarray,  # ids [G, m]
    probability: np.ndarray,  # [G, m], where to start
    positive: np.ndarray,
    target: np.ndarray,  # [G, m]: wanted probability of being active given the parent
    states: np.ndarray,
    weight: np.ndarray,  # [G, n]: how likely the parent is active, mean 1
    n_iterations: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Raw probabilities [G, m] with which each rival wins as often as wanted; wins [G, m, n].

    With `v` a rival's chance of a positive value and `lambda = -log(1 - v)`, the chance that
    anyone is positive is about `1 - exp(-sum lambda)` and a rival's part of it about its part of
    the lambdas. Each iteration corrects both by what they turned out to be.
    """
    threshold = threshold_of(np.minimum(probability, _MOST))
    pull = copula.pull(team, states)
    won = np.zeros(pull.shape)
    at = np.arange(len(team))
    for iteration in range(n_iterations + 1):
        fired = copula.fires(team[at], threshold[at], pull[at])
        won[at] = wins(fired * positive[at][..., None])
        parent_weight = weight[at][:, None]
        chance, got = (fired * parent_weight).mean(axis=-1), (won[at] * parent_weight).mean(axis=-1)
        want = target[at]
        close = np.abs(got - want) <= _CLOSE * want
        stuck = (chance >= _NEARLY) & (got <= want)
        moving = ~(close | stuck | (positive[at] == 0)).all(axis=-1)
        if iteration == n_iterations or not moving.any():
            break
        wanted = _corrected(chance * positive[at], got, want)
        # In units of the Gaussian: without a copula that is the whole way in one step, with one
        # most of it.
        step = ndtri(_inside(_ratio(wanted, positive[at]))) - ndtri(_inside(chance))
        threshold[at[moving]] -= step[moving]
        at = at[moving]
    probability = ndtr(-threshold)
    return np.where(probability >= _NEARLY, 1.0, probability), won


def _attainable(target: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """The targets `[G, m]`, scaled down where together they are more than can be had."""
    most = _FULL * (1 - np.prod(1 - positive, axis=-1, keepdims=True))
    return target * np.minimum(1.0, _ratio(most, target.sum(axis=-1, keepdims=True)))


def _corrected(value: np.ndarray, got: np.ndarray, want: np.ndarray) -> np.ndarray:
    """The next chances of a positive value, all `[G, m]`."""
    each = -np.log1p(-_inside(value))
    all_got, all_want = got.sum(axis=-1, keepdims=True), want.sum(axis=-1, keepdims=True)
    grow = np.log1p(-_inside(all_want)) / np.log1p(-_inside(all_got))
    part = _ratio(want, got) * _ratio(all_got, all_want)
    # Tenfold at most: far from the solution a rival's part of the wins is not its part of lambda.
    return -np.expm1(-each * np.clip(grow * part, 0.1, 10.0))


def _inside(probability: np.ndarray) -> np.ndarray:
    return np.clip(probability, _LEAST, _MOST)


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """The quotient, 1 where it is undefined."""
    above, below = np.broadcast_arrays(above, below)
    return np.divide(above, below, out=np.ones(above.shape), where=below > 0)


def _warn(base: np.ndarray, rates: np.ndarray) -> None:
    missed = int((np.abs(rates - base) > _MISSED * base).sum())
    if missed:
        warnings.warn(
            f"compensation='exact': {missed} of {len(base)} features cannot reach their firing "
            "law's probability within 2 % (exclusive siblings want more than their parent has); "
            "they are as near as they can be.",
            stacklevel=4,
        )
