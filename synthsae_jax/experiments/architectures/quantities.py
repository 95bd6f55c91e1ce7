"""The numbers of architectures@1: of pairs by kind, of single SAEs, and of their order."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from itertools import combinations

from scipy import stats

from synthsae_jax.experiments.architectures.measure import PW_MCC, RULES
from synthsae_jax.experiments.architectures.setting import BASE, OTHER, SAME, SETTINGS, WIDE
from synthsae_jax.stats import defined_mean
from synthsae_jax.suite.agreement import MATCHED
from synthsae_jax.suite.encoders import condition_of
from synthsae_jax.suite.needs import Values
from synthsae_jax.suite.pair import TRUTH
from synthsae_jax.suite.probes import VARIANT as PROBES
from synthsae_jax.suite.quantity import Quantity, combined, number

PURSUIT = "matching_pursuit"
CORRELATION, COSINE = RULES
_PAIRED = "share of what could be"
_LATENTS = "share of latents"

# of pairs; each is taken under a condition
CO_RECOVERY = number("co_recovery", TRUTH, title="co_recovery", unit="co_recovery")
LEAST, MOST = (
    number(f"co_recovery_{end}", TRUTH, title=f"{end}, by truth", unit="co_recovery")
    for end in ("least", "most")
)
JACCARD = number("features_jaccard", TRUTH, title="Jaccard of features", unit="Jaccard")
TRUE = number("true_universality", TRUTH, title="true universality", unit=_LATENTS)
DECLARED = number("declared", CORRELATION, title="declared shared by r > .1", unit=_LATENTS)
BY_COSINE = number("declared", COSINE, title="declared by decoder cosine > .7", unit=_LATENTS)
PRECISION = number("precision", CORRELATION, title="precision of r > .1", unit="precision")
SUPPORT = number(
    "support_jaccard", MATCHED, title="support Jaccard of matched latents", unit="Jaccard"
)
ARTEFACTS = number("shared_artefacts", MATCHED, title="artefacts shared", unit="artefacts")
ARTEFACTS_LEAST, ARTEFACTS_MOST = (
    number(f"shared_artefacts_{end}", MATCHED, title=f"{end}, by truth", unit="artefacts")
    for end in ("least", "most")
)
RECOVERED = number("recovered_shared", TRUTH, title="recovered by both", unit="share")

# which pairs (a, b) of architectures count
KINDS: Mapping[str, Callable[[str, str], bool]] = {
    "like": lambda a, b: a == b,
    "unlike": lambda a, b: a != b,
    "with pursuit": lambda a, b: a != b and PURSUIT in (a, b),
    "without pursuit": lambda a, b: a != b and PURSUIT not in (a, b),
}


def among(of: Quantity, kind: str) -> Quantity:
    """A number of pairs: mean over the pairs of architectures of a kind, each counted once."""
    counts = KINDS[kind]

    def of_world(values: Values) -> float:
        by_pair = values.by("sae", "sae_b")
        return defined_mean(value for (a, b), value in by_pair.items() if counts(a, b or a))

    return dataclasses.replace(
        of,
        name=f"{of.name} ({kind})",
        of_world=of_world,
        undefined=f"no pair is of the kind: {kind}",
    )


def of_pair(of: Quantity, a: str, b: str) -> Quantity:
    """A number of the pairs of two architectures, in the order in which these are trained."""
    return of.at(sae=a, sae_b=None if a == b else b)


def relative(condition: str) -> Quantity:
    """co_recovery of unlike pairs under a condition, relative to like pairs on one model."""
    return combined(
        lambda unlike, like: unlike / like - 1 if like else math.nan,
        among(CO_RECOVERY.at(condition=condition), "unlike"),
        among(CO_RECOVERY.at(condition=SAME), "like"),
        name=f"unlike over like, {condition}",
        title="co_recovery of unlike pairs / that of like pairs, less 1",
        undefined="like pairs find no more together than chance, or no pair is of a kind",
    )


UNLIKE = among(CO_RECOVERY.at(condition=SAME), "unlike").called(
    "co_recovery of pairs of different architectures on one model"
)
LIKE = among(CO_RECOVERY.at(condition=SAME), "like")
BY_MODELS = among(CO_RECOVERY.at(condition=OTHER), "like") - LIKE


def by_pursuit(of: Quantity) -> Quantity:
    """Pairs of matching pursuit with another, less the pairs of two others; one model."""
    one_model = of.at(condition=SAME)
    return among(one_model, "with pursuit") - among(one_model, "without pursuit")


# of single SAEs: those of the matrix have no setting
F1, MCC, EV, L0 = (
    number(metric, title=title, unit=metric)
    for metric, title in (
        ("f1", "F1"),
        ("mcc", "MCC"),
        ("explained_variance", "explained variance"),
        ("l0", "L0"),
    )
)
RANKED = (F1, MCC, EV)
PROBED = tuple(number(f"k{k}", PROBES, title=f"k = {k}", unit="F1") for k in (1, 5))
ALIKE = number("score", PW_MCC, title="PW-MCC", unit="cosine")
ALIKE_CHANCE = number("score", f"{PW_MCC}/chance", title="of random rows", unit="cosine")


def of_matrix(of: Quantity, sae: str | None = None) -> Quantity:
    """A number of an architecture (None: of all) at the width and L0 of the matrix."""
    return of.at(setting=None) if sae is None else of.at(setting=None, sae=sae)


def level(of: Quantity, variant: str) -> Quantity:
    """The chance level or ceiling of a metric, which all architectures share."""
    metric = of.needs[0].metric
    return number(metric, variant, title=of.title, unit=of.unit).at(setting=None)


def swapped(metric: str, encoder: str, title: str, sae: str = PURSUIT) -> Quantity:
    """A number of an architecture's dictionary under another encoder."""
    of = number(metric, "swapped", title=title, unit=metric)
    return of.at(condition=condition_of(encoder), sae=sae)


GAINED = swapped("f1", "linear", "F1 of its dictionary under a linear encoder") - of_matrix(
    F1, PURSUIT
)

# of the order of architectures, by setting
_NAMES = tuple(setting.name for setting in SETTINGS)
CHANGED = tuple(name for name in _NAMES if name != BASE)
Scores = dict[str, float]  # architecture -> score


def _by_setting(values: Values) -> dict[str, Scores]:
    settings: dict[str, Scores] = {}
    for (setting, sae), value in values.by("setting", "sae").items():
        settings.setdefault(setting, {})[sae] = value
    return settings


def kept_order(base: Scores, other: Scores) -> list[bool]:
    """For each pair of architectures that has both: is its order that of the base setting?"""
    both = [name for name in base if name in other]
    return [(base[a] > base[b]) == (other[a] > other[b]) for a, b in combinations(both, 2)]


def steady(of: Quantity, settings: tuple[str, ...] = CHANGED, *pair: str) -> Quantity:
    """Share of pairs (of one pair) and settings whose order is that of the world's base setting."""

    def of_world(values: Values) -> float:
        by_setting = _by_setting(values)
        base = by_setting.pop(BASE, {})
        return defined_mean(
            float(v) for other in by_setting.values() for v in kept_order(base, other)
        )

    where = {"sae": pair} if pair else {}
    return dataclasses.replace(
        of.at(setting=(BASE, *settings), **where),
        name=f"order by {of.name}: {', '.join((*settings, *pair))}",
        title=f"order by {of.title} kept",
        unit="share of pairs",
        of_world=of_world,
        undefined="no two architectures have scores at the base setting and at another",
    )


def ahead(of: Quantity, setting: str) -> Quantity:
    """Matching pursuit's score less the best other one's, at a setting."""

    def of_world(values: Values) -> float:
        scores = values.by("sae")
        others = [v for name, v in scores.items() if name != PURSUIT]
        return scores[PURSUIT] - max(others) if PURSUIT in scores and others else math.nan

    return _of_pursuit(of, (setting,), f"matching pursuit's {of.title} less the best", of_world)


def first(of: Quantity, setting: str) -> Quantity:
    """Does matching pursuit come first at a setting?"""

    def of_world(values: Values) -> float:
        scores = values.by("sae")
        return float(scores[PURSUIT] == max(scores.values())) if PURSUIT in scores else math.nan

    return _of_pursuit(of, (setting,), f"first in {of.title}", of_world, "share of worlds")


def last(of: Quantity) -> Quantity:
    """Share of settings at which matching pursuit comes last."""

    def of_world(values: Values) -> float:
        every = [s for s in _by_setting(values).values() if PURSUIT in s and len(s) > 1]
        return defined_mean(float(scores[PURSUIT] == min(scores.values())) for scores in every)

    title = f"settings at which matching pursuit is last in {of.title}"
    return _of_pursuit(of, _NAMES, title, of_world, "share of settings")


def _of_pursuit(
    of: Quantity,
    settings: tuple[str, ...],
    title: str,
    of_world: Callable[[Values], float],
    unit: str = "",
) -> Quantity:
    return dataclasses.replace(
        of.at(setting=settings),
        name=f"{title}: {', '.join(settings)}",
        title=title,
        unit=unit or of.unit,
        of_world=of_world,
        undefined="matching pursuit or whatever it is compared with has no score there",
    )


def _tau(alike: Values, true: Values) -> float:
    alike_by, true_by = alike.by("sae"), true.by("sae")
    both = [name for name in alike_by if name in true_by]
    if len(both) < 3:
        return math.nan
    tau = stats.kendalltau([alike_by[n] for n in both], [true_by[n] for n in both])
    return float(tau.statistic)


AGREEMENT = Quantity(
    "tau of PW-MCC with MCC",
    "Kendall's tau of PW-MCC with MCC",
    "tau",
    tuple(q.at(setting=WIDE).needs[0] for q in (ALIKE, MCC)),
    _tau,
    undefined="fewer than three architectures have both",
)


def less(of: Quantity, constant: float) -> Quantity:
    """A number less a constant, which a claim compares with 0."""
    return combined(
        lambda value: value - constant,
        of,
        name=f"{of.name} - {constant:g}",
        title=f"{of.title}, less {constant:g}",
    )
