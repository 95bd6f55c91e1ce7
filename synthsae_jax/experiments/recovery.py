"""recovery@1: how well do SAE architectures find the true features, at matched L0?"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from synthsae_jax import keys, metrics, worlds
from synthsae_jax.experiments.registration import register
from synthsae_jax.metrics.baselines import MissingLibrary
from synthsae_jax.registry import Explanation
from synthsae_jax.report.block_plots import Dots, across
from synthsae_jax.report.block_tables import Summary
from synthsae_jax.report.blocks import Reader, Telling
from synthsae_jax.report.design_page import Page, Section
from synthsae_jax.report.folder_page import READING
from synthsae_jax.suite.context import Context
from synthsae_jax.suite.cost import Training
from synthsae_jax.suite.design import Arm, Design
from synthsae_jax.suite.observation import Number, Observation, Side
from synthsae_jax.suite.quantity import TOP, Quantity, number
from synthsae_jax.suite.recipes import recipe_names
from synthsae_jax.suite.scale import Scale, scales_of
from synthsae_jax.suite.scores import level_observation, score_numbers
from synthsae_jax.suite.seeds import run_seed
from synthsae_jax.worlds import Instance, World

BOUNDS = "bounds"
BEST_K = "true dictionary, greedy encoder"
PROBES = "logistic probes"
SHOWN = {
    "f1": "F1",
    "mcc": "MCC",
    "uniqueness": "uniqueness",
    "precision": "precision",
    "recall": "recall",
    "explained_variance": "explained variance",
    "l0": "L0",
}
DRAWN = ("f1", "mcc", "explained_variance", "l0")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecoveryScale(Scale):
    """With models of a world, and the samples of evaluations and of bounds."""

    instances: int  # models of each world
    n_eval: int  # samples of an evaluation
    n_fit: int = 0  # samples that baselines and probes are fitted on; 0: no bounds
    n_probes: int = 0


SCALES = scales_of(
    RecoveryScale,
    every={"seeds": 2, "instances": 2},
    smoke={
        "arms": ("topk", "batchtopk", "standard"),
        "n_train": 102_400,
        "n_eval": 20_480,
        "batch_size": 512,
    },
    small={
        "preset": "1k",
        "target_l0": 5.6,
        "worlds": 1,
        "instances": 5,
        "n_train": 1_024_000,
        "n_eval": 102_400,
        "batch_size": 512,
        "lr": 3e-3,
        "n_fit": 30_000,
        "n_probes": 32,
    },
    standard={
        "preset": "4k",
        "target_l0": 12.4,
        "worlds": 5,
        "n_train": 20_480_000,
        "n_eval": 512_000,
        "lr": 5e-4,
        "dead_window": 1000,
        "n_fit": 100_000,
        "n_probes": 64,
    },
    full={
        "preset": "synthsaebench-16k",
        "target_l0": 25.0,
        "worlds": 5,
        "instances": 1,
        "seeds": 3,
        "n_train": 200_000_000,
        "n_eval": 1_000_000,
        "lr": 3e-4,
        "n_fit": 400_000,
        "n_probes": 64,
    },
)


def arms(scale: RecoveryScale) -> list[Arm]:
    """The architectures, and the floors and ceilings of the first model of each world."""
    return [Arm(name) for name in (*recipe_names(), *((BOUNDS,) if scale.n_fit else ()))]


def train(context: Context) -> Sequence[Training]:
    """All models and seeds of an architecture in one program; bounds train nothing."""
    if context.arm.name == BOUNDS:
        return []
    return [context.training(context.arm.name, context.scale.instances)]


def measure(context: Context, arm: Arm) -> Iterator[Observation]:
    """Scores of every run under both rules, then the chance level and ceiling of the first."""
    context.tick(0.0, "building the world")
    world = context.world()
    models = _models(context, world)
    if arm.name == BOUNDS:
        yield from _bounds(context, world, models[0])
        return
    scale, numbers = context.scale, _numbers(context)
    seeds = np.array([[run_seed(i, s) for s in range(scale.seeds)] for i in numbers])
    trained = context.part(0.05, 0.9).train(
        arm.name,
        world,
        models,
        numbers=numbers,
        init_seeds=seeds,
        # the runs of a model read one stream: cheaper, and no number here is about pairs
        data_seeds=seeds[:, 0],
    )
    result = trained.result
    context.tick(0.9, "evaluation")
    evaluate = functools.partial(
        metrics.evaluate_runs,
        world,
        worlds.stack(models),
        result.sae,
        n_samples=scale.n_eval,
        seed=seeds[:, 0],
    )
    inference = evaluate(runs=(result.params, result.hyper, result.state.carried))
    raw = (result.state.params, result.hyper, result.state.carried)
    training = evaluate(runs=raw, rule="train")
    for i, r in np.ndindex(*result.status.shape):
        of_run = lambda i=i, r=r: [
            *score_numbers("", {name: v[i, r] for name, v in inference.items()}),
            *score_numbers("train", {name: v[i, r] for name, v in training.items()}),
        ]
        yield Observation((trained.side(i, r),), of_run, tokens=int(inference["n_eval"][i, r]))
    first = models[0]
    top = metrics.most_frequent(worlds.expected_rates(world), first, context.d_sae)
    seed = int(seeds[0, 0])
    ceiling = metrics.oracle_levels(world, first, top, scale.n_eval, seed)
    sae = result.sae
    floor = metrics.chance_levels(world, first, sae, hyper=sae.hyper, seed=context.world_index)
    for level, values in (("chance", floor), ("ceiling", ceiling)):
        yield level_observation(context, level, values, arm.name, numbers[0])


def _numbers(context: Context) -> list[int]:
    """Numbers of the models through all worlds, so that no two runs share a seed."""
    n = context.scale.instances
    return [n * context.world_index + i for i in range(n)]


def _models(context: Context, world: World) -> list[Instance]:
    config = worlds.preset(context.scale.preset).instance
    key = lambda i: keys.instance_key(context.world_seed + i)
    return [worlds.init_instance(key(i), world, config) for i in _numbers(context)]


def _bounds(context: Context, world: World, instance: Instance) -> Iterator[Observation]:
    """What no SAE should lose to, and what none can be asked for, on a world's first model.

    The true dictionary with an encoder that sees x alone, supervised probes, and decompositions
    that are no SAEs. What needs a library that is not installed says so.
    """
    first = _numbers(context)[0]
    for name, level in _bound_levels(context, world, instance, run_seed(first, 0)):
        try:
            values = level()
        except MissingLibrary as error:
            side = Side({"run_id": f"bound-{context.world_seed}-{name}", "sae": name})
            why = str(error)
            yield Observation(
                (side,), lambda why=why: [Number("bound", n, float("nan"), why) for n in SHOWN]
            )
            continue
        yield level_observation(context, "bound", values, name, first)


def _bound_levels(
    context: Context, world: World, instance: Instance, seed: int
) -> Iterator[tuple[str, Any]]:
    """Names, and functions without arguments that give the metrics."""
    scale = context.scale
    k = max(1, round(scale.target_l0))
    ids = metrics.most_frequent(worlds.expected_rates(world), instance, context.d_sae)

    def baseline(name: str) -> dict[str, float]:
        dim = instance.dictionary.shape[-1]
        width = min(context.d_sae, dim) if name in ("pca", "ica") else context.d_sae
        sae, params = metrics.fit_baseline(
            name, world, instance, width, k=k, n_samples=scale.n_fit, seed=seed
        )
        return metrics.evaluate(world, instance, sae, params, scale.n_eval, seed)

    context.tick(0.05, BEST_K)
    yield BEST_K, lambda: metrics.best_k_levels(world, instance, ids, k, scale.n_eval, seed)
    context.tick(0.2, PROBES)
    yield (
        PROBES,
        lambda: metrics.probe_levels(
            world,
            instance,
            ids,
            n_probes=scale.n_probes,
            n_train=scale.n_fit,
            n_test=scale.n_eval,
            seed=seed,
        ),
    )
    for i, name in enumerate(metrics.baselines.names()):
        context.tick(0.5 + 0.15 * i, name)
        yield name, functools.partial(baseline, name)


def score(metric: str, variant: str = "", units: tuple[str, ...] = TOP) -> Quantity:
    """A metric of a run; by default over worlds, or over the models of a single one."""
    shares = ("f1", "precision", "recall")
    unit = "score" if metric in shares else metric
    of = number(metric, variant, title=SHOWN[metric], unit=unit)
    return dataclasses.replace(of, units=units)


def scores(variant: str = "", of: Sequence[str] = tuple(SHOWN), **more: Any) -> list[Quantity]:
    """Metrics in the order of the table."""
    return [score(metric, variant, **more) for metric in of]


def _setting(reader: Reader) -> str:
    """What was trained and scored, in numbers."""
    first = next((row for row in reader.observed.rows if row["variant"] == ""), None)
    if first is None:
        return "No SAE has been trained yet."
    return (
        f"SAEs on models of preset {first['world']}, brought to L0 {first['target_l0']:g} with "
        f"{first['n_train']:,} training samples each, scored on {first['n_eval']:,} others."
    )


_SAES = {name: {"arm": name} for name in recipe_names()}


def _first_and_last(reader: Reader) -> str:
    """Which architecture comes first by the primary number, and which last."""
    known = {name: reader.estimate(score("f1"), at) for name, at in _SAES.items()}
    known = {name: estimate for name, estimate in known.items() if estimate.known}
    if len(known) < 2:
        return "There is nothing to compare it with yet."
    first, last = (f(known, key=lambda name: known[name].value) for f in (max, min))
    return f"By F1 {first} comes first ({known[first]}) and {last} last ({known[last]})."


_BOUNDED = (BEST_K, PROBES, *metrics.baselines.names())
PAGE = Page(
    title="Recovery of true features",
    asked="How well does each SAE architecture find the true features?",
    findings=(
        Telling((), _setting),
        Telling((score("f1").at(arm=recipe_names()),), _first_and_last),
    ),
    not_shown="How an SAE ranks here says how it handles superposition, hierarchy and "
    "correlation, not how well it explains a language model.",
    sections=(
        Section(
            "Recovery under the inference rule",
            READING,
            Summary("sae", _SAES, scores(), scores("chance"), scores("ceiling")),
            Dots(
                "recovery",
                [
                    mark
                    for metric in DRAWN
                    for mark in across(
                        [score(metric)], _SAES, score(metric, "chance"), score(metric, "ceiling")
                    )
                ],
                "Scores by architecture.",
            ),
        ),
        Section(
            "The training rule",
            "Architectures that rank over a batch use other latents in training; SAELens "
            "evaluates those.",
            Summary("sae", _SAES, scores("train")),
        ),
        Section(
            "Floors and ceilings",
            "One model of each world. With the true dictionary and an encoder that sees x alone; "
            "supervised logistic probes, which have no dictionary; decompositions that are no "
            "SAEs, with as many codes per sample as the SAEs have.",
            Summary(
                "sae",
                {name: {"arm": BOUNDS, "sae": name} for name in _BOUNDED},
                scores("bound"),
            ),
        ),
    ),
    limits="- Synthetic features are linear, sparse and independent of any task.\n"
    "- Explained variance above its ceiling means that latents fit interference: the ceiling is "
    "what the most frequent features' true codes explain.\n"
    "- Uniqueness has a high chance level: read it beside that number.",
)

DESIGN = register(
    Design(
        id="recovery@1",
        title="Recovery of true features at matched L0",
        question="How well does each SAE architecture find the true features?",
        explanation=Explanation(
            what="SAEs of each architecture, several models and seeds, at the L0 of the world's "
            "most frequent features; scored under the inference rule on a held-out stream.",
            formula="primary number: F1 at matched L0, mean over report worlds or models",
            range="[0, 1]",
            chance="the same SAE untrained, printed beside each score; of the same sparsity where "
            "it has a k, far denser where it has a penalty",
            source="SynthSAEBench, arXiv 2602.14687; seeds and intervals as everywhere here",
        ),
        scales=SCALES,
        arms=arms,
        train=train,
        measure=measure,
        quantities=(score("f1").at(arm=recipe_names()),),
        page=PAGE,
        pairs=lambda context: 0,
        measured_with=("evaluation", "chance", "sampling"),
    )
)
