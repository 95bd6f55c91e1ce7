"""The quantities and claims of transfer@1, and what predicts a saving before any training."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy.stats import spearmanr

from synthsae_jax.experiments.transfer.models import BOTH, FEATURES, GEOMETRY, NEITHER
from synthsae_jax.experiments.transfer.numbers import EV
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
from synthsae_jax.suite.needs import Values
from synthsae_jax.suite.quantity import Observed, Quantity, combined, number

# saving = a + b x + c u within 0 and 1, fitted on dev worlds by least squares over starts and
# targets: x the explained variance before any training as a share of that from scratch, not below
# 0; u the share declared shared (r > .1) of A's SAE and one from scratch on the target
CONSTANT = (0.09,)
PREDICTOR = (-0.31, 1.09)
WITH_PUBLISHED = (-0.33, 1.07, 0.06)
FRESH = (SCRATCH, AGAIN)  # both seeds from scratch


def _at_better_rate(values: Values) -> float:
    return max(values.by("rate").values(), default=math.nan)


def at_better_rate(of: Quantity) -> Quantity:
    """The number at the better of its rates in each world; what diverged at one has the other."""
    (need,) = of.needs
    return Quantity(of.name, of.title, of.unit, (need,), _at_better_rate, of.units)


def saved_by(goal: str, title: str) -> Quantity:
    """Share of samples saved until a goal is reached."""
    return at_better_rate(number("saving", goal, title=title, unit="share of samples"))


SAVED = saved_by(EV, "saving of samples by explained variance, at the better of two rates")
REACHED = at_better_rate(number("reached", EV, title="reached", unit="share of worlds"))
EXPLAINED = at_better_rate(number(EV, title="explained variance", unit="variance"))
FROM_SCRATCH = number("from_scratch", EV, title="explained variance from scratch", unit="variance")
BEFORE = number(EV, title="explained variance before training", unit="variance").at(
    mode=FULL, budget=0.0
)
SHARED_ARTEFACTS = number("shared_artefacts", title="artefacts shared", unit="share of artefacts")


def saving(target: str, start: str, mode: str = FULL) -> Quantity:
    """The saving of a start on a target, by explained variance."""
    return SAVED.at(condition=target, start=start, mode=mode)


def effect(these: Sequence[str], those: Sequence[str], start: str) -> Quantity:
    """Mean saving of a start on some targets less that on others."""
    n = len(these)
    return combined(
        lambda *each: float(np.mean(each[:n]) - np.mean(each[n:])),
        *(saving(target, start) for target in (*these, *those)),
        name=f"saving, {'|'.join(these)} - {'|'.join(those)}, {start}",
        title=f"saving, {' and '.join(these)} less {' and '.join(those)}, {start}",
    )


Transfer = tuple[float, float, float]  # x, u and saving of a start on a target
_NEEDS = tuple(
    need
    for quantity in (BEFORE, FROM_SCRATCH, number("declared").at(start=FRESH), SAVED.at(mode=FULL))
    for need in quantity.needs
)


def transfers(before: Values, scratch: Values, declared: Values, saved: Values) -> list[Transfer]:
    """Every start but scratch on every target of one world, fine-tuned as a whole."""
    top, published = scratch.by("condition"), declared.by("condition")
    zero, at_rates = before.by("condition", "start"), saved.by("condition", "start", "rate")
    best: dict[tuple[str, str], float] = {}
    for (target, start, _), value in at_rates.items():
        best[target, start] = max(value, best.get((target, start), value))
    return [
        (max(zero[at] / top[at[0]], 0.0), published.get(at[0], math.nan), value)
        for at, value in best.items()
        if at[1] not in FRESH and at in zero and at[0] in top
    ]


def _of_transfers(
    name: str, title: str, unit: str, of: Callable[[list[Transfer]], float]
) -> Quantity:
    return Quantity(name, title, unit, _NEEDS, lambda *values: of(transfers(*values)))


def guessed(x: np.ndarray, u: np.ndarray, coefficients: Sequence[float]) -> np.ndarray:
    """What a predictor says of transfers, `[n]`."""
    terms = (np.ones_like(x), x, u)[: len(coefficients)]
    return np.clip(sum(c * t for c, t in zip(coefficients, terms, strict=True)), 0.0, 1.0)


def _error(coefficients: Sequence[float], each: list[Transfer]) -> float:
    if not each:
        return math.nan
    x, u, y = np.array(each).T
    return float(np.abs(guessed(x, u, coefficients) - np.clip(y, 0.0, 1.0)).mean())


def error(title: str, coefficients: Sequence[float]) -> Quantity:
    """Mean absolute error of a predictor over the starts and targets of a world."""
    of = functools.partial(_error, coefficients)
    return _of_transfers(f"error of {coefficients}", title, "saving", of)


def fitted(rows: Sequence[Row]) -> dict[str, np.ndarray]:
    """The three predictors' coefficients from the rows of (dev) worlds, by their names."""
    each: list[Transfer] = []
    for world in dict.fromkeys(row["world_seed"] for row in rows):
        observed = Observed(row for row in rows if row["world_seed"] == world)
        parts = [observed.select(need) for need in _NEEDS]
        each += transfers(*(Values(part, [True] * len(part)) for part in parts))
    x, u, y = np.array(each).T
    by = {"CONSTANT": (), "PREDICTOR": (x,), "WITH_PUBLISHED": (x, u)}
    return {
        name: np.linalg.lstsq(np.stack([np.ones_like(y), *of], 1), y, rcond=None)[0]
        for name, of in by.items()
    }


def _rank(each: list[Transfer]) -> float:
    if len({x for x, _, _ in each}) < 2 or len({y for *_, y in each}) < 2:
        return math.nan
    x, _, y = zip(*each, strict=True)
    return float(spearmanr(x, y).statistic)


RANK = _of_transfers("rank", "Spearman over starts and targets of a world", "correlation", _rank)
ERRORS = {
    "CONSTANT": error("the dev worlds' mean saving", CONSTANT),
    "PREDICTOR": error("a line through the explained variance before training", PREDICTOR),
    "WITH_PUBLISHED": error("the same with the share r > .1", WITH_PUBLISHED),
}


def inherited(start: str, rate: float) -> Quantity:
    """Artefacts shared with A's SAE in the end, less those that one from scratch shares."""
    at = SHARED_ARTEFACTS.at(condition=BOTH, mode=FULL)
    return at.at(start=start, rate=rate) - at.at(start=FRESH)


_SAVING = SAVED.title
_LAW = "Models whose features differ in more than directions: rates, magnitudes, trees, noise."
_LENGTH = "A longer training, whose target takes more samples, or another learning rate."
CLAIMS = (
    Claim(
        "H4a geometry",
        "Shared geometry saves samples where the rotation is known, whoever's features they are.",
        effect((BOTH, GEOMETRY), (FEATURES, NEITHER), KNOWN).called(
            f"{_SAVING}: targets with A's geometry less those without, known rotation"
        ),
        smallest_effect=0.1,
        margin=0.02,
        changes=_LAW,
    ),
    Claim(
        "H4a features",
        "Shared features save nothing then.",
        effect((BOTH, FEATURES), (GEOMETRY, NEITHER), KNOWN).called(
            f"{_SAVING}: targets with A's features less those without, known rotation"
        ),
        smallest_effect=0.1,
        margin=0.1,
        kind="equivalent",
        changes=_LAW,
    ),
    Claim(
        "H4a independent",
        "Without shared geometry, an SAE of a model with the same features saves no more than "
        "one of a model without a common feature.",
        (saving(FEATURES, PROCRUSTES) - saving(FEATURES, DISJOINT)).called(
            f"{_SAVING}: Procrustes from A less from the disjoint control, features alone"
        ),
        smallest_effect=0.1,
        margin=0.1,
        kind="equivalent",
        changes=_LENGTH,
    ),
    Claim(
        "H4a found",
        "Shared geometry is not enough: without shared features paired tokens do not find the "
        "rotation, and what it would save is lost.",
        effect((BOTH,), (GEOMETRY,), PROCRUSTES).called(
            f"{_SAVING}: Procrustes from paired tokens, features and geometry less geometry alone"
        ),
        smallest_effect=0.1,
        margin=0.02,
        changes="An alignment that needs no paired tokens, such as one of the relations alone.",
    ),
    Claim(
        "H4a norms",
        "A's norms and thresholds on random directions save nothing.",
        saving(BOTH, RANDOM).called(
            f"{_SAVING}: random directions with A's norms, features and geometry"
        ),
        smallest_effect=0.1,
        margin=0.1,
        kind="equivalent",
        changes="A start from scratch whose norms fit less well than here.",
        family="controls",
    ),
    Claim(
        "H4b",
        "The explained variance before any training ranks starts by what they will save.",
        RANK.called("Spearman over starts and targets of a world"),
        smallest_effect=0.8,
        margin=0.7,
        changes="Starts that are more alike than these, which include controls.",
        family="prediction",
    ),
    Claim(
        "H4b predictor",
        "A line through it, fitted on dev worlds, predicts the saving.",
        (ERRORS["PREDICTOR"] - ERRORS["CONSTANT"]).called(
            "mean absolute error of the line less that of the dev worlds' mean saving"
        ),
        smallest_effect=-0.1,
        margin=0.02,
        changes="Starts that are more alike than these, which include controls.",
        family="prediction",
    ),
    Claim(
        "H4b published",
        "The published share of universal latents adds nothing to that line.",
        (ERRORS["WITH_PUBLISHED"] - ERRORS["PREDICTOR"]).called(
            "mean absolute error of the line with the share r > .1 less without it"
        ),
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
        (BEFORE.at(condition=BOTH, start=PROCRUSTES) - FROM_SCRATCH.at(condition=BOTH)).called(
            "explained variance before any training less that from scratch with all samples"
        ),
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
        inherited(PROCRUSTES, FAST).called(
            "share of artefacts matched with one of A's SAE: Procrustes start less from scratch"
        ),
        smallest_effect=0.1,
        margin=0.02,
        changes="Another learning rate, or another criterion for what a latent tracks.",
        family="hysteresis",
    ),
    Claim(
        "H4d slow",
        "So they are at three tenths of that rate.",
        inherited(PROCRUSTES, SLOW).called("the same at three tenths of the learning rate"),
        smallest_effect=0.1,
        margin=0.02,
        changes="Another learning rate, or another criterion for what a latent tracks.",
        family="hysteresis",
    ),
)
