"""The page of transfer: what is saved where, by which start, what stays and what is inherited."""

from __future__ import annotations

from synthsae_jax.experiments.transfer.claims import (
    ERRORS,
    EXPLAINED,
    FRESH,
    FROM_SCRATCH,
    SAVED,
    SHARED_ARTEFACTS,
    saving,
)
from synthsae_jax.experiments.transfer.models import BOTH, DEALT, FEATURES, NEITHER
from synthsae_jax.experiments.transfer.numbers import EV
from synthsae_jax.experiments.transfer.plan import (
    EVERY,
    FAST,
    FULL,
)
from synthsae_jax.experiments.transfer.starts import (
    DISJOINT,
    KNOWN,
    NONE,
    PROCRUSTES,
    RIDGE,
)
from synthsae_jax.experiments.transfer.tables import (
    NAMES,
    SHARE,
    artefact_band,
    curve_marks,
    inherited_marks,
    parts,
    saved_marks,
    savings,
    staying,
)
from synthsae_jax.report.block_plots import Curve, Dots, Matrix
from synthsae_jax.report.block_tables import Grid
from synthsae_jax.report.blocks import Reader, Telling
from synthsae_jax.report.design_page import Page, Section
from synthsae_jax.suite.quantity import Quantity, number

READ_SAVING = (
    "The share of samples saved until the explained variance is that from scratch with all "
    "samples, less one seed's standard deviation: 100 % is everything, below 0 it takes "
    "more. Paired tokens count as samples. Where a start never gets there it counts as there after "
    "the last budget, so its number is the most it can be; reached says in what share of the "
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
    "samples. Chance: SAEs from scratch on the same model. What tracks nothing depends on what "
    "tracking is taken to mean: least and most are over all truths."
)
READ_BEFORE = (
    "A straight line from the explained variance before any training (as a share of that from "
    "scratch) to the saving, fitted on dev worlds and applied to these: mean absolute error over "
    "starts and targets, beside the dev worlds' mean saving for all, and a line that also has the "
    "share of latents that the published threshold (r > .1) calls universal."
)
READ_MODELS = (
    "How alike the angles between directions are in A and in the target (correlation of Gram "
    "matrices), what share of the target's activations each map explains on tokens that it was "
    "not fitted on, and what an SAE from scratch comes to: the base of every saving."
)
LIMITS = (
    "- Small worlds without trees or noise; geometry is shared as a whole or not at all, and a "
    "rotation then is exact.\n"
    "- One learning rate from scratch and two for fine-tuning; the better one is known only "
    "afterwards, for a transfer and its controls alike.\n"
    "- What is trained on one target reads the same samples and differs in where it begins; the sd "
    "of a seed is that of the initialisation, pooled over targets."
)
# within a sentence
_IN_COMMON = {DEALT: "dealt geometry alone", NEITHER: "neither of them"}
_TARGETS = {target: {"condition": target} for target in EVERY}


def _beyond(target: str, start: str) -> Quantity:
    return saving(target, start) - saving(target, DISJOINT)


def _saves(reader: Reader) -> str:
    def split(start: str) -> tuple[list[str], list[str], list[str]]:
        """Targets on which a start saves most of the samples, some, or next to none."""
        each = {target: reader.estimate(_beyond(target, start)) for target in EVERY}
        values = {target: e.value for target, e in each.items() if e.known}
        return (
            [target for target, value in values.items() if value > 0.5],
            [target for target, value in values.items() if 0.1 < value <= 0.5],
            [target for target, value in values.items() if value <= 0.1],
        )

    def listed(targets: list[str], start: str = "") -> str:
        of = lambda target: f" ({reader.estimate(_beyond(target, start))})" if start else ""
        return " or ".join(_IN_COMMON.get(t, t) + of(t) for t in targets)

    most, some, few = split(PROCRUSTES)
    if not (most or some or few):
        return "No saving is known yet."
    parts = {
        "more than half of the samples": listed(most, PROCRUSTES),
        "some": listed(some, PROCRUSTES),
        "a tenth at most": listed(few),
    }
    saves = ", ".join(f"{amount} with {names}" for amount, names in parts.items() if names)
    known = listed(split(KNOWN)[0])
    turned = f"more than half with {known}" if known else "nowhere more than half"
    return (
        "Beyond what an SAE of an unrelated model saves, one that is carried over by Procrustes "
        f"saves {saves} in common. By the rotation that is known it saves {turned}."
    )


_END = {"condition": BOTH, "mode": FULL, "rate": FAST, "budget": 1.0}

_IDENTITY = number("identity_kept", title="same feature", unit=SHARE)

_STAYS = (
    _IDENTITY.at(start=PROCRUSTES, **_END),
    SHARED_ARTEFACTS.at(start=PROCRUSTES, **_END),
    SHARED_ARTEFACTS.at(start=FRESH, **_END),
)


def _stays(reader: Reader) -> str:
    kept, artefacts, fresh = map(reader.estimate, _STAYS)
    if not (kept.known and artefacts.known and fresh.known):
        return "What stays of an SAE with features and geometry in common is not known yet."
    return (
        f"With features and geometry in common, and fine-tuned with all samples, {kept} of the "
        f"latents that tracked a feature track it still, and {artefacts} of the artefacts are "
        f"those of the first SAE, against {fresh} from scratch."
    )


PAGE = Page(
    title="Transfer between models",
    asked="What of an SAE on one model serves on another, and what do the two need in common?",
    findings=(
        Telling(tuple(_beyond(t, s) for t in EVERY for s in (PROCRUSTES, KNOWN)), _saves),
        Telling(_STAYS, _stays),
    ),
    not_shown="It does not show how much geometry two language models share, only what follows "
    "where all of it or none is shared.",
    sections=(
        Section(
            "What is saved",
            f"{READ_SAVING} {READ_TARGETS}",
            *map(savings, EVERY),
            Matrix(
                "saved",
                saved_marks(),
                "Share of samples saved, by explained variance; mean over worlds.",
            ),
        ),
        Section(
            "Over the budgets",
            READ_CURVES,
            Curve(
                "curves",
                "share of the samples",
                curve_marks(),
                "Explained variance by share of the samples; a panel per target.",
                limits={target: (-0.2, 1.0) for target in EVERY},
            ),
        ),
        Section(
            "In parts",
            READ_PARTS,
            parts("Samples saved", SAVED),
            parts("Explained variance in the end", EXPLAINED.at(budget=1.0)),
        ),
        Section("What stays", READ_KEPT, *map(staying, EVERY)),
        Section(
            "What is inherited",
            READ_INHERITED,
            *map(artefact_band, (BOTH, FEATURES)),
            Dots(
                "inherited",
                inherited_marks(),
                "Artefacts shared with A's SAE in the end; dashed: from scratch.",
                limits={target: (0.0, 1.0) for target in (BOTH, FEATURES)},
            ),
        ),
        Section(
            "Before any training",
            READ_BEFORE,
            Grid("", {"mean absolute error": {}}, tuple(ERRORS.values()), digits=3),
        ),
        Section(
            "The models",
            READ_MODELS,
            Grid(
                "in common",
                _TARGETS,
                (
                    number("gram_correlation", title="angles alike", unit="correlation"),
                    *(
                        number("alignment_ev", name, title=NAMES[name], unit="variance")
                        for name in (NONE, PROCRUSTES, RIDGE, KNOWN)
                    ),
                ),
                title="Before anything is trained",
            ),
            Grid(
                "in common",
                _TARGETS,
                (
                    FROM_SCRATCH.called("explained variance"),
                    number("seed_sd", EV, title="a seed's sd", unit="variance"),
                    number("from_scratch", "f1", title="F1"),
                    number("from_scratch", "mcc", title="MCC"),
                    number("samples_from_scratch", EV, title="samples to the target"),
                ),
                title="From scratch, with all samples",
            ),
        ),
    ),
    limits=LIMITS,
    names=NAMES,
)
