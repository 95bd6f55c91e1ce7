"""The page of partial universality: implied against true overlap, detection, joint SAEs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from synthsae_jax.experiments.partial.claims import COSINE_RULE, HALF, R_RULE
from synthsae_jax.io.rows import Row
from synthsae_jax.report import dots, lines, marks, page, tables
from synthsae_jax.report.experiment_page import (
    how_sure,
    lead,
    over_worlds,
    verdict_section,
    with_interval,
)
from synthsae_jax.report.folder_page import Contents, pages
from synthsae_jax.suite.study import by_world, mean

RAW = "decoder_cosine_0.7_raw"
NAMES = {
    R_RULE: "r > .1",
    COSINE_RULE: "aligned cosine > .7",
    RAW: "raw cosine > .7",
    "truth": "latents that truly share",
    "crosscoder_l1": "crosscoder, L1",
    "universal": "universal SAE",
    "declared": "implied overlap",
    "true": "latents that truly share",
    "pairs": "SAEs of each model",
    "joint": "joint SAEs",
    "decoder_cosine_aligned": "decoder cosine, aligned",
    "sharedness_auroc": "all",
    "sharedness_auroc_q1": "rarest quarter",
    "sharedness_auroc_q2": "second",
    "sharedness_auroc_q3": "third",
    "sharedness_auroc_q4": "most frequent quarter",
    "false_exclusive": "false exclusives",
    "false_shared": "falsely shared",
}
JOINT = ("crosscoder", "crosscoder_l1", "universal")
READ_OVERLAP = (
    "What each way of counting says of the overlap, against the share of A's features that B has "
    "(dashed). Rules on SAEs of each model count latents that they call shared; joint SAEs count "
    "latents by their decoder norms: S / (S + E / 2) for S shared and E exclusive ones. The line "
    "of latents that truly share is what a perfect matcher of these SAEs would count: below the "
    "dashes because SAEs recover only a part of the features. A joint SAE too finds only a part, "
    "and a feature of both models saves it more error than one of either."
)
READ_DETECTION = (
    "For each latent of A that tracks a feature: its best score with any latent of B. The AUROC is "
    "the chance that a latent whose feature B has scores higher than one whose feature B lacks; "
    "1/2 is chance. Half of the features are shared. Quarters are by how often the feature fires."
)
READ_JOINT = (
    "Of living latents that track a feature of both models (by firing), the share whose second "
    "model has less than a tenth or more than nine tenths of the decoder norm: false exclusives. "
    "Of those that track a feature of one model, the share between .4 and .6: falsely shared."
)
LIMITS = (
    "- Small worlds without trees, one pair of models per level and world, one width of joint SAE "
    "with an L0 target of the union's.\n"
    "- A latent of a joint SAE is given the feature it fires with; a direction that writes into "
    "one model alone would not count as tracking a shared feature."
)


@pages.register("partial")
def partial(rows: Sequence[Row], width: str) -> Contents:
    """Overlap curves, detection by frequency, errors of joint SAEs, verdicts."""
    sections = [
        page.Section("How much is shared", READ_OVERLAP, (_table(rows),), _overlap(rows, width)),
        page.Section("Which latents are shared", READ_DETECTION, (), _detection(rows, width)),
        page.Section("Joint SAEs", READ_JOINT, (_joint(rows),)),
        verdict_section(rows),
    ]
    text = lead(
        "When two models share only a part of their features, who finds out how much, and which?",
        [_found(rows), _detected(rows)],
        how_sure(rows),
        "It does not show how much real models share: only how each way of counting would read it.",
    )
    return Contents("Partial universality", sections, text, LIMITS)


def _share(rows: Sequence[Row], **where: object) -> dict[Any, float]:
    return dict(by_world(lambda found: mean(found, **where))(rows))


def _levels(rows: Sequence[Row]) -> list[float]:
    return sorted({row["factor_shared"] for row in rows})


def _lines() -> list[tuple[str, str, str, dict[str, object]]]:
    """(panel, name, title, columns) of every way of counting."""
    found: list[tuple[str, str, str, dict[str, object]]] = []

    def add(panel: str, arm: str, name: str, metric: str) -> None:
        where = {"factor_arm": arm, "variant": name, "metric": metric}
        found.append((panel, name, NAMES.get(name, name), where))

    for arm in ("rotated", "independent"):
        for rule in (R_RULE, COSINE_RULE):
            add(arm, arm, rule, "declared")
        add(arm, arm, "truth", "true_universality")
    # its number is the share of latents that it matches
    add("rotated", "rotated", "ours@1", "score")
    for name in JOINT:
        add("joint", name, name, "declared")
    return found


def _overlap(rows: Sequence[Row], width: str):
    records = [
        record
        for panel, name, _, where in _lines()
        for level in _levels(rows)
        for record in over_worlds(
            _share(rows, factor_shared=level, **where),
            factor_shared=level,
            how=name,
            metric=panel,
            ceiling=level,
        )
    ]
    if not records:
        return ()
    panels = {"rotated": "SAEs of each, rotated", "independent": "SAEs of each, own directions"}
    names = {**NAMES, **panels, "shared": "share of features in common", "ceiling": "shared"}
    limits = {panel: (0.0, 1.0) for panel in ("rotated", "independent", "joint")}
    plot = lines.line_plot(records, "factor_shared", "how", width=width, names=names, limits=limits)
    text = f"Implied overlap; dashed: what is shared. {marks.READING}"
    return (page.Captioned(plot, text, "overlap"),)


def _table(rows: Sequence[Row]) -> tables.Table:
    records = []
    for panel, _, title, where in _lines():
        values = {
            f"{level:.0%} shared": with_interval(_share(rows, factor_shared=level, **where))
            for level in _levels(rows)
        }
        if any(values.values()):
            records.append({"by": title, "models": panel, **values})
    return tables.plain(records)


def _detection(rows: Sequence[Row], width: str):
    scores = [
        row["variant"] for row in rows if row["metric"] == "sharedness_auroc" and row["variant"]
    ]
    records = [
        record
        for score in dict.fromkeys(scores)
        for group in ("", "_q1", "_q2", "_q3", "_q4")
        for record in over_worlds(
            _share(
                rows,
                factor_shared=HALF,
                factor_arm="rotated",
                variant=score,
                metric=f"sharedness_auroc{group}",
            ),
            score=score,
            metric=f"sharedness_auroc{group}",
            chance=0.5,
        )
    ]
    if not records:
        return ()
    plot = dots.dot_plot(records, "score", width=width, names=NAMES)
    text = f"AUROC by frequency of the feature, rotated directions. {marks.READING}"
    return (page.Captioned(plot, text, "detection"),)


def _joint(rows: Sequence[Row]) -> tables.Table:
    records = []
    for name in JOINT:
        for level in _levels(rows):
            at = {"factor_arm": name, "variant": name, "factor_shared": level}
            values = {
                NAMES.get(metric, metric): with_interval(_share(rows, metric=metric, **at))
                for metric in ("false_exclusive", "false_shared", "tracked")
            }
            if any(values.values()):
                title = NAMES.get(name, name)
                records.append({"SAE": title, "features shared": f"{level:.0%}", **values})
    return tables.plain(records)


def _found(rows: Sequence[Row]) -> str:
    said = []
    for panel, _, title, where in _lines():
        value = with_interval(_share(rows, factor_shared=HALF, **where))
        if value and (panel, title) != ("independent", NAMES[COSINE_RULE]):
            said.append(f"{title} ({panel}) {value}")
    if not said:
        return "No pair with half of the features in common was scored."
    return f"Of models that share half of their features the overlap is put at: {', '.join(said)}."


def _detected(rows: Sequence[Row]) -> str:
    at = {"factor_shared": HALF, "variant": "activation_pearson"}
    overall = with_interval(_share(rows, metric="sharedness_auroc", **at))
    rare = with_interval(_share(rows, metric="sharedness_auroc_q1", **at))
    if not overall:
        return "Which latents are shared could not be asked."
    return (
        "Which latents are shared, the best correlation tells with an AUROC of "
        f"{overall} ({rare or 'undefined'} for the rarest quarter of the features)."
    )
