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

from synthsae_jax.matching import SideInputs
from synthsae_jax.suite.match.inputs import Side
from synthsae_jax.suite.match.large import has_large_form, large_protocol
from synthsae_jax.suite.progress import Reporter
from synthsae_jax.suite.protocols import Context, ProtocolResult, protocols, run_protocol
from synthsae_jax.suite.protocols.run import run_recipe

# Scores of all pairs of latents are held at once up to here (32 MB), of which a dozen copies exist.
MOST_PAIRS = 1 << 23
# products of a latent, a latent and a token in one pass of a dense protocol: half a second
MOST_PRODUCTS = 1 << 34
MOST_DENSE_BYTES = 1 << 28  # dense codes, or activations, of one side
SECONDS = 60.0  # that the draws of one protocol may take, roughly
_PRODUCTS_PER_SECOND = 2e10
_ASSIGNED_PER_SECOND = 1e10  # L^3 of an assignment
_PAIRS_PER_SECOND = 2e7  # choosing candidates
_MEETINGS_PER_SECOND = 5e7  # two latents that fire on a token


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
    sides = whole = None
    memory: dict[Any, Any] = {}
    found = {}
    for i, name in enumerate(names):
        report(i / len(names), name)
        protocol = protocols[name]
        by_codes = "latents" in protocol.needs
        if protocol.same_space and not one_space:
            found[name] = _not_run(protocol, why_not)
            continue
        cut = by_codes and tokens is not None and a.codes is not None and tokens.size < n_tokens(a)
        # the same key for all: they share what they have in common
        key = jax.random.key(seed)
        if (n_pairs > MOST_PAIRS or cut) and has_large_form(name):
            whole = whole or (_sparse(a), _sparse(b))
            allowed = _large_draws(draws, a, b, by_codes)
            recipe = large_protocol(name, memory)
            result = run_recipe(name, recipe, *whole, key=key, draws=allowed)
            used = n_tokens(a) if by_codes and a.codes is not None else None
            found[name] = result_record(result, allowed, used, "candidates")
            continue
        if n_pairs > MOST_PAIRS:
            why = (
                f"{a.loaded.d_sae} x {b.loaded.d_sae} latents are more than {MOST_PAIRS} pairs, "
                "and it has no form for so many"
            )
            found[name] = _not_run(protocol, why)
            continue
        if sides is None:
            sides = _dense(a, b, tokens, of_acts)
        made, context = sides
        allowed = _draws(draws, a, b, 0 if tokens is None else tokens.size, by_codes)
        result = run_protocol(name, *made, key=key, draws=allowed, context=context)
        seen = tokens if by_codes else of_acts if "activations" in protocol.needs else None
        used = None if seen is None else seen.size
        found[name] = result_record(result, allowed, used, "all pairs")
    return found


def n_tokens(side: Side) -> int:
    """Tokens the side has codes on."""
    assert side.codes is not None
    return side.codes.shape[0]


def result_record(
    result: ProtocolResult, draws: int, tokens: int | None, route: str
) -> dict[str, Any]:
    """A protocol's result as columns of the record."""
    m = result.matching
    return {
        "version": result.version,
        "primary": result.primary,
        "value": result.value,
        "numbers": dict(result.numbers),
        "reasons": dict(result.reasons),
        "matched": None if m is None else int(np.asarray(m.valid).sum()),
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
        "draws": draws,
        "log": [str(line) for line in result.log],
        "notes": list(result.notes),
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


def _draws(draws: int, a: Side, b: Side, tokens: int, by_codes: bool) -> int:
    """As many draws as were asked for, or as fit into the time; not fewer than two."""
    if draws == 0:
        return 0
    wide = a.loaded.d_sae * b.loaded.d_sae
    seconds = 0.02 + min(a.loaded.d_sae, b.loaded.d_sae) * wide / _ASSIGNED_PER_SECOND
    if by_codes:
        seconds += tokens * wide / _PRODUCTS_PER_SECOND
    return max(2, min(draws, int(SECONDS / seconds)))


def _large_draws(draws: int, a: Side, b: Side, by_codes: bool) -> int:
    """As `_draws`, from how often latents meet, or from the products of directions."""
    if draws == 0:
        return 0
    pairs = a.loaded.d_sae * b.loaded.d_sae
    seconds = pairs / _PAIRS_PER_SECOND
    if by_codes and a.codes is not None and b.codes is not None:
        met = np.diff(a.codes.indptr).astype(np.float64) @ np.diff(b.codes.indptr)
        seconds += float(met) / _MEETINGS_PER_SECOND
    elif not by_codes:
        seconds += pairs * a.loaded.d_in / _PRODUCTS_PER_SECOND
    return max(2, min(draws, int(SECONDS / seconds)))


def summary(found: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One line per protocol: its own number, the mean of its first null about it, and p."""
    lines = []
    for name, one in found.items():
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
