"""The numbers of transfer@1: samples to target, what stays of the source, what is inherited."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from synthsae_jax import matching
from synthsae_jax.matching import PairCounts
from synthsae_jax.suite.observation import Number

EV = "explained_variance"
# what a transfer is judged by: samples until it is as good as from scratch in this
GOALS = (EV, "f1", "mcc")
SAME = 0.5  # correlation of codes from which an artefact counts as the same
DECLARED = 0.1  # the published threshold
NO_TARGET = "from scratch there is no value on this model, so that there is nothing to reach"


class Goal(NamedTuple):
    """What from scratch takes on one B, for one of `GOALS`."""

    scratch: float  # with all samples, mean over seeds
    sd: float  # of a seed
    samples: float  # from scratch until `target`

    @property
    def target(self) -> float:
        """From scratch with all samples, less one seed's sd."""
        return self.scratch - self.sd


class Reached(NamedTuple):
    """Samples to a target; where it is not reached, the most that were tried."""

    samples: float
    reached: bool


def samples_to_target(
    samples: Sequence[float], values: Sequence[float], target: float, cost: float, least: float
) -> Reached:
    """The samples at which a curve over budgets first comes to the target.

    `samples` are the budgets in rising order, of which the first may be 0; `cost` (paired tokens)
    is added to each. Between budgets it is read off a line over the logarithm of the samples,
    where fewer than `least` (a batch) count as `least`. A value that is NaN reaches nothing.
    """
    x = np.asarray(samples, float) + cost
    y = np.asarray(values, float)
    above = np.flatnonzero(y >= target)
    if not above.size:
        return Reached(float(x[-1]), False)
    at = int(above[0])
    if at == 0 or not math.isfinite(y[at - 1]):
        return Reached(float(x[at]), True)
    part = (target - y[at - 1]) / (y[at] - y[at - 1])
    low, high = np.log(np.maximum(x[at - 1 : at + 1], least))
    return Reached(float(np.exp(low + part * (high - low))), True)


def saving_numbers(
    budgets: Sequence[float],
    values: Mapping[str, Sequence[float]],
    goals: Mapping[str, Goal],
    cost: float,
    least: float,
) -> Iterator[Number]:
    """saving = 1 - samples to target / scratch's; and whether explained variance reached it.

    Where a target was not reached, the saving is what it comes to if it is reached right after the
    last budget: at most that. Undefined where from scratch there is no target.
    """
    for name in GOALS:
        goal = goals[name]
        to_target = samples_to_target(budgets, values[name], goal.target, cost, least)
        # a NaN compares as never reached, which is no measurement
        there = math.isfinite(goal.target) and goal.samples > 0
        saving = 1 - to_target.samples / goal.samples if there else math.nan
        yield Number(name, "saving", saving, NO_TARGET)
        if name == EV:
            reached = float(to_target.reached) if there else math.nan
            yield Number(name, "reached", reached, NO_TARGET)


def goals_of(
    budgets: Sequence[float], curves: Mapping[str, np.ndarray], sd: Mapping[str, float], least
) -> dict[str, Goal]:
    """The goals on one B from its curves from scratch, `[seeds, budgets]` by name."""
    goals = {}
    for name in GOALS:
        mean = np.asarray(curves[name]).mean(0)
        goal = Goal(float(mean[-1]), sd[name], math.nan)
        samples = samples_to_target(budgets, mean, goal.target, 0.0, least).samples
        goals[name] = goal._replace(samples=samples)
    return goals


def goal_numbers(goals: Mapping[str, Goal]) -> Iterator[Number]:
    """What from scratch comes to with all samples, how far seeds differ, what its target takes."""
    for name, goal in goals.items():
        yield Number(name, "from_scratch", goal.scratch, NO_TARGET)
    yield Number(EV, "seed_sd", goals[EV].sd, NO_TARGET)
    samples = goals[EV].samples if math.isfinite(goals[EV].target) else math.nan
    yield Number(EV, "samples_from_scratch", samples, NO_TARGET)


def pooled_sd(ends: Sequence[np.ndarray]) -> float:
    """The sd of one seed, from several seeds on each of several Bs; a B that lacks one is left out.

    NaN where every B lacks one.
    """
    variances = [np.var(np.asarray(e), ddof=1) for e in ends if np.isfinite(e).all()]
    return float(np.sqrt(np.mean(variances))) if variances else math.nan


def identity_numbers(
    source: np.ndarray, now: np.ndarray, order: np.ndarray, features: bool, width: int
) -> Iterator[Number]:
    """What the latents of the source track in the end, from default truth maps `[L]` of places.

    Of the source's latents that track a feature: `identity_kept` those that still track it,
    `place_kept` those that track the feature on its direction, be it the same or not. In shares of
    the width: `newly_learned` features tracked that the source does not track, `forgotten` ones
    that only the source tracks. Without common features nothing is kept and all is new.
    """
    had = source >= 0
    where = np.where(now >= 0, order[now], -1)
    direction = float((where[had] == source[had]).mean()) if had.any() else math.nan
    same = float((now[had] == source[had]).mean()) if had.any() else math.nan
    before, after = (set(t[t >= 0].tolist()) for t in (source, now))
    both = len(before & after) if features else 0
    why = "the source tracks nothing"
    yield Number("", "identity_kept", same if features else 0.0, why)
    yield Number("", "place_kept", direction, why)
    yield Number("", "newly_learned", (len(after) - both) / width)
    yield Number("", "forgotten", (len(before) - both) / width)
    yield Number("", "tracked", len(after) / width)


def artefact_numbers(
    counts: PairCounts, truth_a: np.ndarray, truth_b: np.ndarray
) -> Iterator[Number]:
    """What an SAE on B shares with the source's, by the correlation of codes on paired tokens.

    `truth_* [truths, L]`, the default first. `shared_artefacts`: of the smaller side's living
    latents that track nothing, the share matched one to one (r >= .5) with one that tracks nothing
    either, with the least and the most over truths. `declared`: living latents of B with r > .1.
    """
    scores = np.asarray(counts.score("activation_pearson"))
    alive = np.asarray(counts.alive_a), np.asarray(counts.alive_b)
    m = matching.solve("assignment", scores, SAME, *alive)
    valid = np.asarray(m.valid)
    row, col = np.asarray(m.row)[valid], np.asarray(m.col)[valid]
    shares = []
    for of_a, of_b in zip(truth_a, truth_b, strict=True):
        a, b = alive[0] & (of_a < 0), alive[1] & (of_b < 0)
        fewer = min(a.sum(), b.sum())
        shares.append((a[row] & b[col]).sum() / fewer if fewer else math.nan)
    band = matching.bands({"shares": np.array(shares)})["shares"]
    why = "a side has no artefact"
    yield Number("", "shared_artefacts", float(shares[0]), why)
    yield Number("", "shared_artefacts_least", band.lo, why)
    yield Number("", "shared_artefacts_most", band.hi, why)
    living = np.where(np.isfinite(scores), scores, -1.0)[alive[0]][:, alive[1]]
    declared = float((living.max(0) > DECLARED).mean()) if living.size else math.nan
    yield Number("", "declared", declared, "all latents of a side are dead")
