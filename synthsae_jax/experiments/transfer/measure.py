"""What transfer@1 observes: curves over budgets, savings, what stays, what is inherited."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from synthsae_jax.experiments.transfer.models import Target, models_of
from synthsae_jax.experiments.transfer.numbers import (
    EV,
    GOALS,
    artefact_numbers,
    goal_numbers,
    identity_numbers,
    saving_numbers,
)
from synthsae_jax.experiments.transfer.outcome import Outcome, joint
from synthsae_jax.experiments.transfer.plan import FRESH, JOBS, lines
from synthsae_jax.experiments.transfer.starts import AGAIN, DISJOINT, PAID, SCRATCH, Both
from synthsae_jax.experiments.transfer.training import (
    Held,
    Setup,
    begin,
    maps_into,
    train_budget,
    train_sources,
)
from synthsae_jax.matching import PairCounts
from synthsae_jax.matching.linear_maps import judge_alignment
from synthsae_jax.suite import pairs
from synthsae_jax.suite.context import Context
from synthsae_jax.suite.observation import Number, Observation, Side
from synthsae_jax.suite.recipes import recipe

CONSTANT = "what it should explain does not vary"


def measure(context: Context, arm: Any) -> Iterator[Observation]:
    """One world: the targets, then every run at every budget, over the budgets, and in the end."""
    context.tick(0.0, "building the models")
    scale = context.scale
    models = models_of(context.world(), context.instance_config, scale.targets, context.number(0))
    sae = recipe("topk", scale.d_in, context.d_sae, context.target_l0, context.config).sae
    sources = train_sources(context.part(0.0, 0.1), models, sae)
    of_scale = lines(scale, models)
    setup = Setup(context, models, of_scale, sae, sources, context.seeds(len(of_scale), len(JOBS)))
    context.tick(0.1, "alignments")
    maps = [maps_into(setup, i) for i in range(len(models.targets))]
    begun = begin(setup, [into for into, _ in maps])
    trained = tuple(train_budget(setup, begun, budget) for budget in scale.budgets)
    context.tick(0.8, "scores")
    outcome = Outcome(setup, begun, trained)
    for i in range(len(models.targets)):
        yield from _of_target(outcome, i, *maps[i])
    for at, line in enumerate(of_scale):
        context.tick(0.85 + 0.15 * at / len(of_scale), line.target.name)
        yield from _of_line(outcome, at)


def _of_target(
    outcome: Outcome, i: int, maps: Mapping[str, Both], held_out: Held
) -> Iterator[Observation]:
    """A target before anything is trained on it, and what from scratch comes to on it."""
    setup, target = outcome.setup, outcome.setup.models.targets[i]
    context, scale = setup.context, setup.scale
    identity = {
        "run_id": f"target-{context.world_seed}-{target.name}",
        "instance": context.number(i),
    }

    def alignments() -> Iterator[Number]:
        """How well maps carry A's activations to the target's, on tokens they were not fitted on"""
        of_a, of_target = held_out
        for name, both in maps.items():
            if name != DISJOINT:
                judged = judge_alignment(both.forward, of_target, of_a)
                yield Number(name, "alignment_ev", judged["explained_variance"], CONSTANT)
        alike = setup.models.family.gram_correlation(i)
        yield Number("", "gram_correlation", alike, CONSTANT)

    factors = _factors(target)
    yield Observation((), alignments, {**identity, **factors}, scale.n_paired)
    scratch = Side(identity, joint(outcome.whole(i, r) for r in FRESH).status)
    yield Observation((scratch,), lambda: goal_numbers(outcome.goals(i)), factors, scale.n_eval)


def _of_line(outcome: Outcome, at: int) -> Iterator[Observation]:
    """Every run of a line: at each budget, over the budgets, and in the end."""
    scale, line = outcome.setup.scale, outcome.setup.lines[at]
    truth = functools.cache(lambda: outcome.truth_of_line(at))
    counts = functools.cache(lambda: outcome.counts_of_line(at))
    for r, (start, mode, rate) in enumerate(line.jobs):
        factors = {
            **_factors(line.target),
            "learning_rate": rate * scale.lr,
            "start": start,
            "mode": mode,
            "rate": rate,
        }
        for b, (budget, step) in enumerate(zip(outcome.budgets, outcome.steps, strict=True)):
            columns = {**factors, "budget": budget, "step": step}
            explained = functools.partial(_explained, outcome, at, r, b)
            yield Observation((outcome.side(at, r, b),), explained, columns, scale.n_eval)
        columns = {**factors, "budget": 1.0}
        saved = functools.partial(_savings, outcome, at, r)
        yield Observation((outcome.whole(at, r),), saved, columns, scale.n_eval)
        stays = functools.partial(_stays, outcome, at, r, truth, counts)
        tokens = pairs.tokens(scale.n_match)
        yield Observation((outcome.beside_sources(at, r),), stays, columns, tokens)


def _factors(target: Target) -> dict[str, Any]:
    return {
        "condition": target.name,
        "features": float(target.features),
        "geometry": float(target.geometry),
    }


def _explained(outcome: Outcome, at: int, r: int, b: int) -> Iterator[Number]:
    yield Number("", EV, float(outcome.curves[EV][b, at, r]), CONSTANT)


def _savings(outcome: Outcome, at: int, r: int) -> Iterator[Number]:
    scale, line = outcome.setup.scale, outcome.setup.lines[at]
    start = line.jobs[r][0]
    # without training, from scratch is nothing yet
    some = slice(1, None) if start in (SCRATCH, AGAIN) else slice(None)
    values = {name: outcome.curves[name][some, at, r] for name in GOALS}
    cost = scale.n_paired if start in PAID else 0
    goals = outcome.goals(line.number)
    return saving_numbers(outcome.samples[some], values, goals, cost, scale.batch_size)


def _stays(
    outcome: Outcome,
    at: int,
    r: int,
    truth: Callable[[], np.ndarray],
    counts: Callable[[], PairCounts],
) -> Iterator[Number]:
    setup, line, source = outcome.setup, outcome.setup.lines[at], outcome.source_of(at, r)
    had, now = outcome.truth_of_sources, truth()[:, r]
    n_features = setup.models.family.base.n_base
    order = np.arange(n_features) if source else setup.models.places[line.number]
    shared = line.target.features and not source
    yield from identity_numbers(had[0, source], now[0], order, shared, setup.context.d_sae)
    # always against A's SAE: whose artefacts those are is the question
    of_run = jax.tree.map(lambda leaf: leaf[r], counts())
    yield from artefact_numbers(of_run, had[:, 0], now)
