"""Shared latents by two assignments, of encoder and of decoder rows."""

from __future__ import annotations

import numpy as np

from synthsae_jax import matching, similarity
from synthsae_jax.matching import Pipeline
from synthsae_jax.protocols.base import (
    Numbers,
    Protocol,
    View,
    register_protocol,
    weights_only,
)
from synthsae_jax.protocols.null_steps import of_side
from synthsae_jax.protocols.reads import shared
from synthsae_jax.registry import Explanation

THRESHOLDS = tuple(round(0.3 + 0.05 * i, 2) for i in range(14))


def curve(view: View) -> Numbers:
    """How far the two assignments agree at all, and the mean share over thresholds .3 to .95."""
    s = {
        name: matching.score("decoder_cosine", getattr(view.a, name), getattr(view.b, name))
        for name in ("decoder", "encoder")
    }
    partners = {name: matching.solve("assignment", v) for name, v in s.items()}
    n = s["decoder"].shape
    arrays = {}
    for name, m in partners.items():
        to, cosine = np.full(n[0], -1), np.full(n[0], -1.0)
        to[np.asarray(m.row)], cosine[np.asarray(m.row)] = np.asarray(m.col), np.asarray(m.score)
        arrays |= {f"{name}_partner": to, f"{name}_cosine": cosine}
    # a threshold of -1 asks for agreement alone
    shares = np.asarray(similarity.shared_at(**arrays, thresholds=(-1.0, *THRESHOLDS)))
    # shares of A's latents there, of the smaller side's here
    shares = shares * n[0] / min(n)
    return {
        "assignments_agree": (float(shares[0]), ""),
        "shared_area": (float(shares[1:].mean()), ""),
    }


register_protocol(
    "paulo2025",
    Protocol(
        pipeline=Pipeline(
            score="decoder_cosine",
            solver="assignment",
            threshold=0.7,
            filters=(("encoder_decoder_agreement", {"at_least": 0.7}),),
        ),
        reads=(shared, curve),
        primary="shared",
        version=2,
        needs=("decoder", "encoder"),
        same_space=True,
        sides=weights_only,
        nulls=(of_side("random_rotation"),),
    ),
    Explanation(
        what="A latent is shared if the best assignment by decoder rows and that by encoder rows "
        "give it the same partner, with both cosines at least .7. All latents count, dead ones "
        "too. Also: how often the assignments agree, and the mean share over thresholds .3 to .95.",
        formula="|M_dec n M_enc n {cos_dec >= .7, cos_enc >= .7}| / L",
        range="[0, 1]",
        chance="0 in more than a few dozen dimensions; the null turns B's space at random, and "
        "is ours",
        undefined="spaces of unlike width, or no encoder",
        source="Paulo and Belrose, arXiv 2501.16615",
    ),
)
