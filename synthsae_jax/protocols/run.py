"""Running a protocol: its steps on two sides, then again under its nulls."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, cast

import jax
import numpy as np

from synthsae_jax.errors import require
from synthsae_jax.matching import Pipeline, SideInputs, nulls
from synthsae_jax.matching.pipeline import null_pairs
from synthsae_jax.matching.token_bins import with_token_bins
from synthsae_jax.modes import fixed
from synthsae_jax.numerics import firings, is_alive
from synthsae_jax.protocols.base import (
    NAN,
    Context,
    NullNumbers,
    NullStep,
    Numbers,
    Protocol,
    ProtocolResult,
    View,
    protocols,
)
from synthsae_jax.protocols.null_steps import judge, of_side

Array = jax.Array

# filters that read what tokens are about; without labels they do not act
LABELLED = ("stop_list", "stop_list_of_pairs", "shared_top_tokens")
# a null's pairs by which the levels of fdr are set, and how many of them make up one bin
_LEVEL_PAIRS, _PAIRS_PER_BIN, _MOST_BINS = 4000, 400, 10


@fixed
def run_protocol(
    name: str,
    a: SideInputs,
    b: SideInputs,
    *,
    key: Array,
    draws: int = 99,
    context: Context | None = None,
    more_nulls: tuple[str, ...] = (),
) -> ProtocolResult:
    """What the registered protocol says of SAEs A and B, with its nulls. On the host.

    `draws` per null (0: none; 999 for a p that is reported). `more_nulls`: names of
    `matching.nulls` under which the whole protocol is run as well. Deterministic in the key.
    What the inputs do not allow is NaN with a reason, not an error.
    """
    options: dict[str, Any] = {"key": key, "draws": draws, "context": context}
    return run_recipe(name, protocols[name], a, b, more_nulls=more_nulls, **options)


@fixed
def run_recipe(
    name: str,
    protocol: Protocol,
    a: SideInputs,
    b: SideInputs,
    *,
    key: Array,
    draws: int = 99,
    context: Context | None = None,
    more_nulls: tuple[str, ...] = (),
) -> ProtocolResult:
    """`run_protocol` for a protocol that is not, or not in this form, in the registry."""
    context = context or Context()
    require(draws == 0 or draws > 1, f"a null needs more than one draw, or 0; given {draws}.")
    steps = (*protocol.nulls, *(of_side(n) for n in more_nulls))
    for n in more_nulls:
        nulls[n]  # an unknown name is the caller's mistake, also where nothing can be run
    lacks = _lacks(protocol, a, b, context)
    if lacks:
        reasons = {protocol.primary: lacks, "p": lacks}
        empty = {protocol.primary: NAN}
        version = protocol.version
        return ProtocolResult(name, version, protocol.primary, empty, reasons, None, (), (), ())
    # Draws that set a level must not be among those that it is judged by.
    key_level, key_nulls = jax.random.split(key)
    pipeline, notes = _prepared(protocol, a, b, context, key_level)
    view = observe(protocol, pipeline, a, b, context)
    read = _read(protocol, view)
    numbers = {n: value for n, (value, _) in read.items()}
    reasons = {n: why or "undefined" for n, (value, why) in read.items() if math.isnan(value)}
    possible, left_out = _possible(steps, b, context)
    notes += left_out
    judged: list[NullNumbers] = []
    again = lambda a, b: _read(protocol, observe(protocol, pipeline, a, b, context))
    for i, step in enumerate(possible if draws else ()):
        step_key = jax.random.fold_in(key_nulls, i)
        judged.append(judge(step, view, numbers, (a, b), again, step_key, draws))
    if not judged:
        reasons["p"] = "no draws were asked for" if possible else "the protocol has no null"
    return ProtocolResult(
        protocol=name,
        version=protocol.version,
        primary=protocol.primary,
        numbers=numbers,
        reasons=reasons,
        matching=view.result.matching,
        log=view.result.log,
        notes=notes,
        nulls=tuple(judged),
    )


def observe(
    protocol: Protocol, pipeline: Pipeline, a: SideInputs, b: SideInputs, context: Context
) -> View:
    """The matching of one pair of sides."""
    sides = protocol.sides(a, b, context)
    result = pipeline.run(*sides)
    n_a, n_b = result.evidence.s.shape
    return View(*sides, context, pipeline, result, (_alive(a, n_a), _alive(b, n_b)))


def _read(protocol: Protocol, view: View) -> Numbers:
    return {name: number for read in protocol.reads for name, number in read(view).items()}


def _alive(side: SideInputs, n: int) -> np.ndarray:
    if side.latents is None:
        return np.ones(n, bool)
    return np.asarray(is_alive(firings(side.latents)))


def _lacks(protocol: Protocol, a: SideInputs, b: SideInputs, context: Context) -> str:
    """Why the protocol can't be run on these inputs, in one line; empty where it can."""
    for need in protocol.needs:
        if need == "activations":
            if context.activations is None:
                return "needs activations of both models on paired tokens"
        elif getattr(a, need) is None or getattr(b, need) is None:
            return f"needs {need} of both sides"
    widths = {np.asarray(side.decoder).shape[1] for side in (a, b) if protocol.same_space}
    if len(widths) > 1:
        return "directions live in spaces of unlike width: align one side first"
    return ""


def _possible(
    steps: tuple[NullStep, ...], b: SideInputs, context: Context
) -> tuple[list[NullStep], tuple[str, ...]]:
    """The nulls there are inputs for, and a note on each of the others."""
    possible, notes = [], []
    for step in steps:
        if step.stand_ins and step.name not in (b.stand_ins or {}):
            notes.append(f"{step.name}: not run, B brings no stand-ins for it")
        elif step.groups and (context.labels is None or not context.groups):
            notes.append(f"{step.name}: not run, no labels of tokens and groups of them")
        else:
            possible.append(step)
    return possible, tuple(notes)


def _prepared(
    protocol: Protocol, a: SideInputs, b: SideInputs, context: Context, key: Array
) -> tuple[Pipeline, tuple[str, ...]]:
    """The pipeline with what its filters take from the data, and notes on what is left out."""
    filters, notes = [], []
    for name, options in protocol.pipeline.filters:
        if name in LABELLED:
            stops = name != "shared_top_tokens"
            if context.labels is None or (stops and not context.stop):
                what = "labels of tokens and a list to stop at" if stops else "labels of tokens"
                notes.append(f"{name}: not applied, no {what}")
                continue
            extra: Mapping[str, Any] = {"labels": np.asarray(context.labels)}
            options = {**options, **extra, **({"stop": context.stop} if stops else {})}
        filters.append((name, options))
    pipeline = dataclasses.replace(protocol.pipeline, filters=tuple(filters))
    if protocol.level_null is not None:
        pipeline = _levelled(pipeline, *protocol.sides(a, b, context), protocol, context, key)
    return pipeline, tuple(notes)


def _levelled(
    pipeline: Pipeline,
    a: SideInputs,
    b: SideInputs,
    protocol: Protocol,
    context: Context,
    key: Array,
) -> Pipeline:
    """The pipeline with the null's pairs in its `fdr` filter.

    Chance pairs of about `_LEVEL_PAIRS`: enough draws that a p-value can be small, at most 100.
    """
    width = min(np.shape(cast(Any, side.latents))[1] for side in (a, b))
    # Twice: of two unrelated sides about half of the latents are mutual nearest.
    draws = context.level_draws or int(np.clip(math.ceil(2 * _LEVEL_PAIRS / width), 1, 100))
    binned = with_token_bins(a, b) if b.token_bins is None else (a, b)
    keys = jax.random.split(key, draws)
    assert protocol.level_null is not None
    level = null_pairs(pipeline, *binned, protocol.level_null, keys)
    if level["null_scores"].size == 0:
        # nothing is found in noise: no pair can be told from it, and the filter needs an entry
        level = {"null_scores": np.full(1, np.inf), "null_firings": np.ones(1)}
    bins = int(np.clip(level["null_scores"].size // _PAIRS_PER_BIN, 1, _MOST_BINS))
    filters = tuple(
        (name, {**options, **level, "bins": bins} if name == "fdr" else options)
        for name, options in pipeline.filters
    )
    return dataclasses.replace(pipeline, filters=filters)
