"""engineering@1: can SAEs be made to find the same features, and is it worth what it costs?

Left out: weight decay with a tied start (trainings have no weight decay, and every encoder starts
as the decoder's transpose), a crosscoder between groups (its latents need both of its models),
pairs of models in rotated or partly shared directions, and anchors fitted to data.
"""

from __future__ import annotations

from synthsae_jax.experiments.engineering.claims import CLAIMS
from synthsae_jax.experiments.engineering.measure import measure, n_pairs
from synthsae_jax.experiments.engineering.methods import METHODS, SCALES
from synthsae_jax.experiments.engineering.page import PAGE
from synthsae_jax.experiments.engineering.quantities import TRULY_SHARED
from synthsae_jax.experiments.engineering.training import planned
from synthsae_jax.experiments.registration import register
from synthsae_jax.registry import Explanation
from synthsae_jax.suite.design import Design

DESIGN = register(
    Design(
        id="engineering@1",
        title="Engineering universality",
        question="Can SAEs be made to find the same features, and at what price?",
        explanation=Explanation(
            what="Ways to make SAEs agree: constraints, orders, joint trainings, pooling over "
            "seeds. Each is scored between trainings that share nothing, on models with all "
            "features in common and with none, beside a baseline that saw as many samples.",
            formula="primary number: true universality of two SAEs from different groups, on "
            "models with all features in common",
            range="[0, 1]",
            chance="0 on models without a common feature, whatever the method",
            source="Song et al. 2025, arXiv 2505.20254 on PW-MCC; Marks et al. 2024, arXiv "
            "2411.01220; Fel et al. 2025, arXiv 2502.12892; Thasarathan et al. 2025, arXiv "
            "2502.03714",
        ),
        scales=SCALES,
        arms=lambda scale: tuple(METHODS.values()),
        train=planned,
        measure=measure,
        quantities=(TRULY_SHARED,),
        claims=CLAIMS,
        page=PAGE,
        # samples of one SAE: a method of several spreads its samples over them
        config=lambda scale, arm: (
            {"n_samples": arm.samples * scale.n_train} if arm.how == "alone" else {}
        ),
        pairs=n_pairs,
        measured_with=("reading", "evaluation", "sampling"),
    )
)
