"""overfitting@1: does matching pursuit learn the noise of a dictionary?

Superposition makes directions interfere, and that interference belongs to one dictionary. What an
SAE learns of it is shared by runs on that dictionary and not with a model that has the same
features in other directions.
"""

from synthsae_jax.experiments.overfitting.claims import CLAIMS
from synthsae_jax.experiments.overfitting.measure import measure, train
from synthsae_jax.experiments.overfitting.page import PAGE
from synthsae_jax.experiments.overfitting.quantities import excess
from synthsae_jax.experiments.overfitting.setting import ALL, CONDITIONS, PURSUIT, SCALES
from synthsae_jax.experiments.registration import register
from synthsae_jax.registry import Explanation
from synthsae_jax.suite.design import Design
from synthsae_jax.suite.encoders import ENCODERS, condition_of

DESIGN = register(
    Design(
        id="overfitting@1",
        title="Does matching pursuit learn a dictionary's noise?",
        question="Does matching pursuit learn the noise of a dictionary?",
        explanation=Explanation(
            what="Matching pursuit with one, two and four times the L0 beside BatchTopK at equal "
            "L0 and at equal explained variance; pairs of SAEs on one dictionary and on a fresh "
            "one of the same features; encoders swapped on a dictionary that stays.",
            formula="primary number: shared_artefacts on the same dictionary less on a fresh one; "
            "of the latents that track nothing, the share matched (r >= .5) with one that tracks "
            "nothing",
            range="[-1, 1]",
            chance="0: artefacts that belong to no dictionary are shared alike",
            source="Feature Universality, arXiv 2410.06981; MP-SAE, arXiv 2506.03093",
        ),
        scales=SCALES,
        arms=lambda scale: (ALL,),
        train=train,
        measure=measure,
        quantities=(excess(PURSUIT),),
        claims=CLAIMS,
        page=PAGE,
        levels=lambda scale: {
            "condition": (*CONDITIONS, *map(condition_of, ENCODERS)),
            "k": tuple(dict.fromkeys((*scale.pursuit, *scale.grid))),
        },
        # pairs on both dictionaries, and the two SAEs of k x 1 under two encoders
        pairs=lambda context: (
            len(CONDITIONS) * (len(context.scale.pursuit) + len(context.scale.grid))
            + 2 * len(ENCODERS)
        ),
    )
)
