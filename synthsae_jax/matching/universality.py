"""How credible is it that a latent stands for a feature of the model? From several SAEs' codes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from scipy import sparse

from synthsae_jax.errors import require
from synthsae_jax.matching.credence import PairCredence, credence
from synthsae_jax.matching.credence_latent import LatentCredence, latent_credence
from synthsae_jax.matching.credence_model import CredenceModel, load_credence
from synthsae_jax.matching.csr import scores_from_codes
from synthsae_jax.numerics import firings

_SCORE = "activation_pearson"


def universality_credence(
    codes: Sequence[sparse.csr_matrix], model: CredenceModel | None = None
) -> list[LatentCredence]:
    """Per SAE, how likely each latent's feature is among the others' too, `LatentCredence` of [L].

    `codes`: sparse `[n, L_s]` of two or more SAEs on the same n tokens. `.reappearance` is the
    expected share of the other SAEs that have the feature, `.credence` that at least one has; both
    come from the calibrated matcher (`model`; None: the shipped one), which knows how well the
    best of many candidates correlates by chance at this firing rate and number of tokens. NaN,
    with a reason, where that lies outside of what it was fitted on.

    What reappears need not be true: SAEs with a common cause of error, such as one dictionary to
    overfit or a hierarchy that they all absorb, share their artefacts. Take SAEs that share as
    little as possible: other seeds and data at least, rather other architectures or models
    (`proxies@1` measures how much each of these says about truth).
    """
    require(
        len(codes) >= 2, f"universality_credence needs the codes of 2 or more SAEs: {len(codes)}."
    )
    require(
        len({c.shape[0] for c in codes}) == 1,
        "universality_credence takes codes on the same tokens; given "
        f"{', '.join(f'{c.shape[0]:,}' for c in codes)} rows.",
    )
    model = load_credence() if model is None else model
    n = int(codes[0].shape[0])
    fired = [np.asarray(firings(c)) for c in codes]
    pairs: dict[tuple[int, int], PairCredence] = {}
    for a, b in itertools.combinations(range(len(codes)), 2):
        scores = scores_from_codes((_SCORE,), codes[a], codes[b])[_SCORE]
        pairs[a, b] = credence(model, scores, fired[a], fired[b], n)
        # The other way round too: candidates and prior are those of the other side.
        pairs[b, a] = credence(model, scores.T, fired[b], fired[a], n)
    return latent_credence(pairs, len(codes), model)
