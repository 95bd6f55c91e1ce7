"""The claims of architectures@1."""

from __future__ import annotations

from synthsae_jax.experiments.architectures.quantities import (
    AGREEMENT,
    ARTEFACTS,
    BY_MODELS,
    F1,
    GAINED,
    PRECISION,
    RECOVERED,
    ahead,
    by_pursuit,
    last,
    less,
    relative,
    steady,
)
from synthsae_jax.experiments.architectures.setting import COPY, SAME, SCALED
from synthsae_jax.suite.claims import Claim

_MORE = "Worlds with trees, other widths, or more worlds, which make the interval shorter."
CLAIMS = (
    Claim(
        "H3a",
        "Two architectures find at least 90 % as much of the same features, beyond what each "
        "one's recovery predicts, as two SAEs of one architecture.",
        relative(SAME).called(
            "co_recovery of unlike pairs / that of like pairs, less 1; one model"
        ),
        smallest_effect=0.1,
        margin=0.1,
        kind="noninferior",
        changes=_MORE,
    ),
    Claim(
        "H3a models",
        "An SAE on a model with independent directions finds the same features as one on the "
        "same model.",
        BY_MODELS.called("co_recovery of like pairs on independent models less that on one model"),
        smallest_effect=0.1,
        margin=0.1,
        kind="noninferior",
        changes="Geometry that is crowded for some features: then a model decides what is found.",
    ),
    Claim(
        "H3b",
        "Pairs with matching pursuit have the lowest precision.",
        by_pursuit(PRECISION).called(
            "precision of r > .1, pairs of matching pursuit and another less pairs of two others"
        ),
        smallest_effect=-0.05,
        margin=0.0,
        changes=_MORE,
    ),
    Claim(
        "H3b artefacts",
        "Pairs with matching pursuit share the most artefacts.",
        by_pursuit(ARTEFACTS).called(
            "share of artefacts matched with an artefact (r >= .5), pairs with matching pursuit "
            "less pairs of two others"
        ),
        smallest_effect=0.05,
        margin=0.0,
        changes=_MORE,
    ),
    Claim(
        "H3c",
        "With latents to spare, what runs agree on and what is true rank architectures "
        "differently.",
        less(AGREEMENT, 0.5).called("Kendall's tau of PW-MCC with MCC at twice the width, less .5"),
        smallest_effect=-0.1,
        margin=0.0,
        changes="More architectures: tau of four takes few values.",
    ),
    Claim(
        "H3d",
        "The order of architectures by F1 depends on the world: settings turn at least a tenth of "
        "the pairs round.",
        less(steady(F1), 0.9).called(
            "share of pairs whose order is that of the base setting of the same world, less .9"
        ),
        smallest_effect=-0.05,
        margin=0.0,
        changes="Settings further from the base one.",
    ),
    Claim(
        "H3e",
        "Matching pursuit is last in F1, as on SynthSAEBench-16k, at most settings.",
        last(F1).called("share of settings at which it is last"),
        smallest_effect=0.75,
        margin=0.5,
        changes="Settings at which children scale with their parents, or latents are many.",
    ),
    Claim(
        "H3f",
        "Matching pursuit is first in F1 where children scale with their parents.",
        ahead(F1, SCALED).called("its F1 less the best other one's"),
        smallest_effect=0.01,
        margin=0.0,
        changes="Longer training, or another L0.",
    ),
    Claim(
        "H3g",
        "What matching pursuit loses in F1 is its encoder: a linear one on the same dictionary "
        "gains it.",
        GAINED.called("F1 of its dictionary under a trained linear encoder less its own"),
        smallest_effect=0.05,
        margin=0.0,
        changes="A dictionary that is itself wrong: then no encoder helps.",
    ),
    Claim(
        "copy",
        "An architecture copied under another name shares all that it recovered with itself.",
        less(RECOVERED.at(condition=COPY), 1).called(
            "share of what both recovered that both recovered together, less 1"
        ),
        smallest_effect=0.001,
        margin=0.001,
        kind="equivalent",
        changes="A mistake in the suite.",
        family="control",
    ),
)
