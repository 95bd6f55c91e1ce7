"""The claims of transfer@1, and what predicts a saving before anything is trained."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from scipy.stats import spearmanr

from synthsae_jax.experiments.transfer.models import BOTH, FEATURES, GEOMETRY, NEITHER
from synthsae_jax.experiments.transfer.plan import FAST, FULL, SLOW
from synthsae_jax.experiments.transfer.starts import (
    AGAIN,
    DISJOINT,
    KNOWN,
    PROCRUSTES,
    RANDOM,
    SCRATCH,
)
from synthsae_jax.io.rows import Row
from synthsae_jax.suite.claims import Claim
from synthsae_jax.suite.study.select import by_world, mean, select, values

GOAL = "explained_variance"
# saving = a + b x + c u within 0 and 1, fitted on dev worlds by least squares over starts and
# targets: x the explained variance before any training as a share of that from scratch, not below
# 0; u the share declared shared (r > .1) of A's SAE and one from scratch on the target
CONSTANT = (0.09,)
PREDICTOR = (-0.31, 1.09)
WITH_PUBLISHED = (-0.33, 1.07, 0.06)


def saving(rows: Sequence[Row], target: str, start: str, mode: str = FULL) -> float:
    """One world's saving of a start on a target, by explained variance, at its better rate."""
    where = {"condition": target, "factor_start": start, "factor_mode": mode}
    return max(values(rows, metric="saving", variant=GOAL, **where), default=math.nan)


def transfers(rows: Sequence[Row]) -> list[tuple[float, float, float]]:
    """(x, u, saving) of every start but scratch on every target, fine-tuned as a whole."""
    found = []
    at = {"factor_mode": FULL, "variant": ""}
    for target in dict.fromkeys(row["condition"] for row in rows):
        here = select(rows, condition=target)
        scratch = mean(here, metric="from_scratch", variant=GOAL)
        published = mean(here, metric="declared", factor_start=(SCRATCH, AGAIN))
        starts = dict.fromkeys(r["factor_start"] for r in here if r.get("factor_start"))
        for start in (s for s in starts if s not in (SCRATCH, AGAIN)):
            zero = mean(here, metric=GOAL, factor_start=start, factor_budget=0.0, **at)
            saved = saving(here, target, start)
            if math.isfinite(zero) and math.isfinite(saved):
                found.append((max(zero / scratch, 0.0), published, saved))
    return found


def fitted(worlds: Iterable[Sequence[Row]]) -> dict[str, tuple[float, ...]]:
    """The three predictors' coefficients from the rows of some (dev) worlds, by their names."""
    x, u, y = np.array([t for rows in worlds for t in transfers(rows)]).T
    by = {"CONSTANT": (), "PREDICTOR": (x,), "WITH_PUBLISHED": (x, u)}
    return {
        name: tuple(np.linalg.lstsq(np.stack([np.ones_like(y), *of], 1), y, rcond=None)[0])
        for name, of in by.items()
    }


def error(rows: Sequence[Row], coefficients: tuple[float, ...]) -> float:
    """Mean absolute error of a predictor over the starts and targets of one world."""
    found = transfers(rows)
    if not found:
        return math.nan
    x, u, y = np.array(found).T
    terms = (np.ones_like(y), x, u)[: len(coefficients)]
    guess = np.clip(sum(c * t for c, t in zip(coefficients, terms, strict=True)), 0.0, 1.0)
    return float(np.abs(guess - np.clip(y, 0.0, 1.0)).mean())


def _rank(rows: list[Row]) -> float:
    found = transfers(rows)
    if len({x for x, _, _ in found}) < 2 or len({y for *_, y in found}) < 2:
        return math.nan
    x, _, y = zip(*found, strict=True)
    return float(spearmanr(x, y).statistic)


def _effect(these: Sequence[str], those: Sequence[str], start: str):
    """Mean saving of a start on some targets less that on others."""

    def of_world(rows: list[Row]) -> float:
        return float(
            np.mean([saving(rows, t, start) for t in these])
            - np.mean([saving(rows, t, start) for t in those])
        )

    return by_world(of_world)


def _beyond(target: str, start: str, control: str):
    return by_world(lambda rows: saving(rows, target, start) - saving(rows, target, control))


def _short_of_scratch(rows: list[Row]) -> float:
    at = {"condition": BOTH, "factor_start": PROCRUSTES, "factor_mode": FULL, "variant": ""}
    zero = mean(rows, metric=GOAL, factor_budget=0.0, **at)
    return zero - mean(rows, condition=BOTH, metric="from_scratch", variant=GOAL)


def inherited(rows: Sequence[Row], start: str, rate: float) -> float:
    """Artefacts shared with A's SAE in the end, less those that one from scratch shares."""
    at = {"condition": BOTH, "metric": "shared_artefacts", "factor_mode": FULL}
    own = mean(rows, factor_start=start, factor_rate=rate, **at)
    return own - mean(rows, factor_start=(SCRATCH, AGAIN), **at)


Estimate = Callable[[Sequence[Row]], dict[int, float]]
_SAVING = "saving of samples by explained variance, at the better of two rates"
_LAW = "Models whose features differ in more than directions: rates, magnitudes, trees, noise."
_LENGTH = "A longer training, whose target takes more samples, or another learning rate."
CLAIMS = (
    Claim(
        "H4a geometry",
        "Shared geometry saves samples where the rotation is known, whoever's features they are.",
        f"{_SAVING}: targets with A's geometry less those without, known rotation",
        _effect((BOTH, GEOMETRY), (FEATURES, NEITHER), KNOWN),
        smallest_effect=0.1,
        margin=0.02,
        changes=_LAW,
    ),
    Claim(
        "H4a features",
        "Shared features save nothing then.",
        f"{_SAVING}: targets with A's features less those without, known rotation",
        _effect((BOTH, FEATURES), (GEOMETRY, NEITHER), KNOWN),
        smallest_effect=0.1,
        margin=0.1,
        kind="equivalent",
        changes=_LAW,
    ),
    Claim(
        "H4a independent",
        "Without shared geometry, an SAE of a model with the same features saves no more than "
        "one of a model without a common feature.",
        f"{_SAVING}: Procrustes from A less from the disjoint control, features alone",
        _beyond(FEATURES, PROCRUSTES, DISJOINT),
        smallest_effect=0.1,
        margin=0.1,
        kind="equivalent",
        changes=_LENGTH,
    ),
    Claim(
        "H4a found",
        "Shared geometry is not enough: without shared features paired tokens do not find the "
        "rotation, and what it would save is lost.",
        f"{_SAVING}: Procrustes from paired tokens, features and geometry less geometry alone",
        _effect((BOTH,), (GEOMETRY,), PROCRUSTES),
        smallest_effect=0.1,
        margin=0.02,
        changes="An alignment that needs no paired tokens, such as one of the relations alone.",
    ),
    Claim(
        "H4a norms",
        "A's norms and thresholds on random directions save nothing.",
        f"{_SAVING}: random directions with A's norms, features and geometry",
        by_world(lambda rows: saving(rows, BOTH, RANDOM)),
        smallest_effect=0.1,
        margin=0.1,
        kind="equivalent",
        changes="A start from scratch whose norms fit less well than here.",
        family="controls",
    ),
    Claim(
        "H4b",
        "The explained variance before any training ranks starts by what they will save.",
        "Spearman over starts and targets of a world",
        by_world(_rank),
        smallest_effect=0.8,
        margin=0.7,
        changes="Starts that are more alike than these, which include controls.",
        family="prediction",
    ),
    Claim(
        "H4b predictor",
        "A line through it, fitted on dev worlds, predicts the saving.",
        "mean absolute error of the line less that of the dev worlds' mean saving",
        by_world(lambda rows: error(rows, PREDICTOR) - error(rows, CONSTANT)),
        smallest_effect=-0.1,
        margin=0.02,
        changes="Starts that are more alike than these, which include controls.",
        family="prediction",
    ),
    Claim(
        "H4b published",
        "The published share of universal latents adds nothing to that line.",
        "mean absolute error of the line with the share r > .1 less without it",
        by_world(lambda rows: error(rows, WITH_PUBLISHED) - error(rows, PREDICTOR)),
        smallest_effect=0.02,
        margin=0.02,
        kind="equivalent",
        changes="Another published score, such as one of relations.",
        family="prediction",
    ),
    Claim(
        "H4c",
        "With features and geometry in common, Procrustes alone comes within .03 of the "
        "explained variance from scratch.",
        "explained variance before any training less that from scratch with all samples",
        by_world(_short_of_scratch),
        smallest_effect=0.03,
        margin=0.03,
        kind="noninferior",
        changes="Noise on either model, fewer paired tokens, or geometry shared in part.",
        family="zero-shot",
    ),
    Claim(
        "H4d",
        "After fine-tuning with all samples at the rate from scratch, the artefacts of A's SAE "
        "are still there.",
        "share of artefacts matched with one of A's SAE: Procrustes start less from scratch",
        by_world(lambda rows: inherited(rows, PROCRUSTES, FAST)),
        smallest_effect=0.1,
        margin=0.02,
        changes="Another learning rate, or another criterion for what a latent tracks.",
        family="hysteresis",
    ),
    Claim(
        "H4d slow",
        "So they are at three tenths of that rate.",
        "the same at three tenths of the learning rate",
        by_world(lambda rows: inherited(rows, PROCRUSTES, SLOW)),
        smallest_effect=0.1,
        margin=0.02,
        changes="Another learning rate, or another criterion for what a latent tracks.",
        family="hysteresis",
    ),
)
