"""One SAE of two models at once: what its decoder norms call shared, held against the truth."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from synthsae_jax import saes
from synthsae_jax.matching import TruthSweep
from synthsae_jax.suite.context import Context, Trained
from synthsae_jax.suite.joint import calls, implied_overlap, relative
from synthsae_jax.suite.observation import Number
from synthsae_jax.suite.reading import Subject
from synthsae_jax.worlds import join
from synthsae_jax.worlds.family import Family

# The firing says which feature a latent is, and not its direction: a latent that writes into one
# model alone is at most .7 from a shared feature's joined direction, and would go uncounted
JOINT_TRUTH = ("functional", 0.5)


def train_joint(context: Context, family: Family, name: str, first: int) -> Trained:
    """One run per condition on A and B side by side, `subjects[i][0]`; models from `first` on.

    Both are seen in the twin registry, so what only one of them has fires by itself. The target
    L0 grows with the union of features: `(2 - shared)` times one model's.
    """
    joined = [join([family.reference, b]) for b in family.instances[1:]]
    l0 = context.target_l0 * np.array([[2.0 - c.shared] for c in family.conditions])
    config = context.config
    sizes = {
        "d_in": joined[0].dictionary.shape[-1],
        "d_sae": context.scale.joint_width,
        "n_models": 2,
    }
    by_run: dict[str, Any]
    if saes.architectures[name].penalty is None:
        sae = saes.build(name, k=context.target_l0, **sizes)
        by_run = {"hyper": dataclasses.replace(sae.hyper, k=l0)}
    else:
        sae = saes.build(name, l1_warm_up_steps=config.n_steps // 5, **sizes)
        config = dataclasses.replace(config, target_l0=context.target_l0)
        by_run = {"target_l0": l0}
    world = family.registry("factors")
    return context.train(name, world, joined, first=first, sae=sae, config=config, **by_run)


def joint_numbers(
    subject: Subject, truth: TruthSweep, alive: np.ndarray, present: tuple[np.ndarray, np.ndarray]
) -> list[Number]:
    """What the relative norms of one joint SAE get wrong, and the overlap that they imply.

    `present`: bool [F] of each model. Of living latents that track a feature of both models,
    `false_exclusive` is the share read as of one model; of those that track a feature of one,
    `false_shared` the share read as shared. `declared` is the overlap that
    they imply.
    """
    called = calls(relative(subject))
    features = truth.of(*JOINT_TRUTH)
    tracks = alive & (features >= 0)
    both, one = present[0] & present[1], present[0] ^ present[1]
    of_both, of_one = tracks & both[features], tracks & one[features]

    def ratio(metric: str, part: float, whole: float, why: str) -> Number:
        value = float(part) / float(whole) if whole else math.nan
        return Number(subject.label, metric, value, why)

    return [
        ratio(
            "false_exclusive",
            (of_both & called["exclusive"]).sum(),
            of_both.sum(),
            "no living latent tracks a feature of both models",
        ),
        ratio(
            "false_shared",
            (of_one & called["shared"]).sum(),
            of_one.sum(),
            "no living latent tracks a feature of one model alone",
        ),
        Number(
            subject.label,
            "declared",
            implied_overlap(called, alive),
            "no living latent is read as shared or as exclusive",
        ),
        ratio("tracked", tracks.sum(), alive.sum(), "all latents are dead"),
    ]
