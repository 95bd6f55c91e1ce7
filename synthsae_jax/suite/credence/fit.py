"""Fit the calibrated matcher on dev worlds; try it on held-out and on transport worlds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from synthsae_jax.matching.calibration import (
    brier,
    calibration_error,
    over_units,
    precision_thresholds,
    reliability,
)
from synthsae_jax.matching.credence_latent import at_least_one
from synthsae_jax.matching.credence_laws import fit_laws
from synthsae_jax.matching.credence_model import CredenceModel, Support, support_values
from synthsae_jax.matching.credence_prior import posterior
from synthsae_jax.suite.credence.baselines import baselines
from synthsae_jax.suite.credence.cells import TRUTHS, CellData, load_cell, make_cell, save_cell
from synthsae_jax.suite.credence.rows import FORMS, Rows, cell_rows, join, padded_rows
from synthsae_jax.suite.credence.worlds import SPLITS, Place

LENGTHS = (8_192, 65_536)
AMONG = (1_000, 4_000, 12_000)
_STRANGER_TOKENS = 65_536


def make_all(folder: Path, wanted: Sequence[Place], say=print) -> list[Path]:
    """Files of all cells, made where they are missing: an interrupted run goes on."""
    files = []
    for place in wanted:
        files.append(folder / f"{place.name}.npz")
        if not files[-1].exists():
            say(f"training {place.name}")
            save_cell(make_cell(place), files[-1])
    return files


def all_rows(files: Sequence[Path], say=print, among: Sequence[int] = AMONG) -> dict[str, Rows]:
    """Rows of every form over all cells, with rows among strangers where there are enough."""
    cells = [load_cell(f) for f in files]
    parts: dict[str, list[Rows]] = {form: [] for form in FORMS}
    for cell in cells:
        whole = cell.codes[0][0].shape[0]
        lengths = LENGTHS if whole <= LENGTHS[-1] else (LENGTHS[-1], whole)
        for form, rows in cell_rows(cell, [n for n in lengths if n <= whole]).items():
            parts[form].append(rows)
        if cell.name.endswith("-0") and among:
            n = min(whole, _STRANGER_TOKENS)
            parts[FORMS[0]].append(padded_rows(cell, _strangers(cells, cell, n), n, among))
        say(f"read {cell.name}")
    return {form: join(p) for form, p in parts.items() if p}


def _strangers(cells: Sequence[CellData], cell: CellData, n: int) -> list:
    # one end of each: a family's own members read the same tokens
    others = [c for c in cells if c.name != cell.name and c.codes[0][0].shape[0] >= n]
    return [codes[-1] for c in others for codes in c.codes[1:]]


def split_of(rows: Rows) -> np.ndarray:
    """The split of each row, from its world's name."""
    return np.array([name.rsplit("-", 2)[1] for name in rows.unit.astype(str)])


def kind_of(rows: Rows) -> np.ndarray:
    """The kind of pair each row is of: setting, and how far both sides were trained."""
    names, ends = rows.unit.astype(str), rows.kind.astype(str)
    return np.array([f"{a.rsplit('-', 2)[0]}:{b[-2:]}" for a, b in zip(names, ends)])


def fit(rows: Mapping[str, Rows], provenance: dict[str, Any]) -> CredenceModel:
    """The model of the dev rows of every form."""
    laws, supports = {}, {}
    for form, of_form in rows.items():
        dev = of_form.take(split_of(of_form) == "dev")
        context = dev.context()
        laws[form] = fit_laws(form, context, dev.same[0], dev.other[0], list(kind_of(dev)))
        values = support_values(form, dev.best, context)
        ends = {k: (float(v.min()), float(v.max())) for k, v in values.items()}
        supports[form] = Support({**ends, "score": (float(np.quantile(dev.best, 0.001)), 1.0)})
    return CredenceModel(laws, supports, {}, provenance)


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
    pair = pair_of(rows)
    found = np.full((2, len(rows)), np.nan)
    priors = np.full((pair.max(initial=-1) + 1, 2), np.nan)
    for i in range(len(priors)):
        members = np.flatnonzero((pair == i) & inside)
        if members.size:
            laws_here = at.take(members)
            share = float(np.isfinite(rows.same[0, members]).mean())
            said = posterior(laws_here)
            known = posterior(laws_here, float(np.clip(share, 0.005, 0.995)))
            found[:, members] = said.credence, known.credence
            priors[i] = said.prior, share
    return found[0], found[1], priors


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


def evaluate(model: CredenceModel, rows: Mapping[str, Rows], say=print) -> dict[str, Any]:
    """Calibration of every form on every split, under every truth, with baselines beside it."""
    found: dict[str, Any] = {}
    for form, of_form in rows.items():
        split, found[form] = split_of(of_form), {}
        plain = baselines(form, of_form.take(split == "dev"))
        for name in SPLITS:
            part = of_form.take(split == name)
            if not len(part):
                continue
            units = part.unit.astype(str)
            credence, at_truth, priors = pair_credences(model, form, part)
            known = ~np.isnan(credence)
            gap = priors[:, 0] - priors[:, 1]
            entry = {
                "estimated_prior": errors(credence, part.right[0], units),
                "true_prior": errors(at_truth, part.right[0], units),
                "by_truth": {
                    "-".join(map(str, truth)): errors(credence, part.right[t], units)
                    for t, truth in enumerate(TRUTHS)
                },
                "by_kind": {
                    k: errors(credence[w], part.right[0][w], units[w])
                    for k in np.unique([x.split(":")[0] for x in part.kind.astype(str)])
                    for w in [np.char.startswith(part.kind.astype(str), f"{k}:")]
                },
                "reliability": [
                    {"credence": round(c.score, 4), "true": round(float(c.true), 4), "n": c.n}
                    for c in reliability(credence[known], part.right[0][known])
                ],
                "prior_bias": round(float(np.nanmean(gap)), 4),
                "prior_error": round(float(np.nanmean(np.abs(gap))), 4),
                **{
                    b: errors(np.where(known, f(part), np.nan), part.right[0], units)
                    for b, f in plain.items()
                },
            }
            found[form][name] = entry
            for what in ("estimated_prior", "true_prior", *plain):
                e = entry[what]
                ece, score = e["ece"], e["brier"]
                say(
                    f"{form:22s} {name:9s} {what:15s} ECE {ece['worlds']} [{ece['lo']}, "
                    f"{ece['hi']}] of {ece['n_worlds']} worlds, Brier {score['worlds']}, "
                    f"credence {e['credence']} true {e['true']} null {e['null']}"
                )
    return found


def thresholds(rows: Rows, bins: int = 4) -> list[dict[str, Any]]:
    """The lowest score that is 95 % precise, by frequency and number of tokens, on dev worlds."""
    dev = rows.take((split_of(rows) == "dev") & np.char.startswith(rows.kind.astype(str), "shared"))
    found = []
    for n in np.unique(dev.n_tokens):
        part = dev.take(dev.n_tokens == n)
        rate = part.firings / n
        ends = np.quantile(rate, np.linspace(0, 1, bins + 1))
        for b, t in enumerate(precision_thresholds(part.best, part.right[0], rate, bins=bins)):
            number = lambda x: None if np.isnan(x) else round(float(x), 4)
            found.append(
                {
                    "n_tokens": int(n),
                    "rate_from": round(float(ends[b]), 6),
                    "rate_to": round(float(ends[b + 1]), 6),
                    "threshold": number(t.value),
                    "precision": number(t.precision),
                    "recall": number(t.recall),
                    "reason": t.reason,
                }
            )
    return found


def fit_latents(model: CredenceModel, rows: Rows) -> tuple[CredenceModel, dict[str, Any]]:
    """The model with its dependence between pairs, and how latents' credences fare by split."""
    kinds = rows.kind.astype(str)
    ends = np.char.endswith(kinds, ":22") & np.char.startswith(kinds, "shared")
    rows = rows.take(ends & (rows.n_tokens == LENGTHS[-1]))
    credence, _, _ = pair_credences(model, FORMS[0], rows)
    member = np.array([k.split(":")[1].split("-")[0] for k in rows.kind.astype(str)])
    keys = np.array([f"{u}|{m}|{i}" for u, m, i in zip(rows.unit, member, rows.latent)])
    _, at, counts = np.unique(keys, return_inverse=True, return_counts=True)
    whole = counts[at] == 3
    order = np.flatnonzero(whole)[np.argsort(at[whole], kind="stable")]
    c = credence[order].reshape(-1, 3).T
    has = np.isfinite(rows.same[0, order]).reshape(-1, 3).T
    units, split = rows.unit[order][::3].astype(str), split_of(rows)[order][::3]
    known = ~np.isnan(c).any(0)
    dev = known & (split == "dev")
    loss = lambda w: (
        -np.mean(
            np.log(
                np.maximum(
                    np.where(
                        has[:, dev].any(0), *(lambda p: (p, 1 - p))(at_least_one(c[:, dev], w))
                    ),
                    1e-6,
                )
            )
        )
    )
    grid = np.linspace(0, 1, 21)
    best = float(grid[np.argmin([loss(w) for w in grid])])
    told: dict[str, Any] = {"dependence": best}
    for name in SPLITS:
        w = known & (split == name)
        if w.any():
            told[name] = {
                "at_least_one": errors(at_least_one(c[:, w], best), has[:, w].any(0), units[w]),
                "mean_reappearance": round(float(c[:, w].mean()), 4),
                "true_reappearance": round(float(has[:, w].mean()), 4),
            }
    return dataclasses.replace(model, latent_dependence=best), told
