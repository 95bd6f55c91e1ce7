"""The claims of evolution@1."""

from __future__ import annotations

from synthsae_jax.experiments.evolution.measure import MATURITY, TRAINING
from synthsae_jax.experiments.evolution.quantities import ALIGNED, BEST_R, CKA, RARE, ahead
from synthsae_jax.suite.claims import Claim

_CHANGES = "A longer training, other learning rates, or another share of the end than .9."
CLAIMS = (
    Claim(
        "E10a",
        "The share with r > .1 settles long before what is truly shared.",
        ahead(BEST_R, TRAINING),
        smallest_effect=0.5,
        margin=0.1,
        changes=_CHANGES,
    ),
    Claim(
        "E10b",
        "The share with an aligned cosine above .7 settles when the truth does.",
        ahead(ALIGNED, TRAINING),
        smallest_effect=0.5,
        margin=0.5,
        kind="equivalent",
        changes=_CHANGES,
    ),
    Claim(
        "E10c",
        "The relations among decoder rows settle long before what is truly shared.",
        ahead(CKA, TRAINING),
        smallest_effect=0.5,
        margin=0.1,
        changes=_CHANGES,
    ),
    Claim(
        "E10d",
        "Rare features become shared later than frequent ones.",
        RARE,
        smallest_effect=0.5,
        margin=0.1,
        changes="A flatter law of firing.",
    ),
    Claim(
        "E10e",
        "As the models mature, the share with r > .1 follows what is truly shared.",
        ahead(BEST_R, MATURITY),
        smallest_effect=0.5,
        margin=0.5,
        kind="equivalent",
        changes="Models whose features come up more slowly, or one by one.",
        family="maturity",
    ),
)
