"""The main job, in minutes: recovery on the reference artefact, and sharing in a family."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from synthsae_jax import io, metrics, saes, worlds
from synthsae_jax.experiments.registration import register_page
from synthsae_jax.experiments.universality.measure import (
    models_of,
    oracle_pairs,
    sharing_numbers,
    train_models,
)
from synthsae_jax.experiments.universality.page import NAMES, NOT_SHOWN, Sharing
from synthsae_jax.experiments.universality.quantities import error
from synthsae_jax.io.artefacts import reference_artefact
from synthsae_jax.registry import Explanation
from synthsae_jax.report.block_plots import Dots, across
from synthsae_jax.report.block_tables import Summary
from synthsae_jax.report.design_page import Page, Section
from synthsae_jax.suite.context import Context
from synthsae_jax.suite.cost import Training
from synthsae_jax.suite.design import Arm, Design
from synthsae_jax.suite.families import family_pairs
from synthsae_jax.suite.observation import Observation
from synthsae_jax.suite.oracles import ORACLE
from synthsae_jax.suite.quantity import Quantity, number
from synthsae_jax.suite.reading import read_truth
from synthsae_jax.suite.result import Result
from synthsae_jax.suite.runner import execute
from synthsae_jax.suite.scale import Scale
from synthsae_jax.suite.scores import level_observation, score_numbers
from synthsae_jax.suite.seeds import run_seed
from synthsae_jax.worlds import family

ARTEFACT = "saelens-1k"
# the artefact's own world has this seed, and no L0 that SAEs are trained to
_OF_ARTEFACT = {"world_seed": 42, "target_l0": None}
SCORES = ("f1", "mcc", "explained_variance", "l0")
CONDITIONS = (
    family.IDENTICAL,
    family.ROTATED,
    family.INDEPENDENT,
    family.HALF_ROTATED,
    family.DISJOINT_INDEPENDENT,
    family.DISJOINT_COUPLED,
)
# the number of the one family, which keys and seeds are made from
_FAMILY = 1
# the band beside the truth: what firing counts alone allow to say
_FIRING = ("geometric", "functional", "agree")
_truth = functools.partial(read_truth, methods=_FIRING, thresholds=(0.5, 0.7, 0.9))


@dataclasses.dataclass(frozen=True, kw_only=True)
class QuickScale(Scale):
    """The sizes on the artefact; `of_family` those on the family."""

    n_eval: int  # samples of an evaluation

    def of_family(self) -> QuickScale:
        """Smaller SAEs, in smaller batches, for two fifths of the samples."""
        changes: dict[str, Any] = {
            "preset": "mini",
            "target_l0": 3.6,
            "n_train": self.n_train * 2 // 5,
            "batch_size": 256,
            "lr": 1e-2,
            "dead_window": 1000,
            "hidden_dim": None,
            "width": None,
        }
        return dataclasses.replace(self, **changes)


SCALE = QuickScale(
    name="smoke",
    preset=ARTEFACT,
    hidden_dim=128,
    width=256,
    target_l0=10.0,
    worlds=1,
    seeds=3,
    n_train=256_000,
    n_eval=40_960,
    n_match=32_768,
    batch_size=512,
    lr=3e-3,
    dead_window=100,
)


@dataclasses.dataclass(frozen=True)
class OnArtefact(Arm):
    """An architecture on the artefact, all its settings (label -> k) in one program."""

    sae: str = ""
    settings: Mapping[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class OnFamily(Arm):
    """An architecture at one setting on the family, or its oracles."""

    sae: str = ""
    label: str = ""  # as rows and tables name it
    k: int = 0

    def levels(self, scale: Scale) -> Mapping[str, Sequence[Any]]:
        """Its conditions."""
        return {"condition": tuple(condition.name for condition in CONDITIONS)}


# badly tuned on purpose means four times the latents it needs
ON_ARTEFACT = (
    OnArtefact("artefact topk", "topk", {"topk k=10": 10, "topk k=40 (badly tuned)": 40}),
    OnArtefact("artefact batchtopk", "batchtopk", {"batchtopk k=10": 10}),
)
ON_FAMILY = (
    OnFamily("family topk", "topk", "topk k=4", 4),
    OnFamily("family batchtopk", "batchtopk", "batchtopk k=16 (badly tuned)", 16),
    OnFamily("family oracle", ORACLE, ORACLE),
)
ARMS = (*ON_ARTEFACT, *ON_FAMILY)


def train(context: Context) -> Sequence[Training]:
    """All settings of an architecture in one program; oracles train nothing."""
    arm = context.arm
    if isinstance(arm, OnArtefact):
        return [context.training(arm.sae, 1, runs=len(arm.settings) * context.scale.seeds)]
    return [] if arm.sae == ORACLE else [context.training(arm.sae, 1 + len(CONDITIONS))]


def measure(context: Context, arm: OnArtefact | OnFamily) -> Iterator[Observation]:
    """Recovery of every run on the artefact, or sharing of every pair of the family."""
    yield from _recovery(context, arm) if isinstance(arm, OnArtefact) else _sharing(context, arm)


def _recovery(context: Context, arm: OnArtefact) -> Iterator[Observation]:
    context.tick(0.0, "reading the artefact")
    world, instance = io.load_saelens_model(reference_artefact())
    scale = context.scale
    labels = [label for label in arm.settings for _ in range(scale.seeds)]
    ks = np.array([arm.settings[label] for label in labels])
    sae = saes.build(arm.sae, d_in=context.scale.d_in, d_sae=context.d_sae, k=int(ks[0]))
    seeds = np.array([[run_seed(0, i % scale.seeds) for i in range(len(labels))]])
    trained = context.part(0.0, 0.75).train(
        arm.sae,
        world,
        [instance],
        sae=sae,
        runs=len(labels),
        numbers=[0],
        init_seeds=seeds,
        # the runs read one stream: no number of theirs is about pairs
        data_seeds=seeds[:, 0],
        hyper=sae.hyper.replace(k=ks.astype(np.asarray(sae.hyper.k).dtype)),
    )
    context.tick(0.75, "evaluation")
    result = trained.result
    runs = (result.params, result.hyper, result.state.carried)
    scores = metrics.evaluate_runs(world, worlds.stack([instance]), sae, runs, scale.n_eval, 0)
    for r, label in enumerate(labels):
        of_run = lambda r=r: score_numbers("", {name: v[0, r] for name, v in scores.items()})
        columns = {**_OF_ARTEFACT, "sae": label}
        yield Observation((trained.side(0, r),), of_run, columns, int(scores["n_eval"][0, r]))
    if arm is not ON_ARTEFACT[0]:
        return
    # one set of levels, those of the first architecture, serves every setting: the page says so
    context.tick(0.9, "chance and ceiling")
    top = metrics.most_frequent(worlds.expected_rates(world), instance, context.d_sae)
    ceiling = metrics.oracle_levels(world, instance, top, scale.n_eval)
    floor = metrics.chance_levels(world, instance, sae)
    for level, values in (("chance", floor), ("ceiling", ceiling)):
        of_level = level_observation(context, level, values, instance=0)
        yield dataclasses.replace(of_level, columns=_OF_ARTEFACT)


def _sharing(context: Context, arm: OnFamily) -> Iterator[Observation]:
    models = models_of(context, CONDITIONS, _FAMILY)
    if arm.sae == ORACLE:
        each = oracle_pairs(context, models, _FAMILY)
    else:
        sae = saes.build(arm.sae, d_in=context.scale.d_in, d_sae=context.d_sae, k=arm.k)
        trained = train_models(
            context.part(0.05, 0.65),
            models,
            _FAMILY,
            arm.sae,
            own_streams=False,
            label=arm.label,
            sae=sae,
        )
        part = context.part(0.65, 1.0)
        each = family_pairs(part, models, trained, seed=_FAMILY, truth_of=_truth)
    for pair in each:
        yield pair.observe(sharing_numbers)


def score(metric: str, variant: str = "") -> Quantity:
    """A metric of a run on the artefact, or one of its levels; over seeds of one instance."""
    of = number(metric, variant, title=metric, unit="score")
    if variant:
        of = of.at(arm=ON_ARTEFACT[0].name, sae=None)
    return dataclasses.replace(of, units=("run_id",))


_LEVELS = [[score(metric, level) for metric in SCORES] for level in ("chance", "ceiling")]
_SETTINGS = {
    label: {"arm": arm.name, "sae": label} for arm in ON_ARTEFACT for label in arm.settings
}

PAGE = Page(
    title="The main job",
    asked="Features of a synthetic model are known, so two questions have answers: how well does "
    "an SAE find the features, and when two SAEs are said to share features, do they?",
    findings=(),
    not_shown="A setting that is badly tuned on purpose shows what the numbers do then. "
    + NOT_SHOWN,
    sections=(
        Section(
            "How well do SAEs find the true features?",
            "SAEs of width 256 on saelens-1k, a synthetic model written by SAELens with 1,024 "
            f"features in 128 dimensions: {SCALE.n_train:,} training samples, {SCALE.seeds} "
            "init seeds each, all settings of an architecture in one compiled program. Chance is "
            "an untrained topk SAE of k 10, the ceiling the 256 most frequent features with their "
            "true codes.",
            Summary(
                "sae",
                _SETTINGS,
                [score(metric) for metric in SCORES],
                *_LEVELS,
                title=f"Recovery on {ARTEFACT}",
            ),
            Dots(
                "recovery",
                [
                    mark
                    for metric, chance, ceiling in zip(SCORES, *_LEVELS, strict=True)
                    for mark in across([score(metric)], _SETTINGS, chance, ceiling)
                ],
                "Recovery on the reference artefact.",
            ),
        ),
        *(
            Sharing(arm.label, {"arm": arm.name}, CONDITIONS, units=("run_id",)).section()
            for arm in ON_FAMILY
        ),
    ),
    limits="- Synthetic features are linear, sparse and independent of any task.\n"
    "- Explained variance above its ceiling means that latents fit interference: the ceiling is "
    "what the most frequent features' true codes explain.",
    names={
        **NAMES,
        "f1": "F1",
        "mcc": "MCC",
        "l0": "L0",
        "explained_variance": "explained variance",
    },
)

DESIGN = register_page(
    Design(
        id="quick@1",
        title="The main job",
        question="How well do SAEs find known features, and can one tell when two models share "
        "them?",
        explanation=Explanation(what="Recovery on a reference artefact, and sharing in a family."),
        scales={SCALE.name: SCALE},
        arms=lambda scale: ARMS,
        train=train,
        measure=measure,
        quantities=(error("best_correlation_0.1").at(arm=tuple(a.name for a in ON_FAMILY)),),
        page=PAGE,
        sizes=lambda scale, arm: scale.of_family() if isinstance(arm, OnFamily) else scale,
        pairs=lambda context: _pairs(context),
    )
)


def _pairs(context: Context) -> int:
    if isinstance(context.arm, OnArtefact):
        return 0
    return len(CONDITIONS) * (1 if context.arm.sae == ORACLE else context.scale.seeds)


def run(out: str | os.PathLike[str] = "runs/quick", quiet: bool = False) -> Result:
    """The main job: recovery on the reference artefact, sharing in a family, in minutes."""
    return execute(DESIGN.benchmark(), SCALE.name, out, quiet=quiet)
