"""Scores of two latents' firing, all read from one set of counts, and from arrays likewise.

A latent that never fires has no such score, nor has a diverged one (its codes are not finite):
NaN, which no solver matches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from synthsae_jax.matching.counts import PairCounts, count_scores
from synthsae_jax.matching.scores import register_score
from synthsae_jax.numerics import ratio_or_nan
from synthsae_jax.registry import Explanation

Array = jax.Array

_DEAD = "NaN where a latent never fires"
_CONSTANT = "NaN where a latent never fires, or always does"
_RARE = "Rare latents need little to look alike: judge it by the token_shift null."
_TABLE = "n_ij, n_i, n_j: tokens on which both, i, j fire; N tokens. "


class _Table(NamedTuple):
    n: Array  # float32 []
    a: Array  # float32 [L_a, 1]
    b: Array  # float32 [1, L_b]
    both: Array  # float32 [L_a, L_b]


def _table(counts: PairCounts) -> _Table:
    n, a, b, both = (
        v.astype(jnp.float32) for v in (counts.n, counts.fired_a, counts.fired_b, counts.joint)
    )
    return _Table(n, a[:, None], b[None, :], both)


def register_firing_score(name: str, explanation: Explanation):
    """Decorator: register `read(counts) -> [L_a, L_b]` as a score of codes, under one name for all.

    `matching.score` takes it from whole arrays, `PairCounts.score` from streamed counts,
    `scores_from_codes` from CSR codes, a `Pipeline` and a protocol by its name, and the command
    line lists and explains it. A file of this folder with this above a function is all it takes.
    """

    def add(read: Callable[[PairCounts], Array]) -> Callable[[PairCounts], Array]:
        def from_counts(counts: PairCounts) -> Array:
            moments = counts.moments
            a = counts.alive_a & jnp.isfinite(moments.spread_a)
            b = counts.alive_b & jnp.isfinite(moments.spread_b)
            return jnp.where(a[:, None] & b[None, :], read(counts), np.nan)

        def from_arrays(a: Array, b: Array, *, strata: Array | None = None) -> Array:
            counts = PairCounts.init(a.shape[1], b.shape[1]).update(a, b, strata=strata)
            return from_counts(counts)

        count_scores.register(name)(from_counts)
        register_score(name, "codes", explanation)(from_arrays)
        return read

    return add


@register_firing_score(
    "activation_cosine",
    Explanation(
        what="Cosine of two latents' activations over the same tokens, not centred.",
        formula="sum f_a f_b / sqrt(sum f_a^2 sum f_b^2)",
        range="[-1, 1]; [0, 1] for codes that are never negative",
        chance="High for dense latents: near sqrt(p_i p_j) for latents firing at rates p.",
        undefined=_DEAD,
    ),
)
def activation_cosine(counts: PairCounts) -> Array:
    """Uncentred cosine of codes `[L_a, L_b]`, put together from the centred moments."""
    m = counts.moments
    n = m.n.astype(jnp.float32)
    square_a = m.spread_a + n * m.mean_a**2
    square_b = m.spread_b + n * m.mean_b**2
    dot = m.cross + n * m.mean_a[:, None] * m.mean_b[None, :]
    norms = jnp.sqrt(square_a)[:, None] * jnp.sqrt(square_b)[None, :]
    return jnp.clip(ratio_or_nan(dot, norms), -1.0, 1.0)


@register_firing_score(
    "jaccard",
    Explanation(
        what="Tokens on which both fire, as a share of those on which either does.",
        formula=_TABLE + "n_ij / (n_i + n_j - n_ij)",
        range="[0, 1], and at most the ratio of the smaller rate to the larger",
        chance="p_i p_j / (p_i + p_j - p_i p_j) on average. " + _RARE,
        undefined=_DEAD,
    ),
)
def jaccard(counts: PairCounts) -> Array:
    """Jaccard overlap of firing sets `[L_a, L_b]`."""
    t = _table(counts)
    return ratio_or_nan(t.both, t.a + t.b - t.both)


@register_firing_score(
    "firing_f1",
    Explanation(
        what="F1 of one latent's firing as a detector of the other's: the Dice overlap.",
        formula=_TABLE + "2 n_ij / (n_i + n_j)",
        range="[0, 1]",
        chance="2 p_i p_j / (p_i + p_j) on average. " + _RARE,
        undefined=_DEAD,
    ),
)
def firing_f1(counts: PairCounts) -> Array:
    """F1 of firing sets `[L_a, L_b]`."""
    t = _table(counts)
    return ratio_or_nan(2.0 * t.both, t.a + t.b)


@register_firing_score(
    "phi",
    Explanation(
        what="Correlation of two latents' firing, on or off (Matthews correlation).",
        formula=_TABLE + "(N n_ij - n_i n_j) / sqrt(n_i n_j (N - n_i) (N - n_j))",
        range="[-1, 1]",
        chance="Mean 0, sd 1/sqrt(N - 1). " + _RARE,
        undefined=_CONSTANT,
    ),
)
def phi(counts: PairCounts) -> Array:
    """Phi coefficient `[L_a, L_b]`."""
    t = _table(counts)
    n = jnp.maximum(t.n, 1.0)
    deviation = lambda fired: jnp.sqrt(fired / n * (1.0 - fired / n))
    # In shares of tokens: the product of four counts in the formula leaves the range of float32 at
    # 1e10 tokens, and exactness at 2^24.
    covariance = (t.both - t.a * (t.b / n)) / n
    return jnp.clip(ratio_or_nan(covariance, deviation(t.a) * deviation(t.b)), -1.0, 1.0)


@register_firing_score(
    "lift",
    Explanation(
        what="How many times more often two latents fire together than if they were unrelated.",
        formula=_TABLE + "N n_ij / (n_i n_j)",
        range=">= 0",
        chance="1 on average, with a spread of 1/sqrt(N p_i p_j): huge for rare latents. " + _RARE,
        undefined=_DEAD,
    ),
)
def lift(counts: PairCounts) -> Array:
    """Lift `[L_a, L_b]`."""
    t = _table(counts)
    return ratio_or_nan(t.both, t.a * (t.b / jnp.maximum(t.n, 1.0)))


@register_firing_score(
    "npmi",
    Explanation(
        what="Normalised pointwise mutual information of two latents' firing; -1: never together.",
        formula=_TABLE + "ln(N n_ij / (n_i n_j)) / ln(N / n_ij)",
        range="[-1, 1]",
        chance="0 for a pair that fires together as often as unrelated ones would. " + _RARE,
        undefined="NaN where a latent never fires, or both always do",
        source="Bouma 2009",
    ),
)
def npmi(counts: PairCounts) -> Array:
    """NPMI `[L_a, L_b]`."""
    t = _table(counts)
    together = t.both > 0
    # A pair that is never on together has the limit -1; log 0 would make it NaN on the way.
    log_lift = jnp.log(jnp.where(together, lift(counts), 1.0))
    surprise = jnp.log(t.n / jnp.where(together, t.both, t.n))
    value = jnp.clip(ratio_or_nan(log_lift, surprise), -1.0, 1.0)
    return jnp.where(together, value, -1.0)


@register_firing_score(
    "hypergeometric_z",
    Explanation(
        what="By how many standard deviations two latents fire together more often than latents of "
        "their rates would, compared within tokens of equal activity (Mantel-Haenszel).",
        formula="sum_s (n_ij - n_i n_j / N) / sqrt(sum_s n_i n_j (N - n_i)(N - n_j) / "
        "(N^2 (N - 1))) over strata s of tokens: bins of how many latents of A, and of B, fire",
        range="any; at most about sqrt(N - 1)",
        chance="Mean 0, sd 1, also where both models are busy on the same tokens. The best of M "
        "unrelated ones is near sqrt(2 ln M); the lower the expected count, the longer the tail.",
        undefined="NaN where a latent does not vary within any stratum",
        source="Mantel and Haenszel 1959",
    ),
)
def hypergeometric_z(counts: PairCounts) -> Array:
    """Stratified z-score of the joint firing count `[L_a, L_b]`."""
    return _z(counts.joint, counts.tokens, counts.strata_a, counts.strata_b)


@register_firing_score(
    "hypergeometric_z_plain",
    Explanation(
        what="As hypergeometric_z, over all tokens at once.",
        formula=_TABLE + "(n_ij - n_i n_j / N) / sqrt(n_i n_j (N - n_i)(N - n_j) / (N^2 (N - 1)))",
        range="[-sqrt(N - 1), sqrt(N - 1)]: it is phi sqrt(N - 1)",
        chance="Mean 0, sd 1 if tokens are alike. Where both models are busy on the same tokens, "
        "unrelated latents score far above 0.",
        undefined=_CONSTANT,
    ),
)
def hypergeometric_z_plain(counts: PairCounts) -> Array:
    """z-score of the joint firing count `[L_a, L_b]`, without strata."""
    return _z(counts.joint, counts.n[None], counts.fired_a[None, :], counts.fired_b[None, :])


def _z(joint: Array, tokens: Array, a: Array, b: Array) -> Array:
    """`[L_a, L_b]` from firings by stratum: int32 `[L_a, L_b]`, `[S]`, `[S, L_a]`, `[S, L_b]`."""
    n, a, b = (v.astype(jnp.float32) for v in (tokens[:, None], a, b))
    # shares of tokens first: products of counts leave float32's exact range, and its range
    share = lambda v: v / jnp.maximum(n, 1.0)
    # Exact products: they are taken off counts that are exact.
    inner = lambda x, y: jnp.matmul(x.T, y, precision=jax.lax.Precision.HIGHEST)
    expected = inner(a, share(b))
    # a stratum of one token says nothing, and its 0 / 0 is 0
    scaled = n * n / jnp.maximum(n - 1.0, 1.0)
    variance = inner(share(a) * (1.0 - share(a)), scaled * share(b) * (1.0 - share(b)))
    return ratio_or_nan(joint.astype(jnp.float32) - expected, jnp.sqrt(variance))
