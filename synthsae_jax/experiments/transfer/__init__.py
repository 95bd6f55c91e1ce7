"""transfer@1: what of an SAE on one model serves on another, and how many samples it saves.

An SAE of model A is carried to models that have A's features, its geometry, both or neither, by
several maps, and fine-tuned there with shares of the samples; beside it SAEs from scratch and
controls that keep less of A.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from synthsae_jax.experiments.registration import register
from synthsae_jax.experiments.transfer.claims import CLAIMS, SAVED
from synthsae_jax.experiments.transfer.measure import measure
from synthsae_jax.experiments.transfer.page import PAGE
from synthsae_jax.experiments.transfer.plan import FULL, SCALES, TransferScale
from synthsae_jax.experiments.transfer.training import planned
from synthsae_jax.registry import Explanation
from synthsae_jax.suite.design import Arm, Design


@dataclasses.dataclass(frozen=True)
class Whole(Arm):
    """The only arm: targets are compared within a world."""

    def columns(self) -> dict[str, Any]:
        """Rows say their target and start instead."""
        return {}


def _levels(scale: TransferScale) -> dict[str, tuple[Any, ...]]:
    starts, modes, rates = (tuple(dict.fromkeys(of)) for of in zip(*scale.jobs, strict=True))
    return {
        "condition": scale.targets,
        "start": starts,
        "mode": modes,
        "rate": rates,
        "budget": (0.0, *scale.budgets),
    }


DESIGN = register(
    Design(
        id="transfer@1",
        title="Transfer between models",
        question="What of an SAE on one model serves on another, and what does it take?",
        explanation=Explanation(
            what="An SAE of one model carried to another that has its features, its geometry, both "
            "or neither: unaligned, by Procrustes, by a ridge map, by the rotation that is known; "
            "as it is and fine-tuned with 1 to 100 % of the samples, beside training from scratch "
            "and four controls.",
            formula="primary number: saving = 1 - samples to target / those from scratch; target: "
            "the explained variance from scratch with all samples less one seed's sd; paired "
            "tokens count as samples; a target that is not reached is taken as reached after the "
            "last budget",
            range="(-inf, 1]",
            chance="the saving of an SAE from a model without a common feature",
            source="the transfer question of Feature Universality, arXiv 2410.06981; model "
            "stitching",
        ),
        scales=SCALES,
        arms=lambda scale: [Whole("transfers")],
        train=planned,
        measure=measure,
        quantities=(SAVED.at(mode=FULL),),
        claims=CLAIMS,
        page=PAGE,
        levels=_levels,
        pairs=lambda context: sum(t.n_saes for t in planned(context)[1:]),
        measured_with=("truth", "reading", "sampling"),
    )
)
