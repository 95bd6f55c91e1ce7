"""Rows of proxies@1: how well each proxy tells true latents, and what is reproduced besides."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from synthsae_jax.experiments.proxies.latents import PROXIES, SAME_CODE, Seen
from synthsae_jax.io.rows import Row, make_row
from synthsae_jax.matching.detection import auroc
from synthsae_jax.suite import table
from synthsae_jax.suite.study import Study

BINS = 10
BOUNDED = tuple(name for name in PROXIES if name != "firing_rate")


def auroc_rows(row: Any, found: Sequence[Mapping[str, np.ndarray]], group: Sequence[Seen]):
    alive = np.concatenate([seen.alive for seen in group])
    rows = []
    for truth in ("agree", "any"):
        true = np.concatenate([seen.true[truth] for seen in group])
        rows.append(row("share_true", "", float(true[alive].mean()), truth=truth))
        for name in PROXIES:
            values = np.concatenate([of[name] for of in found])
            known = alive & np.isfinite(values)
            value = auroc(values[known], true[known]) if known.any() else math.nan
            rows.append(row("auroc", name, value, truth=truth))
            if truth == "agree":
                rows.append(row("coverage", name, float(known.sum() / alive.sum())))
    return rows


def reproduced(proxies: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Who is called reproduced, bool [L], by who the witnesses are."""
    return {
        "seeds, decoder": proxies["reappearance_decoder"] == 1,
        "seeds, codes": proxies["best_correlation"] >= SAME_CODE,
        "architectures": proxies["best_correlation_architectures"] >= SAME_CODE,
        "models": proxies["best_correlation_models"] >= SAME_CODE,
    }


def quadrant_rows(row: Any, found: Sequence[Mapping[str, np.ndarray]], group: Sequence[Seen]):
    """Counts of (true or artefact) x (reproduced or not), by quarter of the firing rate."""
    counts: dict[tuple[str, str, str, str], int] = {}
    for proxies, seen in zip(found, group, strict=True):
        order = np.argsort(seen.fired, kind="stable")
        order = order[seen.fired[order] > 0]
        quarter = np.full(seen.fired.size, -1)
        quarter[order] = np.arange(order.size) * 4 // max(order.size, 1)
        for witness, again in reproduced(proxies).items():
            for truth in ("agree", "any"):
                true = seen.true[truth]
                for q in range(4):
                    for kind, which in _quadrants(true, again).items():
                        key = (kind, witness, truth, f"q{q + 1}")
                        counts[key] = counts.get(key, 0) + int((which & (quarter == q)).sum())
    return [
        row(kind, witness, count, truth=truth, stratum=stratum)
        for (kind, witness, truth, stratum), count in counts.items()
    ]


def _quadrants(true: np.ndarray, again: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "n_true_reproduced": true & again,
        "n_true_single": true & ~again,
        "n_artefact_reproduced": ~true & again,
        "n_artefact_single": ~true & ~again,
    }


def histogram_rows(row: Any, pooled: Sequence[tuple[Mapping[str, np.ndarray], Seen]]):
    """True latents and artefacts by value of each proxy: what carries over to other worlds."""
    rows = []
    for name in BOUNDED:
        kinds: dict[str, np.ndarray] = {}
        for proxies, seen in pooled:
            known = seen.alive & np.isfinite(proxies[name])
            # a value of 1 belongs to the last bin
            place = np.clip(proxies[name][known] * BINS, 0, BINS - 1).astype(int)
            for kind, which in (("true", seen.true["agree"]), ("artefact", ~seen.true["agree"])):
                counts = np.bincount(place[which[known]], minlength=BINS)
                kinds[kind] = kinds.get(kind, np.zeros(BINS, int)) + counts
        rows += [
            row(f"n_{kind}", name, int(counts[b]), bin=b)
            for kind, counts in kinds.items()
            for b in range(BINS)
        ]
    return rows


def proxy_row(
    study: Study,
    arm: str,
    label: str,
    metric: str,
    name: str,
    value: float,
    truth: str = "agree",
    stratum: str = "all",
    bin: int | None = None,
) -> Row:
    said = [p for p in (name, truth, stratum) if p not in ("", "agree", "all")]
    factors = {} if bin is None else {"factor_bin": bin}
    return make_row(
        **study.shared.columns(),
        run_id=f"{label}-{arm}-{study.world_seed}",
        sae=label,
        instance=study.number(0),
        condition=label,
        metric=metric,
        variant="/".join([*said, *([] if bin is None else [f"bin{bin}"])]),
        n_eval=study.n_match,
        factor_arm=arm,
        factor_proxy=name,
        factor_truth=truth,
        factor_stratum=stratum,
        **factors,
        **table.valued(value, reason="all latents are true, or none is, or it has no such number"),
    )
