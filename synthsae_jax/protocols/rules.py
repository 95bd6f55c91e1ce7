"""Published rules for calling latents of two SAEs the same, each a function of what it reads."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from synthsae_jax import matching
from synthsae_jax.matching import Matching, PairCounts
from synthsae_jax.registry import Explanation, Registry
from synthsae_jax.worlds.family import Condition


@dataclasses.dataclass(frozen=True)
class PairView:
    """All that a rule may read about two SAEs; truth is not among it."""

    counts: PairCounts
    W_dec_a: np.ndarray  # [L_a, D]
    W_dec_b: np.ndarray  # [L_b, D]
    W_dec_b_aligned: np.ndarray  # [L_b, D_a]: rotated into A's space


@dataclasses.dataclass(frozen=True)
class Rule:
    """A rule: pairs it calls the same, and where its authors (or its logic) mean it to be used."""

    match: Callable[[PairView], Matching]
    stated_use: Callable[[Condition], bool]
    many_to_one: bool  # its share is of B's latents, not of the smaller side's


rules: Registry[Rule] = Registry("matching rule")


def matching_rule(
    name: str,
    explanation: Explanation,
    stated_use: Callable[[Condition], bool],
    many_to_one: bool = False,
):
    """Decorator: register `match(view) -> Matching` as a rule; see `Rule` for the rest."""

    def add(match: Callable[[PairView], Matching]) -> Callable[[PairView], Matching]:
        rules.register(name, explanation)(Rule(match, stated_use, many_to_one))
        return match

    return add


@matching_rule(
    "best_correlation_0.1",
    Explanation(
        what="Each latent of B goes to the latent of A it correlates best with, and is called "
        "shared where that correlation is above .1.",
        formula="max_i pearson(f_Ai, f_Bj) > .1",
        range="[0, 1] of B's living latents",
        chance="Far above 0 for rare latents on few tokens: best of many.",
        source="Lan et al., arXiv 2410.06981, without its filter of token strings",
    ),
    stated_use=lambda condition: True,
    many_to_one=True,
)
def best_correlation(view: PairView) -> Matching:
    """Many-to-one matching of B's latents by activation correlation."""
    scores = view.counts.score("activation_pearson")
    alive = {"alive_a": view.counts.alive_a, "alive_b": view.counts.alive_b}
    return matching.solve("argmax", scores, 0.1, **alive)


@matching_rule(
    "decoder_cosine_0.7_raw",
    Explanation(
        what="Optimal one-to-one assignment by decoder cosine; shared where it is at least .7.",
        formula="assignment of cos(w_Ai, w_Bj), kept where >= .7",
        range="[0, 1] of living latents",
        chance="0 in more than a few dozen dimensions",
        source="Paulo and Belrose, arXiv 2501.16615, decoder side; made for seeds of one model",
    ),
    stated_use=lambda condition: condition.same_space,
)
def raw_cosine(view: PairView) -> Matching:
    """One-to-one matching by decoder directions as they are."""
    return _by_cosine(view, view.W_dec_b)


@matching_rule(
    "decoder_cosine_0.7_aligned",
    Explanation(
        what="As decoder_cosine_0.7_raw, after a rotation fitted on paired activations maps B's "
        "space onto A's.",
        formula="assignment of cos(w_Ai, w_Bj R), kept where >= .7; R by Procrustes",
        range="[0, 1] of living latents",
        chance="0 in more than a few dozen dimensions",
        source="alignment as in arXiv 2605.24577; threshold of arXiv 2501.16615",
    ),
    stated_use=lambda condition: condition.alignable,
)
def aligned_cosine(view: PairView) -> Matching:
    """One-to-one matching by decoder directions after Procrustes alignment."""
    return _by_cosine(view, view.W_dec_b_aligned)


def _by_cosine(view: PairView, rows_b: np.ndarray) -> Matching:
    scores = matching.score("decoder_cosine", view.W_dec_a, rows_b)
    alive = {"alive_a": view.counts.alive_a, "alive_b": view.counts.alive_b}
    return matching.solve("assignment", scores, 0.7, **alive)
