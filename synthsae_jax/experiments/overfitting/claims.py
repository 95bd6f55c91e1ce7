"""The claims of overfitting@1."""

from __future__ import annotations

from synthsae_jax.experiments.overfitting.quantities import (
    LEAD,
    PRECISION,
    TRULY_SHARED,
    UNMATCHED,
    equal_ev,
    excess,
    grown,
    less_one,
    swapped,
)
from synthsae_jax.experiments.overfitting.setting import BATCHTOPK, FRESH, PURSUIT, TWICE
from synthsae_jax.suite.claims import Claim
from synthsae_jax.suite.encoders import LINEAR
from synthsae_jax.suite.quantity import Quantity


def _fresh(of: Quantity) -> Quantity:
    return of.at(sae=PURSUIT, condition=FRESH)


_MORE = "Worlds with trees, another width, or more worlds, which make the interval shorter."
_CRITERION = "Another criterion for a match than r >= .5, or for what a latent tracks."
CLAIMS = (
    Claim(
        "H7c",
        "On one dictionary two runs of matching pursuit share more artefacts than on a fresh "
        "one: what they fit belongs to the dictionary.",
        excess(PURSUIT).called(
            "share of artefacts matched with an artefact, same less fresh dictionary, twice the L0"
        ),
        smallest_effect=0.1,
        margin=0.02,
        changes=_CRITERION,
    ),
    Claim(
        "H7c beside",
        "It does so more than BatchTopK at equal L0.",
        (excess(PURSUIT) - excess(BATCHTOPK)).called(
            "that difference for matching pursuit less that for BatchTopK, twice the L0"
        ),
        smallest_effect=0.1,
        margin=0.02,
        changes=_CRITERION,
    ),
    Claim(
        "H7a",
        "Matching pursuit's lead in explained variance grows with k.",
        grown(LEAD).called(
            "EV less that of BatchTopK at equal L0, at four times the L0 less at one"
        ),
        smallest_effect=0.02,
        margin=0.0,
        changes=_MORE,
    ),
    Claim(
        "H7a sharing",
        "Meanwhile what two of them truly share falls.",
        grown(_fresh(TRULY_SHARED)).called(
            "true universality on fresh dictionaries, four times the L0 less one"
        ),
        smallest_effect=-0.1,
        margin=0.0,
        changes=_MORE,
    ),
    Claim(
        "H7a precision",
        "And so does the precision of what is declared shared.",
        grown(_fresh(PRECISION)).called(
            "precision of r > .1 on fresh dictionaries, four times the L0 less one"
        ),
        smallest_effect=-0.1,
        margin=0.0,
        changes=_MORE,
    ),
    Claim(
        "H7a equal EV",
        "At equal explained variance matching pursuit truly shares less than BatchTopK.",
        (
            _fresh(TRULY_SHARED).at(k=TWICE) - equal_ev(TRULY_SHARED.at(condition=FRESH), TWICE)
        ).called(
            "true universality on fresh dictionaries, twice the L0, less BatchTopK's of nearest EV"
        ),
        smallest_effect=-0.1,
        margin=0.0,
        changes="A finer grid of k where the nearest EV is far.",
    ),
    Claim(
        "H7b",
        "Most of matching pursuit's unmatched latents are artefacts.",
        _fresh(UNMATCHED)
        .at(k=TWICE)
        .called(
            "share of untracked latents among those without a match (r >= .5), fresh, twice the L0"
        ),
        smallest_effect=0.5,
        margin=0.5,
        changes=_CRITERION,
    ),
    Claim(
        "H7d support",
        "A linear encoder on matching pursuit's dictionary fires otherwise.",
        less_one(swapped("support_jaccard", PURSUIT, LINEAR)).called(
            "Jaccard of each token's active latents, linear encoder against pursuit, less 1"
        ),
        smallest_effect=-0.2,
        margin=0.1,
        changes="A dictionary with less interference.",
    ),
    Claim(
        "H7d features",
        "Yet its latents keep the features that they track.",
        less_one(swapped("tau_kept", PURSUIT, LINEAR)).called(
            "share of tracking latents that track the same under the linear encoder, less 1"
        ),
        smallest_effect=0.1,
        margin=0.1,
        kind="noninferior",
        changes="A truth map that asks more of firing and less of direction.",
    ),
)
