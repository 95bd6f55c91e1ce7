"""realism@1: the published numbers of universality beside what synthetic worlds give."""

from __future__ import annotations

from synthsae_jax.experiments.realism.claims import CLAIMS
from synthsae_jax.experiments.realism.measure import measure, pairs
from synthsae_jax.experiments.realism.page import PAGE
from synthsae_jax.experiments.realism.quantities import CARRIED
from synthsae_jax.experiments.realism.setting import ARMS, SCALES, config, levels, sizes
from synthsae_jax.experiments.realism.targets import TARGETS
from synthsae_jax.experiments.realism.training import train
from synthsae_jax.experiments.registration import register
from synthsae_jax.registry import Explanation
from synthsae_jax.suite.design import Design

DESIGN = register(
    Design(
        id="realism@1",
        title="Published numbers beside synthetic worlds",
        question="At which settings do synthetic worlds give the published numbers?",
        explanation=Explanation(
            what="What was published of SAEs on language models and of their universality, beside "
            "the same numbers from SAEs on small synthetic worlds of several settings. A setting "
            "is chosen by half of the published numbers and judged by the other half.",
            formula="primary number: share of the published numbers of the second half that agree "
            "(levels within .1; signs, bounds and ranges as printed) at the setting that fits the "
            "first half best on the other worlds",
            range="[0, 1]",
            chance="the mean share over all settings",
            source="; ".join(dict.fromkeys(target.source for target in TARGETS)),
        ),
        scales=SCALES,
        arms=lambda scale: ARMS,
        train=train,
        measure=measure,
        quantities=(CARRIED,),
        claims=CLAIMS,
        page=PAGE,
        levels=levels,
        sizes=sizes,
        config=config,
        pairs=pairs,
    )
)
