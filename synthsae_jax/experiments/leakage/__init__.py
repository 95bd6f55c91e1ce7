"""leakage@1: how much universality can a shared initialisation or data order fake?

On a model and on another without a common feature, SAEs start from the same or other weights and
read the same or another order of data. Nothing is true of the disjoint pair, so whatever is alike
in two SAEs on it comes from the start or the order.
"""

from synthsae_jax.experiments.leakage.claims import ALIKE, CLAIMS
from synthsae_jax.experiments.leakage.measure import measure, train
from synthsae_jax.experiments.leakage.page import PAGE
from synthsae_jax.experiments.leakage.setting import (
    ARMS,
    BOTH,
    END,
    FRESH,
    ON_ONE,
    RUNS,
    SAME_INIT,
    SAME_ORDER,
    SCALES,
    STAGES,
    config,
)
from synthsae_jax.experiments.registration import register
from synthsae_jax.registry import Explanation
from synthsae_jax.suite.design import Design

DESIGN = register(
    Design(
        id="leakage@1",
        title="Leakage of initialisation and data order",
        question="How much universality can a shared initialisation or data order fake?",
        explanation=Explanation(
            what="SAEs with the same or another initialisation, the same or another order of "
            "data, on one model or on two without a common feature; how alike their decoders are "
            "after 0, 1, 10 and 100 % of the training, in the same space and unaligned.",
            formula="primary number: share of latents whose assigned decoder cosine is above .7, "
            "on models without a common feature, from the same initialisation",
            range="[0, 1]",
            chance="the same share from another initialisation",
            source="Fel et al. 2025 and arXiv 2606.02061 on shared starts; arXiv 2501.16615's rule",
        ),
        scales=SCALES,
        arms=lambda scale: ARMS,
        train=train,
        measure=measure,
        quantities=(ALIKE.at(condition=SAME_INIT, stage=END),),
        claims=CLAIMS,
        page=PAGE,
        levels=lambda scale: {
            "condition": (*ON_ONE, FRESH, SAME_ORDER, SAME_INIT, BOTH),
            "stage": STAGES,
        },
        config=config,
        pairs=lambda context: (2 * len(RUNS) - 1) * len(STAGES),
    )
)
