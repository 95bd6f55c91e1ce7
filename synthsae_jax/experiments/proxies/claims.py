"""The claims of proxies@1."""

from __future__ import annotations

from synthsae_jax.experiments.proxies.quantities import (
    area,
    carried_over,
    gain,
    over_best,
    rank_with_f1,
    untrue,
)
from synthsae_jax.experiments.proxies.setting import (
    ANY,
    BY_ARCHITECTURES,
    BY_MODELS,
    CORRELATION,
    CREDENCE,
    DECODER,
    PLAIN,
    STABLE,
    TREES,
)
from synthsae_jax.suite.claims import Claim
from synthsae_jax.suite.quantity import combined

_UNTRUE = "share of artefacts among latents that all other seeds have (decoder cosine >= .7)"
_BEYOND = "AUROC of the best correlation with {} less that with other seeds, trees"
_MORE = "More worlds, or settings of which more differ in what they recover."
CLAIMS = (
    Claim(
        "stable is not true",
        "In worlds with trees, a tenth or more of the latents that all other seeds reproduce "
        "track no single feature.",
        untrue(STABLE).at(_UNTRUE, arm=TREES),
        smallest_effect=0.1,
        margin=0.05,
        changes="SAEs without absorption, or a truth that calls an absorbed parent its feature.",
    ),
    Claim(
        "under any truth",
        "The same where a latent counts as true as soon as any method at any threshold says so.",
        untrue(STABLE, ANY).at(_UNTRUE + ", most lenient truth", arm=TREES),
        smallest_effect=0.1,
        margin=0.05,
        changes="The verdict above holds only together with this one.",
    ),
    Claim(
        "stable is not true, no trees",
        "The same in worlds without trees.",
        untrue(STABLE).at(_UNTRUE, arm=PLAIN),
        smallest_effect=0.1,
        margin=0.05,
        changes="More superposition, or SAEs that are wider than what can be found.",
    ),
    Claim(
        "reappearance",
        "Reappearance over seeds tells true latents from artefacts.",
        combined(
            lambda auroc: auroc - 0.5,
            area(DECODER).at(arm=PLAIN),
            name="reappearance beyond chance",
            title="AUROC of reappearance (decoder cosine >= .7) less 1/2, worlds without trees",
        ),
        smallest_effect=0.2,
        margin=0.1,
        changes="Artefacts that seeds have in common.",
        family="latents",
    ),
    Claim(
        "beyond frequency",
        "The best correlation with other seeds says more than the firing rate alone.",
        gain(CORRELATION, "firing_rate").at(
            "AUROC of the best code correlation less AUROC of the firing rate", arm=PLAIN
        ),
        smallest_effect=0.05,
        margin=0.02,
        changes="A law under which only rare features are missed.",
        family="latents",
    ),
    Claim(
        "architectures",
        "Other architectures are better witnesses than other seeds.",
        gain(BY_ARCHITECTURES, CORRELATION).at(_BEYOND.format("other architectures"), arm=TREES),
        smallest_effect=0.03,
        margin=0.01,
        changes="Architectures that fail alike.",
        family="latents",
    ),
    Claim(
        "models",
        "SAEs of another model are better witnesses than other seeds.",
        gain(BY_MODELS, CORRELATION).at(_BEYOND.format("another model's SAEs"), arm=TREES),
        smallest_effect=0.03,
        margin=0.01,
        changes="Artefacts of the data rather than of the dictionary: both models have them.",
        family="latents",
    ),
    Claim(
        "credence",
        "universality_credence is no worse than the best single proxy from the same seeds.",
        over_best(CREDENCE).at("its AUROC less the largest AUROC of a single proxy", arm=PLAIN),
        smallest_effect=0.02,
        margin=0.02,
        kind="noninferior",
        changes="The best of several is chosen after the fact, which favours them a little.",
        family="latents",
    ),
    Claim(
        "carries over",
        "What a value of universality_credence says in one world holds in the others.",
        carried_over(
            CREDENCE, "AUROC within a world less AUROC of its latents against those of all others"
        ).at(arm=PLAIN),
        smallest_effect=0.05,
        margin=0.03,
        kind="equivalent",
        changes="Worlds that differ more from each other than those of one preset.",
        family="latents",
    ),
    Claim(
        "consistency ranks SAEs",
        "The consistency of an SAE over seeds (PW-MCC) ranks settings by F1.",
        rank_with_f1("pw_mcc").at(
            "Spearman correlation of PW-MCC with F1 over settings", arm=PLAIN
        ),
        smallest_effect=0.5,
        margin=0.2,
        changes=_MORE,
        family="SAEs",
    ),
    Claim(
        "fit does not rank SAEs",
        "Explained variance does not rank settings by F1.",
        (rank_with_f1("pw_mcc") - rank_with_f1("explained_variance")).at(
            "Spearman correlation of PW-MCC with F1, less that of explained variance", arm=PLAIN
        ),
        smallest_effect=0.2,
        margin=0.1,
        changes=_MORE,
        family="SAEs",
    ),
)
