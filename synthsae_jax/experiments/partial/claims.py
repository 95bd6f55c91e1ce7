"""The claims of partial@1."""

from __future__ import annotations

from synthsae_jax.io.rows import Row
from synthsae_jax.suite.claims import Claim
from synthsae_jax.suite.study.select import by_world, mean

HALF = 0.5
R_RULE, COSINE_RULE = "best_correlation_0.1", "decoder_cosine_0.7_aligned"


def declared(rows: list[Row], arm: str, variant: str, level: float) -> float:
    """The overlap that a rule or a joint SAE implies, at a level of what is shared."""
    where = {"factor_arm": arm, "variant": variant, "metric": "declared"}
    return mean(rows, factor_shared=level, **where)


def _misses(arm: str, variant: str):
    return by_world(lambda rows: abs(declared(rows, arm, variant, HALF) - HALF))


def _detects(score: str):
    at = {"factor_arm": "independent", "variant": score, "metric": "sharedness_auroc"}
    return by_world(lambda rows: mean(rows, factor_shared=HALF, **at) - 0.5)


def _rare(rows: list[Row]) -> float:
    at = {"factor_arm": "independent", "variant": "activation_pearson", "factor_shared": HALF}
    q4 = mean(rows, metric="sharedness_auroc_q4", **at)
    return q4 - mean(rows, metric="sharedness_auroc_q1", **at)


def _wrong(metric: str, more: str, less: str):
    def of_world(rows: list[Row]) -> float:
        at = {"metric": metric, "factor_shared": HALF}
        return mean(rows, factor_arm=more, **at) - mean(rows, factor_arm=less, **at)

    return by_world(of_world)


_ERROR = "|share of latents declared shared - share of features shared|"
_MORE = "SAEs that recover more or less of the features: latents, not features, are counted."
CLAIMS = (
    Claim(
        "H9 correlation",
        "With half of the features shared, r > .1 misstates the overlap by more than .15.",
        _ERROR,
        _misses("independent", R_RULE),
        smallest_effect=0.15,
        margin=0.05,
        changes=_MORE,
    ),
    Claim(
        "H9 cosine",
        "So does a decoder cosine above .7 after alignment, on rotated copies of the directions.",
        _ERROR,
        _misses("rotated", COSINE_RULE),
        smallest_effect=0.15,
        margin=0.05,
        changes=_MORE,
    ),
    Claim(
        "H9 crosscoder",
        "So does a crosscoder, read by the relative norms of its decoder.",
        "|overlap implied by its living latents - share of features shared|",
        _misses("crosscoder", "crosscoder"),
        smallest_effect=0.15,
        margin=0.05,
        changes="Other bounds on the relative norm than .1, .4, .6 and .9.",
    ),
    Claim(
        "H9 detection",
        "The best correlation of a latent tells whether the other model has its feature.",
        "AUROC - 1/2 over latents of A that track a feature, half of them shared",
        _detects("activation_pearson"),
        smallest_effect=0.4,
        margin=0.25,
        changes="Fewer tokens, rarer features, features that fire together.",
        family="detection",
    ),
    Claim(
        "H9 rare",
        "It does so better for frequent features than for rare ones.",
        "AUROC in the most frequent quarter less that in the rarest",
        by_world(_rare),
        smallest_effect=0.1,
        margin=0.02,
        changes="Fewer tokens: rare latents then fire by chance with some other.",
        family="detection",
    ),
    Claim(
        "H9 false exclusive",
        "An L1 penalty makes crosscoders read shared features as of one model.",
        "rate of false exclusives, L1 less BatchTopK, half of the features shared",
        _wrong("false_exclusive", "crosscoder_l1", "crosscoder"),
        smallest_effect=0.1,
        margin=0.02,
        changes="A penalty that leaves more latents active, or longer training.",
        family="joint",
    ),
    Claim(
        "H9 false shared",
        "A universal SAE reads features of one model as shared more often than a crosscoder.",
        "rate of falsely shared, universal less crosscoder, half of the features shared",
        _wrong("false_shared", "universal", "crosscoder"),
        smallest_effect=0.1,
        margin=0.02,
        changes="Models whose exclusive features can be told from each other's text.",
        family="joint",
    ),
    Claim(
        "H9 zero",
        "With nothing in common a universal SAE still implies an overlap.",
        "overlap implied by its living latents on models without a common feature",
        by_world(lambda rows: declared(rows, "universal", "universal", 0.0)),
        smallest_effect=0.1,
        margin=0.02,
        changes="Other bounds on the relative norm.",
        family="joint",
    ),
)
