"""What two SAEs' latents do on the same tokens, kept as counts from which scores are read."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import struct

from synthsae_jax.errors import require
from synthsae_jax.matching.moments import CoMoments, pearson
from synthsae_jax.matching.sparse import Slots, block_of_slots
from synthsae_jax.matching.strata import N_STRATA, by_stratum, strata_of
from synthsae_jax.numerics import fires, is_alive
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
    A latent fires where its value is not 0. Firings are also kept by stratum of tokens (see
    `strata`), which costs `484 (L_a + L_b)` integers: only the sides' own counts are needed there.
    With `preactivations=True` the moments of what the SAE had before its sparsity come along.
    """

    moments: CoMoments
    fired_a: Array  # int32 [L_a]: tokens on which the latent fires
    fired_b: Array  # int32 [L_b]
    joint: Array  # int32 [L_a, L_b]: tokens on which both fire
    tokens: Array  # int32 [S]: tokens in each stratum
    strata_a: Array  # int32 [S, L_a]: tokens of the stratum on which the latent fires
    strata_b: Array  # int32 [S, L_b]
    pre: CoMoments | None = None  # of max(pre-activation, 0)

    @classmethod
    def init(cls, n_a: int, n_b: int, preactivations: bool = False) -> PairCounts:
        """The counts of no tokens, for `n_a` and `n_b` latents."""
        zeros = lambda *shape: jnp.zeros(shape, jnp.int32)
        return cls(
            moments=CoMoments.init(n_a, n_b),
            fired_a=zeros(n_a),
            fired_b=zeros(n_b),
            joint=zeros(n_a, n_b),
            tokens=zeros(N_STRATA),
            strata_a=zeros(N_STRATA, n_a),
            strata_b=zeros(N_STRATA, n_b),
            pre=CoMoments.init(n_a, n_b) if preactivations else None,
        )

    def update(
        self,
        latents_a: Array,
        latents_b: Array,
        *,
        strata: Array | None = None,
        pre_a: Array | None = None,
        pre_b: Array | None = None,
    ) -> PairCounts:
        """These counts with the tokens of `latents_a [n, L_a]`, `latents_b [n, L_b]` added.

        `strata`: int `[n]`, which of the `strata.N_STRATA` strata each token is in; None derives
        it from how many latents fire on it, on either side. `pre_a [n, L_a]`, `pre_b [n, L_b]`:
        pre-activations, if the counts were made with `preactivations=True`.
        """
        with_pre = pre_a is not None and pre_b is not None
        require(
            with_pre == (self.pre is not None) and (pre_a is None) == (pre_b is None),
            "update takes both pre_a and pre_b if the counts were made with preactivations=True, "
            "else neither.",
        )
        on_a, on_b = fires(latents_a), fires(latents_b)
        fired_a, fired_b, joint = firing_counts(latents_a, latents_b)
        if strata is None:
            strata = strata_of(on_a.sum(1), on_b.sum(1))
        # Lan et al. correlate TopK's pre-activations after the ReLU, so negative ones count as 0.
        rectified = [jnp.maximum(v, 0) for v in (pre_a, pre_b)] if with_pre else []
        return PairCounts(
            moments=self.moments.update(latents_a, latents_b),
            fired_a=self.fired_a + fired_a,
            fired_b=self.fired_b + fired_b,
            joint=self.joint + joint,
            tokens=self.tokens + by_stratum(jnp.ones(strata.shape, bool), strata),
            strata_a=self.strata_a + by_stratum(on_a, strata),
            strata_b=self.strata_b + by_stratum(on_b, strata),
            pre=self.pre.update(*rectified) if with_pre else None,
        )

    def update_slots(self, a: Slots, b: Slots, *, strata: Array | None = None) -> PairCounts:
        """These counts with n tokens added whose codes come as slots, e.g. `slots_of(latents, K)`.

        The work is `n K_a K_b` instead of `n L_a L_b`; memory too, so batches of a few thousand
        tokens do. Equal to `update` up to the rounding of float32 sums.
        """
        require(self.pre is None, "update_slots has no pre-activations: they are dense.")
        n_a, n_b = self.joint.shape
        block = block_of_slots(a, b, n_a, n_b)
        if strata is None:
            strata = strata_of(block.on_a.sum(1), block.on_b.sum(1))
        return PairCounts(
            moments=self.moments.merge(block.moments),
            fired_a=self.fired_a + block.fired_a,
            fired_b=self.fired_b + block.fired_b,
            joint=self.joint + block.joint,
            tokens=self.tokens + by_stratum(jnp.ones(strata.shape, bool), strata),
            # An empty slot points one past the last latent, where mode='drop' loses it.
            strata_a=self.strata_a.at[strata[:, None], block.index_a].add(1, mode="drop"),
            strata_b=self.strata_b.at[strata[:, None], block.index_b].add(1, mode="drop"),
        )

    def merge(self, other: PairCounts) -> PairCounts:
        """The counts of both sets of tokens together; the order of merging does not matter."""
        require(
            (self.pre is None) == (other.pre is None),
            "only one of the two counts has pre-activations: they do not merge.",
        )
        return PairCounts(
            moments=self.moments.merge(other.moments),
            fired_a=self.fired_a + other.fired_a,
            fired_b=self.fired_b + other.fired_b,
            joint=self.joint + other.joint,
            tokens=self.tokens + other.tokens,
            strata_a=self.strata_a + other.strata_a,
            strata_b=self.strata_b + other.strata_b,
            pre=None if self.pre is None else self.pre.merge(other.pre),
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
        return is_alive(self.fired_a)

    @property
    def alive_b(self) -> Array:
        """bool [L_b]: did the latent fire at all?"""
        return is_alive(self.fired_b)


@count_scores.register("activation_pearson")
def _pearson(counts: PairCounts) -> Array:
    return pearson(counts.moments)


@count_scores.register("preactivation_pearson")
def _preactivation_pearson(counts: PairCounts) -> Array:
    require(
        counts.pre is not None,
        "preactivation_pearson needs counts made with PairCounts.init(..., preactivations=True).",
    )
    return pearson(counts.pre)


def firing_counts(a: Array, b: Array) -> tuple[Array, Array, Array]:
    """On how many samples each column of `a [n, p]`, of `b [n, q]`, and each two of them, fire.

    int32 `[p]`, `[q]`, `[p, q]`. The product runs at the backend's default precision: 0 and 1 are
    exact in every format, and the float32 sum is exact up to 2^24 samples in one call.
    """
    on_a, on_b = fires(a), fires(b)
    joint = jnp.matmul(
        on_a.T.astype(jnp.float32), on_b.astype(jnp.float32), preferred_element_type=jnp.float32
    )
    count = lambda on: jnp.sum(on, axis=0, dtype=jnp.int32)
    return count(on_a), count(on_b), joint.astype(jnp.int32)
