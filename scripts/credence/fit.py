"""Fit the calibrated matcher on dev worlds; try it on held-out and on transport worlds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array, hstack

from credence.baselines import baselines
from credence.cells import TRUTHS, CellData, load_cell, make_cell, save_cell
from credence.judge import errors, kind_of, pair_credences, split_of
from credence.rows import FORMS, Rows, cell_rows, join
from credence.strangers import padded_rows
from credence.worlds import SPLITS, Place
from synthsae_jax.matching.calibration import precision_thresholds, reliability
from synthsae_jax.matching.credence_latent import at_least_one
from synthsae_jax.matching.credence_laws import fit_laws
from synthsae_jax.matching.credence_model import CredenceModel, Support, support_values

LENGTHS = (8_192, 65_536)
AMONG = (1_000, 4_000, 12_000, 40_000, 131_072)
_STRANGER_TOKENS = 32_768


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
            strangers = _strangers(cells, cell, min(whole, _STRANGER_TOKENS))
            if strangers is not None:
                for form, rows in padded_rows(cell, strangers, among).items():
                    parts[form].append(rows)
        say(f"read {cell.name}")
    return {form: join(p) for form, p in parts.items() if p}


def _strangers(cells: Sequence[CellData], cell: CellData, n: int) -> csr_array | None:
    """Codes `[n, W]` of the SAEs of all other worlds at their ends; None without any."""
    others = [c for c in cells if c.name != cell.name and c.codes[0][0].shape[0] >= n]
    codes = [codes[-1][:n] for c in others for codes in c.codes[1:]]
    return csr_array(hstack(codes, format="csr")) if codes else None


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
