"""Mean of the best Pearson correlations."""

from __future__ import annotations

from synthsae_jax.matching import Pipeline
from synthsae_jax.protocols.base import Numbers, Protocol, View, register_protocol
from synthsae_jax.protocols.null_steps import of_side
from synthsae_jax.protocols.reads import best_of_either
from synthsae_jax.registry import Explanation


def both_ways(view: View) -> Numbers:
    """MPPC of A's living latents in B, and of B's in A."""
    means = best_of_either(view)
    return {"mppc": means["a_to_b"], "mppc_reverse": means["b_to_a"]}


register_protocol(
    "mppc2024",
    Protocol(
        pipeline=Pipeline(
            score="activation_pearson",
            solver="argmax",
            solver_options={"direction": "a_to_b"},
        ),
        reads=(both_ways,),
        primary="mppc",
        needs=("latents",),
        nulls=(of_side("activity_shift"),),
    ),
    Explanation(
        what="Mean over A's living latents of the best Pearson correlation with any latent of B on "
        "the same tokens; `mppc_reverse` from B to A. Many-to-one.",
        formula="mean over i of max over j of pearson(f_Ai, f_Bj)",
        range="[-1, 1]",
        chance="the best of L_B: far above 0 for rare latents on few tokens. The null (tokens "
        "rolled among equally busy ones, everything run again) is ours.",
        undefined="no codes on paired tokens, or all latents of a side dead",
        source="Wang et al., arXiv 2410.06672",
    ),
)
