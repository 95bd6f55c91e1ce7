"""Rows of the tidy table for the pairs of a family: a rule's or a protocol's word and the truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from synthsae_jax.io.rows import Row, make_row
from synthsae_jax.matching.truth_sweep import Band
from synthsae_jax.suite import table
from synthsae_jax.suite.family_protocols import ProtocolScore
from synthsae_jax.suite.sharing import PairScore

PAIR_METRICS = (
    "precision",
    "recall",
    "f1",
    "false_universality",
    "artefact_rate",
    "missed_universality",
    "observed_universality",
    "true_universality",
    "metric_bias",
    "shared_recovery",
    "shared_recovery_chance",
)


def pair_rows(
    shared: table.Shared,
    scores: Sequence[PairScore],
    sae: str,
    sides: Callable[[PairScore], tuple[Mapping[str, Any], Mapping[str, Any]]],
    **more: Any,
) -> list[Row]:
    """A row per pair, rule and metric. `sides(score)` are the columns of both runs."""
    rows = []
    for score in scores:
        a, b = sides(score)
        found = {
            "declared_shared": score.declared,
            "features_shared": score.features_shared,
            "sharing_error": abs(score.declared - score.features_shared),
            **banded(score.bands),
            "median_firings": score.median_firings,
            **{name: score.report[name] for name in PAIR_METRICS},
        }
        for metric, value in found.items():
            rows.append(
                make_row(
                    **shared.columns(),
                    **a,
                    **_second(b, score.condition),
                    metric=metric,
                    variant=score.rule,
                    n_eval=score.tokens,
                    factor_stated_use=score.stated_use,
                    **more,
                    **table.valued(value, reason="nothing was matched, or nothing could be"),
                )
            )
    return rows


def protocol_rows(
    shared: table.Shared,
    scores: Sequence[ProtocolScore],
    sides: Callable[[ProtocolScore], tuple[Mapping[str, Any], Mapping[str, Any]]],
) -> list[Row]:
    """A row per pair, protocol and metric; the null's mean is the level `<protocol>/chance`."""
    rows = []
    for score in scores:
        a, b = sides(score)
        columns = {
            **shared.columns(),
            **a,
            **_second(b, score.condition),
            "n_eval": score.tokens,
            "factor_stated_use": score.stated_use,
        }
        rows += [
            make_row(
                **columns,
                metric=metric,
                variant=score.protocol,
                **table.valued(value, reason=score.reasons.get(metric, "")),
            )
            for metric, value in score.numbers.items()
        ]
        rows.append(
            make_row(
                **columns,
                metric="protocol_number",
                variant=f"{score.protocol}/chance",
                **table.valued(score.chance, reason=score.reasons["protocol_p"]),
            )
        )
    return rows


def banded(bands: Mapping[str, Band]) -> dict[str, float]:
    """Both ends of each band, as metrics `<quantity>_least` and `<quantity>_most`."""
    return {
        f"{name}_{end}": value
        for name, band in bands.items()
        for end, value in (("least", band.lo), ("most", band.hi))
    }


def _second(b: Mapping[str, Any], condition: str) -> dict[str, Any]:
    """The columns of a pair's second run, and what the two runs share."""
    return {
        **{f"{name}_b": b[name] for name in table.PAIRED if name in b},
        "same_instance": False,
        "same_init": False,
        "same_data": False,
        "same_dictionary": condition == "identical",
        "condition": condition,
    }
