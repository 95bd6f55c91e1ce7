"""The page of evolution: curves over training and maturity, and when each comes to its end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from synthsae_jax.experiments.evolution.claims import (
    CURVES,
    MATURITY,
    SHARED,
    TRAINING,
    step_of,
)
from synthsae_jax.io.rows import Row
from synthsae_jax.report import lines, marks, page, tables
from synthsae_jax.report.experiment_page import (
    how_sure,
    lead,
    over_worlds,
    verdict_section,
    with_interval,
)
from synthsae_jax.report.folder_page import Contents, pages
from synthsae_jax.suite.study import by_world, mean

NULL = "disjoint_independent"
QUARTERS = {
    "": "all",
    "q1": "rarest quarter",
    "q2": "second",
    "q3": "third",
    "q4": "most frequent",
}
NAMES = {
    "truth": "truly shared",
    "factor_age": "steps",
    "age": "steps",
    SHARED: "all features shared",
    NULL: "none shared",
    **{name: title for name, title in QUARTERS.items() if name},
}
READ_STEPS = (
    "The step at which a curve first comes to nine tenths of its last value, read off a line "
    "between snapshots over the logarithm of the step; geometric steps, so a factor is what "
    "counts. The truth: features that both SAEs track, as a share of the width, and in quarters by "
    "how often the feature fires. Scores by quarter take the latents that fire so often."
)
READ_CURVES = (
    "Two models with the same features and rotated directions, SAEs from their own starts on their "
    "own data. Dashed: models without a common feature, or for CKA and RSA the same rows out of "
    "order. What is declared or true in a quarter counts against a quarter of the width: where "
    "more latents than that fire so often, it can exceed 1."
)
READ_MATURITY = (
    "Two toy models learn one world's codes, each from its own start and data. At each age a "
    "feature counts as present in a model once its direction is long enough; SAEs are then trained "
    "to their end on both. Steps are those of the models. Learned directions of two models are not "
    "rotations of each other, so scores of directions need not rise."
)
LIMITS = (
    "- Small worlds without trees, one learning rate with a linear decay over the last third: part "
    "of what comes late comes with the decay.\n"
    "- A curve that is there at its first snapshot is given that step; one that never leaves 0 has "
    "none."
)


@pages.register("evolution")
def evolution(rows: Sequence[Row], width: str) -> Contents:
    """When each curve settles, the curves, maturity, verdicts."""
    sections = [
        page.Section("When each settles", READ_STEPS, (_steps(rows, TRAINING),)),
        page.Section("Over the training of SAEs", READ_CURVES, (), _curves(rows, TRAINING, width)),
    ]
    if any(row["factor_arm"] == MATURITY for row in rows):
        found = _steps(rows, MATURITY), _features(rows)
        figures = _curves(rows, MATURITY, width)
        title = "Over the models' own training"
        sections.append(page.Section(title, READ_MATURITY, found, figures))
    sections.append(verdict_section(rows))
    text = lead(
        "When in training do scores of universality settle, and when does what is truly shared?",
        [_found(rows), _rare(rows)],
        how_sure(rows),
        "It does not show how long a real training has to be: only which number settles before "
        "which.",
    )
    return Contents("Evolution over training", sections, text, LIMITS)


def _step(rows: Sequence[Row], arm: str, name: str, quarter: str = "") -> dict[Any, float]:
    variant, _ = CURVES[name]
    # once here instead of once for every world
    here = [r for r in rows if r["factor_arm"] == arm and r["variant"] == variant]
    return dict(by_world(lambda found: step_of(found, arm, name, quarter))(here))


def _steps(rows: Sequence[Row], arm: str) -> tables.Table:
    records = []
    for name in CURVES:
        values = {
            title: with_interval(_step(rows, arm, name, quarter), digits=0)
            for quarter, title in QUARTERS.items()
        }
        if any(values.values()):
            records.append({"curve": NAMES.get(name, name), **values})
    title = "Steps of the SAEs' training" if arm == TRAINING else "Steps of the models' training"
    return tables.plain(records, title=title)


def _curves(rows: Sequence[Row], arm: str, width: str):
    groups: dict[tuple, list[Row]] = {}
    for row in rows:
        if row["factor_arm"] == arm:
            where = (row["condition"], row["variant"], row["metric"], row["factor_age"])
            groups.setdefault(where, []).append(row)
    ages = sorted({where[-1] for where in groups})
    records = []
    for name, (variant, metric) in CURVES.items():
        for quarter in ("", "q1", "q4"):
            for age in ages:
                where = (variant, metric + (f"_{quarter}" if quarter else ""), age)
                at = lambda *place: over_worlds(by_world(mean)(groups.get(place, [])))
                shared = at(SHARED, *where)
                floor = at(NULL, *where) or at(SHARED, f"{variant}/chance", *where[1:])
                chance = floor[0]["estimate"] if floor and not quarter else None
                place = {"age": age, "metric": name, "latents": quarter or "all"}
                records += [{**record, **place, "chance": chance} for record in shared]
    if not records:
        return ()
    plot = lines.line_plot(records, "age", "latents", width=width, log_x=True, names=NAMES)
    text = f"Truth and scores by step. {marks.READING}"
    return (page.Captioned(plot, text, arm),)


def _features(rows: Sequence[Row]) -> tables.Table:
    """What the models have at each age, and what is shared of it."""
    here = [row for row in rows if row["factor_arm"] == MATURITY]
    records = []
    for age in sorted({row["factor_age"] for row in here}):
        of_age = [row for row in here if row["factor_age"] == age]
        features = by_world(lambda found: sum(r["factor_features"] for r in found) / len(found))
        true = by_world(lambda found: mean(found, variant="truth", metric="true_universality"))
        records.append(
            {
                "model steps": age,
                "features present": with_interval(features(of_age), digits=0),
                "true universality of the SAEs": with_interval(true(of_age)),
            }
        )
    return tables.plain(records, title="Models by age")


def _found(rows: Sequence[Row]) -> str:
    said = []
    for name in CURVES:
        value = with_interval(_step(rows, TRAINING, name), digits=0)
        if value:
            said.append(f"{NAMES.get(name, name)} {value}")
    if not said:
        return "No curve over training has an end above 0."
    return f"Nine tenths of the end is reached at step: {', '.join(said)}."


def _rare(rows: Sequence[Row]) -> str:
    rare, frequent = (with_interval(_step(rows, TRAINING, "truth", q), 0) for q in ("q1", "q4"))
    return (
        f"What is truly shared gets there at step {rare or 'unknown'} for the rarest quarter of "
        f"the features and {frequent or 'unknown'} for the most frequent."
    )
