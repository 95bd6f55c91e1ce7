"""How many draws each protocol's nulls get: as many as were asked for, or as fit into minutes.

A null runs a protocol again for every draw. What that takes follows from the sizes of the two SAEs
and from how often their latents meet, so the number of draws does too, and not from the clock: the
same inputs get the same draws on any machine. Rates are those of two cores of 2024.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from synthsae_jax.match.inputs import Side
from synthsae_jax.matching import nulls
from synthsae_jax.protocols import protocols
from synthsae_jax.protocols.many_points import MOST_POINTS
from synthsae_jax.protocols.reads import centred_assignment

SECONDS = 360.0  # that all protocols on two SAEs may take, roughly
# of these, what goes to draws of large SAEs: of codes, of directions, of partners dealt out anew
_SHARES = {"codes": 180.0, "rows": 140.0, "pairs": 40.0}
# all pairs at once
_PRODUCTS_PER_SECOND = 2e10
_ASSIGNED_PER_SECOND = 1e10  # L^3 of an assignment
# candidates
_PAIRS_PER_SECOND = 4e7  # scored, and the best of them chosen
_MEETINGS_PER_SECOND = 5e7  # two latents that fire on a token
_COSINES_PER_SECOND = 5e10  # products of a latent, a latent and a dimension
_ASSIGNED_PAIRS_PER_SECOND = 4e7  # L^2 of an assignment among candidates
_MEASURED_PER_SECOND = 1e10  # products of a pair and two dimensions
_COMPARED_PER_SECOND = 2e7  # two pairs of latents, for their distance


@dataclasses.dataclass(frozen=True)
class Plan:
    """Draws of one protocol's nulls, and why they are fewer than asked for (else "")."""

    draws: int
    why: str = ""


def plan_draws(
    names: Sequence[str], large: Collection[str], draws: int, a: Side, b: Side, tokens: int
) -> dict[str, Plan]:
    """The draws of each protocol; those in `large` read candidates, others `tokens` tokens."""
    kinds = {name: _kind(name) for name in names if name in large}
    total = sum(_SHARES[kind] for kind in set(kinds.values()))
    plans = {}
    for name in names:
        if name in kinds:
            kind = kinds[name]
            seconds = SECONDS * _SHARES[kind] / total
            alike = [n for n, k in kinds.items() if k == kind]
            first, each = _large_seconds(kind, alike, a, b)
        else:
            seconds, first, each = SECONDS / len(names), 0.0, _seconds(name, a, b, tokens)
        plans[name] = _plan(draws, seconds, first, each, a, b)
    return plans


def _plan(draws: int, seconds: float, first: float, each: float, a: Side, b: Side) -> Plan:
    """At least two draws where they take no more than twice the time, else none."""
    possible = int((seconds - first) / each)
    # one draw has no spread
    if possible < 2:
        possible = 2 if first + 2 * each <= 2 * seconds else 0
    if possible >= draws:
        return Plan(draws)
    widths = f"{a.loaded.d_sae:,} x {b.loaded.d_sae:,} latents"
    on = "" if a.codes is None else f" and {a.codes.shape[0]:,} tokens"
    why = (
        f"{possible} of {draws} draws: at {widths}{on} each takes about {each:.1f} s on two cores, "
        f"and these nulls have {seconds:.0f} s"
    )
    return Plan(possible, why)


def _kind(name: str) -> str:
    """What a draw of a protocol's nulls runs again."""
    protocol = protocols[name]
    if "latents" not in protocol.needs:
        return "rows"
    whole = any(step.name in nulls and not step.stand_ins for step in protocol.nulls)
    return "codes" if whole else "pairs"


def _seconds(name: str, a: Side, b: Side, tokens: int) -> float:
    """What one draw takes with the scores of all pairs at hand."""
    wide = a.loaded.d_sae * b.loaded.d_sae
    seconds = 0.02 + min(a.loaded.d_sae, b.loaded.d_sae) * wide / _ASSIGNED_PER_SECOND
    if "latents" in protocols[name].needs:
        seconds += tokens * wide / _PRODUCTS_PER_SECOND
    return seconds


def _large_seconds(kind: str, names: Sequence[str], a: Side, b: Side) -> tuple[float, float]:
    """What is run before any draw, and what each draw takes, for protocols that share draws."""
    pairs = float(a.loaded.d_sae) * b.loaded.d_sae
    if kind == "rows":
        each = pairs * a.loaded.d_in / _COSINES_PER_SECOND
        each += pairs / _PAIRS_PER_SECOND + pairs / _ASSIGNED_PAIRS_PER_SECOND
        each *= _evidence_of_rows(names)
        return each, each
    if kind == "pairs":
        return 0.0, _measured_seconds(a, b)
    each = pairs / _PAIRS_PER_SECOND + _meetings(a, b) / _MEETINGS_PER_SECOND
    # what is observed, and the draw that sets levels
    first = 2 * each
    measured = any(_reads_rows(name) for name in names)
    return first, each + (_measured_seconds(a, b) if measured else 0.0)


def _evidence_of_rows(names: Sequence[str]) -> int:
    """How many kinds of cosines these protocols match by: each is found and assigned once."""
    kinds = set()
    for name in names:
        protocol = protocols[name]
        kinds.add("size" if protocol.pipeline.score_options.get("absolute") else "decoder")
        kinds |= {"encoder"} & set(protocol.needs)
        kinds |= {"centred"} if centred_assignment in protocol.reads else set()
    return len(kinds)


def _reads_rows(name: str) -> bool:
    return "decoder" in protocols[name].needs


def _measured_seconds(a: Side, b: Side) -> float:
    """Measures of the decoder rows of as many pairs as there can be."""
    most = min(a.loaded.d_sae, b.loaded.d_sae)
    seconds = 0.02 + most * a.loaded.d_in * b.loaded.d_in / _MEASURED_PER_SECOND
    return seconds + min(most, MOST_POINTS) ** 2 / _COMPARED_PER_SECOND


def _meetings(a: Side, b: Side) -> float:
    if a.codes is None or b.codes is None:
        return 0.0
    per_token: Any = [np.diff(side.codes.indptr).astype(np.float64) for side in (a, b)]
    return float(per_token[0] @ per_token[1])
