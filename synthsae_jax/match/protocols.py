"""The published protocols on two SAEs of any size: which can be run, on how much, and what it says.

Small SAEs go through `run_protocol` with all their latents and, as far as memory allows, all their
tokens. Large ones go through forms of the same protocols that read candidates (`match.large`).
Whatever was cut (tokens, draws, a protocol left out) stands in the record.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from synthsae_jax.match.budget import Plan, plan_draws
from synthsae_jax.match.inputs import Side
from synthsae_jax.match.large import has_large_form, large_protocol, shared_evidence
from synthsae_jax.matching import SideInputs
from synthsae_jax.protocols import Context, ProtocolResult, protocols, run_protocol
from synthsae_jax.protocols.many_points import cut as cut_points
from synthsae_jax.protocols.reads import DecoderMeasures
from synthsae_jax.protocols.run import run_recipe
from synthsae_jax.suite.progress import Reporter

# Scores of all pairs of latents are held at once up to here (32 MB), of which a dozen copies exist.
MOST_PAIRS = 1 << 23
# products of a latent, a latent and a token in one pass of a dense protocol: half a second
MOST_PRODUCTS = 1 << 34
MOST_DENSE_BYTES = 1 << 28  # dense codes, or activations, of one side


def run_protocols(
    names: Sequence[str],
    a: Side,
    b: Side,
    *,
    one_space: bool,
    why_not: str,
    draws: int,
    seed: int,
    report: Reporter,
) -> dict[str, Any]:
    """What each named protocol says of two SAEs, as columns of the record."""
    n_pairs = a.loaded.d_sae * b.loaded.d_sae
    tokens, of_acts = _tokens(a, b, seed, True), _tokens(a, b, seed, False)
    cut = tokens is not None and tokens.size < n_tokens(a)
    of_all = lambda name: n_pairs <= MOST_PAIRS and not (cut and _by_codes(name))
    runs = [name for name in names if one_space or not protocols[name].same_space]
    large = [name for name in runs if has_large_form(name) and not of_all(name)]
    plans = plan_draws(runs, large, draws, a, b, 0 if tokens is None else tokens.size)
    shared = shared_evidence(large)
    sides = whole = None
    results = {}
    for i, name in enumerate(names):
        report(i / len(names), name)
        protocol = protocols[name]
        if name not in runs:
            results[name] = _not_run(protocol, why_not)
            continue
        # the same key for all: they share what they have in common
        key = jax.random.key(seed)
        plan = plans[name]
        if name in large:
            whole = whole or (_sparse(a), _sparse(b))
            recipe = large_protocol(name, shared)
            result = run_recipe(name, recipe, *whole, key=key, draws=plan.draws)
            used = n_tokens(a) if _by_codes(name) and a.codes is not None else None
            results[name] = result_record(result, plan, used, "candidates")
            continue
        if n_pairs > MOST_PAIRS:
            why = (
                f"{a.loaded.d_sae} x {b.loaded.d_sae} latents are more than {MOST_PAIRS} pairs, "
                "and it has no form for so many"
            )
            results[name] = _not_run(protocol, why)
            continue
        if sides is None:
            sides = _dense(a, b, tokens, of_acts)
        inputs, context = sides
        result = run_protocol(name, *inputs, key=key, draws=plan.draws, context=context)
        seen = tokens if _by_codes(name) else of_acts if "activations" in protocol.needs else None
        used = None if seen is None else seen.size
        results[name] = result_record(result, plan, used, "all pairs")
    return results


def _by_codes(name: str) -> bool:
    return "latents" in protocols[name].needs


def n_tokens(side: Side) -> int:
    """Tokens the side has codes on."""
    assert side.codes is not None
    return side.codes.shape[0]


def result_record(
    result: ProtocolResult, plan: Plan, tokens: int | None, route: str
) -> dict[str, Any]:
    """A protocol's result as columns of the record, with what was cut and why among its notes."""
    m = result.matching
    matched = 0 if m is None else int(np.asarray(m.valid).sum())
    protocol = protocols[result.protocol]
    why = plan.why if protocol.nulls else ""
    reads = (read for read in protocol.reads if isinstance(read, DecoderMeasures))
    measures = tuple(name for read in reads for name in read.names)
    reasons = dict(result.reasons)
    if why and plan.draws == 0:
        reasons["p"] = why
    return {
        "version": result.version,
        "primary": result.primary,
        "value": result.value,
        "numbers": dict(result.numbers),
        "reasons": reasons,
        "matched": None if m is None else matched,
        "tokens_used": tokens,
        "route": route,
        "nulls": [
            {
                "null": null.null,
                "published": null.published,
                "draws": int(np.max(null.judged.defined, initial=0)),
                "mean": null.mean,
                "p": null.p,
                "p_published": null.p_published,
            }
            for null in result.nulls
        ],
        "draws": plan.draws,
        "log": [str(line) for line in result.log],
        "notes": [*result.notes, *filter(None, (why, cut_points(measures, matched)))],
    }


def _not_run(protocol: Any, why: str) -> dict[str, Any]:
    return {
        "version": protocol.version,
        "primary": protocol.primary,
        "value": math.nan,
        "numbers": {protocol.primary: math.nan},
        "reasons": {protocol.primary: why, "p": why},
        "matched": None,
        "tokens_used": None,
        "route": "not run",
        "nulls": [],
        "draws": 0,
        "log": [],
        "notes": [],
    }


def _tokens(a: Side, b: Side, seed: int, pairs: bool) -> np.ndarray | None:
    """The tokens that dense protocols see, in order; None without tokens.

    With `pairs` as few as counting all pairs of latents on them takes, else what memory allows.
    """
    if a.codes is None:
        return None
    n, widest = n_tokens(a), max(a.loaded.d_sae, b.loaded.d_sae, a.loaded.d_in, b.loaded.d_in)
    at_once = MOST_DENSE_BYTES // (4 * widest)
    if pairs:
        at_once = min(at_once, MOST_PRODUCTS // (a.loaded.d_sae * b.loaded.d_sae))
    if n <= at_once:
        return np.arange(n)
    chosen = np.random.default_rng(seed).choice(n, max(int(at_once), 2), replace=False)
    return np.sort(chosen)


def _dense(
    a: Side, b: Side, tokens: np.ndarray | None, of_acts: np.ndarray | None
) -> tuple[tuple[SideInputs, SideInputs], Context]:
    def inputs(side: Side) -> SideInputs:
        latents = None
        if tokens is not None and side.codes is not None:
            latents = jnp.asarray(side.codes[tokens].toarray())
        encoder = side.loaded.encoder
        return SideInputs(
            latents=latents,
            decoder=jnp.asarray(side.loaded.decoder),
            encoder=None if encoder is None else jnp.asarray(encoder),
        )

    context = Context()
    if a.acts is not None and b.acts is not None:
        acts = tuple(np.asarray(x[of_acts], np.float32) for x in (a.acts, b.acts))
        context = Context(activations=acts, reconstruct=(_rebuilds(a), _rebuilds(b)))
    return (inputs(a), inputs(b)), context


def _sparse(side: Side) -> SideInputs:
    """The side with all its tokens, as a large form takes it."""
    codes: Any = side.codes
    return SideInputs(latents=codes, decoder=side.loaded.decoder, encoder=side.loaded.encoder)


def _rebuilds(side: Side) -> Any:
    sae, params = side.loaded.sae, side.loaded.params
    assert sae is not None
    return jax.jit(lambda x: sae.decode(params, sae.encode(params, x)))


def summary(results: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One line per protocol: its own number, the mean of its first null about it, and p."""
    lines = []
    for name, one in results.items():
        primary = one["primary"]
        null = next((n for n in one["nulls"] if primary in n["mean"]), None)
        lines.append(
            {
                "protocol": name,
                "number": primary,
                "value": one["value"],
                "null": null["null"] if null else None,
                "null_mean": null["mean"][primary] if null else None,
                "p": null["p"][primary] if null else None,
                "reason": one["reasons"].get(primary) or one["reasons"].get("p"),
            }
        )
    return lines
