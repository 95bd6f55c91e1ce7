"""One SAE of two models at once: what its decoder norms call shared, held against the truth."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from synthsae_jax import saes
from synthsae_jax.matching import TruthSweep
from synthsae_jax.suite import table
from synthsae_jax.suite.study import Number, Study, Subject, Trained, subjects
from synthsae_jax.training import train
from synthsae_jax.worlds import join, stack
from synthsae_jax.worlds.family import Family

JOINT = ("crosscoder", "crosscoder_l1", "universal")
# published readings of a latent's share in the decoder norms of the second model
EXCLUSIVE = 0.1  # below it, or above one less it: of one model alone
SHARED = (0.4, 0.6)
# The firing says which feature a latent is, and not its direction: a latent that writes into one
# model alone is at most .7 from a shared feature's joined direction, and would go uncounted
JOINT_TRUTH = ("functional", 0.5)
NUMBERS = ("false_exclusive", "false_shared", "declared", "tracked", "n_shared", "n_exclusive")


def train_joint(study: Study, family: Family, name: str, width: int, first: int) -> Trained:
    """One run per condition on A and B side by side, `subjects[i][0]`; models from `first` on.

    Both are seen in the twin registry, so what only one of them has fires by itself. The target
    L0 grows with the union of features: `(2 - shared)` times one model's.
    """
    joined = [join([family.reference, b]) for b in family.instances[1:]]
    l0 = study.target_l0 * np.array([[2.0 - c.shared] for c in family.conditions])
    dim, config = joined[0].dictionary.shape[-1], study.config
    penalty = saes.architectures[name].penalty
    if penalty is None:
        sae = saes.build(name, d_in=dim, d_sae=width, k=study.target_l0, n_models=2)
        given: dict[str, Any] = {"hyper": dataclasses.replace(sae.hyper, k=l0)}
    else:
        steps = config.n_steps // 5
        sae = saes.build(name, d_in=dim, d_sae=width, n_models=2, l1_warm_up_steps=steps)
        config = dataclasses.replace(config, target_l0=study.target_l0)
        given = {"target_l0": l0}
    seeds = study.seeds(len(joined), 1, first)
    registry = family.registry("factors")
    result = train(registry, stack(joined), sae, config, init_seeds=seeds, data_seed=seeds, **given)
    columns = [
        [table.run_columns(study.shared, result, study.number(first + i), i, 0)]
        for i in range(len(joined))
    ]
    return Trained(subjects(name, result, joined), result, columns)


def joint_numbers(
    subject: Subject, truth: TruthSweep, alive: np.ndarray, present: tuple[np.ndarray, np.ndarray]
) -> list[Number]:
    """What the relative norms of one joint SAE get wrong, and the overlap that they imply.

    `present`: bool [F] of each model. Of living latents that track a feature of both models,
    `false_exclusive` is the share read as of one model; of those that track a feature of one,
    `false_shared` the share read as shared. `declared` = S / (S + E / 2) with S and E the living
    latents read as shared and as exclusive: it is |A and B| / |A| where readings are right.
    """
    share = relative(subject)
    called = calls(share)
    found = truth.of(*JOINT_TRUTH)
    tracks = alive & (found >= 0)
    both, one = present[0] & present[1], present[0] ^ present[1]
    of_both, of_one = tracks & both[found], tracks & one[found]
    n_shared = float((alive & called["shared"]).sum())
    n_exclusive = float((alive & called["exclusive"]).sum())
    ratio = lambda part, whole: float(part) / float(whole) if whole else math.nan
    values = {
        "false_exclusive": ratio((of_both & called["exclusive"]).sum(), of_both.sum()),
        "false_shared": ratio((of_one & called["shared"]).sum(), of_one.sum()),
        "declared": ratio(n_shared, n_shared + n_exclusive / 2),
        "tracked": ratio(tracks.sum(), alive.sum()),
        "n_shared": n_shared,
        "n_exclusive": n_exclusive,
    }
    why = "no living latent is read so, or tracks such a feature"
    return [Number(subject.label, name, value, why) for name, value in values.items()]


def relative(subject: Subject) -> np.ndarray:
    """The second model's share in each latent's decoder norms, [L]; NaN for a zero row."""
    return np.asarray(saes.relative_norms(subject.run[0], 2))[..., 1]


def calls(share: np.ndarray) -> dict[str, np.ndarray]:
    """Latents by the published reading of their share; what lies between is called neither."""
    exclusive = (share < EXCLUSIVE) | (share > 1 - EXCLUSIVE)
    return {"shared": (share >= SHARED[0]) & (share <= SHARED[1]), "exclusive": exclusive}
