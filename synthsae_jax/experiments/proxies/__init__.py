"""proxies@1: what that can be seen without the truth predicts it?

SAEs of several architectures and settings, three seeds each, on one model, and of one architecture
on another with the same features: what is seen of latents, against whether they track a feature.
"""

from synthsae_jax.experiments.proxies.claims import CLAIMS
from synthsae_jax.experiments.proxies.measure import measure, train
from synthsae_jax.experiments.proxies.page import PAGE
from synthsae_jax.experiments.proxies.quantities import area
from synthsae_jax.experiments.proxies.setting import ARMS, CREDENCE, RUNS, SCALES, levels, sizes
from synthsae_jax.experiments.registration import register
from synthsae_jax.registry import Explanation
from synthsae_jax.suite.design import Design

DESIGN = register(
    Design(
        id="proxies@1",
        title="Proxies of the truth",
        question="Which number that needs no truth predicts it?",
        explanation=Explanation(
            what="SAEs of several architectures and settings, three seeds each, on one model, and "
            "of one architecture on a second model with the same features in other directions; "
            "what can be seen of latents without the truth, against whether they track a true "
            "feature.",
            formula="primary number: AUROC of universality_credence over living latents",
            range="[0, 1]",
            chance="1/2",
            source="proxies of arXiv 2501.16615, 2505.20254 and 2606.12138; universality_credence",
        ),
        scales=SCALES,
        arms=lambda scale: ARMS,
        train=train,
        measure=measure,
        quantities=(area(CREDENCE),),
        claims=CLAIMS,
        page=PAGE,
        levels=levels,
        sizes=sizes,
        pairs=lambda context: RUNS * RUNS * len(context.scale.plans()),
    )
)
