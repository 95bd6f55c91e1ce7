"""Scores of single SAEs as numbers of observations, with their chance levels and ceilings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from synthsae_jax import metrics, worlds
from synthsae_jax.suite.context import Context, Trained
from synthsae_jax.suite.observation import Number, Observation, Side
from synthsae_jax.worlds import Instance, World

UNDEFINED = "undefined on this run: no latent of it fires, or its weights are not finite"


def score_numbers(variant: str, values: Mapping[str, Any]) -> list[Number]:
    """What `metrics.evaluate` says, as numbers of a standard set."""
    return [
        Number(variant, name, float(value), UNDEFINED, standard=True)
        for name, value in values.items()
        if name != "n_eval"
    ]


def score_observations(
    context: Context, world: World, trained: Trained, n: int, **columns: Any
) -> list[Observation]:
    """F1, MCC, explained variance and the rest of each SAE, by the inference rule on `n` samples.

    All are scored on the stream of the cell's first number.
    """
    result = trained.result
    models = worlds.stack([row[0].instance for row in trained.subjects])
    runs = (result.params, result.hyper, result.state.carried)
    values = metrics.evaluate_runs(world, models, result.sae, runs, n, context.number(0))
    return [
        Observation(
            (trained.side(i, r),),
            lambda i=i, r=r: score_numbers("", {name: v[i, r] for name, v in values.items()}),
            columns,
            int(values["n_eval"][i, r]),
        )
        for i, row in enumerate(trained.subjects)
        for r in range(len(row))
    ]


def level_observation(
    context: Context,
    level: str,
    values: Mapping[str, Any],
    sae: str | None = None,
    instance: int | None = None,
) -> Observation:
    """A chance level or ceiling (what `metrics.chance_levels` and its like give).

    It belongs to an architecture (None: to all) on a model, by default the cell's first.
    """
    name = f"{level}-{context.world_seed}-{sae or 'all'}"
    number = context.number(0) if instance is None else instance
    columns = {"run_id": name, "instance": number, **({"sae": sae} if sae else {})}
    return Observation(
        (Side(columns),), lambda: score_numbers(level, values), tokens=int(values["n_eval"])
    )


def levels_of_most_frequent(
    context: Context, world: World, model: Instance, trained: Trained, n: int
) -> list[Observation]:
    """Ceiling: the true directions of the most frequent features. Chance: the SAE untrained."""
    number = context.number(0)
    top = metrics.most_frequent(worlds.expected_rates(world), model, context.d_sae)
    ceiling = metrics.oracle_levels(world, model, top, n, number)
    sae = trained.result.sae
    floor = metrics.chance_levels(world, model, sae, hyper=sae.hyper, seed=number)
    return [
        level_observation(context, "ceiling", ceiling),
        level_observation(context, "chance", floor, sae=trained.columns[0][0]["sae"]),
    ]
