"""Credences of labelled rows, pair of SAEs by pair, and how far they are from the truth."""

from __future__ import annotations

from typing import Any

import numpy as np

from credence.rows import Rows
from synthsae_jax.matching.calibration import brier, calibration_error, over_units
from synthsae_jax.matching.credence_model import CredenceModel, support_values
from synthsae_jax.matching.credence_prior import posterior


def split_of(rows: Rows) -> np.ndarray:
    """The split of each row, from its world's name."""
    return np.array([name.rsplit("-", 2)[1] for name in rows.unit.astype(str)])


def kind_of(rows: Rows) -> np.ndarray:
    """The kind of pair each row is of: setting, and how far both sides were trained."""
    names, ends = rows.unit.astype(str), rows.kind.astype(str)
    return np.array([f"{a.rsplit('-', 2)[0]}:{b[-2:]}" for a, b in zip(names, ends)])


def pair_credences(
    model: CredenceModel, form: str, rows: Rows
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Credences [N] pair by pair: prior estimated, prior known; and both priors [pairs, 2].

    The known prior is each pair's share of rows that have a same one.
    """
    laws, support = model.form(form)
    context = rows.context()
    inside = support.reasons(support_values(form, rows.best, context)) == ""
    at = laws.at(rows.best, context)
    found = np.full((2, len(rows)), np.nan)
    pairs = members_of_pairs(rows)
    priors = np.full((len(pairs), 2), np.nan)
    for i, members in enumerate(pairs):
        members = members[inside[members]]
        if members.size:
            here = at.take(members)
            share = float(np.isfinite(rows.same[0, members]).mean())
            said = posterior(here, shrinkage=laws.shrinkage)
            known = posterior(here, float(np.clip(share, 0.005, 0.995)), laws.shrinkage)
            found[:, members] = said.credence, known.credence
            priors[i] = said.prior, share
    return found[0], found[1], priors


def members_of_pairs(rows: Rows) -> list[np.ndarray]:
    """Rows of each pair of SAEs at each number of tokens, as indices."""
    pair = pair_of(rows)
    order = np.argsort(pair, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(pair[order])) + 1) if len(rows) else []


def pair_of(rows: Rows) -> np.ndarray:
    """The number of the pair of SAEs, at a number of tokens, that each row belongs to."""
    keys = [f"{a}|{b}|{n}" for a, b, n in zip(rows.unit, rows.kind, rows.n_tokens)]
    return np.unique(np.array(keys), return_inverse=True)[1]


def some_pairs(rows: Rows, every: int) -> Rows:
    """The rows of one in `every` pairs of SAEs, in an order without pattern."""
    pair = pair_of(rows)
    order = np.random.default_rng(0).permutation(pair.max(initial=-1) + 1)
    return rows.take(order[pair] % every == 0)


def errors(credence: np.ndarray, true: np.ndarray, units: np.ndarray) -> dict[str, Any]:
    """ECE and Brier, over all rows and as a mean over worlds with its interval."""
    known = ~np.isnan(credence)
    c, y, u = credence[known], true[known], list(units[known])
    if not c.size:
        return {"n": 0}
    found: dict[str, Any] = {"n": int(c.size), "null": round(float(1 - known.mean()), 4)}
    found["credence"], found["true"] = round(float(c.mean()), 4), round(float(y.mean()), 4)
    for name, measure in (
        ("ece", calibration_error),
        ("brier", lambda p, t: brier(p, t, bins=10).score),
    ):
        over = over_units(measure, u, c, y)
        found[name] = {
            "all": round(float(measure(c, y)), 4),
            "worlds": round(over.estimate, 4),
            "lo": None if over.lo is None else round(over.lo, 4),
            "hi": None if over.hi is None else round(over.hi, 4),
            "n_worlds": over.n,
            "points": [round(p, 4) for p in over.points],
        }
    return found
