"""What the matcher says in a kind of world it was not fitted on: each preset left out in turn.

A pair of real SAEs is of no fitted kind, so this, on dev worlds, chooses how far the rows of a
pair are believed; the laws of the preset that a pair comes from are hidden.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from synthsae_jax.matching.credence_laws import Laws, RowLaws, Shrinkage
from synthsae_jax.matching.credence_model import CredenceModel
from synthsae_jax.matching.credence_prior import posterior
from synthsae_jax.suite.credence.judge import errors, members_of_pairs, split_of
from synthsae_jax.suite.credence.rows import Rows

TELL = (1.0, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0)
# more than 1 and the worlds fitted on would say more of what a pair shares than the pair does
PULL = (0.0, 0.1, 0.3, 1.0)
_LEAST = 1e-4  # a credence of 0 or 1 that is wrong costs no more than this one


def choose_shrinkage(
    model: CredenceModel,
    rows: Mapping[str, Rows],
    tell: Sequence[float] = TELL,
    pull: Sequence[float] = PULL,
) -> tuple[CredenceModel, dict[str, Any]]:
    """The model with the best `Shrinkage` of each form, and its errors where it is left out.

    Best: the least log loss of the dev rows, a mean over presets, first over `tell`, then over
    `pull`. Fewer than two presets choose nothing, and what the model had stays.
    """
    laws, told = dict(model.laws), {}
    for form, of_form in rows.items():
        dev = of_form.take(split_of(of_form) == "dev")
        if np.unique(preset_of(dev.unit)).size < 2:
            told[form] = {"reason": "it takes worlds of two presets to leave one out"}
            continue
        own, at = laws[form], laws[form].at(dev.best, dev.context())
        best = own.shrinkage._replace(pull=0.0, mean=_mean_share(dev))
        tried: dict[Shrinkage, np.ndarray] = {}
        for name, values in (("tell", tell), ("pull", pull)):
            for value in values:
                one = best._replace(**{name: value})
                tried.setdefault(one, credences(own, at, dev, one))
            best = min(tried, key=lambda s: _loss(tried[s], dev))
        laws[form] = dataclasses.replace(own, shrinkage=best)
        told[form] = {
            "chosen": best._asdict(),
            "tried": [{**s._asdict(), "log_loss": round(_loss(tried[s], dev), 4)} for s in tried],
            **errors(tried[best], dev.right[0], dev.unit.astype(str)),
        }
    return dataclasses.replace(model, laws=laws), told


def preset_of(names: np.ndarray) -> np.ndarray:
    """The preset in names of worlds or of kinds of pairs, which begin with it."""
    return np.array([str(name).split("-")[0] for name in names])


def credences(laws: Laws, at: RowLaws, rows: Rows, shrinkage: Shrinkage) -> np.ndarray:
    """Credences [N] pair by pair, priors estimated, without the laws of the pair's own preset."""
    found, of_kind = np.full(len(rows), np.nan), preset_of(np.array(laws.kinds))
    for members in members_of_pairs(rows):
        others = of_kind != preset_of(rows.unit[members[:1]])
        here = at.take(members).of_kinds(others)
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
