"""The claims of proxies@1."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from synthsae_jax.io.rows import Row
from synthsae_jax.suite.claims import Claim
from synthsae_jax.suite.study.select import by_world, mean, select

SEEDS = ("reappearance_decoder", "reappearance_codes", "best_cosine", "best_correlation", "cycle")


def area(rows: list[Row], proxy: str, arm: str = "plain", truth: str = "agree") -> float:
    """AUROC of a proxy, mean over architectures."""
    return mean(rows, metric="auroc", factor_proxy=proxy, factor_arm=arm, factor_truth=truth)


def quadrants(rows: list[Row], witness: str, **columns: Any) -> dict[str, float]:
    """The 2 x 2 of (true or artefact) x (reproduced or not), counts summed over rows."""
    return {
        kind: float(
            sum(
                row["value"]
                for row in select(rows, metric=f"n_{kind}", factor_proxy=witness, **columns)
            )
        )
        for kind in ("true_reproduced", "true_single", "artefact_reproduced", "artefact_single")
    }


def stable_but_untrue(rows: list[Row], witness: str, **columns: Any) -> float:
    """Of the latents that are reproduced, the share that tracks nothing."""
    found = quadrants(rows, witness, **columns)
    total = found["true_reproduced"] + found["artefact_reproduced"]
    return found["artefact_reproduced"] / total if total else math.nan


def rank_with_f1(rows: list[Row], proxy: str, arm: str = "plain") -> float:
    """Spearman correlation, over the settings of a world, of an SAE's proxy with its F1."""
    settings = list(dict.fromkeys(r["condition"] for r in select(rows, metric="sae")))
    pairs = [
        tuple(
            mean(rows, metric="sae", factor_proxy=name, factor_arm=arm, condition=setting)
            for name in (proxy, "f1")
        )
        for setting in settings
    ]
    known = np.array([p for p in pairs if not any(map(math.isnan, p))])
    if len(known) < 4 or (np.ptp(known, axis=0) == 0).any():
        return math.nan
    return float(spearmanr(known[:, 0], known[:, 1]).statistic)


def histograms(rows: list[Row], proxy: str, arm: str) -> tuple[np.ndarray, np.ndarray]:
    """True latents and artefacts by bin of a proxy."""
    found = []
    for kind in ("n_true", "n_artefact"):
        here = select(rows, metric=kind, factor_proxy=proxy, factor_arm=arm)
        here = [r for r in here if r.get("factor_bin") is not None]
        counts = np.zeros(1 + max((r["factor_bin"] for r in here), default=0))
        for r in here:
            counts[r["factor_bin"]] += r["value"]
        found.append(counts)
    return found[0], found[1]


def area_of(true: np.ndarray, artefact: np.ndarray) -> float:
    """AUROC from counts by bin, ties counting half."""
    if not true.sum() or not artefact.sum():
        return math.nan
    below = np.cumsum(artefact) - artefact
    return float((true * (below + artefact / 2)).sum() / (true.sum() * artefact.sum()))


def carried_over(proxy: str, arm: str = "plain"):
    """By world: AUROC within it, less that of its latents against those of all other worlds."""

    def estimate(rows: Any) -> dict[int, float]:
        seeds = list(dict.fromkeys(r["world_seed"] for r in rows))
        known = {s: histograms(select(rows, world_seed=s), proxy, arm) for s in seeds}
        found = {}
        for seed, (true, artefact) in known.items():
            rest = [v for s, v in known.items() if s != seed]
            if not rest:
                found[seed] = math.nan
                continue
            other_true, other_artefact = (np.sum([v[i] for v in rest], 0) for i in (0, 1))
            across = (area_of(true, other_artefact) + area_of(other_true, artefact)) / 2
            found[seed] = area_of(true, artefact) - across
        return found

    return estimate


def _over_single(arm: str):
    def of_world(rows: list[Row]) -> float:
        rest = [area(rows, name, arm) for name in (*SEEDS, "encoder_decoder", "firing_rate")]
        known = [v for v in rest if not math.isnan(v)]
        return area(rows, "universality_credence", arm) - max(known) if known else math.nan

    return of_world


def _claim(name: str, statement: str, quantity: str, of: Callable, **options: Any) -> Claim:
    return Claim(name, statement, quantity, by_world(of), **options)


_UNTRUE = "share of artefacts among latents that all other seeds have (decoder cosine >= .7)"
_MORE = "More worlds, or settings of which more differ in what they recover."
CLAIMS = (
    _claim(
        "stable is not true",
        "In worlds with trees, a tenth or more of the latents that all other seeds reproduce "
        "track no single feature.",
        _UNTRUE,
        lambda rows: stable_but_untrue(
            rows, "seeds, decoder", factor_arm="trees", factor_truth="agree"
        ),
        smallest_effect=0.1,
        margin=0.05,
        changes="SAEs without absorption, or a truth that calls an absorbed parent its feature.",
    ),
    _claim(
        "under any truth",
        "The same where a latent counts as true as soon as any method at any threshold says so.",
        _UNTRUE + ", most lenient truth",
        lambda rows: stable_but_untrue(
            rows, "seeds, decoder", factor_arm="trees", factor_truth="any"
        ),
        smallest_effect=0.1,
        margin=0.05,
        changes="The verdict above holds only together with this one.",
    ),
    _claim(
        "stable is not true, no trees",
        "The same in worlds without trees.",
        _UNTRUE,
        lambda rows: stable_but_untrue(
            rows, "seeds, decoder", factor_arm="plain", factor_truth="agree"
        ),
        smallest_effect=0.1,
        margin=0.05,
        changes="More superposition, or SAEs that are wider than what can be found.",
    ),
    _claim(
        "reappearance",
        "Reappearance over seeds tells true latents from artefacts.",
        "AUROC of reappearance (decoder cosine >= .7) less 1/2, worlds without trees",
        lambda rows: area(rows, "reappearance_decoder") - 0.5,
        smallest_effect=0.2,
        margin=0.1,
        changes="Artefacts that seeds have in common.",
        family="latents",
    ),
    _claim(
        "beyond frequency",
        "The best correlation with other seeds says more than the firing rate alone.",
        "AUROC of the best code correlation less AUROC of the firing rate",
        lambda rows: area(rows, "best_correlation") - area(rows, "firing_rate"),
        smallest_effect=0.05,
        margin=0.02,
        changes="A law under which only rare features are missed.",
        family="latents",
    ),
    _claim(
        "architectures",
        "Other architectures are better witnesses than other seeds.",
        "AUROC of the best correlation with other architectures less that with other seeds, trees",
        lambda rows: (
            area(rows, "best_correlation_architectures", "trees")
            - area(rows, "best_correlation", "trees")
        ),
        smallest_effect=0.03,
        margin=0.01,
        changes="Architectures that fail alike.",
        family="latents",
    ),
    _claim(
        "models",
        "SAEs of another model are better witnesses than other seeds.",
        "AUROC of the best correlation with another model's SAEs less that with other seeds, trees",
        lambda rows: (
            area(rows, "best_correlation_models", "trees") - area(rows, "best_correlation", "trees")
        ),
        smallest_effect=0.03,
        margin=0.01,
        changes="Artefacts of the data rather than of the dictionary: both models have them.",
        family="latents",
    ),
    _claim(
        "credence",
        "universality_credence is no worse than the best single proxy from the same seeds.",
        "its AUROC less the largest AUROC of a single proxy",
        _over_single("plain"),
        smallest_effect=0.02,
        margin=0.02,
        kind="noninferior",
        changes="The best of several is chosen after the fact, which favours them a little.",
        family="latents",
    ),
    Claim(
        "carries over",
        "What a value of universality_credence says in one world holds in the others.",
        "AUROC within a world less AUROC of its latents against those of all others",
        carried_over("universality_credence"),
        smallest_effect=0.05,
        margin=0.03,
        kind="equivalent",
        changes="Worlds that differ more from each other than those of one preset.",
        family="latents",
    ),
    _claim(
        "consistency ranks SAEs",
        "The consistency of an SAE over seeds (PW-MCC) ranks settings by F1.",
        "Spearman correlation of PW-MCC with F1 over settings",
        lambda rows: rank_with_f1(rows, "pw_mcc"),
        smallest_effect=0.5,
        margin=0.2,
        changes=_MORE,
        family="SAEs",
    ),
    _claim(
        "fit does not rank SAEs",
        "Explained variance does not rank settings by F1.",
        "Spearman correlation of PW-MCC with F1, less that of explained variance",
        lambda rows: rank_with_f1(rows, "pw_mcc") - rank_with_f1(rows, "explained_variance"),
        smallest_effect=0.2,
        margin=0.1,
        changes=_MORE,
        family="SAEs",
    ),
)
