"""linearity@1: what of recovery, truth and scores rests on features being linear?

Features turn with magnitude, lie on circles or in planes, mix with their parents' or pass a
nonlinearity, at several strengths. The models, runs and tokens of a departure are the same at every
strength: nothing else differs.
"""

from __future__ import annotations

from synthsae_jax.experiments.linearity.claims import CLAIMS
from synthsae_jax.experiments.linearity.measure import (
    CONDITIONS,
    DEPARTURES,
    DISJOINT,
    SCALES,
    SHARED,
    Departure,
    measure,
    train,
)
from synthsae_jax.experiments.linearity.page import PAGE
from synthsae_jax.experiments.linearity.quantities import TRACKED
from synthsae_jax.experiments.registration import register
from synthsae_jax.registry import Explanation
from synthsae_jax.suite.design import Design

DESIGN = register(
    Design(
        id="linearity@1",
        title="What rests on features being linear",
        question="What of recovery, truth and scores rests on features being linear?",
        explanation=Explanation(
            what="Features that turn with magnitude, lie on circles or in planes, mix with their "
            "parents or pass a nonlinearity, at four strengths, all else equal: what SAEs recover, "
            "what two of them share, and what rules and protocols say of it.",
            formula="primary number: share of living latents that track a feature (agree)",
            range="[0, 1]",
            chance="strength 0, where each departure equals linear features",
            source="linear representations and their limits: arXiv 2405.14860",
        ),
        scales=SCALES,
        arms=lambda scale: [Departure(name) for name in DEPARTURES],
        train=train,
        measure=measure,
        quantities=(TRACKED,),
        claims=CLAIMS,
        page=PAGE,
        levels=lambda scale: {
            "condition": (SHARED, DISJOINT),
            "strength": scale.strengths,
            "shared": (1.0, 0.0),
        },
        pairs=lambda context: len(CONDITIONS) * len(context.scale.strengths),
    )
)
