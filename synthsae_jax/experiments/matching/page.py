"""The page of matching@1: the oracle ladder, scores and solvers, tokens and frequency, credence."""

from __future__ import annotations

from synthsae_jax.experiments.matching.claims import SUBJECTS
from synthsae_jax.experiments.matching.quality import KIN
from synthsae_jax.experiments.matching.quantities import (
    GIVEN_RECOVERY,
    PRECISION,
    RECALL,
    by_tokens,
    f1,
    rate,
)
from synthsae_jax.experiments.matching.setting import (
    ALIGNED,
    ARMS,
    BOTH,
    COUNTS,
    ENCODER,
    FROM_CODES,
    GEOMETRIC,
    ORACLE,
    PEARSON,
    PHI,
    PLAIN,
    POOLED,
    PRE,
    QUARTERS,
    RAW,
    RUNGS,
    SOLVERS,
    TRAINED,
    TREES,
    TRUTHS,
    Z,
)
from synthsae_jax.report.block_plots import Curve, Dots, Mark, Matrix, across
from synthsae_jax.report.block_tables import Listing
from synthsae_jax.report.blocks import Finding, Reader, Telling
from synthsae_jax.report.design_page import Page, Section
from synthsae_jax.suite.quantity import Quantity, combined

NAMES = {
    PEARSON: "Pearson of codes",
    PRE: "Pearson of pre-activations",
    Z: "hypergeometric z",
    "jaccard": "Jaccard index",
    RAW: "decoder cosine, raw",
    ALIGNED: "decoder cosine, aligned",
    BOTH: "Pearson and aligned cosine",
    ORACLE: "true directions, true codes",
    ENCODER: "true directions, untrained TopK encoder",
    TRAINED: "trained SAEs",
    "mutual_nearest": "mutual nearest",
    "assignment_forced": "assignment, no threshold",
    "assignment_dustbin": "assignment with a dustbin",
    "q1": "rarest quarter",
    "q2": "second",
    "q3": "third",
    "q4": "most frequent quarter",
}
_WHERE = {"condition": TRAINED, "arm": PLAIN}


def _name(text: str) -> str:
    return NAMES.get(text, text)


def _on(rung: str) -> Quantity:
    return PRECISION.at(condition=rung, arm=PLAIN)


def _compared(scores: tuple[str, ...]) -> dict[str, Quantity]:
    """F1 by score, each from the worlds in which all of them have one."""
    each = {score: f1(score) for score in scores}
    # nan + 0 x number is nan: a world that one lacks counts for none
    return {
        score: combined(
            lambda first, *others: first + 0.0 * sum(others),
            of,
            *(other for name, other in each.items() if name != score),
            name=f"F1 of {score} beside the others",
            title=_name(score),
        ).at(**_WHERE)
        for score, of in each.items()
    }


_BY_SCORE = _compared((*FROM_CODES, PRE))


def _best_score(reader: Reader) -> str:
    estimates = {score: reader.estimate(of) for score, of in _BY_SCORE.items()}
    values = {score: e.value for score, e in estimates.items() if e.known}
    if not values:
        return f"Scores cannot be compared: {estimates[PEARSON].reason}."
    best, worst = (pick(values, key=lambda s: values[s]) for pick in (max, min))
    return (
        f"Of the scores of activity, {_name(best)} comes first (F1 {values[best]:.2f}) and "
        f"{_name(worst)} last ({values[worst]:.2f}) under mutual nearest neighbours."
    )


def _board() -> list[Mark]:
    lines = [(score, POOLED) for score in (*FROM_CODES, PRE)]
    lines += [(score, t) for score in GEOMETRIC for t in ("1", "0")]
    return [
        Mark(
            _name(score) + ("" if t == POOLED else f", t = {t}"),
            solver,
            f1(score, solver, t=t).at(**_WHERE),
        )
        for score, t in lines
        for solver in SOLVERS
    ]


def _by_tokens() -> list[Mark]:
    return [
        Mark(score, quarter, rate("precision", score, tokens=(n,), stratum=quarter).at(**_WHERE), n)
        for score in (PEARSON, Z, PHI)
        for quarter in QUARTERS
        for n in COUNTS
    ]


_CREDENCE = {
    "credence_coverage": ("inside the support", "share of latents"),
    "mean_credence": ("believed", "share of candidates"),
    "share_right": ("right", "share of candidates"),
    "calibration_error": ("calibration error", "probability"),
    "brier": ("Brier score", "squared probability"),
}


def _credence(arm: str) -> Listing:
    def line(rung: str, n: int) -> list[Quantity]:
        variant = f"credence/n={n}"
        return [
            by_tokens(metric, {n: variant}, f"{metric}/{variant}", title, unit).at(
                condition=rung, arm=arm
            )
            for metric, (title, unit) in _CREDENCE.items()
        ]

    return Listing(
        "latents, tokens",
        [title for title, _ in _CREDENCE.values()],
        {f"{_name(rung)}, {n:,}": line(rung, n) for rung in RUNGS for n in COUNTS},
        title=f"Worlds: {arm}",
    )


PAGE = Page(
    title="Matching put to the test",
    asked="Which scores and solvers find a latent's partner, and what stands in their way?",
    findings=(
        Finding(
            "With the most tokens, {true:alone} of the pairs are right on true codes, "
            "{untrained:alone} behind an encoder that nobody trained and {trained:alone} on "
            "trained SAEs.",
            true=_on(ORACLE),
            untrained=_on(ENCODER),
            trained=_on(TRAINED),
        ),
        Finding(
            "Of the pairs on trained SAEs in which the first latent tracks a feature that the "
            "other SAE tracks too, {right:alone} are right.",
            right=GIVEN_RECOVERY.at(**_WHERE),
        ),
        Telling(tuple(_BY_SCORE.values()), _best_score),
    ),
    not_shown="It does not show how matchers fare where tokens are not paired, nor on SAEs that "
    "fail in ways which small worlds do not produce.",
    sections=(
        Section(
            "The ladder",
            "The same matcher on latents that are true by construction, on true directions behind "
            "an encoder that nobody trained, and on trained SAEs: what is lost from step to step "
            "is the encoder's, then training's. Pearson of codes, mutual nearest neighbours.",
            Dots(
                "ladder",
                across(
                    (PRECISION, RECALL, GIVEN_RECOVERY),
                    {
                        f"{_name(rung)}, {arm.name}": {"condition": rung, "arm": arm.name}
                        for rung in RUNGS
                        for arm in ARMS
                    },
                    ceiling=1.0,
                ),
                "The ladder by kind of world.",
            ),
        ),
        Section(
            "Claims on the other rungs",
            "The number of each claim below, which is about trained SAEs, where nothing was "
            "trained: a verdict that does not hold on true codes grades the SAE, not the matcher.",
            Listing(
                "claim",
                [_name(rung) for rung in RUNGS],
                {
                    f"{name}: {of.title}": [of.at(condition=rung) for rung in RUNGS]
                    for name, of in SUBJECTS.items()
                },
                digits=2,
            ),
        ),
        Section(
            "Scores and solvers",
            "F1 (precision and recall of pairs) on trained SAEs, all tokens, plain worlds. Scores "
            "that depend on shared geometry are shown with it (t = 1) and without (t = 0).",
            Matrix("board", _board(), "F1 by score and solver, trained SAEs."),
        ),
        Section(
            "Tokens and firing rate",
            "Precision of mutual nearest neighbours by quarter of the firing rate of A's latents. "
            "Recall, and accuracy given recovery, stand in the ladder.",
            Curve(
                "tokens",
                "tokens",
                _by_tokens(),
                "Precision by tokens and firing rate, trained SAEs.",
                log_x=True,
            ),
        ),
        Section(
            "Relatives",
            "In worlds with trees: precision of each latent's best correlation, and how many of "
            "the pairs of two different features are relatives, by what is called truth.",
            Listing(
                "latents, truth",
                ("right", "relatives among the wrong"),
                {
                    f"{_name(rung)}, {truth}": [
                        rate(metric, solver="argmax", truth=truth).at(condition=rung, arm=TREES)
                        for metric in ("precision", KIN)
                    ]
                    for rung in RUNGS
                    for truth in TRUTHS
                },
            ),
        ),
        Section(
            "Honest credence",
            "The shipped calibrated matcher on these pairs: what it believes of the best "
            "candidates, and how many are right. Outside its support it says nothing.",
            *(_credence(arm.name) for arm in ARMS),
        ),
    ),
    limits="- Thresholds are the 99th percentile of each latent's best score by chance (tokens "
    "shifted by half their number; a random rotation for cosines), unless a published one is "
    "named.\n"
    "- Pre-activations are read on 8,192 tokens.\n"
    "- Alignment is a rotation fitted on paired activations: without shared geometry it still maps "
    "part of each feature onto itself, since the same tokens carry it.\n"
    "- A pair is right where truth (direction and firing agree) names one feature for both.",
    names=NAMES,
)
