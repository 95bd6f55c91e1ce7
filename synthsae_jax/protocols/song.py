"""PW-MCC and its relatives: the mean cosine of the best one-to-one pairing."""

from __future__ import annotations

import numpy as np

from synthsae_jax.matching import Pipeline
from synthsae_jax.protocols.base import (
    NAN,
    Numbers,
    Protocol,
    View,
    register_protocol,
    weights_only,
)
from synthsae_jax.protocols.null_steps import of_side
from synthsae_jax.protocols.reads import NOTHING, assigned_mean, centred_assignment, order
from synthsae_jax.registry import Explanation

_CHANCE = (
    "high in few dimensions: .52 (signed) and .63 (absolute) for 16 atoms in R^8, .27 and .29 for "
    "1,024 in R^128; the null is ours and turns B's space at random"
)
_UNDEFINED = "spaces of unlike width"


def opposed(view: View) -> Numbers:
    """Share of the pairs whose directions are opposed: what an absolute value hides."""
    row, col, _ = view.pairs
    if row.size == 0:
        return {"opposed": (NAN, NOTHING)}
    a, b = np.asarray(view.a.decoder, np.float64)[row], np.asarray(view.b.decoder, np.float64)[col]
    return {"opposed": (float(((a * b).sum(1) < 0).mean()), "")}


def _assigned(primary: str, *more, absolute: bool = False) -> Protocol:
    return Protocol(
        pipeline=Pipeline(
            score="decoder_cosine",
            solver="assignment",
            score_options={"absolute": True} if absolute else {},
        ),
        reads=(assigned_mean(primary), *more),
        primary=primary,
        version=2,
        needs=("decoder",),
        same_space=True,
        sides=weights_only,
        nulls=(of_side("random_rotation"),),
    )


register_protocol(
    "song2025",
    _assigned("pw_mcc"),
    Explanation(
        what="PW-MCC as released: mean signed cosine of decoder rows under the best one-to-one "
        "pairing.",
        formula="max over pairings of sum cos(w_i, w_pi(i)) / min(L_A, L_B)",
        range="[-1, 1]",
        chance=_CHANCE,
        undefined=_UNDEFINED,
        source="Song et al., arXiv 2505.20254, released code",
    ),
)
register_protocol(
    "song2025_absolute",
    _assigned("pw_mcc", opposed, absolute=True),
    Explanation(
        what="PW-MCC as written: as song2025 with absolute cosines. `opposed`: the share of pairs "
        "whose directions are opposed.",
        formula="max over pairings of sum |cos(w_i, w_pi(i))| / min(L_A, L_B)",
        range="[0, 1]",
        chance=_CHANCE,
        undefined=_UNDEFINED,
        source="Song et al., arXiv 2505.20254, formula",
    ),
)
register_protocol(
    "stability",
    _assigned("stability", centred_assignment),
    Explanation(
        what="Stability of a dictionary: mean cosine of two runs' atoms under the best "
        "permutation, for equal widths the number of song2025. `stability_centred`: the same after "
        "each side's mean atom is taken off, since an offset that all atoms share inflates it.",
        formula="max over P of tr(D' P D_2) / K, rows of unit length",
        range="[-1, 1]",
        chance=_CHANCE,
        undefined=_UNDEFINED,
        source="Fel et al., arXiv 2502.12892; the offset: arXiv 2606.02061",
    ),
)
register_protocol(
    "osae2025",
    _assigned("stability", order),
    Explanation(
        what="Stability as above, and orderedness: do latents stand in the same order? The latter "
        "depends on the order of latents by intent and is for SAEs that have one.",
        formula="Spearman(i, pi(i)), pi the best pairing",
        range="[-1, 1]",
        chance=f"orderedness 0; stability {_CHANCE}",
        undefined=f"{_UNDEFINED}; orderedness: fewer than two pairs",
        source="Ordered SAEs, arXiv 2512.02194",
    ),
)
