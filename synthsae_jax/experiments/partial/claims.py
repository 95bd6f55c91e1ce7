"""The numbers and the claims of partial@1."""

from __future__ import annotations

from synthsae_jax.experiments.partial.measure import COSINE_RULE, R_RULE, auroc_of
from synthsae_jax.suite.claims import Claim
from synthsae_jax.suite.quantity import Quantity, combined, number

HALF = 0.5
TITLES = {
    R_RULE: "r > .1",
    COSINE_RULE: "aligned cosine > .7",
    "truth": "latents that truly share",
    "crosscoder_l1": "crosscoder, L1",
    "universal": "universal SAE",
    "decoder_cosine_aligned": "decoder cosine, aligned",
}


def title(name: str) -> str:
    """What a person calls a way of counting, a score or an SAE."""
    return TITLES.get(name, name)


def declared(name: str, arm: str) -> Quantity:
    """The overlap that a rule or a joint SAE implies."""
    return number("declared", name, title=title(name), unit="share of latents", arm=arm)


def truly_shared(arm: str) -> Quantity:
    """What a perfect matcher of these SAEs would count."""
    at = {"title": title("truth"), "unit": "share of latents"}
    return number("true_universality", "truth", arm=arm, **at)


# `ours@1` matches latents; its number is the share that it matches
MATCHED = number("score", "ours@1", title="ours@1", unit="share of latents", arm="rotated")


def detection(score: str, arm: str, quarter: int = 0) -> Quantity:
    """AUROC of a latent's best score for "B has its feature"; by quarter of frequency, 0: all."""
    return number(auroc_of(quarter), score, title=title(score), unit="AUROC", arm=arm, shared=HALF)


def joint(metric: str, name: str) -> Quantity:
    """What one SAE of both models gets wrong or right."""
    heads = {"false_exclusive": "false exclusives", "false_shared": "falsely shared"}
    at = {"title": heads.get(metric, metric), "unit": "share of latents", "arm": name}
    return number(metric, name, **at)


PRIMARY = detection("activation_pearson", "independent").called(
    "AUROC of the best correlation for 'the other model has it', half of the features shared"
)


def _misses(name: str, arm: str, of: str) -> Quantity:
    return combined(
        lambda implied: abs(implied - HALF),
        declared(name, arm).at(shared=HALF),
        name=f"error of {name}, {arm}",
        title=of,
    )


def _above_chance(score: str) -> Quantity:
    return combined(
        lambda auroc: auroc - 0.5,
        detection(score, "independent"),
        name=f"{score} above chance",
        title="AUROC - 1/2 over latents of A that track a feature, half of them shared",
    )


def _frequent_less_rare(score: str) -> Quantity:
    quarters = [detection(score, "independent", q) for q in (4, 1)]
    return (quarters[0] - quarters[1]).called(
        "AUROC in the most frequent quarter less that in the rarest"
    )


def _wrong(metric: str, more: str, less: str, of: str) -> Quantity:
    return (joint(metric, more).at(shared=HALF) - joint(metric, less).at(shared=HALF)).called(of)


_ERROR = "|share of latents declared shared - share of features shared|"
_MORE = "SAEs that recover more or less of the features: latents, not features, are counted."
CLAIMS = (
    Claim(
        "H9 correlation",
        "With half of the features shared, r > .1 misstates the overlap by more than .15.",
        _misses(R_RULE, "independent", _ERROR),
        smallest_effect=0.15,
        margin=0.05,
        changes=_MORE,
    ),
    Claim(
        "H9 cosine",
        "So does a decoder cosine above .7 after alignment, on rotated copies of the directions.",
        _misses(COSINE_RULE, "rotated", _ERROR),
        smallest_effect=0.15,
        margin=0.05,
        changes=_MORE,
    ),
    Claim(
        "H9 crosscoder",
        "So does a crosscoder, read by the relative norms of its decoder.",
        _misses(
            "crosscoder",
            "crosscoder",
            "|overlap implied by its living latents - share of features shared|",
        ),
        smallest_effect=0.15,
        margin=0.05,
        changes="Other bounds on the relative norm than .1, .4, .6 and .9.",
    ),
    Claim(
        "H9 detection",
        "The best correlation of a latent tells whether the other model has its feature.",
        _above_chance("activation_pearson"),
        smallest_effect=0.4,
        margin=0.25,
        changes="Fewer tokens, rarer features, features that fire together.",
        family="detection",
    ),
    Claim(
        "H9 rare",
        "It does so better for frequent features than for rare ones.",
        _frequent_less_rare("activation_pearson"),
        smallest_effect=0.1,
        margin=0.02,
        changes="Fewer tokens: rare latents then fire by chance with some other.",
        family="detection",
    ),
    Claim(
        "H9 false exclusive",
        "An L1 penalty makes crosscoders read shared features as of one model.",
        _wrong(
            "false_exclusive",
            "crosscoder_l1",
            "crosscoder",
            "rate of false exclusives, L1 less BatchTopK, half of the features shared",
        ),
        smallest_effect=0.1,
        margin=0.02,
        changes="A penalty that leaves more latents active, or longer training.",
        family="joint",
    ),
    Claim(
        "H9 false shared",
        "A universal SAE reads features of one model as shared more often than a crosscoder.",
        _wrong(
            "false_shared",
            "universal",
            "crosscoder",
            "rate of falsely shared, universal less crosscoder, half of the features shared",
        ),
        smallest_effect=0.1,
        margin=0.02,
        changes="Models whose exclusive features can be told from each other's text.",
        family="joint",
    ),
    Claim(
        "H9 zero",
        "With nothing in common a universal SAE still implies an overlap.",
        declared("universal", "universal")
        .at(shared=0.0)
        .called("overlap implied by its living latents on models without a common feature"),
        smallest_effect=0.1,
        margin=0.02,
        changes="Other bounds on the relative norm.",
        family="joint",
    ),
)
