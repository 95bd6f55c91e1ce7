"""architectures@1: do different architectures find the same features, and does their order hold?"""

from __future__ import annotations

from synthsae_jax.experiments.architectures.claims import CLAIMS
from synthsae_jax.experiments.architectures.measure import measure, n_pairs, train
from synthsae_jax.experiments.architectures.page import PAGE
from synthsae_jax.experiments.architectures.quantities import UNLIKE
from synthsae_jax.experiments.architectures.setting import SCALES, arms, config, sizes
from synthsae_jax.experiments.registration import register
from synthsae_jax.registry import Explanation
from synthsae_jax.suite.design import Design

DESIGN = register(
    Design(
        id="architectures@1",
        title="Do architectures find the same features?",
        question="Do SAEs of different architectures find the same features?",
        explanation=Explanation(
            what="SAEs of every architecture at equal width and L0, on one model and on two with "
            "independent dictionaries, never sharing a seed; which true features each pair finds, "
            "what encoders change on a dictionary that stays, and whether the order of "
            "architectures holds over small worlds.",
            formula="primary number: co_recovery of pairs of different architectures on one model, "
            "(n - n_a n_b / P) / (min(n_a, n_b) - n_a n_b / P)",
            range="at most 1; 0 is what independent finds share",
            chance="0",
            source="Feature Universality, arXiv 2410.06981; SynthSAEBench, arXiv 2602.14687",
        ),
        scales=SCALES,
        arms=arms,
        sizes=sizes,
        config=config,
        train=train,
        measure=measure,
        quantities=(UNLIKE,),
        claims=CLAIMS,
        page=PAGE,
        pairs=n_pairs,
        measured_with=("evaluation", "reading", "sampling"),
    )
)
