"""The quantities of overfitting@1: fit, sharing and artefacts by architecture and multiple."""

from __future__ import annotations

import math
from collections.abc import Callable

from synthsae_jax.experiments.overfitting.setting import (
    BATCHTOPK,
    CORRELATION,
    FOUR_TIMES,
    FRESH,
    ONCE,
    PURSUIT,
    SAME,
    TWICE,
)
from synthsae_jax.suite.agreement import MATCHED
from synthsae_jax.suite.encoders import VARIANT, condition_of
from synthsae_jax.suite.needs import Values
from synthsae_jax.suite.pair import TRUTH
from synthsae_jax.suite.quantity import Quantity, combined, number

_LATENTS, _ARTEFACTS = "share of latents", "share of artefacts"

EXPLAINED = number("explained_variance", title="explained variance", unit="variance")
F1 = number("f1", title="F1", unit="score")
TRULY_SHARED = number("true_universality", TRUTH, title="truly shared", unit=_LATENTS)
LENIENT = number(
    "true_universality_most", TRUTH, title="truly shared, most lenient truth", unit=_LATENTS
)
PRECISION = number("precision", CORRELATION, title="precision of r > .1", unit="share of pairs")
UNMATCHED = number(
    "unmatched_artefacts", MATCHED, title="artefacts among unmatched", unit="share of unmatched"
)
ARTEFACTS = number("shared_artefacts", MATCHED, title="shared artefacts", unit=_ARTEFACTS)
LEAST, MOST = (
    number(f"shared_artefacts_{end}", MATCHED, title=f"{end} over truths", unit=_ARTEFACTS)
    for end in ("least", "most")
)
RATE = number(
    "shared_artefact_rate", MATCHED, title="artefact pairs among matches", unit="share of pairs"
)
FRESHLY = tuple(q.at(condition=FRESH) for q in (TRULY_SHARED, PRECISION, UNMATCHED))


def excess(sae: str | None = None, k: float | None = TWICE) -> Quantity:
    """Shared artefacts on the same dictionary less on a fresh one; None: of any."""
    where = {name: value for name, value in (("sae", sae), ("k", k)) if value is not None}
    same, fresh = (ARTEFACTS.at(condition=c, **where) for c in (SAME, FRESH))
    return (same - fresh).called("what is shared of artefacts, same less fresh dictionary")


def grown(of: Quantity) -> Quantity:
    """What a number gains from the target L0 to four times as much."""
    return (of.at(k=FOUR_TIMES) - of.at(k=ONCE)).called(of.title)


LEAD = (EXPLAINED.at(sae=PURSUIT) - EXPLAINED.at(sae=BATCHTOPK)).called(
    "explained variance beyond BatchTopK's"
)


def equal_ev(of: Quantity, k: float) -> Quantity:
    """A number of BatchTopK at the multiple whose explained variance is nearest the pursuit's.

    `of` is a plain number of fresh pairs or of single SAEs; the pursuit has multiple `k`.
    """
    return _at_equal_ev(k, of.at(sae=BATCHTOPK), of.title, _at_nearest)


def multiple_at_equal_ev(k: float) -> Quantity:
    """The multiple of the grid that it is."""
    return _at_equal_ev(k, EXPLAINED.at(sae=BATCHTOPK), "multiple of the target L0", _nearest)


def _at_equal_ev(k: float, of: Quantity, title: str, of_world: Callable[..., float]) -> Quantity:
    parts = EXPLAINED.at(sae=PURSUIT, k=k), EXPLAINED.at(sae=BATCHTOPK), of
    return Quantity(
        name=f"{title} at the explained variance of k x {k:g}",
        title=title,
        unit="" if of_world is _nearest else of.unit,
        needs=tuple(need for part in parts for need in part.needs),
        of_world=of_world,
        undefined="an SAE of equal explained variance has none",
    )


def _nearest(pursuit: Values, grid: Values, of: Values) -> float:
    aim, by_k = pursuit.mean(), grid.by("k")
    if math.isnan(aim) or not by_k:
        return math.nan
    return min(by_k, key=lambda k: abs(by_k[k] - aim))


def _at_nearest(pursuit: Values, grid: Values, of: Values) -> float:
    return of.by("k").get(_nearest(pursuit, grid, of), math.nan)


def swapped(metric: str, sae: str, encoder: str, title: str = "", unit: str = "") -> Quantity:
    """A number of an SAE's dictionary under another encoder."""
    of = number(metric, VARIANT, title=title, unit=unit)
    return of.at(sae=sae, condition=condition_of(encoder))


def less_one(of: Quantity) -> Quantity:
    """What is lost of 1."""
    return combined(lambda value: value - 1, of, name=f"{of.name} - 1", title=of.title)
