"""The quantities of proxies@1: AUROCs, what is true of the reproduced, ranks of SAEs."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence

import numpy as np
from scipy.stats import spearmanr

from synthsae_jax.experiments.proxies.setting import (
    AGREE,
    BINS,
    F1,
    FROM_SEEDS,
    KINDS,
    STRATA,
    Entry,
)
from synthsae_jax.suite.needs import Need, Values
from synthsae_jax.suite.quantity import Quantity, combined, number

NAMES = {
    "reappearance_decoder": "reappears in seeds, decoder cosine .7",
    "reappearance_codes": "reappears in seeds, code correlation .5",
    "best_cosine": "best decoder cosine, seeds",
    "best_correlation": "best code correlation, seeds",
    "cycle": "cycle consistency over seeds",
    "encoder_decoder": "encoder aligned with decoder",
    "firing_rate": "firing rate",
    "universality_credence": "universality_credence, seeds",
    "best_correlation_architectures": "best correlation, other architectures",
    "best_correlation_models": "best correlation, another model",
    "pw_mcc": "PW-MCC",
    "explained_variance": "explained variance",
    "low_l0": "low L0",
    "alive": "share of latents alive",
    "matching_pursuit": "matching pursuit",
    "standard": "L1",
    "topk": "TopK",
    "batchtopk": "BatchTopK",
    "matryoshka": "Matryoshka",
    "true_reproduced": "true, reproduced",
    "true_single": "true, not",
    "artefact_reproduced": "artefact, reproduced",
    "artefact_single": "artefact, not",
}


def area(proxy: str) -> Quantity:
    """AUROC of a proxy over living latents, mean over the architectures that have it."""
    return number("auroc", Entry("auroc", proxy).variant, title=NAMES[proxy], unit="AUROC")


def gain(proxy: str, other: str) -> Quantity:
    """AUROC of a proxy less that of another, on the architectures that have both."""
    first, second = area(proxy), area(other)

    def of_world(*values: Values) -> float:
        a, b = (of.by("condition") for of in values)
        both = [label for label in a if label in b]
        return float(np.mean([a[label] - b[label] for label in both])) if both else math.nan

    name = f"{first.name} less {second.name}"
    return Quantity(name, name, "AUROC", (*first.needs, *second.needs), of_world)


def over_best(proxy: str) -> Quantity:
    """AUROC of a proxy less the largest of the others from the same seeds."""
    gains = [gain(proxy, other) for other in FROM_SEEDS if other != proxy]
    name = f"{proxy} less the best of the others"
    return combined(lambda *each: _least(each), *gains, name=name, title=name)


def _least(values: Sequence[float]) -> float:
    finite = [v for v in values if math.isfinite(v)]
    return min(finite) if finite else math.nan


def among(proxies: Sequence[str]) -> dict[str, Quantity]:
    """AUROC of each of some proxies, on the architectures that have all those seen at all."""
    needs = tuple(need for proxy in proxies for need in area(proxy).needs)

    def of_one(i: int) -> Quantity:
        def of_world(*values: Values) -> float:
            each = [of.by("condition") for of in values]
            seen = [set(of) for of in each if of]
            common = set.intersection(*seen) if seen else set()
            shared = [each[i][label] for label in each[i] if label in common]
            return float(np.mean(shared)) if shared else math.nan

        name = f"auroc/{proxies[i]} among others"
        return Quantity(name, NAMES[proxies[i]], "AUROC", needs, of_world)

    return {proxy: of_one(i) for i, proxy in enumerate(proxies)}


def _counts(kinds: Sequence[str], witness: str, truth: str, strata: Sequence[str]) -> list[Need]:
    entries = [Entry(f"n_{kind}", witness, truth, s) for kind in kinds for s in strata]
    return [Need(entry.metric, entry.variant) for entry in entries]


def _ratio(part: int, name: str, title: str, needs: Sequence[Need], undefined: str) -> Quantity:
    """What the first `part` needs count, over what all of them do."""

    def of_world(*values: Values) -> float:
        sums = [float(of.defined.sum()) for of in values]
        return sum(sums[:part]) / sum(sums) if sum(sums) else math.nan

    share = "share of latents"
    return Quantity(name, title, share, tuple(needs), of_world, undefined=undefined)


def untrue(witness: str, truth: str = AGREE) -> Quantity:
    """Of the latents that a witness reproduces, the share that track nothing."""
    needs = _counts(("artefact_reproduced", "true_reproduced"), witness, truth, STRATA)
    nobody = "no latent is reproduced"
    return _ratio(len(STRATA), f"untrue of {witness}, {truth}", witness, needs, nobody)


def quadrant(kind: str, witness: str, strata: Sequence[str] = STRATA) -> Quantity:
    """Share of the living latents (of some quarters) that are of one of the four kinds."""
    others = [other for other in KINDS if other != kind]
    needs = _counts([kind, *others], witness, AGREE, strata)
    name = f"{kind} by {witness}, {'+'.join(strata)}"
    return _ratio(len(strata), name, NAMES[kind], needs, "no latent is alive")


def true_in_bin(proxy: str, b: int) -> Quantity:
    """Share of true latents among those with a value of a proxy, all architectures together."""
    needs = [
        Need(entry.metric, entry.variant)
        for entry in (Entry(f"n_{kind}", proxy, bin=b) for kind in ("true", "artefact"))
    ]
    return _ratio(1, f"true of {proxy}, bin {b}", NAMES[proxy], needs, "no latent has such a value")


def rank_with_f1(proxy: str) -> Quantity:
    """Spearman correlation, over the settings of a world, of an SAE's proxy with its F1."""
    needs = tuple(Need("sae", Entry("sae", name).variant) for name in (proxy, F1))
    why = "fewer than four settings have both numbers, or all of them are equal"
    return Quantity(f"rank of {proxy}", NAMES[proxy], "correlation", needs, _ranks, undefined=why)


def _ranks(of_proxy: Values, of_f1: Values) -> float:
    a, b = (of.by("condition") for of in (of_proxy, of_f1))
    both = np.array([(a[label], b[label]) for label in a if label in b])
    if len(both) < 4 or (np.ptp(both, axis=0) == 0).any():
        return math.nan
    return float(spearmanr(both[:, 0], both[:, 1]).statistic)


def carried_over(proxy: str, title: str) -> Quantity:
    """By world: AUROC within it, less that of its latents against those of all other worlds."""
    entries = [Entry(f"n_{k}", proxy, bin=b) for k in ("true", "artefact") for b in range(BINS)]
    needs = tuple(Need(entry.metric, entry.variant) for entry in entries)
    why = "it takes two worlds, and latents of both kinds in each"
    return Quantity(
        f"{proxy} carried over", title, "AUROC", needs, of_units=_carried, undefined=why
    )


def _carried(by_world: Mapping[Hashable, Sequence[Values]]) -> dict[Hashable, float]:
    histograms = {
        world: np.array([of.defined.sum() for of in values]).reshape(2, BINS)
        for world, values in by_world.items()
    }
    carried = {}
    for world, (true, artefact) in histograms.items():
        others = [of for other, of in histograms.items() if other != world]
        if not others:
            return dict.fromkeys(histograms, math.nan)
        other_true, other_artefact = np.sum(others, axis=0)
        across = (area_of(true, other_artefact) + area_of(other_true, artefact)) / 2
        carried[world] = area_of(true, artefact) - across
    return carried


def area_of(true: np.ndarray, artefact: np.ndarray) -> float:
    """AUROC from counts by bin, ties counting half."""
    if not true.sum() or not artefact.sum():
        return math.nan
    below = np.cumsum(artefact) - artefact
    return float((true * (below + artefact / 2)).sum() / (true.sum() * artefact.sum()))
