"""drivers@1: what makes features universal, by intervention."""

from __future__ import annotations

from synthsae_jax.experiments.drivers.claims import CLAIMS
from synthsae_jax.experiments.drivers.measure import measure, train
from synthsae_jax.experiments.drivers.page import PAGE
from synthsae_jax.experiments.drivers.quantities import BASE, EXCESS
from synthsae_jax.experiments.drivers.worlds import Intervention, interventions
from synthsae_jax.experiments.registration import register
from synthsae_jax.registry import Explanation
from synthsae_jax.suite.design import Design
from synthsae_jax.suite.scale import Scale, scales_of

_SMALL = {
    "n_features": 256,
    "width": 128,
    "mean_l0": 5.0,
    "target_l0": 4.0,
    "slots": (24, 64, 48),
    "batch_size": 256,
    "dead_window": 100,
}
_LARGE = {
    "preset": "1k",
    "n_features": 1024,
    "width": 256,
    "mean_l0": 8.0,
    "target_l0": 6.0,
    "slots": (32, 96, 72),
    "dead_window": 500,
}
# the single factors that a claim or a check is about
_SINGLES = (
    "dim .15",
    "dim .30",
    "coherence .30",
    "orthogonal",
    "twice the features",
    "depth 3",
    "exclusive",
    "correlation .2",
    "exponent 1",
    "matryoshka",
    "matryoshka, depth 3",
)
SCALES = scales_of(
    Scale,
    smoke={**_SMALL, "arms": (BASE, "coherence .30")},
    small={
        **_SMALL,
        "arms": (*(arm.name for arm in interventions() if arm.block), *_SINGLES),
    },
    standard=_LARGE,
    full={
        **_LARGE,
        "n_features": 4096,
        "width": 1024,
        "mean_l0": 12.0,
        "target_l0": 9.0,
        "slots": (64, 160, 120),
        "n_match": 294_912,
    },
)


def _config(scale: Scale, arm: Intervention) -> dict[str, tuple[int, ...]]:
    """What is left of training in its last tenth says whether it has converged."""
    return {"snapshots": (scale.train_config().n_steps * 9 // 10,)}


DESIGN = register(
    Design(
        id="drivers@1",
        title="Drivers of universality",
        question="What makes features universal?",
        explanation=Explanation(
            what="Interventions on superposition, correlation, hierarchy, frequency law and noise, "
            "each with what it must not move held; two models with all features in common, and "
            "what both of their SAEs recover beside what each one's recovery predicts.",
            formula="primary number: log odds ratio of co-recovery, stratified by frequency",
            range="(-inf, inf)",
            chance="0: the two sides recover independently given frequency",
            source="Feature Universality, arXiv 2410.06981; worlds after SynthSAEBench, arXiv "
            "2602.14687",
        ),
        scales=SCALES,
        arms=lambda scale: interventions(),
        train=train,
        measure=measure,
        quantities=(EXCESS.at(condition=BASE),),
        claims=CLAIMS,
        page=PAGE,
        config=_config,
        pairs=lambda context: 2 if context.arm.between else 1,
    )
)
