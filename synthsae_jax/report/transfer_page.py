"""The page of transfer: what is saved where, by which start, what stays and what is inherited."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from synthsae_jax.experiments.transfer.claims import (
    CONSTANT,
    GOAL,
    PREDICTOR,
    WITH_PUBLISHED,
    error,
    saving,
)
from synthsae_jax.experiments.transfer.models import BOTH, FEATURES, GEOMETRY
from synthsae_jax.experiments.transfer.plan import FAST, FULL, SLOW
from synthsae_jax.experiments.transfer.starts import (
    AGAIN,
    DISJOINT,
    KNOWN,
    NONE,
    PROCRUSTES,
    RIDGE,
    SCRATCH,
)
from synthsae_jax.io.rows import Row
from synthsae_jax.report import dots, lines, marks, matrix, page, tables
from synthsae_jax.report.experiment_page import (
    how_sure,
    lead,
    over_worlds,
    verdict_section,
    with_interval,
)
from synthsae_jax.report.folder_page import Contents, pages
from synthsae_jax.suite.study import by_world, mean, select

NAMES = {
    SCRATCH: "from scratch",
    NONE: "no alignment",
    PROCRUSTES: "Procrustes",
    RIDGE: "affine (ridge)",
    KNOWN: "known rotation",
    DISJOINT: "SAE of a disjoint model",
    "random directions": "A's norms, random directions",
    "permuted rows": "decoder rows permuted",
    "saving": "samples saved",
    "explained_variance": "explained variance",
    "budget": "share of the samples",
}
READ_SAVING = (
    "The share of samples saved until the explained variance is that from scratch with all "
    "samples, less one seed's standard deviation: 1 is everything, 0 nothing, below 0 it takes "
    "more. Paired tokens count as samples. Where a start never gets there it counts as there after "
    "the last budget, so its number is the most it can be; `reached` says in what share of the "
    "worlds it did. The level to beat is the disjoint control: an SAE of a model without a common "
    "feature or direction. Aligned starts and the disjoint control take the better of two learning "
    "rates, that from scratch and three tenths of it; the others, which have all to learn, the "
    "first."
)
READ_TARGETS = (
    "Targets by what they have in common with A: its features, its geometry (the same directions "
    "up to a rotation), both, or neither. Geometry alone: other features with the same rates on "
    "the same directions; dealt: which of them sits on which direction is drawn anew. Known "
    "rotation: the rotation that best carries A's directions onto the target's, as if both were "
    "known; the others are fitted on paired tokens."
)
READ_CURVES = (
    "Every budget is a training of its own with its own decay. At 0 the SAE of A is carried over "
    "and nothing is trained. Dashed: from scratch with all samples."
)
READ_PARTS = (
    "Fine-tuning only the decoder (with the bias that is added last), only the encoder, or all."
)
READ_KEPT = (
    "By place among the latents, at the end of the fine-tuning with all samples: of A's latents "
    "that track a feature, the share that tracks the same one still, and that tracks the feature "
    "on the same direction, whichever it is. Newly learned and forgotten: features, in shares of "
    "the width. From scratch gives the chance level."
)
READ_INHERITED = (
    "Of the smaller side's living latents that track nothing, the share matched one to one "
    "(correlation of codes at least .5) with such a latent of A's SAE, after fine-tuning with all "
    "samples. Chance: SAEs from scratch on the same model."
)
READ_BEFORE = (
    "A straight line from the explained variance before any training (as a share of that from "
    "scratch) to the saving, fitted on dev worlds and applied to these: mean absolute error over "
    "starts and targets, beside the dev worlds' mean saving for all, and a line that also has the "
    "share of latents that the published threshold (r > .1) calls universal."
)
LIMITS = (
    "- Small worlds without trees or noise; geometry is shared as a whole or not at all, and a "
    "rotation then is exact.\n"
    "- One learning rate from scratch and two for fine-tuning; the better one is known only "
    "afterwards, for a transfer and its controls alike.\n"
    "- What is trained on one target reads the same samples and differs in where it begins; the sd "
    "of a seed is that of the initialisation, pooled over targets."
)


@pages.register("transfer")
def transfer(rows: Sequence[Row], width: str) -> Contents:
    """Savings, curves, parts, what stays, what is inherited, prediction, verdicts."""
    sections = [
        page.Section(
            "What is saved", f"{READ_SAVING} {READ_TARGETS}", (_table(rows),), _savings(rows, width)
        ),
        page.Section("Over the budgets", READ_CURVES, (), _curves(rows, width)),
        page.Section("In parts", READ_PARTS, (_parts(rows),)),
        page.Section("What stays", READ_KEPT, (_kept(rows),)),
        page.Section("What is inherited", READ_INHERITED, (), _inherited(rows, width)),
        page.Section("Before any training", READ_BEFORE, (_before(rows),)),
        verdict_section(rows),
    ]
    text = lead(
        "What of an SAE on one model serves on another, and what do the two need in common?",
        [_found(rows), _stays(rows)],
        how_sure(rows),
        "It does not show how much geometry two language models share, only what follows where "
        "all of it or none is shared.",
    )
    return Contents("Transfer between models", sections, text, LIMITS)


def _targets(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row["condition"] for row in rows))


def _starts(rows: Sequence[Row], mode: str = FULL) -> list[str]:
    of_runs = select(rows, factor_mode=mode)
    found = dict.fromkeys(row["factor_start"] for row in of_runs)
    return [start for start in found if start != AGAIN]


def _of(rows: Sequence[Row], metric: str, variant: str = "", **where: object) -> dict[Any, float]:
    """One number by world; from scratch is the mean of its seeds."""
    if where.get("factor_start") == SCRATCH:
        where["factor_start"] = (SCRATCH, AGAIN)
    here = select(rows, metric=metric, variant=variant, **where)
    return dict(by_world(mean)(here))


def _saving(rows: Sequence[Row], target: str, start: str, mode: str = FULL) -> dict[Any, float]:
    return dict(by_world(lambda found: saving(found, target, start, mode))(rows))


def _best(rows: Sequence[Row], metric: str, variant: str = "", **where: object) -> dict[Any, float]:
    """As `_of`, at the better of the two learning rates of each world."""
    rates = [
        _of(rows, metric, variant, factor_rate=rate, **where)
        for rate in sorted({row["factor_rate"] for row in select(rows, metric=metric, **where)})
    ]
    best: dict[Any, float] = {}
    for world, value in (item for found in rates for item in found.items()):
        # what diverged at one rate counts at the other
        if not math.isnan(value):
            best[world] = max(value, best.get(world, value))
    return best


def _table(rows: Sequence[Row]) -> tables.Table:
    records = []
    for target in _targets(rows):
        for start in _starts(rows):
            at = {"condition": target, "factor_start": start, "factor_mode": FULL}
            if start == SCRATCH or not select(rows, **at):
                continue
            record = {"target": target, "start": NAMES.get(start, start)}
            record["before training"] = with_interval(_best(rows, GOAL, factor_budget=0.0, **at))
            for name, goal in (("", GOAL), (", by F1", "f1"), (", by MCC", "mcc")):
                record[f"saved{name}"] = with_interval(_best(rows, "saving", goal, **at))
            record["reached"] = with_interval(_best(rows, "reached", GOAL, **at))
            records.append(record)
    return tables.plain(records)


def _savings(rows: Sequence[Row], width: str):
    records = []
    for start in _starts(rows):
        for target in _targets(rows):
            found = over_worlds(_saving(rows, target, start), start=start, target=target)
            records += found if start != SCRATCH else []
    if not records:
        return ()
    plot = matrix.matrix_plot(records, "start", "target", width=width, names=NAMES)
    text = "Share of samples saved, by explained variance; mean over worlds."
    return (page.Captioned(plot, text, "saved"),)


def _curves(rows: Sequence[Row], width: str):
    shown = (SCRATCH, NONE, PROCRUSTES, RIDGE, KNOWN, DISJOINT)
    of_runs = select(rows, metric=GOAL, variant="", factor_mode=FULL)
    budgets = sorted({row["factor_budget"] for row in of_runs})
    records = []
    for target in _targets(rows):
        top = _of(rows, "from_scratch", GOAL, condition=target)
        ceiling = over_worlds(top)[0]["estimate"] if over_worlds(top) else None
        for start in shown:
            for budget in budgets:
                if start == SCRATCH and not budget:
                    continue
                at = {"condition": target, "factor_start": start, "factor_budget": budget}
                place = {"budget": f"{100 * budget:.3g} %", "start": start, "metric": target}
                records += over_worlds(_best(of_runs, GOAL, **at), **place, ceiling=ceiling)
    if not records:
        return ()
    order = {f"{100 * budget:.3g} %": i for i, budget in enumerate(budgets)}
    records.sort(key=lambda record: order[record["budget"]])
    limits = {target: (-0.2, 1.0) for target in _targets(rows)}
    plot = lines.line_plot(records, "budget", "start", width=width, names=NAMES, limits=limits)
    text = f"Explained variance by share of the samples; a panel per target. {marks.READING}"
    return (page.Captioned(plot, text, "curves"),)


def _parts(rows: Sequence[Row]) -> tables.Table:
    records = []
    parted = select(rows, metric="saving", variant=GOAL)
    modes = list(dict.fromkeys(row["factor_mode"] for row in parted))
    for target in _targets(rows):
        if not any(select(parted, condition=target, factor_mode=m) for m in modes if m != FULL):
            continue
        for start in (NONE, PROCRUSTES, RIDGE):
            record = {"target": target, "start": NAMES[start]}
            for mode in modes:
                end = {"condition": target, "factor_start": start, "factor_mode": mode}
                record[f"saved, {mode}"] = with_interval(_saving(rows, target, start, mode))
                in_the_end = _best(rows, GOAL, factor_budget=1.0, **end)
                record[f"EV in the end, {mode}"] = with_interval(in_the_end)
            records.append(record)
    return tables.plain(records)


def _kept(rows: Sequence[Row]) -> tables.Table:
    columns = {
        "identity_kept": "same feature",
        "place_kept": "same direction",
        "newly_learned": "newly learned",
        "forgotten": "forgotten",
        "tracked": "features tracked",
    }
    records = []
    for target in _targets(rows):
        for start in (SCRATCH, NONE, PROCRUSTES, RIDGE, KNOWN, DISJOINT):
            for rate in (FAST, SLOW) if start == PROCRUSTES else (FAST,):
                at = {"condition": target, "factor_start": start, "factor_rate": rate}
                at |= {"factor_mode": FULL, "factor_budget": 1.0}
                found = {
                    title: with_interval(_of(rows, name, **at)) for name, title in columns.items()
                }
                if any(found.values()):
                    said = "from scratch (chance)" if start == SCRATCH else NAMES[start]
                    said += ", slower" if rate == SLOW else ""
                    records.append({"target": target, "start": said, **found})
    return tables.plain(records)


def _inherited(rows: Sequence[Row], width: str):
    shared = select(rows, metric="shared_artefacts", factor_budget=1.0)
    jobs = ("factor_start", "factor_mode", "factor_rate")
    records = []
    for target in (BOTH, FEATURES):
        here = select(shared, condition=target)
        floor = over_worlds(_of(here, "shared_artefacts", factor_start=SCRATCH))
        chance = floor[0]["estimate"] if floor else None
        for job in dict.fromkeys(tuple(row[name] for name in jobs) for row in here):
            start, mode, rate = job
            if start in (SCRATCH, AGAIN):
                continue
            values = _of(here, "shared_artefacts", **dict(zip(jobs, job, strict=True)))
            said = NAMES.get(start, start) + ("" if mode == FULL else f", {mode}")
            said += ", slower" if rate == SLOW else ""
            records += over_worlds(values, start=said, metric=target, chance=chance)
    if not records:
        return ()
    limits = {target: (0.0, 1.0) for target in (BOTH, FEATURES)}
    plot = dots.dot_plot(records, "start", width=width, names=NAMES, limits=limits)
    text = f"Artefacts shared with A's SAE in the end; dashed: from scratch. {marks.READING}"
    return (page.Captioned(plot, text, "inherited"),)


def _before(rows: Sequence[Row]) -> tables.Table:
    predictors = {
        "the dev worlds' mean saving": CONSTANT,
        "a line through the explained variance before training": PREDICTOR,
        "the same with the share r > .1": WITH_PUBLISHED,
    }
    records = [
        {
            "predicted by": name,
            "mean absolute error": with_interval(by_world(lambda r, c=c: error(r, c))(rows), 3),
        }
        for name, c in predictors.items()
    ]
    return tables.plain(records)


def _found(rows: Sequence[Row]) -> str:
    said = []
    for target in _targets(rows):
        found = (with_interval(_saving(rows, target, s)) for s in (PROCRUSTES, KNOWN, DISJOINT))
        aligned, known, control = (value or "unknown" for value in found)
        said.append(f"{target} {aligned} (known rotation {known}, disjoint control {control})")
    return f"An SAE carried over by Procrustes saves this share of the samples: {'; '.join(said)}."


def _stays(rows: Sequence[Row]) -> str:
    target = BOTH if BOTH in _targets(rows) else GEOMETRY
    at = {"condition": target, "factor_mode": FULL, "factor_budget": 1.0}
    at["factor_rate"] = FAST
    value = lambda name, start: with_interval(_of(rows, name, factor_start=start, **at))
    return (
        f"With {target} in common and after fine-tuning with all samples, "
        f"{value('identity_kept', PROCRUSTES) or 'an unknown share'} of the latents that tracked "
        f"a feature track it still, and {value('shared_artefacts', PROCRUSTES) or 'unknown'} of "
        f"the artefacts are those of the first SAE, against "
        f"{value('shared_artefacts', SCRATCH) or 'unknown'} from scratch."
    )
