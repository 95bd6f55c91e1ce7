"""The records of this folder that have no behaviour: `Matching` and `SideInputs`, both pytrees."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import numpy as np
from flax import struct

Array = jax.Array | np.ndarray


@struct.dataclass
class Matching:
    """M candidate pairs of latents, sorted by row and then by column.

    Only pairs with `valid` are matched. The others are kept so that the number of pairs depends
    on shapes alone: they lost against the threshold, a margin, or had nothing to be matched with.
    """

    row: Array  # int32 [M]: latent of A
    col: Array  # int32 [M]: latent of B
    score: Array  # float32 [M]: NaN where the pair was masked
    valid: Array  # bool [M]
    # float32 []: how far at most the total, in excess of what staying single is worth, lies below
    # the best there is, before any threshold; None: the solver does not say
    gap: Array | None = None


@struct.dataclass
class SideInputs:
    """What one side of a comparison brings: all a null may transform. None where not used."""

    # float [n, L], on the same n samples as the other side's. Bins, nulls and protocols of large
    # SAEs (`match.large`) take a CSR matrix in its place
    latents: Array | None = None
    decoder: Array | None = None  # float [L, D], directions as rows
    encoder: Array | None = None  # float [L, D], directions as rows: `W_enc.T`
    token_bins: Array | None = None  # int [n]: tokens of equal activity, for nulls within bins
    # by null: sides that were made anew without what is tested, codes on the same n samples
    stand_ins: Mapping[str, tuple[SideInputs, ...]] | None = None
