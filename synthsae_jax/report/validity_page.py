"""The page of validity: the board of scores, scores against what is shared, what a value means."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from synthsae_jax.experiments.validity.board import TESTS, board, inversion
from synthsae_jax.experiments.validity.floors import floors
from synthsae_jax.io.rows import Row
from synthsae_jax.report import dots, lines, marks, page, tables
from synthsae_jax.report.experiment_page import how_sure, lead, verdict_section
from synthsae_jax.report.folder_page import Contents, pages
from synthsae_jax.stats import Interval, mean_interval
from synthsae_jax.suite.study import select

NAMES = {
    "best_correlation_0.1": "best correlation > .1",
    "decoder_cosine_0.7_raw": "decoder cosine > .7, raw",
    "decoder_cosine_0.7_aligned": "decoder cosine > .7, aligned",
    "planted_truth": "(control) the truth itself",
    "planted_geometry": "(control) the geometry's knob",
    "planted_constant": "(control) a constant",
    "svcca_rank1": "SVCCA, rank 1",
    "svcca": "SVCCA, 99 %",
    "cka_debiased": "CKA, debiased",
    "rsa": "RSA",
    "procrustes": "Procrustes",
    "mutual_knn": "mutual k-NN",
    "false_positives": "false positives",
    "spearman": "Spearman with truth",
}
DRAWN = (
    "best_correlation_0.1",
    "decoder_cosine_0.7_aligned",
    "ours@1",
    "svcca_rank1",
    "cka_debiased",
    "rsa",
)
READ_BOARD = (
    "A row is a score. False positives: how often its own test finds p <= .05 between models "
    "without a common feature (5 % is right; none: it has no test). Spearman: rank correlation "
    "with the share of latents that truly track the same feature, over all pairs of a world. Then "
    "the single tests: monotone in what is shared (1 is right), moved by geometry alone, by a "
    "shared initialisation, by width, by the frequency law, by an SAE that fits interference, "
    "by an equivalent form of the same SAE (0 is right in each), error with an eighth of the "
    "tokens, and average precision of telling sharing from unrelated pairs. The rank's range is "
    "that over what may be called truth."
)

READ_FLOORS = (
    "What a score says of models without a common feature: firing independently, and coupled as "
    "two models are that read the same text. Above the threshold lie at most 5 % of such pairs, "
    "over all arms and worlds of this run; the last columns say how many of the pairs with half of "
    "the features in common or more it lets through, with rotated and with unrelated directions. A "
    "threshold belongs to worlds like these: what carries over is that a score needs one."
)


@pages.register("validity")
def validity(rows: Sequence[Row], width: str) -> Contents:
    """Board, curves, inversion table, verdicts."""
    found = board(rows)
    real = [r for r in found if not r["score"].startswith("planted")]
    best, worst = real[0], real[-1]
    lead_text = lead(
        "Do scores of universality follow what two models truly share, and nothing else?",
        [
            f"Of {len(real)} scores, {_name(best['score'])} comes first, with a rank correlation "
            f"of {_number(best['spearman'])} with the truth; {_name(worst['score'])} comes last.",
            _floor(rows),
        ],
        how_sure(rows),
        "It does not show how real models share features: only how each score would read it.",
    )
    sections = [
        page.Section(
            "The board", READ_BOARD, (_board_table(found),), _board_figure(rows, found, width)
        ),
        page.Section(
            "Scores against what is shared",
            "A score of features should rise with the share of common features and not care "
            "whether the two dictionaries are alike (t = 1: rotated copies; t = 0: independent).",
            (),
            _curves(rows, width),
        ),
        page.Section("The floor", READ_FLOORS, (_floor_table(rows),)),
        page.Section(
            "What a published value may mean",
            "Pairs of all arms, sorted by a score into fifths: the least, median and most of what "
            "lay behind it.",
            tuple(
                _inversion_table(rows, name)
                for name in ("rsa", "svcca_rank1", "best_correlation_0.1")
            ),
        ),
        verdict_section(rows),
    ]
    return Contents("Validity of universality scores", sections, lead_text, LIMITS)


LIMITS = (
    "- Small worlds without trees; SAEs of one architecture but for the arms that say otherwise.\n"
    "- Relational measures read the decoder rows of the pairs that correlate above .1, a multiple "
    "of 32 of them; where fewer do they are undefined.\n"
    "- Protocols see the first 8,192 tokens."
)


def _floor(rows: Sequence[Row]) -> str:
    zeros = {"condition": ("disjoint_independent", "disjoint_coupled")}
    declared = [
        r["value"]
        for r in select(rows, variant="best_correlation_0.1", metric="declared", **zeros)
        if r["value"] is not None
    ]
    if not declared:
        return "No pair without a common feature was scored."
    mean = sum(declared) / len(declared)
    return (
        f"Between models without a common feature, r > .1 still calls {100 * mean:.0f} % of the "
        "latents shared."
    )


def _floor_table(rows: Sequence[Row]) -> tables.Table:
    records = [
        {
            "score": _name(r["score"]),
            "independent": _interval(r["disjoint_independent"]),
            "coupled": _interval(r["disjoint_coupled"]),
            "threshold": f"{r['threshold']:.3f}",
            "pairs": r["pairs"],
            "above it, t = 1": _number(r["passed, t 1"]),
            "above it, t = 0": _number(r["passed, t 0"]),
        }
        for r in floors(rows)
    ]
    return tables.plain(records)


def _interval(found: Interval) -> str:
    if not found.n:
        return ""
    if found.lo is None or found.hi is None:
        return _number(found.estimate)
    return f"{found.estimate:.3f} [{found.lo:.3f}, {found.hi:.3f}]"


def _board_table(found: Sequence[dict[str, Any]]) -> tables.Table:
    records = []
    for r in found:
        lo, hi = r["rank_range"]
        records.append(
            {
                "rank": f"{r['rank']}" if lo == hi else f"{r['rank']} ({lo}-{hi})",
                "score": _name(r["score"]),
                **{NAMES.get(test, test): _number(r[test]) for test in TESTS},
            }
        )
    return tables.plain(records)


def _board_figure(rows: Sequence[Row], found: Sequence[dict[str, Any]], width: str):
    records = []
    for test in ("spearman", "false_positives", "ordering"):
        for r in found:
            if math.isnan(r[test]):
                continue
            lo, hi = r[f"{test}_interval"]
            records.append(
                {
                    "score": r["score"],
                    "metric": test,
                    "estimate": r[test],
                    "lo": lo,
                    "hi": hi,
                    "points": (),
                    "chance": {"false_positives": 0.05}.get(test),
                }
            )
    if not records:
        return ()
    plot = dots.dot_plot(records, "score", width=width, names=NAMES)
    return (page.Captioned(plot, f"The board's main columns. {marks.READING}", "board"),)


def _curves(rows: Sequence[Row], width: str):
    arm = select(rows, factor_arm="random")
    records = []
    for name in DRAWN:
        for t in (1.0, 0.0):
            for level in sorted({r["factor_shared"] for r in arm}):
                here = [
                    r
                    for r in arm
                    if r["variant"] == name
                    and r["metric"] in ("score", "declared")
                    and r["factor_shared"] == level
                    and (level == 0 or r["factor_t"] == t)
                    and "," not in r["condition"].removeprefix(f"shared {level:g}, t {t:g}")
                ]
                values = [r["value"] for r in here if r["value"] is not None]
                if not values:
                    continue
                interval = mean_interval(_by_world(here))
                records.append(
                    {
                        "shared": level,
                        "geometry": f"t = {t:g}",
                        "metric": name,
                        "estimate": interval.estimate,
                        "lo": interval.lo,
                        "hi": interval.hi,
                        "points": interval.points,
                    }
                )
    if not records:
        return ()
    plot = lines.line_plot(records, "shared", "geometry", width=width, names=NAMES)
    return (page.Captioned(plot, f"Scores by share of common features. {marks.READING}", "curves"),)


def _by_world(rows: Sequence[Row]) -> list[float]:
    found: dict[int, list[float]] = {}
    for row in rows:
        if row["value"] is not None:
            found.setdefault(row["world_seed"], []).append(row["value"])
    return [sum(v) / len(v) for v in found.values()]


def _inversion_table(rows: Sequence[Row], name: str) -> tables.Table:
    records = [
        {
            NAMES.get(name, name): f"{r['score_lo']:.2f} to {r['score_hi']:.2f}",
            "pairs": r["n"],
            "features in common": _ends(r["shared"]),
            "correlation of Gram matrices": _ends(r["gram_correlation"]),
            "precision of r > .1": _ends(r["precision"]),
        }
        for r in inversion(rows, name)
    ]
    return tables.plain(records, title=NAMES.get(name, name))


def _ends(values: tuple[float, float, float]) -> str:
    return " / ".join(_number(v) for v in values)


def _name(score: str) -> str:
    return NAMES.get(score, score)


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.2f}"
