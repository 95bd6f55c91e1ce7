"""The claims of realism@1: how far a fitted setting carries, and the three verdicts by name."""

from __future__ import annotations

from synthsae_jax.experiments.realism.quantities import (
    BEYOND,
    BOTH_ORDERS,
    CARRIED,
    GAINED,
    MATRYOSHKA_ORDER,
    PROBES_BELOW,
    PURSUIT_ORDER,
)
from synthsae_jax.experiments.realism.setting import AS_PUBLISHED
from synthsae_jax.suite.claims import Claim

_GRID = "A finer or wider grid of settings, above all longer trainings and larger worlds."
_SCALE = "Scale: the published table is of 16,384 features and 200 million samples."
CLAIMS = (
    Claim(
        "carries",
        "A setting that is fitted on half of the published numbers gives at least half of the "
        "other half.",
        CARRIED,
        smallest_effect=0.5,
        margin=0.4,
        changes=_GRID,
    ),
    Claim(
        "fitting helps",
        "It gives more of them than a setting taken at random.",
        GAINED,
        smallest_effect=0.05,
        margin=0.0,
        changes=_GRID,
    ),
    Claim(
        "beyond reach",
        "At least a tenth of the published numbers are reached by no setting.",
        BEYOND,
        smallest_effect=0.1,
        margin=0.05,
        changes=_GRID,
    ),
    Claim(
        "both orders",
        "Some setting has both published orders of TopK and L1 at once: L1 shares more latents "
        "above .7, TopK has the higher PW-MCC.",
        BOTH_ORDERS,
        smallest_effect=0.02,
        margin=0.0,
        changes="SAEs at other sites: the two orders are of other sites, widths and k.",
    ),
    Claim(
        "Matryoshka",
        "Matryoshka has the best F1 of all and the worst EV of the SAEs with a k.",
        MATRYOSHKA_ORDER.at(setting=AS_PUBLISHED),
        smallest_effect=0.005,
        margin=0.0,
        changes=_SCALE,
        family="verdicts",
    ),
    Claim(
        "matching pursuit",
        "Matching pursuit has the highest EV and the lowest F1 of all.",
        PURSUIT_ORDER.at(setting=AS_PUBLISHED),
        smallest_effect=0.005,
        margin=0.0,
        changes=_SCALE,
        family="verdicts",
    ),
    Claim(
        "probing",
        "Probes on a few latents of any SAE stay below supervised probes.",
        PROBES_BELOW.at(setting=AS_PUBLISHED),
        smallest_effect=0.02,
        margin=0.0,
        changes="Rarer features, for which a supervised probe has few examples.",
        family="verdicts",
    ),
)
