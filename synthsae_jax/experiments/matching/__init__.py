"""matching@1: which scores and solvers find the right partner, and what stands in their way?

The oracle ladder: the same matchers on true codes, on true directions behind an encoder that nobody
trained, and on trained SAEs, of models that share three quarters of their features.
"""

from synthsae_jax.experiments.matching.claims import CLAIMS
from synthsae_jax.experiments.matching.measure import measure, train
from synthsae_jax.experiments.matching.page import PAGE
from synthsae_jax.experiments.matching.quantities import PRIMARY
from synthsae_jax.experiments.matching.setting import ARMS, RUNGS, SCALES, sizes
from synthsae_jax.experiments.registration import register
from synthsae_jax.registry import Explanation
from synthsae_jax.suite.design import Design

DESIGN = register(
    Design(
        id="matching@1",
        title="Matching put to the test",
        question="Which scores and solvers find the right partner?",
        explanation=Explanation(
            what="The oracle ladder: true directions with true codes, true directions behind a "
            "TopK encoder that nobody trained, and trained SAEs; scores and solvers, by firing "
            "rate and number of tokens, on models that share three quarters of their features.",
            formula="primary number: F1 of the share of the features tracked by both that a pair "
            "rightly names, and the share of pairs that are right",
            range="[0, 1]",
            chance="about 1/F for random pairs",
            source="Feature Universality, arXiv 2410.06981; thresholds of arXiv 2501.16615",
        ),
        scales=SCALES,
        arms=lambda scale: ARMS,
        train=train,
        measure=measure,
        quantities=(PRIMARY,),
        claims=CLAIMS,
        page=PAGE,
        levels=lambda scale: {"condition": RUNGS},
        sizes=sizes,
        pairs=lambda context: len(RUNGS) * len(context.scale.geometry),
        measured_with=("reading", "sampling", "solvers"),
    )
)
