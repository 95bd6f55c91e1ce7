"""The page of recovery: one table, one figure of scores between chance and ceiling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from synthsae_jax.report import dots, marks, page, tables
from synthsae_jax.report.folder_page import READING, Contents, pages
from synthsae_jax.report.summary import summarise

SCORES = ("f1", "mcc", "uniqueness", "precision", "recall", "explained_variance", "l0")
DRAWN = ("f1", "mcc", "explained_variance", "l0")
NAMES = {
    "f1": "F1",
    "mcc": "MCC",
    "l0": "L0",
    "explained_variance": "explained variance",
    "": "inference rule",
    "train": "training rule",
}
LIMITS = (
    "- Synthetic features are linear, sparse and independent of any task. How an SAE ranks here "
    "says how it handles superposition, hierarchy and correlation, not how well it explains a "
    "language model.\n"
    "- Explained variance above its ceiling means that latents fit interference: the ceiling is "
    "what the most frequent features' true codes explain.\n"
    "- Uniqueness has a high chance level: read it beside that number."
)


@pages.register("recovery")
def recovery(rows: Sequence[Mapping[str, Any]], width: str) -> Contents:
    """Scores by architecture under the inference rule; the training rule's in a second table."""
    inference = [r for r in rows if r["variant"] in ("", "chance", "ceiling")]
    training = [r for r in rows if r["variant"] == "train"]
    bounds = [r for r in rows if r["variant"] == "bound"]
    drawn = dots.dot_plot(summarise(inference, ("sae",), DRAWN), "sae", width=width, names=NAMES)
    first = inference[0]
    target = f"L0 {first['target_l0']:g}" if first["target_l0"] else "its own L0"
    lead = (
        f"SAEs of each architecture on preset {first['world']}, brought to {target}, "
        f"{first['n_train']:,} training samples each, scored on {first['n_eval']:,} held-out ones."
    )
    sections = [
        page.Section(
            "Recovery under the inference rule",
            READING,
            (tables.from_records(summarise(inference, ("sae",), SCORES)),),
            (page.Captioned(drawn, f"Scores by architecture. {marks.READING}", "recovery"),),
        )
    ]
    if training:
        sections.append(
            page.Section(
                "The training rule",
                "Architectures that rank over a batch use other latents in training; SAELens "
                "evaluates those.",
                (tables.from_records(summarise(training, ("sae",), SCORES)),),
            )
        )
    if bounds:
        sections.append(
            page.Section(
                "Floors and ceilings",
                "One instance of each world. With the true dictionary and an encoder that sees x "
                "alone; supervised logistic probes, which have no dictionary; decompositions that "
                "are no SAEs, with as many codes per sample as the SAEs have.",
                (tables.from_records(summarise(bounds, ("sae",), SCORES)),),
            )
        )
    return Contents("Recovery of true features", sections, lead, LIMITS)
