"""The rows of transfer@1: curves over budgets, savings, what stays of the source, alignments."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from synthsae_jax import matching, metrics
from synthsae_jax.experiments.transfer.models import plain
from synthsae_jax.experiments.transfer.numbers import (
    GOALS,
    Goal,
    artefact_numbers,
    goals_of,
    identity_numbers,
    pooled_sd,
    saving_numbers,
)
from synthsae_jax.experiments.transfer.plan import Setup
from synthsae_jax.experiments.transfer.starts import (
    AGAIN,
    DISJOINT,
    PAID,
    SCRATCH,
    Both,
)
from synthsae_jax.io.rows import Row, make_row
from synthsae_jax.metrics.evaluate import Reconstructor
from synthsae_jax.saes import SAE, SAEParams
from synthsae_jax.suite import pairs, sharing, table
from synthsae_jax.suite.base import Tick
from synthsae_jax.suite.study import Number
from synthsae_jax.training import TrainResult
from synthsae_jax.worlds import Instance, stack
from synthsae_jax.worlds.inputs import bare

Array = jax.Array
Curves = Mapping[str, np.ndarray]  # [budgets, I, R], the first without training
_CURVES = ("explained_variance", "f1", "mcc", "l0", "dead_latents")


def rows_of(
    setup: Setup, begun: SAEParams, trained: Sequence[TrainResult], tick: Tick
) -> list[Row]:
    """Rows of all runs: at every budget, over the budgets, and in the end."""
    tick(0.8, "scores")
    stages = [_finalized(setup.sae.static, begun), *(result.params for result in trained)]
    last = trained[-1]
    steps = [0, *(result.config.n_steps for result in trained)]
    ok = np.all([result.status == "ok" for result in trained], axis=0)
    curves = _curves(setup, stages, last, ok)
    goals = _goals(setup, curves, np.array(steps) * setup.size["batch_size"])
    rows = [row for i, goal in enumerate(goals) for row in _goal_rows(setup, i, goal)]
    for at, line in enumerate(setup.lines):
        for r, (start, *_) in enumerate(line.jobs):
            columns = run_columns(setup, last, at, r)
            of_run = {name: values[:, at, r] for name, values in curves.items()}
            rows += _curve_rows(setup, columns, of_run, steps)
            rows += _saving_rows(setup, columns, of_run, steps, start, goals[line.number])
    tick(0.9, "what stays and what is inherited")
    return rows + _kept_rows(setup, stages, last, ok, steps)


@functools.partial(jax.jit, static_argnums=0)
def _finalized(sae: SAE, raw: SAEParams) -> SAEParams:
    return jax.vmap(jax.vmap(lambda params: sae.finalize(params)))(raw)


def run_columns(setup: Setup, last: TrainResult, at: int, r: int) -> dict[str, Any]:
    """The columns that say which run this is, at the end of its training."""
    line = setup.lines[at]
    start, mode, rate = line.jobs[r]
    own = table.run_columns(setup.study.shared, last, setup.study.number(line.number), at, r)
    return {
        **setup.study.shared.columns(),
        **own,
        "learning_rate": rate * setup.size["lr"],
        "condition": line.target.name,
        "n_eval": setup.size["n_eval"],
        "factor_start": start,
        "factor_mode": mode,
        "factor_rate": rate,
        "factor_features": float(line.target.features),
        "factor_geometry": float(line.target.geometry),
        "factor_budget": 1.0,
    }


def alignment_rows(
    setup: Setup, i: int, maps: Mapping[str, Both], held_out: tuple[Array, Array]
) -> list[Row]:
    """How well each map carries A's activations onto target i's, on tokens it was not fitted on."""
    source, target = held_out
    judged = matching.judge_alignment
    numbers = [
        Number(name, "alignment_ev", judged(both.forward, target, source)["explained_variance"])
        for name, both in maps.items()
        if name != DISJOINT
    ]
    family = setup.models.family
    numbers.append(Number("", "gram_correlation", family.gram_correlation(i)))
    return _of_target(setup, i, numbers)


def _curves(setup: Setup, stages: Sequence[SAEParams], last: TrainResult, ok) -> Curves:
    views, base = stack(setup.views), setup.models.family.base
    found = [
        metrics.evaluate_runs(
            base,
            views,
            setup.sae,
            (params, last.hyper, last.state.carried),
            setup.size["n_eval"],
            setup.study.number(0),
        )
        for params in stages
    ]
    return {
        name: np.where(ok, np.stack([np.asarray(of[name]) for of in found]), np.nan)
        for name in _CURVES
    }


def _goals(setup: Setup, curves: Curves, samples: np.ndarray) -> list[dict[str, Goal]]:
    """Of each target; a seed's sd is pooled over the targets."""
    n = len(setup.models.targets)
    scratch = {name: curves[name][1:, :n, :2] for name in GOALS}
    sd = {name: pooled_sd(values[-1]) for name, values in scratch.items()}
    least = setup.size["batch_size"]
    return [
        goals_of(samples[1:], {name: v[:, i].T for name, v in scratch.items()}, sd, least)
        for i in range(n)
    ]


def _goal_rows(setup: Setup, i: int, goals: Mapping[str, Goal]) -> list[Row]:
    numbers = [
        Number(name, what, value)
        for name, goal in goals.items()
        for what, value in (
            ("from_scratch", goal.scratch),
            ("seed_sd", goal.sd),
            ("target", goal.target),
            ("samples_from_scratch", goal.samples),
        )
    ]
    return _of_target(setup, i, numbers)


def _of_target(setup: Setup, i: int, numbers: Sequence[Number]) -> list[Row]:
    study, target = setup.study, setup.models.targets[i]
    columns = {
        **study.shared.columns(),
        "run_id": f"target-{study.world_seed}-{target.name}",
        "instance": study.number(i),
        "condition": target.name,
        "n_eval": setup.size["n_paired"],
        "factor_features": float(target.features),
        "factor_geometry": float(target.geometry),
    }
    return _rows(numbers, columns)


def _curve_rows(
    setup: Setup, columns: Mapping[str, Any], of_run: Mapping[str, np.ndarray], steps
) -> list[Row]:
    rows = []
    for b, step in enumerate(steps):
        numbers = [Number("", name, float(values[b])) for name, values in of_run.items()]
        rows += _rows(numbers, {**columns, "step": step, "factor_budget": step / steps[-1]})
    return rows


def _saving_rows(
    setup: Setup,
    columns: Mapping[str, Any],
    of_run: Mapping[str, np.ndarray],
    steps: Sequence[int],
    start: str,
    goals: Mapping[str, Goal],
) -> list[Row]:
    size = setup.size
    # without training, from scratch is nothing yet
    some = slice(1, None) if start in (SCRATCH, AGAIN) else slice(None)
    samples = [step * size["batch_size"] for step in steps][some]
    values = {name: of_run[name][some] for name in GOALS}
    cost = size["n_paired"] if start in PAID else 0
    return _rows(saving_numbers(samples, values, goals, cost, size["batch_size"]), columns)


def _kept_rows(
    setup: Setup,
    stages: Sequence[SAEParams],
    last: TrainResult,
    ok: np.ndarray,
    steps: Sequence[int],
) -> list[Row]:
    """Identity at the start and in the end, artefacts in the end; diverged runs are left out."""
    models, size, study = setup.models, setup.size, setup.study
    reconstruct = Reconstructor(setup.sae.static, "inference")
    of_source = setup.sources.result
    run_of = lambda result, params: (params, result.hyper, result.state.carried)
    sources = run_of(of_source, of_source.params)
    # repeated to the shape of a line, which saves compiling for another
    repeated = lambda leaf, i: np.repeat(np.asarray(leaf)[i : i + 1], len(setup.lines[0].jobs), 1)
    of_sources = [
        _truth(setup, reconstruct, source, jax.tree.map(lambda v, i=i: repeated(v, i), sources))
        for i, source in enumerate(models.sources)
    ]
    had = np.stack([truth[:, 0] for truth in of_sources], axis=1)  # [truths, sources, L]
    rows = []
    for at, line in enumerate(setup.lines):
        target = line.target
        now = {}
        for b in (0, len(stages) - 1):
            of_line = jax.tree.map(lambda leaf, i=at: leaf[i : i + 1], run_of(last, stages[b]))
            now[b] = _truth(setup, reconstruct, models.target(line.number), of_line)
        shared = _pair_counts(setup, reconstruct, at, sources, run_of(last, stages[-1]))
        for r, (start, *_) in enumerate(line.jobs):
            if not ok[at, r]:
                continue
            columns = run_columns(setup, last, at, r)
            own = start != DISJOINT
            source = 0 if own else models.control(target)
            place = models.places[line.number] if own else np.arange(models.family.base.n_base)
            for b, truth in now.items():
                numbers = identity_numbers(
                    had[0, source], truth[0, r], place, own and target.features, study.d_sae
                )
                here = {"step": steps[b], "factor_budget": steps[b] / steps[-1]}
                rows += _rows(numbers, {**columns, **here})
            counts = jax.tree.map(lambda leaf, r=r: leaf[r], shared)
            numbers = artefact_numbers(counts, had[:, 0], now[len(stages) - 1][:, r])
            rows += _rows(list(numbers), {**columns, "n_eval": size["n_match"]})
    return rows


def _truth(setup: Setup, reconstruct, instance: Instance, runs) -> np.ndarray:
    """Truth maps [truths, R, L] of runs [1, R] in the plain world: which place each tracks."""
    instances, study = bare(stack([plain(instance)])), setup.study
    base = setup.models.family.base
    counts = pairs.truth_counts(reconstruct, base, instances, runs, study.n_match, study.number(0))
    maps = [
        sharing.maps_of_runs(method, runs[0].W_dec, counts, instances, cosine, f1)
        for method, cosine, f1 in sharing.TRUTHS
    ]
    return np.stack([np.asarray(m)[0] for m in maps])


def _pair_counts(setup: Setup, reconstruct, at: int, sources, runs):
    """How A's latents go together with those of each run of a line."""
    models, line = setup.models, setup.lines[at]
    n = len(line.jobs)
    of_a = jax.tree.map(lambda leaf: np.broadcast_to(leaf[0], (n, *leaf.shape[2:])), sources)
    of_b = jax.tree.map(lambda leaf: leaf[at], runs)
    return pairs.pair_counts(
        reconstruct,
        bare(models.registry(line.target)),
        models.family.reference,
        models.target(line.number),
        of_a,
        of_b,
        setup.study.n_match,
        setup.study.number(0),
    )


def _rows(numbers: Sequence[Number], columns: Mapping[str, Any]) -> list[Row]:
    return [
        make_row(
            **columns,
            metric=number.metric,
            variant=number.variant,
            **table.valued(number.value, reason=number.reason or "the run diverged"),
        )
        for number in numbers
    ]
