"""How often latents and true features fire together, in a stream."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from synthsae_jax.matching.counts import firing_counts
from synthsae_jax.numerics import is_alive

Array = jax.Array


@struct.dataclass
class TruthCounts:
    """How often latents and true features fire, alone and together; exact, and streamed.

    `TruthCounts.init(L, F)`, then `.update(latents, feature_acts)` per batch and `.merge(other)`;
    pure functions of arrays, so it runs in a scan and under vmap. Up to 2^31 - 1 samples.
    """

    n: Array  # int32 []: samples
    fired: Array  # int32 [L]: samples on which the latent is not 0
    active: Array  # int32 [F]: samples on which the feature is not 0
    joint: Array  # int32 [L, F]: samples on which both are not 0

    @classmethod
    def init(cls, n_latents: int, n_features: int) -> TruthCounts:
        """The counts of no samples."""
        zeros = lambda *shape: jnp.zeros(shape, jnp.int32)
        return cls(zeros(), zeros(n_latents), zeros(n_features), zeros(n_latents, n_features))

    def update(self, latents: Array, feature_acts: Array) -> TruthCounts:
        """These counts with the samples of `latents [n, L]`, `feature_acts [n, F]` added."""
        fired, active, joint = firing_counts(latents, feature_acts)
        n = jnp.asarray(latents.shape[0], jnp.int32)
        return self.merge(TruthCounts(n, fired, active, joint))

    def merge(self, other: TruthCounts) -> TruthCounts:
        """The counts of both sets of samples together."""
        return jax.tree.map(jnp.add, self, other)

    @property
    def alive(self) -> Array:
        """bool [L]: did the latent fire at all?"""
        return is_alive(self.fired)

    def f1(self) -> Array:
        """F1 of each latent as a detector of each feature, float32 `[L, F]`; 0 where undefined.

        `2 |S_i n Z_g| / (|S_i| + |Z_g|)` with S_i where the latent fires, Z_g where the feature
        does: the Dice overlap of the two sets.
        """
        total = self.fired[:, None] + self.active[None, :]
        return 2.0 * self.joint / jnp.maximum(total, 1)
