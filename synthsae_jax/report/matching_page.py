"""The page of matching: the oracle ladder, scores and solvers, tokens and frequency, credence."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from synthsae_jax.experiments.matching.claims import f1, number
from synthsae_jax.experiments.matching.grid import PRE, SCORES, SOLVERS
from synthsae_jax.experiments.matching.rungs import RUNGS
from synthsae_jax.io.rows import Row
from synthsae_jax.report import dots, lines, marks, matrix, page, tables
from synthsae_jax.report.experiment_page import how_sure, lead, verdict_section
from synthsae_jax.report.folder_page import Contents, pages
from synthsae_jax.stats import Interval, mean_interval
from synthsae_jax.suite.study import by_world, select, values

NAMES = {
    "activation_pearson": "Pearson of codes",
    PRE: "Pearson of pre-activations",
    "hypergeometric_z_plain": "hypergeometric z",
    "decoder_cosine_raw": "decoder cosine, raw",
    "decoder_cosine_aligned": "decoder cosine, aligned",
    "pearson_and_cosine": "Pearson and aligned cosine",
    "oracle": "true directions, true codes",
    "encoder": "true directions, untrained TopK encoder",
    "trained": "trained SAEs",
    "mutual_nearest": "mutual nearest",
    "assignment_forced": "assignment, no threshold",
    "assignment_dustbin": "assignment with a dustbin",
    "q1": "rarest quarter",
    "q2": "second",
    "q3": "third",
    "q4": "most frequent quarter",
}
LIMITS = (
    "- Thresholds are the 99th percentile of each latent's best score by chance (tokens shifted by "
    "half their number; a random rotation for cosines), unless a published one is named.\n"
    "- Pre-activations are read on 8,192 tokens.\n"
    "- Alignment is a rotation fitted on paired activations: without shared geometry it still maps "
    "part of each feature onto itself, since the same tokens carry it.\n"
    "- A pair is right where truth (direction and firing agree) names one feature for both."
)
Rows = list[Row]


@pages.register("matching")
def matching(rows: Sequence[Row], width: str) -> Contents:
    """Ladder, board of scores and solvers, tokens by frequency, relatives, credence, verdicts."""
    text = lead(
        "Which scores and solvers find a latent's partner, and what stands in their way?",
        [_ladder_sentence(rows), _score_sentence(rows)],
        how_sure(rows),
        "It does not show how matchers fare where tokens are not paired, nor on SAEs that fail in "
        "ways which small worlds do not produce.",
    )
    sections = [
        page.Section(
            "The ladder",
            "The same matcher on latents that are true by construction, on true directions behind "
            "an encoder that nobody trained, and on trained SAEs: what is lost from step to step "
            "is the encoder's, then training's. Pearson of codes, mutual nearest neighbours.",
            (),
            _ladder(rows, width),
        ),
        page.Section(
            "Scores and solvers",
            "F1 (precision and recall of pairs) on trained SAEs, all tokens, plain worlds. Scores "
            "that depend on shared geometry are shown with it (t = 1) and without (t = 0).",
            (),
            _board(rows, width),
        ),
        page.Section(
            "Tokens and firing rate",
            "Precision of mutual nearest neighbours by quarter of the firing rate of A's latents. "
            "Recall, and accuracy given recovery, stand in the ladder.",
            (),
            _tokens(rows, width),
        ),
        page.Section(
            "Relatives",
            "In worlds with trees: precision of each latent's best correlation, and how many of "
            "the pairs of two different features are relatives, by what is called truth.",
            (_kin_table(rows),),
        ),
        page.Section(
            "Honest credence",
            "The shipped calibrated matcher on these pairs: what it believes of the best "
            "candidates, and how many are right. Outside its support it says nothing.",
            (_credence_table(rows),),
        ),
        verdict_section(rows),
    ]
    return Contents("Matching put to the test", sections, text, LIMITS)


def _over_worlds(rows: Sequence[Row], of: Callable[[Rows], float]) -> Interval:
    return mean_interval(list(by_world(of)(rows).values()))


def _number(rows: Sequence[Row], *what: str, **at: Any) -> Interval:
    return _over_worlds(rows, lambda found: number(found, *what, **at))


def _ladder_sentence(rows: Sequence[Row]) -> str:
    said = [_text(_number(rows, "precision", rung=rung).estimate) for rung in RUNGS]
    return (
        f"With the best tokens, pairs are right in {said[0]} of cases on true codes, {said[1]} "
        f"behind an untrained encoder and {said[2]} on trained SAEs."
    )


def _score_sentence(rows: Sequence[Row]) -> str:
    found = {
        score: _over_worlds(rows, lambda r, s=score: f1(r, s)).estimate
        for score in SCORES
        if not math.isnan(_number(rows, "precision", score).estimate)
    }
    if not found:
        return "No score could be compared."
    best, worst = max(found, key=lambda k: found[k]), min(found, key=lambda k: found[k])
    return (
        f"Of the scores of activity, {NAMES.get(best, best)} comes first (F1 {found[best]:.2f}) "
        f"and {NAMES.get(worst, worst)} last ({found[worst]:.2f}) under mutual nearest neighbours."
    )


def _record(interval: Interval, **more: Any) -> dict[str, Any]:
    ends = {"estimate": interval.estimate, "lo": interval.lo, "hi": interval.hi}
    return {**more, **ends, "points": interval.points}


def _ladder(rows: Sequence[Row], width: str) -> tuple[page.Captioned, ...]:
    records = []
    for metric in ("precision", "recall", "accuracy_given_recovery"):
        for rung in RUNGS:
            for arm in dict.fromkeys(r["factor_arm"] for r in rows):
                found = _number(rows, metric, arm=arm, rung=rung)
                if not math.isnan(found.estimate):
                    records.append(_record(found, rung=rung, arm=arm, metric=metric, ceiling=1.0))
    if not records:
        return ()
    plot = dots.dot_plot(records, ["rung", "arm"], width=width, names=NAMES)
    return (page.Captioned(plot, f"The ladder by kind of world. {marks.READING}", "ladder"),)


def _board(rows: Sequence[Row], width: str) -> tuple[page.Captioned, ...]:
    records = []
    for score in SCORES:
        for t in ("all", "1", "0"):
            if t != "all" and score in ("activation_pearson", PRE):
                continue
            for solver in SOLVERS:
                at = {"score": score, "solver": solver, "t": t}
                found = _over_worlds(rows, lambda r, at=at: f1(r, **at)).estimate
                name = NAMES.get(score, score) + ("" if t == "all" else f", t = {t}")
                if not math.isnan(found):
                    records.append({"score": name, "solver": solver, "estimate": found})
    if not records:
        return ()
    plot = matrix.matrix_plot(records, "score", "solver", width=width, names=NAMES)
    return (page.Captioned(plot, "F1 by score and solver, trained SAEs.", "board"),)


def _tokens(rows: Sequence[Row], width: str) -> tuple[page.Captioned, ...]:
    counts = sorted({r["factor_tokens"] for r in rows if r.get("factor_tokens")})
    records = []
    for score in ("activation_pearson", "hypergeometric_z_plain", "phi"):
        for quarter in ("q1", "q2", "q3", "q4"):
            for n in counts:
                found = _number(rows, "precision", score, stratum=quarter, tokens=n)
                if not math.isnan(found.estimate):
                    records.append(_record(found, tokens=n, quarter=quarter, metric=score))
    if not records:
        return ()
    plot = lines.line_plot(records, "tokens", "quarter", width=width, log_x=True, names=NAMES)
    caption = f"Precision by tokens and firing rate, trained SAEs. {marks.READING}"
    return (page.Captioned(plot, caption, "tokens"),)


def _kin_table(rows: Sequence[Row]) -> tables.Table:
    records = []
    for rung in RUNGS:
        for truth in ("agree", "geometric", "functional"):
            at = {"solver": "argmax", "arm": "trees", "rung": rung, "truth": truth}
            found = [_number(rows, m, **at) for m in ("precision", "kin_share_of_wrong")]
            if not math.isnan(found[0].estimate):
                records.append(
                    {
                        "latents": NAMES[rung],
                        "truth": truth,
                        "right": _text(found[0].estimate),
                        "relatives among the wrong": _text(found[1].estimate),
                    }
                )
    return tables.plain(records)


def _credence_table(rows: Sequence[Row]) -> tables.Table:
    told = [r for r in rows if r["variant"].startswith("credence/")]
    records = []
    for arm in dict.fromkeys(r["factor_arm"] for r in told):
        for rung in RUNGS:
            for n in sorted({r["factor_tokens"] for r in told}):
                here = select(told, factor_arm=arm, condition=rung, factor_tokens=n)
                mean = lambda metric, here=here: _mean(values(here, metric=metric))
                if math.isnan(mean("credence_coverage")):
                    continue
                records.append(
                    {
                        "worlds": arm,
                        "latents": NAMES[rung],
                        "tokens": f"{n:,}",
                        "inside the support": _text(mean("credence_coverage")),
                        "believed": _text(mean("mean_credence")),
                        "right": _text(mean("share_right")),
                        "calibration error": _text(mean("calibration_error")),
                        "Brier": _text(mean("brier")),
                    }
                )
    return tables.plain(records)


def _mean(found: Sequence[float]) -> float:
    return sum(found) / len(found) if found else math.nan


def _text(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.2f}"
