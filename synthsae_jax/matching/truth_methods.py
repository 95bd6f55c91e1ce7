"""Ways to say which true feature a latent tracks: each names a candidate and how sure it is.

A part (`TruthPart`) looks at one kind of evidence. A method is one part, or several that must name
the same feature. Finding the candidates is the costly step and knows no threshold; deciding is
cheap, so that all methods are read off at all thresholds from one set of counts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import beta

from synthsae_jax.errors import require
from synthsae_jax.matching.moments import CoMoments
from synthsae_jax.matching.truth_causal import CausalCounts
from synthsae_jax.matching.truth_counts import TruthCounts
from synthsae_jax.numerics import cosine_matrix, row_norms
from synthsae_jax.registry import Explanation, Registry

Array = jax.Array


class TruthInputs(NamedTuple):
    """What a method may look at; all about the same SAE and the same features."""

    W_dec: Array  # [L, D]
    features: Array  # [F, D]
    present: Array  # bool [F]
    counts: TruthCounts
    moments: CoMoments | None = None  # of latents (a) and feature activations (b)
    feature_correlation: Array | None = None  # [F, F]: Pearson, of the activations
    causal: CausalCounts | None = None
    with_child: TruthCounts | None = None  # of features while one of their children is on


class TruthRule(NamedTuple):
    """All thresholds of all methods; numbers may be traced."""

    cosine: float | Array = 0.7  # geometric: least signed cosine
    margin: float | Array = 0.1  # geometric: least lead over the second cosine
    f1: float | Array = 0.5  # functional: least F1
    r2: float | Array = 0.5  # code: least explained variance
    purity: float | Array = 0.5  # code: least share of it that is the feature's own
    switch: float | Array = 0.5  # causal: least change of the firing rate

    def at(self, threshold: float) -> TruthRule:
        """This rule with every method's first threshold at one number; margin, purity stay."""
        return self._replace(cosine=threshold, f1=threshold, r2=threshold, switch=threshold)


class Candidate(NamedTuple):
    """The best feature of each latent by one kind of evidence; NaN is never sure enough."""

    feature: Array  # int32 [L]
    strength: Array  # float32 [L]: held against the part's first threshold
    clear: Array | None = None  # float32 [L]: held against its second


@dataclasses.dataclass(frozen=True)
class TruthPart:
    """One kind of evidence: how candidates are found, and which thresholds they must reach."""

    find: Callable[[TruthInputs], Candidate]
    strength: str  # field of `TruthRule`
    clear: str | None = None
    needs: tuple[str, ...] = ()  # fields of `TruthInputs` that may be missing and must not


truth_parts: Registry[TruthPart] = Registry("truth evidence")
# name -> names of the parts that have to agree
truth_methods: Registry[tuple[str, ...]] = Registry("truth method")


def register_truth(
    name: str,
    explanation: Explanation,
    *,
    strength: str,
    clear: str | None = None,
    needs: tuple[str, ...] = (),
) -> Callable[[Callable[[TruthInputs], Candidate]], Callable[[TruthInputs], Candidate]]:
    """Decorator of a function that finds candidates: a part, and the method of that part alone."""

    def add(find: Callable[[TruthInputs], Candidate]):
        truth_parts.register(name)(TruthPart(find, strength, clear, needs))
        truth_methods.register(name, explanation)((name,))
        return find

    return add


def find_candidates(inputs: TruthInputs, methods: Iterable[str]) -> dict[str, Candidate]:
    """The candidates of every part that these methods need, each found once."""
    methods = tuple(methods)
    for method in methods:
        lacking = missing_inputs(method, inputs)
        require(not lacking, f"truth method {method!r} needs {' and '.join(lacking)}.")
    needed = dict.fromkeys(part for method in methods for part in truth_methods[method])
    return {name: truth_parts[name].find(inputs) for name in needed}


def needed_inputs(method: str) -> list[str]:
    """Names of the inputs beyond directions and firing counts that a method needs."""
    return [name for part in truth_methods[method] for name in truth_parts[part].needs]


def missing_inputs(method: str, inputs: TruthInputs) -> list[str]:
    """Names of the inputs that a method needs and that are not there."""
    return [name for name in needed_inputs(method) if getattr(inputs, name) is None]


def decide(
    method: str, candidates: dict[str, Candidate], rule: TruthRule, inputs: TruthInputs
) -> Array:
    """The truth map int32 `[L]`: the candidate that all parts of a method name and accept."""
    maps = [_accept(truth_parts[part], candidates[part], rule) for part in truth_methods[method]]
    agreed = maps[0]
    for other in maps[1:]:
        agreed = jnp.where(agreed == other, agreed, -1)
    return jnp.where(inputs.counts.alive, agreed, -1)


def _accept(part: TruthPart, candidate: Candidate, rule: TruthRule) -> Array:
    # comparisons with NaN are false, so a diverged latent is attributed to nothing
    sure = candidate.strength >= getattr(rule, part.strength)
    if part.clear is not None and candidate.clear is not None:
        sure &= candidate.clear >= getattr(rule, part.clear)
    return jnp.where(sure, candidate.feature, -1).astype(jnp.int32)


@register_truth(
    "geometric",
    Explanation(
        what="The feature whose direction the decoder row is nearest to, with a lead over the "
        "runner-up.",
        formula="argmax_g cos(w_i, d_g), if that is >= cosine and >= margin above the second",
        range="signed: a negated direction is another one",
        chance="see geometric_chance: the largest cosine with F random directions",
        undefined="none where the latent is dead or its row not finite",
    ),
    strength="cosine",
    clear="margin",
)
def _geometric(inputs: TruthInputs) -> Candidate:
    similarity = cosine_matrix(inputs.W_dec, inputs.features)
    similarity = jnp.where(inputs.present[None, :], similarity, -jnp.inf)
    best = jnp.argmax(similarity, axis=1).astype(jnp.int32)
    is_best = jnp.arange(similarity.shape[1])[None, :] == best[:, None]
    first = jnp.max(similarity, axis=1)
    # a feature without a rival leads it by infinity
    second = jnp.max(jnp.where(is_best, -jnp.inf, similarity), axis=1)
    return Candidate(best, first, first - second)


@register_truth(
    "functional",
    Explanation(
        what="The feature whose firing the latent's firing detects best; ties to the lower id.",
        formula="argmax_g 2 n_ig / (n_i + n_g), if that is >= f1",
        undefined="none where the latent is dead",
    ),
    strength="f1",
)
def _functional(inputs: TruthInputs) -> Candidate:
    detection = jnp.where(inputs.present[None, :], inputs.counts.f1(), -1.0)
    best = jnp.argmax(detection, axis=1).astype(jnp.int32)
    first = jnp.max(detection, axis=1)
    # a threshold of 0 would attribute latents that never fire with anything
    return Candidate(best, jnp.where(first > 0, first, jnp.nan))


@register_truth(
    "causal",
    Explanation(
        what="One feature at a time is switched in the codes; it belongs to the latent that "
        "responds most, if that latent switches with it. A latent that leads several has the one "
        "it responds to most. Of exact duplicates only the first leads.",
        formula="i*(g) = argmax_i |w_i| E[f_i(g on) - f_i(g off)]; tau(i*) = g, if "
        "P(f_i > 0 | g on) - P(f_i > 0 | g off) >= switch",
        chance="0: an unrelated latent does not change on average",
        undefined="none where the latent is dead, or leads no feature",
    ),
    strength="switch",
    needs=("causal",),
)
def _causal(inputs: TruthInputs) -> Candidate:
    causal = cast(CausalCounts, inputs.causal)
    require(
        causal.response.shape == inputs.counts.joint.shape,
        "causal counts must be of the same L latents and F features as the others; given "
        f"{causal.response.shape} and {inputs.counts.joint.shape}.",
    )
    toggled = inputs.present & (causal.n > 0)
    times = jnp.maximum(causal.n, 1)[None, :]
    # in units of the model's activations: a latent's own scale is a matter of convention
    size = row_norms(inputs.W_dec)[:, None]
    response = jnp.where(toggled[None, :], size * causal.response / times, -jnp.inf)
    # a diverged latent must not lead everything
    response = jnp.where(jnp.isfinite(response), response, -jnp.inf)
    leader = jnp.argmax(response, axis=0)
    leads = jnp.arange(response.shape[0])[:, None] == leader[None, :]
    led_response = jnp.where(leads & (response > 0), response, -jnp.inf)
    best = jnp.argmax(led_response, axis=1).astype(jnp.int32)
    rate = jnp.take_along_axis(causal.switched / times, best[:, None], axis=1)[:, 0]
    return Candidate(best, jnp.where(jnp.isfinite(jnp.max(led_response, axis=1)), rate, jnp.nan))


truth_methods.register(
    "agree",
    Explanation(
        what="The feature that the geometric and the functional method both name: the default.",
        formula="tau_geometric(i) where it equals tau_functional(i), else none",
        undefined="none where either says none",
    ),
)(("geometric", "functional"))


def geometric_chance(n_features: int, dim: int) -> tuple[float, float]:
    """Mean and sd of the largest cosine of a random row with F random directions in R^D.

    A cosine c has (1 + c)/2 ~ Beta((D-1)/2, (D-1)/2), and the largest of F independent ones has
    its quantiles at u^(1/F). A threshold less than 5 sd above the mean names features by chance.
    """
    require(
        n_features >= 1 and dim >= 2,
        f"geometric_chance needs F >= 1 and D >= 2; given {n_features} and {dim}.",
    )
    # Midpoints of equal probability: mean and sd by quantiles, without a density that peaks ever
    # more sharply as F grows.
    levels = (np.arange(4096) + 0.5) / 4096
    half = (dim - 1) / 2
    # the upper tail, since u^(1/F) next to 1 has no digits left
    largest = 2 * beta.isf(-np.expm1(np.log(levels) / n_features), half, half) - 1
    return float(largest.mean()), float(largest.std())
