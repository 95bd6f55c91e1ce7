"""partial@1: two models share a part of their features: who finds out how much, and which?"""

from __future__ import annotations

from synthsae_jax.experiments.partial.claims import CLAIMS, PRIMARY
from synthsae_jax.experiments.partial.measure import ARMS, SCALES, measure, train
from synthsae_jax.experiments.partial.page import PAGE
from synthsae_jax.experiments.registration import register
from synthsae_jax.registry import Explanation
from synthsae_jax.suite.design import Design

DESIGN = register(
    Design(
        id="partial@1",
        title="Partial universality",
        question="Two models share a part of their features: who finds out how much, and which?",
        explanation=Explanation(
            what="Models that share none to all of their features: the overlap that published "
            "rules, crosscoders and universal SAEs imply, and whether scores tell a shared latent "
            "from one whose feature the other model lacks.",
            formula="primary number: AUROC of the best correlation for 'the other model has it'",
            range="[0, 1]",
            chance="1/2; of an implied overlap: what it is at a level of 0",
            source="H9 of this suite; crosscoder readings as in arXiv 2504.02922, universal SAEs "
            "as in arXiv 2502.03714",
        ),
        scales=SCALES,
        arms=lambda scale: ARMS,
        train=train,
        measure=measure,
        quantities=(PRIMARY,),
        claims=CLAIMS,
        page=PAGE,
        levels=lambda scale: {"shared": scale.levels},
        pairs=lambda context: 0 if context.arm.joint else len(context.scale.levels),
    )
)
