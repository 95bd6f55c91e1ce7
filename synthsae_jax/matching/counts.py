"""What two SAEs' latents do on the same tokens, kept as counts from which scores are read."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import struct

from synthsae_jax.matching.moments import CoMoments, pearson
from synthsae_jax.registry import Registry

Array = jax.Array

# Scores that need no more than the counts: (PairCounts) -> [L_a, L_b].
count_scores: Registry[Callable[[PairCounts], Array]] = Registry("streamed score")


@struct.dataclass
class PairCounts:
    """Streamed moments and firing counts of `L_a` and `L_b` latents on paired tokens.

    `PairCounts.init(L_a, L_b)`, then `.update(latents_a, latents_b)` per batch, in a scan if
    you like, and `.merge(other)` for parts counted elsewhere. Everything is a pure function of
    arrays, so a leading axis of pairs is one `vmap` away. Counts are exact up to 2^31 - 1 tokens.
    A latent fires where its value is not 0.
    """

    moments: CoMoments
    fired_a: Array  # int32 [L_a]: tokens on which the latent fires
    fired_b: Array  # int32 [L_b]
    joint: Array  # int32 [L_a, L_b]: tokens on which both fire

    @classmethod
    def init(cls, n_a: int, n_b: int) -> PairCounts:
        """The counts of no tokens, for `n_a` and `n_b` latents."""
        zeros = lambda *shape: jnp.zeros(shape, jnp.int32)
        return cls(CoMoments.init(n_a, n_b), zeros(n_a), zeros(n_b), zeros(n_a, n_b))

    def update(self, latents_a: Array, latents_b: Array) -> PairCounts:
        """These counts with the tokens of `latents_a [n, L_a]`, `latents_b [n, L_b]` added."""
        fired_a, fired_b, joint = firing_counts(latents_a, latents_b)
        return PairCounts(
            moments=self.moments.update(latents_a, latents_b),
            fired_a=self.fired_a + fired_a,
            fired_b=self.fired_b + fired_b,
            joint=self.joint + joint,
        )

    def merge(self, other: PairCounts) -> PairCounts:
        """The counts of both sets of tokens together."""
        return PairCounts(
            moments=self.moments.merge(other.moments),
            fired_a=self.fired_a + other.fired_a,
            fired_b=self.fired_b + other.fired_b,
            joint=self.joint + other.joint,
        )

    def score(self, name: str) -> Array:
        """Scores `[L_a, L_b]` by name, as `matching.score` gives them from whole arrays."""
        return count_scores[name](self)

    @property
    def n(self) -> Array:
        """int32: tokens counted."""
        return self.moments.n

    @property
    def alive_a(self) -> Array:
        """bool [L_a]: did the latent fire at all?"""
        return self.fired_a > 0

    @property
    def alive_b(self) -> Array:
        """bool [L_b]: did the latent fire at all?"""
        return self.fired_b > 0


@count_scores.register("activation_pearson")
def _pearson(counts: PairCounts) -> Array:
    return pearson(counts.moments)


def firing_counts(a: Array, b: Array) -> tuple[Array, Array, Array]:
    """On how many samples each column of `a [n, p]`, of `b [n, q]`, and each two of them, fire.

    int32 `[p]`, `[q]`, `[p, q]`. The product runs at the backend's default precision: 0 and 1 are
    exact in every format, and the float32 sum is exact up to 2^24 samples in one call.
    """
    on_a, on_b = a != 0, b != 0
    joint = jnp.matmul(
        on_a.T.astype(jnp.float32), on_b.astype(jnp.float32), preferred_element_type=jnp.float32
    )
    count = lambda on: jnp.sum(on, axis=0, dtype=jnp.int32)
    return count(on_a), count(on_b), joint.astype(jnp.int32)
