"""The claims of engineering@1: what only makes SAEs look alike, what finds more, and its price."""

from __future__ import annotations

from synthsae_jax.experiments.engineering.methods import DISJOINT, FROZEN, RETRAINED, WITHIN
from synthsae_jax.experiments.engineering.numbers import NEAREST
from synthsae_jax.experiments.engineering.quantities import (
    TRACKED,
    TRULY_SHARED,
    false_gain,
    gain,
    implied,
    over_seed,
    price,
    pseudo,
)
from synthsae_jax.suite.claims import Claim

_AS_MUCH = "its baseline (as many samples)"
_STRENGTH = "Other strengths of the constraint, longer training, wider SAEs."
_ALONE = {
    "orthogonal": "A penalty on decoder rows' cosines",
    "ordered": "An order of the latents",
    "archetypal": "Archetypal rows, anchors drawn for each SAE,",
    "matryoshka": "A Matryoshka loss",
    "consistency": "A consistency loss with another seed of the same model",
}
_TITLES = {
    **_ALONE,
    RETRAINED: "Pooling of stable latents over seeds and retraining",
    FROZEN: "Pooling of stable latents over seeds, kept frozen,",
    "universal": "A universal SAE with a partner model",
}
CLAIMS = (
    *(
        Claim(
            f"H5a {method}",
            f"{title} makes SAEs that share nothing agree by more than .1 beyond any true gain.",
            pseudo(method).called(
                "gain in PW-MCC between groups less the gain in MCC with the features, if any"
            ),
            smallest_effect=0.1,
            margin=0.02,
            changes=_STRENGTH,
            family="pseudo-universality",
        )
        for method, title in _ALONE.items()
    ),
    *(
        Claim(
            f"H5a {method}, within",
            f"{title} makes SAEs of one group agree by more than .1 beyond any true gain.",
            pseudo(method, WITHIN).called(
                "gain in PW-MCC within a group less the gain in MCC with the features, if any"
            ),
            smallest_effect=0.1,
            margin=0.02,
            changes=_STRENGTH,
            family="forced",
        )
        for method, title in (("shared init", "A shared start"), ("consistency", "The loss"))
    ),
    *(
        Claim(
            f"H5b {method}",
            f"{_TITLES[method]} raises the share of true latents by more than .1 at equal width.",
            gain(TRACKED, method).called(
                f"share of living latents that track a feature, less that of {_AS_MUCH}"
            ),
            smallest_effect=0.1,
            margin=0.02,
            changes="More seeds, or seeds trained shorter: more artefacts are there to outvote.",
            family="pooling",
        )
        for method in (RETRAINED, FROZEN)
    ),
    *(
        Claim(
            f"H5b {method}, over a seed",
            f"{_TITLES[method]} does so beside a single one of its seeds.",
            over_seed(method).called(
                "share of living latents that track a feature, less that of an SAE with the "
                "samples of one seed"
            ),
            smallest_effect=0.1,
            margin=0.02,
            changes="More seeds, or seeds trained shorter: more artefacts are there to outvote.",
            family="pooling",
        )
        for method in (RETRAINED, FROZEN)
    ),
    *(
        Claim(
            f"H5c {method}",
            f"A {title} of two models without a common feature calls some of them shared.",
            implied(method, DISJOINT).called(
                "overlap implied by its living latents on models without a common feature"
            ),
            smallest_effect=0.1,
            margin=0.02,
            changes="Other bounds on the relative norm, and a wider joint SAE.",
            family="joint",
        )
        for method, title in (("universal", "universal SAE"), ("crosscoder", "crosscoder"))
    ),
    Claim(
        "H5c consistency",
        "A consistency loss between models without a common feature makes latents agree.",
        false_gain(NEAREST, "consistency", WITHIN).called(
            f"share of mutual nearest above .7 within a disjoint group, less that of {_AS_MUCH}"
        ),
        smallest_effect=0.1,
        margin=0.02,
        changes="Other strengths of the loss.",
        family="joint",
    ),
    *(
        Claim(
            f"H5d {method}",
            f"{_TITLES[method]} raises true universality between groups by more than .05.",
            gain(TRULY_SHARED, method).called(
                f"true universality on models with all features in common, less that of {_AS_MUCH}"
            ),
            smallest_effect=0.05,
            margin=0.01,
            changes="A baseline that has converged: then less is left to gain.",
            family="true gain",
        )
        for method in (RETRAINED, FROZEN, "matryoshka", "consistency", "universal")
    ),
    *(
        Claim(
            f"H5e {method}",
            f"{_TITLES[method]} costs nothing within a model.",
            price(method).called(
                "the worst of F1, MCC and EV less the best baseline's with at most as many samples"
            ),
            smallest_effect=0.01,
            margin=0.01,
            kind="noninferior",
            changes="Other strengths; longer training.",
            family="price",
        )
        for method in (RETRAINED, FROZEN, "matryoshka", "consistency", "universal")
    ),
)
