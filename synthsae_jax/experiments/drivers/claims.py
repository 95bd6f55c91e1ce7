"""The claims of drivers@1."""

from __future__ import annotations

from synthsae_jax.experiments.drivers.quantities import (
    BASE,
    CO_RECOVERY,
    DECLARED,
    EXACT,
    EXCESS,
    FIRINGS,
    FREQUENCY,
    KIN,
    PLANTED,
    RECOVERY,
    TRUE,
    difference,
    effect,
    mediated,
)
from synthsae_jax.suite.claims import Claim

CLAIMS = (
    Claim(
        "H2",
        "Two SAEs recover the same features more often than their frequency and each one's "
        "recovery predict.",
        EXCESS.at(condition=BASE).called(
            "log odds ratio of co-recovery within tenths by frequency, base arm"
        ),
        smallest_effect=0.5,
        margin=0.2,
        changes="Finer strata, or SAEs that recover nearly all or nearly none of each.",
    ),
    Claim(
        "H2a",
        "Superposition lowers what two SAEs recover in common.",
        effect(CO_RECOVERY, "overlap").called(
            "main effect of overlap .20 to .30 by coherence, share of the features"
        ),
        smallest_effect=-0.03,
        margin=0.01,
        changes="A larger step: at overlap .30 directions of different features stay far apart.",
    ),
    Claim(
        "H2a mediated",
        "At least 80 % of what superposition does goes through recovery.",
        mediated("overlap").called(
            "effect on expected over effect on actual co-recovery; undefined where there is none"
        ),
        smallest_effect=0.8,
        margin=0.5,
        changes="Larger effects: a ratio of small ones is uncertain.",
    ),
    Claim(
        "H2a direct",
        "Superposition does nothing to co-recovery beyond what it does to recovery.",
        effect(EXCESS, "overlap").called(
            "main effect of overlap on the log odds ratio of co-recovery"
        ),
        smallest_effect=0.5,
        margin=0.5,
        kind="equivalent",
        changes="More features: the odds ratio rests on those that just one side recovers.",
        family="secondary",
    ),
    Claim(
        "H2a oracle",
        "With recovery planted, superposition leaves what r > .1 declares as it is.",
        effect(PLANTED, "overlap").called(
            "main effect of overlap on the share declared, oracle SAEs of equal recovery"
        ),
        smallest_effect=0.02,
        margin=0.02,
        kind="equivalent",
        changes="Nothing: an oracle's codes do not depend on directions; a check of the suite.",
        family="control",
    ),
    Claim(
        "ways agree",
        "An overlap of .30 costs the same recovery by coherence as by fewer dimensions.",
        difference(RECOVERY, "coherence .30", "dim .30").called(
            "share of features recovered at overlap .30: coherence less dimensions"
        ),
        smallest_effect=0.03,
        margin=0.03,
        kind="equivalent",
        changes="A difference says that the mean-max overlap is not all of superposition.",
        family="secondary",
    ),
    Claim(
        "H2b",
        "Correlation raises what r > .1 declares beyond what is true.",
        (effect(DECLARED, "correlation") - effect(TRUE, "correlation")).called(
            "main effect of correlation on declared less true universality"
        ),
        smallest_effect=0.03,
        margin=0.01,
        changes="Stronger correlation than a scale of .2 at rank 10.",
    ),
    Claim(
        "H2b true",
        "Correlation leaves true universality as it is.",
        effect(TRUE, "correlation").called("main effect of correlation on true universality"),
        smallest_effect=0.03,
        margin=0.03,
        kind="equivalent",
        changes="Stronger correlation: co-firing features end in one latent.",
        family="secondary",
    ),
    Claim(
        "H2c kin",
        "Hierarchy makes matches between relatives.",
        difference(KIN, "depth 3").called(
            "share of latents matched to a relative's, depth 3 less base"
        ),
        smallest_effect=0.03,
        margin=0.01,
        changes="More features in trees than 36 of 128.",
    ),
    Claim(
        "H2c exact",
        "Hierarchy lowers the matches of one feature with itself.",
        difference(EXACT, "depth 3").called("share of latents matched exactly, depth 3 less base"),
        smallest_effect=-0.05,
        margin=0.01,
        changes="More features in trees than 36 of 128.",
    ),
    Claim(
        "H2c matryoshka",
        "Matryoshka SAEs lose fewer exact matches to hierarchy than TopK SAEs.",
        (
            difference(EXACT, "matryoshka, depth 3", "matryoshka") - difference(EXACT, "depth 3")
        ).called("loss at depth 3 of TopK less that of Matryoshka, share of latents"),
        smallest_effect=0.03,
        margin=0.01,
        changes="Longer training: Matryoshka's inner levels take longest.",
        family="secondary",
    ),
    Claim(
        "H2d features",
        "A steeper frequency law lowers universality counted by features.",
        difference(CO_RECOVERY, "exponent 1").called(
            "share of features that both recover, exponent 1 less .7"
        ),
        smallest_effect=-0.03,
        margin=0.01,
        changes="Wider SAEs or longer training, which reach rarer features.",
    ),
    Claim(
        "H2d firings",
        "A steeper frequency law does not lower universality counted by firings.",
        difference(FIRINGS, "exponent 1").called(
            "share of firings that belong to features that both recover, exponent 1 less .7"
        ),
        smallest_effect=-0.02,
        margin=0.02,
        kind="noninferior",
        changes="SAEs that fail on the most frequent features.",
        family="secondary",
    ),
    Claim(
        "H2e",
        "How often a feature fires says most about whether it reappears.",
        FREQUENCY.at(condition=BASE).called(
            "share of variance of B's recovery that the log rate explains, of A's features, base"
        ),
        smallest_effect=0.3,
        margin=0.1,
        changes="Wider SAEs: reappearance varies only where rare features are in reach.",
    ),
)
