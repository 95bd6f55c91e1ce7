"""Scores: how alike are the latents of A and the latents of B? One function per entry."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from synthsae_jax.errors import check_choice, require
from synthsae_jax.matching.moments import CoMoments, pearson
from synthsae_jax.numerics import as_array, at_least_float32, cosine_matrix, is_wide, narrow
from synthsae_jax.options import check_options
from synthsae_jax.registry import Explanation, Registry

Array = jax.Array


# What a score takes of each side, and what the two sides must have in common.
TAKES = {
    "rows": "two matrices [L, D] of one space",
    "columns": "two matrices [D, L] of one space",
    "both": "two pairs (W_dec [L, D], W_enc [D, L]) of one space",
    "own_rows": "two matrices [L, D], each of its own space",
    "codes": "two matrices: codes [n, L] on the same samples",
}


@dataclasses.dataclass(frozen=True)
class Score:
    """A registered score: what its two inputs are, and the function of them."""

    takes: str  # a word of TAKES
    compute: Callable[..., Array]  # (a, b, *, options) -> [L_a, L_b]
    centred: bool = False  # of codes: does it stay where a number is added to all of a latent's?
    first: Callable[[Array], Array] | None = None  # of codes: what is done to them before all else


scores: Registry[Score] = Registry("score")


def register_score(
    name: str, takes: str, explanation: Explanation, **traits
) -> Callable[[Callable[..., Array]], Callable[..., Array]]:
    """Decorator: register `compute(a, b, *, options) -> [L_a, L_b]`; `traits`: fields of `Score`.

    Whatever compares codes must not depend on the scale of a latent's: it sees them brought into
    float32's range.
    """

    def add(compute: Callable[..., Array]) -> Callable[..., Array]:
        scores.register(name, explanation)(Score(takes, compute, **traits))
        return compute

    return add


def score(name: str, a: Array | tuple, b: Array | tuple, **options) -> Array:
    """Similarity of every latent of A with every latent of B, float32 `[L_a, L_b]`.

    What `a` and `b` are depends on the score: the two SAEs' `W_dec [L, D]` (`decoder_cosine`) or
    `W_enc [D, L]` (`encoder_cosine`), in one common space, or pairs of both (`combined_cosine`),
    or their codes `[n, L]` of the same n samples (`activation_pearson` and all that is read from
    firing). Options are the score's own, by keyword.
    """
    entry = scores[name]
    sides = [_float_matrices(name, entry, side) for side in (a, b)]
    if entry.takes != "own_rows":
        shared = [tuple(m.shape[axis] for m, axis in side) for side in sides]
        shapes = [[m.shape for m, _ in side] for side in sides]
        require(
            shared[0] == shared[1],
            f"score {name!r} takes {TAKES[entry.takes]}; given {_spell(shapes[0])} and "
            f"{_spell(shapes[1])}."
            + ("" if entry.takes == "codes" else " Align models of unlike width first."),
        )
    check_options(f"score {name!r}", entry.compute, options)
    matrices = [tuple(m for m, _ in side) for side in sides]
    a, b = matrices if entry.takes == "both" else (m for (m,) in matrices)
    return entry.compute(a, b, **options)


def _float_matrices(name: str, entry: Score, side: Array | tuple) -> list[tuple[Array, int]]:
    """The side's matrices, each with the axis it shares with the other side's."""
    takes = entry.takes
    axes = {"rows": (1,), "columns": (0,), "both": (1, 0), "own_rows": (1,), "codes": (0,)}[takes]
    parts = [side] if takes != "both" else list(side) if isinstance(side, tuple | list) else []
    shapes = [jnp.shape(part) for part in parts]
    require(
        len(parts) == len(axes) and all(len(shape) == 2 for shape in shapes),
        f"score {name!r} takes {TAKES[takes]}; given {_spell(shapes or [jnp.shape(side)])}.",
    )
    parts = [as_array(part) for part in parts]
    if takes == "codes":
        first = entry.first or (lambda codes: codes)
        centre = 0 if entry.centred else None
        parts = [narrow(first(part), centre=centre, scale=(0,)) for part in parts]
    # directions stay as wide as they are: their cosines are taken by unit rows of that precision
    parts = [part if is_wide(part) else jnp.asarray(at_least_float32(part)) for part in parts]
    return list(zip(parts, axes))


def _spell(shapes: list[tuple[int, ...]]) -> str:
    return " with ".join(map(str, shapes))


_COSINE_CHANCE = (
    "A signed pair has mean 0 and sd 1/sqrt(D); the best of M is near metrics.expected_max_cosine."
)


@register_score(
    "decoder_cosine",
    "rows",
    Explanation(
        what="Cosine between decoder rows. Two models share a space only after alignment.",
        formula="<w_a, w_b> / (|w_a| |w_b|); absolute=True: its absolute value; centred=True: "
        "after each side's mean row is taken off",
        range="[-1, 1]",
        chance=_COSINE_CHANCE,
        undefined="0 for a zero row",
        source="Paulo and Belrose, arXiv 2501.16615",
    ),
)
def decoder_cosine(a: Array, b: Array, *, absolute: bool = False, centred: bool = False) -> Array:
    """Signed cosine of rows, `[L_a, D], [L_b, D] -> [L_a, L_b]`."""
    if centred:
        # a direction common to all rows raises every cosine without saying who matches whom
        a, b = (v - v.mean(0)[None, :] for v in (a, b))
    cosine = cosine_matrix(a, b)
    return jnp.abs(cosine) if absolute else cosine


@register_score(
    "encoder_cosine",
    "columns",
    Explanation(
        what="Cosine between columns of W_enc [D, L]. The encoder's norm and bias play no part.",
        formula="as decoder_cosine, for columns",
        range="[-1, 1]",
        chance=_COSINE_CHANCE,
        undefined="0 for a zero row",
        source="Paulo and Belrose, arXiv 2501.16615",
    ),
)
def encoder_cosine(a: Array, b: Array, *, absolute: bool = False, centred: bool = False) -> Array:
    """Signed cosine of encoder columns, `[D, L_a], [D, L_b] -> [L_a, L_b]`."""
    return decoder_cosine(a.T, b.T, absolute=absolute, centred=centred)


@register_score(
    "combined_cosine",
    "both",
    Explanation(
        what="Decoder and encoder cosine in one: their mean, or the smaller (how='min').",
        formula="(cos(w_a, w_b) + cos(e_a, e_b)) / 2, or min of the two",
        range="[-1, 1]",
        chance="Mean 0. Decoder and encoder rows of one latent are alike, so the mean is hardly "
        "less noisy than one of them.",
        undefined="0 for a zero row",
        source="the AND of two assignments in Paulo and Belrose, arXiv 2501.16615, as one score",
    ),
)
def combined_cosine(
    a: tuple[Array, Array],
    b: tuple[Array, Array],
    *,
    how: str = "mean",
    absolute: bool = False,
    centred: bool = False,
) -> Array:
    """Of decoder and encoder cosine, each taken as the options say, `[L_a, L_b]`."""
    check_choice("how", how, ("mean", "min"))
    options = {"absolute": absolute, "centred": centred}
    decoder = decoder_cosine(a[0], b[0], **options)
    encoder = encoder_cosine(a[1], b[1], **options)
    return jnp.minimum(decoder, encoder) if how == "min" else (decoder + encoder) / 2


@register_score(
    "activation_pearson",
    "codes",
    Explanation(
        what="Pearson correlation of two latents' activations over the same tokens.",
        formula="cov(f_a, f_b) / (sd f_a sd f_b)",
        range="[-1, 1]",
        chance="Mean 0, but the best of many rare latents is far above 0 on few tokens: judge it "
        "by the token_shift null at the same number of tokens.",
        undefined="0 where a latent never varies (dead): mask it when solving",
        source="Lan et al., arXiv 2410.06981; Wang et al., arXiv 2410.06672",
    ),
    centred=True,
)
def activation_pearson(a: Array, b: Array) -> Array:
    """Pearson correlation of codes, `[n, L_a], [n, L_b] -> [L_a, L_b]`."""
    return pearson(CoMoments.init(a.shape[1], b.shape[1]).update(a, b))


@register_score(
    "preactivation_pearson",
    "codes",
    Explanation(
        what="Pearson correlation of two latents before the SAE's sparsity: of max(pre, 0).",
        formula="as activation_pearson, of rectified pre-activations",
        range="[-1, 1]",
        chance="Mean 0 between unrelated models; within one space, latents that point alike "
        "correlate without tracking the same feature.",
        undefined="0 where a latent never varies: mask it when solving",
        source="what Lan et al., arXiv 2410.06981, correlate where the SAE is TopK",
    ),
    centred=True,
    first=lambda pre: (jnp if isinstance(pre, jax.Array) else np).maximum(pre, 0),
)
def preactivation_pearson(a: Array, b: Array) -> Array:
    """Pearson correlation of what is rectified already, `[n, L_a], [n, L_b] -> [L_a, L_b]`."""
    return activation_pearson(a, b)
