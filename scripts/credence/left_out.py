"""What the matcher says in a kind of world it was not fitted on: each preset left out in turn.

A pair of real SAEs is like one of the fitted kinds or like none. So this, on dev worlds, chooses
how far the rows of a pair are believed by both: with all laws, and without those of the preset
that a pair comes from.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from credence.judge import errors, members_of_pairs, split_of
from credence.rows import Rows
from synthsae_jax.matching.credence_laws import Laws, RowLaws, Shrinkage
from synthsae_jax.matching.credence_model import CredenceModel
from synthsae_jax.matching.credence_prior import posterior

TELL = (1.0, 3.0, 8.0, 20.0)
# no more: 1 loses less on these worlds, most of whose pairs share little, but no estimated prior
# could then pass .57, however much two SAEs share
PULL = (0.0, 0.1, 0.3)
_LEAST = 1e-4  # a credence of 0 or 1 that is wrong costs no more than this one


def choose_shrinkage(
    model: CredenceModel,
    rows: Mapping[str, Rows],
    tell: Sequence[float] = TELL,
    pull: Sequence[float] = PULL,
) -> tuple[CredenceModel, dict[str, Any]]:
    """The model with the best `Shrinkage` of each form, and its errors where it is left out.

    Best: the least log loss of the dev rows, a mean over presets and over known and left out.
    Fewer than two presets choose nothing, and what the model had stays.
    """
    laws, told = dict(model.laws), {}
    for form, of_form in rows.items():
        dev = of_form.take(split_of(of_form) == "dev")
        if np.unique(preset_of(dev.unit)).size < 2:
            told[form] = {"reason": "it takes worlds of two presets to leave one out"}
            continue
        own, at = laws[form], laws[form].at(dev.best, dev.context())
        tried: dict[Shrinkage, tuple[float, float]] = {}
        for one in (Shrinkage(t, p, _mean_share(dev)) for t in tell for p in pull):
            both = (credences(own, at, dev, one, hidden) for hidden in (False, True))
            tried[one] = tuple(_loss(c, dev) for c in both)
        best = min(tried, key=lambda s: sum(tried[s]))
        laws[form] = dataclasses.replace(own, shrinkage=best)
        told[form] = {
            "chosen": best._asdict(),
            "tried": [
                {**s._asdict(), "log_loss_known": round(k, 4), "log_loss_left_out": round(o, 4)}
                for s, (k, o) in tried.items()
            ],
            **errors(credences(own, at, dev, best, True), dev.right[0], dev.unit.astype(str)),
        }
    return dataclasses.replace(model, laws=laws), told


def preset_of(names: np.ndarray) -> np.ndarray:
    """The preset in names of worlds or of kinds of pairs, which begin with it."""
    return np.array([str(name).split("-")[0] for name in names])


def credences(
    laws: Laws, at: RowLaws, rows: Rows, shrinkage: Shrinkage, hidden: bool
) -> np.ndarray:
    """Credences [N] pair by pair, priors estimated; `hidden`: without their own preset's laws."""
    found, of_kind = np.full(len(rows), np.nan), preset_of(np.array(laws.kinds))
    for members in members_of_pairs(rows):
        here = at.take(members)
        if hidden:
            here = here.of_kinds(of_kind != preset_of(rows.unit[members[:1]]))
        found[members] = posterior(here, shrinkage=shrinkage).credence
    return found


def _mean_share(rows: Rows) -> float:
    """How many latents have a same one, a mean over presets."""
    has, preset = np.isfinite(rows.same[0]), preset_of(rows.unit)
    return round(float(np.mean([has[preset == name].mean() for name in np.unique(preset)])), 3)


def _loss(credence: np.ndarray, rows: Rows) -> float:
    likely = np.where(rows.right[0], credence, 1 - credence)
    loss, preset = -np.log(np.clip(likely, _LEAST, 1)), preset_of(rows.unit)
    return float(np.mean([loss[preset == name].mean() for name in np.unique(preset)]))
