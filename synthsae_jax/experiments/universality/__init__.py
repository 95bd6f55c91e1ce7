"""universality@1: when rules and protocols say that two models share features, do they?"""

from __future__ import annotations

from synthsae_jax.experiments.registration import register
from synthsae_jax.experiments.universality.measure import SCALES, arms, measure, train
from synthsae_jax.experiments.universality.page import PAGE
from synthsae_jax.experiments.universality.quantities import ERRORS
from synthsae_jax.registry import Explanation
from synthsae_jax.suite.design import Design

DESIGN = register(
    Design(
        id="universality@1",
        title="Declared against true sharing",
        question="When two SAEs are said to share features, do their models?",
        explanation=Explanation(
            what="Pairs of SAEs on two models whose features are shared in full, by half or not at "
            "all, with and without shared geometry; what published rules and protocols declare "
            "shared.",
            formula="primary number: mean |declared share - share of features in common| over the "
            "grid, per rule",
            range="[0, 1]",
            chance="both zeros (disjoint_independent, disjoint_coupled) are part of the grid",
            source="Feature Universality, arXiv 2410.06981; arXiv 2501.16615",
        ),
        scales=SCALES,
        arms=arms,
        train=train,
        measure=measure,
        quantities=ERRORS,
        page=PAGE,
        levels=lambda scale: {"condition": scale.conditions},
        pairs=lambda context: len(context.scale.conditions) * context.scale.seeds_of(context.arm),
        measured_with=("reading", "protocols", "sampling"),
    )
)
