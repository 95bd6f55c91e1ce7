"""validity@1: do scores of universality follow the truth?"""

from __future__ import annotations

from synthsae_jax.experiments.registration import register
from synthsae_jax.experiments.validity.arms import SCALES, arms, levels
from synthsae_jax.experiments.validity.claims import CLAIMS
from synthsae_jax.experiments.validity.measure import measure, pairs, train
from synthsae_jax.experiments.validity.page import PAGE
from synthsae_jax.experiments.validity.quantities import FALSE_POSITIVES
from synthsae_jax.registry import Explanation
from synthsae_jax.suite.design import Design

DESIGN = register(
    Design(
        id="validity@1",
        title="Validity of universality scores",
        question="Do scores of universality follow the truth?",
        explanation=Explanation(
            what="Families of models whose shared features and shared geometry are set apart, on "
            "several kinds of geometry, noise, frequency laws and widths; every rule, protocol and "
            "measure scores each pair of SAEs, and is itself scored against what is true.",
            formula="primary number: false-positive rate at both zeros; then Spearman with truth",
            range="[0, 1]",
            chance="the nominal 5 %",
            source="Feature Universality, arXiv 2410.06981; tests after ReSi, arXiv 2408.00531",
        ),
        scales=SCALES,
        arms=arms,
        train=train,
        measure=measure,
        quantities=(FALSE_POSITIVES,),
        claims=CLAIMS,
        page=PAGE,
        levels=levels,
        pairs=pairs,
    )
)
