"""What every published protocol says of the pairs of a family, with the truth beside it."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from synthsae_jax import keys
from synthsae_jax.matching import SideInputs, match_report
from synthsae_jax.numerics import firings, is_alive
from synthsae_jax.protocols import Context, ProtocolResult, protocols, run_protocol
from synthsae_jax.protocols.base import Reconstruct
from synthsae_jax.suite import pairs
from synthsae_jax.suite.base import Tick
from synthsae_jax.suite.study import Subject, read_latents
from synthsae_jax.worlds import Instance, World, see
from synthsae_jax.worlds.family import Family
from synthsae_jax.worlds.inputs import bare

Array = jax.Array
# read off the matching of a protocol
REPORTED = ("precision", "recall", "false_universality", "artefact_rate", "true_universality")


@dataclasses.dataclass(frozen=True)
class ProtocolPlan:
    """How much the protocols of a benchmark read and draw."""

    n_tokens: int  # codes are dense for them; whole blocks of 8,192 are drawn and cut
    draws: int  # of each null
    level_draws: int | None = None  # by which filters set their level; None: enough
    runs: int = 1  # of each condition: run r of A with run r of B


@dataclasses.dataclass(frozen=True)
class ProtocolScore:
    """One protocol on one pair: `numbers` by metric, NaN with its entry in `reasons`."""

    condition: str
    protocol: str
    run: int
    stated_use: bool
    numbers: Mapping[str, float]
    reasons: Mapping[str, str]
    chance: float  # mean of the first null that is about its own number
    tokens: int


def score_protocols(
    family: Family,
    subjects: Sequence[Sequence[Subject]],
    truth: np.ndarray,
    plan: ProtocolPlan,
    seed: int,
    tick: Tick,
    lost: np.ndarray | None = None,
) -> list[ProtocolScore]:
    """All registered protocols on the pairs of all conditions.

    `subjects[i][r]` is run r on member i, `truth` int [I, R, L] the default maps, `lost` bool
    [I, R] the runs that diverged: their pairs are left out. Tokens carry no labels here, so what a
    protocol does with token strings is left out (`notes` of its result).
    """
    found: list[ProtocolScore] = []
    total = len(family.conditions) * len(protocols)
    for i, condition in enumerate(family.conditions):
        world, b = family.registry(condition.coupling), family.partner(i)
        of_a, of_b = family.reference.present, b.present
        shared = float((of_a & of_b).sum() / of_a.sum())
        for r in range(min(plan.runs, len(subjects[0]))):
            if lost is not None and (lost[0, r] or lost[i + 1, r]):
                continue
            members = subjects[0][r], subjects[i + 1][r]
            side_a, side_b = sides = [_side(s, world, plan.n_tokens, seed) for s in members]
            context = _context(members, world, plan, seed)
            alive_a, alive_b = (np.asarray(is_alive(firings(s.latents))) for s in sides)
            for j, name in enumerate(protocols):
                tick((i * len(protocols) + j) / total, f"{condition.name}, {name}")
                key = jax.random.fold_in(keys.null_key(seed), j)
                result = run_protocol(
                    name, side_a, side_b, key=key, draws=plan.draws, context=context
                )
                report = None
                if result.matching is not None:
                    report = match_report(
                        result.matching,
                        truth[0, r],
                        truth[i + 1, r],
                        alive_a,
                        alive_b,
                        family.base,
                        of_a,
                        of_b,
                    )
                found.append(
                    ProtocolScore(
                        condition=condition.name,
                        protocol=name,
                        run=r,
                        stated_use=condition.same_space or not protocols[name].same_space,
                        numbers=_numbers(result, report, shared),
                        reasons=_reasons(result),
                        chance=_chance(result),
                        tokens=plan.n_tokens,
                    )
                )
    return found


def declares_share(protocol: str) -> bool:
    """Is the protocol's own number a share of latents that it calls shared?"""
    return protocols[protocol].primary == "shared"


def _numbers(
    result: ProtocolResult, report: Mapping[str, float] | None, shared: float
) -> dict[str, float]:
    numbers = {"protocol_number": result.value, "protocol_p": result.p()}
    if declares_share(result.protocol):
        numbers["declared_shared"] = result.value
        numbers["features_shared"] = shared
        numbers["sharing_error"] = abs(result.value - shared)
    if report is not None:
        numbers |= {name: report[name] for name in REPORTED}
    return numbers


def _reasons(result: ProtocolResult) -> dict[str, str]:
    own = result.reasons.get(result.primary, "")
    found = dict.fromkeys(REPORTED, "nothing was matched, or nothing could be")
    found |= dict.fromkeys(("protocol_number", "declared_shared", "sharing_error"), own)
    return {**found, "protocol_p": result.reasons.get("p", "") or own or "no null is about it"}


def _chance(result: ProtocolResult) -> float:
    means = (n.mean[result.primary] for n in result.nulls if result.primary in n.names)
    return next(means, math.nan)


def _side(subject: Subject, world: World, n: int, seed: int) -> SideInputs:
    codes = read_latents(subject, world, n, seed, "match")[:n].toarray()
    return SideInputs(latents=codes, decoder=subject.decoder, encoder=subject.encoder)


def _context(
    members: tuple[Subject, Subject], world: World, plan: ProtocolPlan, seed: int
) -> Context:
    rebuilt = [_rebuilds(s) for s in members]
    if any(r is None for r in rebuilt):
        return Context(level_draws=plan.level_draws)
    x = [_activations(s.instance, world, plan.n_tokens, seed) for s in members]
    return Context(
        activations=(x[0], x[1]),
        reconstruct=cast(tuple[Reconstruct, Reconstruct], tuple(rebuilt)),
        level_draws=plan.level_draws,
    )


def _rebuilds(subject: Subject) -> Reconstruct | None:
    """x -> x_hat; None for what encodes the truth instead of x."""
    if subject.encoder is None:
        return None
    return functools.partial(_rebuilt, subject.reconstruct, subject.run)


@functools.partial(jax.jit, static_argnums=0)
def _rebuilt(reconstruct: Any, run: Any, x: Array) -> Array:
    return reconstruct(run, None, x)[1]


def _activations(instance: Instance, world: World, n: int, seed: int) -> np.ndarray:
    """What the model's activations are on the first tokens of the match stream, [n, D]."""
    instance = bare(instance)
    blocks = [
        np.asarray(_seen(key, parents, instance))
        for key, parents in pairs.parent_codes(world, n, seed, "match")
    ]
    return np.concatenate(blocks)[:n]


@jax.jit
def _seen(key, parents, instance):
    batch = lambda given: see(jax.random.fold_in(key, given[0]), instance, given[1])[1]
    x = jax.lax.map(batch, (jnp.arange(parents.values.shape[0]), parents))
    return x.reshape(-1, x.shape[-1])
