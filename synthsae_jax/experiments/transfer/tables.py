"""Tables and figures of transfer@1's page."""

from __future__ import annotations

from synthsae_jax.experiments.transfer.claims import (
    EXPLAINED,
    FRESH,
    FROM_SCRATCH,
    REACHED,
    SAVED,
    SHARED_ARTEFACTS,
    saved_by,
    saving,
)
from synthsae_jax.experiments.transfer.models import BOTH, FEATURES
from synthsae_jax.experiments.transfer.plan import (
    DECODER,
    ENCODER,
    EVERY,
    FAST,
    FULL,
    JOBS,
    MORE_JOBS,
    SCALES,
    SLOW,
    Job,
)
from synthsae_jax.experiments.transfer.starts import (
    DISJOINT,
    KNOWN,
    NONE,
    PERMUTED,
    PROCRUSTES,
    RANDOM,
    RIDGE,
    SCRATCH,
    WRONG,
)
from synthsae_jax.report.block_plots import Mark
from synthsae_jax.report.block_tables import Grid
from synthsae_jax.report.blocks import Where
from synthsae_jax.suite.quantity import Quantity, number

NAMES = {
    SCRATCH: "from scratch",
    NONE: "no alignment",
    PROCRUSTES: "Procrustes",
    RIDGE: "affine (ridge)",
    KNOWN: "known rotation",
    DISJOINT: "SAE of a disjoint model",
    RANDOM: "A's norms, random directions",
    WRONG: "wrong rotation",
    PERMUTED: "decoder rows permuted",
}
STARTS = (NONE, PROCRUSTES, RIDGE, KNOWN, DISJOINT, RANDOM, WRONG, PERMUTED)
BUDGETS = tuple(sorted({0.0, *(b for scale in SCALES.values() for b in scale.budgets)}))
SHARE = "share of latents"


def savings(target: str) -> Grid:
    """What each start saves on a target, and how often it gets there."""
    return Grid(
        "start",
        {NAMES[start]: {"start": start} for start in STARTS},
        [
            quantity.at(title, condition=target, mode=FULL)
            for title, quantity in {
                "explained before training": EXPLAINED.at(budget=0.0),
                "saved": SAVED,
                "saved, by F1": saved_by("f1", ""),
                "saved, by MCC": saved_by("mcc", ""),
                "reached": REACHED,
            }.items()
        ],
        title=f"In common: {target}",
    )


def saved_marks() -> list[Mark]:
    """Savings of every start on every target."""
    return [
        Mark(NAMES[start], target, saving(target, start)) for start in STARTS for target in EVERY
    ]


def curve_marks() -> list[Mark]:
    """Explained variance over the budgets, a panel per target."""
    marks = []
    for budget in BUDGETS:
        for target in EVERY:
            for start in (SCRATCH, NONE, PROCRUSTES, RIDGE, KNOWN, DISJOINT):
                if start == SCRATCH and not budget:
                    continue
                at = {"condition": target, "budget": budget, "mode": FULL}
                at["start"] = FRESH if start == SCRATCH else start
                top = FROM_SCRATCH.at(condition=target)
                x = f"{100 * budget:.3g} %"
                marks.append(Mark(target, NAMES[start], EXPLAINED.at(**at), x, ceiling=top))
    return marks


def parts(title: str, quantity: Quantity) -> Grid:
    """A number by which part of the SAE is fine-tuned."""
    modes = (FULL, DECODER, ENCODER)
    parts = tuple(quantity.at(mode=mode) for mode in modes[1:])
    return Grid(
        "in common: start",
        {
            f"{target}: {NAMES[start]}": {"condition": target, "start": start}
            for target in EVERY
            for start in (NONE, PROCRUSTES, RIDGE)
        },
        [quantity.at(mode, mode=mode) for mode in modes],
        title=title,
        if_any=parts,
    )


def staying(target: str) -> Grid:
    """What of A's latents stays through the fine-tuning, beside from scratch."""
    rows: dict[str, Where] = {"from scratch (chance)": {"start": FRESH, "rate": FAST}}
    for start in (NONE, PROCRUSTES, RIDGE, KNOWN, DISJOINT):
        rows[NAMES[start]] = {"start": start, "rate": FAST}
        if start == PROCRUSTES:
            rows[f"{NAMES[start]}, slower"] = {"start": start, "rate": SLOW}
    columns = {
        "identity_kept": "same feature",
        "place_kept": "same direction",
        "newly_learned": "newly learned",
        "forgotten": "forgotten",
        "tracked": "features tracked",
    }
    return Grid(
        "start",
        rows,
        [
            number(metric, unit=SHARE).at(title, condition=target, mode=FULL, budget=1.0)
            for metric, title in columns.items()
        ],
        title=f"In common: {target}",
    )


def _job(job: Job) -> str:
    start, mode, rate = job
    name = NAMES[start] + ("" if mode == FULL else f", {mode}")
    return f"{name}, slower" if rate == SLOW else name


def _where(job: Job) -> Where:
    return dict(zip(("start", "mode", "rate"), job, strict=True))


_INHERITING = [job for job in (*JOBS, *MORE_JOBS) if job[0] not in FRESH]


def inherited_marks() -> list[Mark]:
    """Artefacts shared with A's SAE, by start."""
    marks = []
    for target in (BOTH, FEATURES):
        shared = SHARED_ARTEFACTS.at(condition=target, budget=1.0)
        chance = shared.at(start=FRESH)
        for job in _INHERITING:
            marks.append(Mark(target, _job(job), shared.at(**_where(job)), chance=chance))
    return marks


def artefact_band(target: str) -> Grid:
    """Shared artefacts with the least and most over truths."""
    jobs = [(PROCRUSTES, FULL, FAST), (PROCRUSTES, FULL, SLOW), (DISJOINT, FULL, FAST)]
    return Grid(
        "start",
        {
            "from scratch (chance)": {"start": FRESH, "mode": FULL, "rate": FAST},
            **{_job(job): _where(job) for job in jobs},
        },
        [
            number(metric, unit="share of artefacts").at(title, condition=target, budget=1.0)
            for title, metric in {
                "artefacts shared": "shared_artefacts",
                "least": "shared_artefacts_least",
                "most": "shared_artefacts_most",
            }.items()
        ],
        title=f"In common: {target}",
    )
