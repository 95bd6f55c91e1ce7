"""The claims of realism@1: how far a fitted setting carries, and the three verdicts by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from synthsae_jax.experiments.realism.choice import (
    fitted_elsewhere,
    settings_of,
    share,
    simulated,
)
from synthsae_jax.experiments.realism.targets import TARGETS
from synthsae_jax.io.rows import Row
from synthsae_jax.suite.claims import Claim
from synthsae_jax.suite.study.select import by_world, mean

AS_PUBLISHED = "as published"
MATRYOSHKA, PURSUIT = "matryoshka", "matching_pursuit"
SPARSE = ("topk", "batchtopk", MATRYOSHKA, PURSUIT)  # with a k
ARCHITECTURES = (*SPARSE, "standard")
SUPERVISED = "supervised"


def carried(rows: Sequence[Row]) -> dict[int, float]:
    """By world: share of the judged half that agrees at the setting fitted on other worlds."""
    found = simulated(rows)
    return {w: share(of, fitted_elsewhere(found, w)) for w, of in found.items()}


def unfitted(rows: Sequence[Row]) -> dict[int, float]:
    """By world: the same share at a setting taken at random."""
    found = simulated(rows)
    settings = settings_of(found)
    return {w: float(np.mean([share(of, s) for s in settings])) for w, of in found.items()}


def gained(rows: Sequence[Row]) -> dict[int, float]:
    """By world: what choosing the setting adds."""
    floor = unfitted(rows)
    return {w: v - floor[w] for w, v in carried(rows).items()}


def beyond(rows: Sequence[Row]) -> dict[int, float]:
    """By world: no setting of it agrees with this share of all published numbers."""
    found = simulated(rows)
    return {
        w: 1 - float(np.mean([any(t.agrees(at[t.name]) for at in of.values()) for t in TARGETS]))
        for w, of in found.items()
    }


def both_orders(rows: Sequence[Row]) -> dict[int, float]:
    """By world: the most by which a setting has L1 share more than TopK and have the lower PW-MCC.

    The smaller of the two differences; positive where both published orders hold at once.
    """

    def of_setting(at: Mapping[str, float]) -> float:
        found = (
            at["shared, L1"] - at["shared, TopK"],
            at["PW-MCC, TopK"] - at["PW-MCC, L1"],
        )
        return math.nan if any(map(math.isnan, found)) else min(found)

    best = {}
    for world, of in simulated(rows).items():
        known = [v for v in map(of_setting, of.values()) if not math.isnan(v)]
        best[world] = max(known) if known else math.nan
    return best


def lead(rows: Sequence[Row], setting: str, sae: str, metric: str, among: Sequence[str]) -> float:
    """How far an architecture is ahead of the best other one in a metric; one world's rows."""
    at = {"factor_setting": setting, "metric": metric}
    rest = [mean(rows, variant=name, **at) for name in among if name != sae]
    known = [v for v in rest if not math.isnan(v)]
    return mean(rows, variant=sae, **at) - max(known) if known else math.nan


def lag(rows: Sequence[Row], setting: str, sae: str, metric: str, among: Sequence[str]) -> float:
    """How far it is behind the worst other one."""
    at = {"factor_setting": setting, "metric": metric}
    rest = [mean(rows, variant=name, **at) for name in among if name != sae]
    known = [v for v in rest if not math.isnan(v)]
    return min(known) - mean(rows, variant=sae, **at) if known else math.nan


def matryoshka_parts(rows: Sequence[Row], setting: str) -> tuple[float, float]:
    """Its lead in F1 over all, and its lag in EV behind the others with a k."""
    return (
        lead(rows, setting, MATRYOSHKA, "f1", ARCHITECTURES),
        lag(rows, setting, MATRYOSHKA, "explained_variance", SPARSE),
    )


def pursuit_parts(rows: Sequence[Row], setting: str) -> tuple[float, float]:
    """Its lead in EV over all, and its lag in F1 behind all."""
    return (
        lead(rows, setting, PURSUIT, "explained_variance", ARCHITECTURES),
        lag(rows, setting, PURSUIT, "f1", ARCHITECTURES),
    )


def probes_below(rows: Sequence[Row], setting: str) -> float:
    """F1 of a supervised probe on activations, less the best probe on one or five latents."""
    at = {"factor_setting": setting}
    sparse = [
        mean(rows, variant=name, metric=f"probe_k{k}", **at)
        for name in ARCHITECTURES
        for k in (1, 5)
    ]
    known = [v for v in sparse if not math.isnan(v)]
    full = mean(rows, variant=SUPERVISED, metric="probe", **at)
    return full - max(known) if known else math.nan


def weaker(parts: tuple[float, float]) -> float:
    """The smaller part: positive where both hold. NaN where one is undefined."""
    return math.nan if any(map(math.isnan, parts)) else min(parts)


def _verdict(parts: Callable[[Sequence[Row], str], tuple[float, float]]):
    return by_world(lambda rows: weaker(parts(rows, AS_PUBLISHED)))


_GRID = "A finer or wider grid of settings, above all longer trainings and larger worlds."
_SCALE = "Scale: the published table is of 16,384 features and 200 million samples."
CLAIMS = (
    Claim(
        "carries",
        "A setting that is fitted on half of the published numbers gives at least half of the "
        "other half.",
        "share of the judged half that agrees, at the setting fitted on the other worlds",
        carried,
        smallest_effect=0.5,
        margin=0.4,
        changes=_GRID,
    ),
    Claim(
        "fitting helps",
        "It gives more of them than a setting taken at random.",
        "that share less its mean over all settings",
        gained,
        smallest_effect=0.05,
        margin=0.0,
        changes=_GRID,
    ),
    Claim(
        "beyond reach",
        "At least a tenth of the published numbers are reached by no setting.",
        "share of all published numbers with which no setting of the world agrees",
        beyond,
        smallest_effect=0.1,
        margin=0.05,
        changes=_GRID,
    ),
    Claim(
        "both orders",
        "Some setting has both published orders of TopK and L1 at once: L1 shares more latents "
        "above .7, TopK has the higher PW-MCC.",
        "the smaller of the two differences, at the setting of the world where it is largest",
        both_orders,
        smallest_effect=0.02,
        margin=0.0,
        changes="SAEs at other sites: the two orders are of other sites, widths and k.",
    ),
    Claim(
        "Matryoshka",
        "Matryoshka has the best F1 of all and the worst EV of the SAEs with a k.",
        "the smaller of its lead in F1 and its lag in EV, children scaled, whole training",
        _verdict(matryoshka_parts),
        smallest_effect=0.005,
        margin=0.0,
        changes=_SCALE,
        family="verdicts",
    ),
    Claim(
        "matching pursuit",
        "Matching pursuit has the highest EV and the lowest F1 of all.",
        "the smaller of its lead in EV and its lag in F1, children scaled, whole training",
        _verdict(pursuit_parts),
        smallest_effect=0.005,
        margin=0.0,
        changes=_SCALE,
        family="verdicts",
    ),
    Claim(
        "probing",
        "Probes on a few latents of any SAE stay below supervised probes.",
        "F1 of a supervised probe less the best on 1 or 5 latents, children scaled",
        by_world(lambda rows: probes_below(rows, AS_PUBLISHED)),
        smallest_effect=0.02,
        margin=0.0,
        changes="Rarer features, for which a supervised probe has few examples.",
        family="verdicts",
    ),
)
