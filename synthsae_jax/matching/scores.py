"""Scores: how alike are the latents of A and the latents of B? One function per entry."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from synthsae_jax.errors import require
from synthsae_jax.matching.moments import CoMoments, pearson
from synthsae_jax.numerics import cosine_matrix
from synthsae_jax.options import check_options
from synthsae_jax.registry import Explanation, Registry

Array = jax.Array


@dataclasses.dataclass(frozen=True)
class Score:
    """A registered score: what its two inputs are, and the function of them."""

    takes: str  # "rows": directions [L, D]; "columns": [D, L]; "codes": [n, L] of the same samples
    compute: Callable[..., Array]  # (a, b, *, options) -> [L_a, L_b]


scores: Registry[Score] = Registry("score")


def register_score(
    name: str, takes: str, explanation: Explanation
) -> Callable[[Callable[..., Array]], Callable[..., Array]]:
    """Decorator: register `compute(a, b, *, options) -> [L_a, L_b]` under a name."""

    def add(compute: Callable[..., Array]) -> Callable[..., Array]:
        scores.register(name, explanation)(Score(takes, compute))
        return compute

    return add


def score(name: str, a: Array, b: Array, **options) -> Array:
    """Similarity of every latent of A with every latent of B, float32 `[L_a, L_b]`.

    What `a` and `b` are depends on the score: the two SAEs' `W_dec [L, D]` (`decoder_cosine`) or
    `W_enc [D, L]` (`encoder_cosine`), in one common space, or their codes `[n, L]` of the same n
    samples (`activation_pearson`). Options are the score's own, by keyword.
    """
    entry = scores[name]
    # half-precision inputs are scored in float32: rounded scores tie, and ties decide matches
    a, b = (v.astype(jnp.promote_types(v.dtype, jnp.float32)) for v in map(jnp.asarray, (a, b)))
    require(
        a.ndim == 2 and b.ndim == 2,
        f"score {name!r} takes two matrices; given shapes {a.shape} and {b.shape}.",
    )
    if entry.takes in ("rows", "columns"):
        axis, shape = (1, "[L, D]") if entry.takes == "rows" else (0, "[D, L]")
        require(
            a.shape[axis] == b.shape[axis],
            f"score {name!r} takes two matrices {shape} of one space; given {a.shape} and "
            f"{b.shape}. Align models of unlike width first.",
        )
    else:
        require(
            a.shape[0] == b.shape[0],
            f"score {name!r} takes codes [n, L] on the same samples; given {a.shape} and "
            f"{b.shape}.",
        )
    check_options(f"score {name!r}", entry.compute, options)
    return entry.compute(a, b, **options)


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
)
def activation_pearson(a: Array, b: Array) -> Array:
    """Pearson correlation of codes, `[n, L_a], [n, L_b] -> [L_a, L_b]`."""
    return pearson(CoMoments.init(a.shape[1], b.shape[1]).update(a, b))
